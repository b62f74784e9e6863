//! Answers to plain frames: encoded while the owner applies the frames, all that go to it together into one buffer.
//!
//! What takes long to encode, refusals and long values above all, is left to the stream, so that it costs the owner nothing.

use std::mem;

use prost::Message as _;
use soloist::v1;
use soloist::v1::op_result::Result as Op;

use super::encode::{capacity_for, is_quick, is_quick_entry, put_end, put_outcome, put_read};
use crate::machine::{EntryRef, Outcome, PlainAnswers, ReadOutcome, Rejection, Revision};
use crate::rpc::body::framing::PREFIX_BYTES;
use crate::rpc::body::response::{FLUSH_BYTES, put};
use crate::rpc::status::Refusal;

/// Answers to plain frames that went to the owner together.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The encoded messages with their prefixes, without what was put off.
    encoded: Vec<u8>,
    /// Where the message of the last frame begins, behind its prefix.
    begin: usize,
    frames: usize,
    /// The revisions of the first and of the last frame.
    first: Revision,
    last: Revision,
    /// The results that were put off.
    put_off: Vec<PutOff>,
    /// About the bytes that they take.
    put_off_bytes: usize,
}

/// A result that is not encoded yet, and its place in what is.
type PutOff = (usize, Result<Outcome, Box<Rejection>>);

impl PlainAnswers for Answers {
    fn reserve(&mut self, frames: usize, operations: usize) {
        let bytes = capacity_for(operations) + frames * capacity_for(0);
        self.encoded.reserve(bytes);
    }

    #[inline]
    fn begin_frame(&mut self) {
        self.encoded.extend_from_slice(&[0; PREFIX_BYTES]);
        self.begin = self.encoded.len();
    }

    #[inline(always)]
    fn read(&mut self, entry: Option<EntryRef<'_>>, revision: Revision) {
        if entry.is_none_or(is_quick_entry) {
            put_read(&mut self.encoded, entry, revision);
        } else {
            let entry = entry.map(EntryRef::to_entry);
            self.operation(Ok(Outcome::Read(ReadOutcome { entry, revision })));
        }
    }

    #[inline]
    fn operation(&mut self, result: Result<Outcome, Box<Rejection>>) {
        match result {
            Ok(outcome) if is_quick(&outcome) => put_outcome(&mut self.encoded, &outcome),
            other => self.put_off(other),
        }
    }

    #[inline]
    fn end_frame(&mut self, revision: Revision, _answer_bytes: usize) {
        put_end(&mut self.encoded, revision, false);
        let len = self.encoded.len() - self.begin;
        set_prefix(&mut self.encoded[self.begin - PREFIX_BYTES..], len);
        if self.frames == 0 {
            self.first = revision;
        }
        self.last = revision;
        self.frames += 1;
    }

    fn byte_len(&self) -> usize {
        self.encoded.len() + self.put_off_bytes
    }
}

impl Answers {
    #[cold]
    fn put_off(&mut self, result: Result<Outcome, Box<Rejection>>) {
        self.put_off_bytes += size_of::<PutOff>()
            + match &result {
                Ok(outcome) => outcome.byte_len(),
                Err(rejection) => rejection.byte_len(),
            };
        self.put_off.push((self.encoded.len(), result));
    }

    /// Encodes what was put off, and raises the revision of frames of reads that were answered as of what is on disk, while a
    /// change of an earlier frame of their stream was on its way there. `last` is the greatest revision of the stream so far.
    /// The keys that were read had no change on its way, so they were the same at that revision.
    pub(crate) fn finish(mut self, last: &mut Revision) -> Pieces {
        if !self.put_off.is_empty() {
            self.encode_put_off();
        }
        if self.first < *last {
            self.encoded = raised(&self.encoded, *last);
        }
        *last = self.last.max(*last);
        Pieces {
            encoded: self.encoded,
            at: 0,
            frames: self.frames,
        }
    }

    /// Puts the results that were put off in their places.
    fn encode_put_off(&mut self) {
        let encoded = mem::take(&mut self.encoded);
        let mut put_off = mem::take(&mut self.put_off).into_iter().peekable();
        let mut all = Vec::with_capacity(encoded.len());
        let mut end = 0;
        while end < encoded.len() {
            let mut at = end + PREFIX_BYTES;
            end += message_bytes(&encoded[end..]);
            put(&mut all, |all| {
                while let Some((place, result)) = put_off.next_if(|(place, _)| *place <= end) {
                    all.extend_from_slice(&encoded[at..place]);
                    at = place;
                    put_result(all, result);
                }
                all.extend_from_slice(&encoded[at..end]);
            });
        }
        self.encoded = all;
    }
}

fn put_result(buf: &mut Vec<u8>, result: Result<Outcome, Box<Rejection>>) {
    match result {
        Ok(outcome) => put_outcome(buf, &outcome),
        Err(rejection) => {
            let error = Refusal::from(*rejection).into_rpc_status();
            let result = v1::OpResult {
                result: Some(Op::Error(error)),
            };
            prost::encoding::message::encode(1, &result, buf);
        }
    }
}

/// The same messages, none with a revision before `revision`. Through the generated messages, because it is rare.
fn raised(mut encoded: &[u8], revision: Revision) -> Vec<u8> {
    const OURS: &str = "the answer was encoded here";
    let mut all = Vec::with_capacity(encoded.len());
    while !encoded.is_empty() {
        let (message, rest) = encoded.split_at(message_bytes(encoded));
        encoded = rest;
        let message = &message[PREFIX_BYTES..];
        let mut response = v1::PipelineResponse::decode(message).expect(OURS);
        if response.revision < revision {
            response.revision = revision;
            for result in &mut response.results {
                match &mut result.result {
                    Some(Op::Read(read)) => read.revision = revision,
                    Some(Op::Write(write)) => write.revision = revision,
                    Some(Op::Add(add)) => add.revision = revision,
                    Some(Op::Transition(transition)) => transition.revision = revision,
                    Some(Op::Delete(delete)) => delete.revision = revision,
                    Some(Op::Error(_)) | None => {}
                }
            }
        }
        put(&mut all, |all| response.encode_raw(all));
    }
    all
}

/// Sets the length in a prefix.
fn set_prefix(prefix: &mut [u8], len: usize) {
    let len = u32::try_from(len).expect("answers are limited below 4 GiB");
    prefix[1..PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
}

/// The bytes of the first message, with its prefix.
fn message_bytes(encoded: &[u8]) -> usize {
    let len = encoded[1..].first_chunk().expect("messages have prefixes");
    PREFIX_BYTES + u32::from_be_bytes(*len) as usize
}

/// Encoded answers on their way to the client. Long ones are handed out in pieces, so that they do not all wait for the client
/// at once.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    encoded: Vec<u8>,
    at: usize,
    /// How many are left.
    frames: usize,
}

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The bytes that they take together.
    pub(crate) fn byte_len(&self) -> usize {
        self.encoded.len()
    }

    /// The next piece, and how many answers are in it.
    pub(crate) fn next(&mut self) -> (Vec<u8>, usize) {
        let rest = &self.encoded[self.at..];
        if self.frames <= 1 || rest.len() <= FLUSH_BYTES {
            let rest = match self.at {
                0 => mem::take(&mut self.encoded),
                at => self.encoded.split_off(at),
            };
            return (rest, mem::take(&mut self.frames));
        }
        let (mut bytes, mut frames) = (0, 0);
        while frames < self.frames {
            let with_next = bytes + message_bytes(&rest[bytes..]);
            if frames > 0 && with_next > FLUSH_BYTES {
                break;
            }
            bytes = with_next;
            frames += 1;
        }
        let piece = rest[..bytes].to_vec();
        self.at += bytes;
        self.frames -= frames;
        (piece, frames)
    }
}

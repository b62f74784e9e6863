//! Encodes answers from outcomes, as the generated `PipelineResponse` would.

use prost::Message as _;
use prost::encoding::encoded_len_varint;
use soloist::v1;

use crate::machine::{
    AddOutcome, AllOutcome, DeleteOutcome, EachOutcome, Entry, Outcome, ReadOutcome, Revision,
    TransitionOutcome, Value, WriteOutcome,
};
use crate::rpc::body::response::Encode;
use crate::rpc::responses;
use crate::rpc::status::Refusal;
use crate::varint;

/// The answer to a frame.
#[derive(Debug)]
pub(crate) enum FrameAnswer {
    /// The operations were applied each on its own.
    Each(EachOutcome),
    /// The frame was applied as a whole.
    All(AllOutcome),
    /// The frame was refused as a whole. This answer has no revision, because the state was not looked at.
    Refused(Refusal),
}

impl FrameAnswer {
    /// Raises the revision of a frame of reads that was answered as of what is on disk, while a change of an earlier frame
    /// of its stream was on its way there. `last` is the greatest revision of the stream so far. The keys that were read
    /// had no change on its way, so they were the same at that revision.
    pub(crate) fn raise_revision(&mut self, last: &mut Revision) {
        match self {
            Self::Each(answer) if answer.revision < *last => answer.set_revision(*last),
            Self::All(answer) if answer.revision < *last && !answer.replayed => {
                answer.set_revision(*last);
            }
            Self::Each(EachOutcome { revision, .. }) | Self::All(AllOutcome { revision, .. }) => {
                *last = (*revision).max(*last);
            }
            Self::Refused(_) => {}
        }
    }
}

impl Encode for FrameAnswer {
    fn encode(self, buf: &mut Vec<u8>) {
        match self {
            Self::Each(answer) => put_each(buf, answer),
            Self::All(answer) => {
                buf.reserve(capacity_for(answer.outcomes.len()));
                for outcome in answer.outcomes {
                    put_outcome(buf, &outcome);
                }
                put_int(buf, 3, answer.revision);
                put_bool(buf, 4, answer.replayed);
            }
            Self::Refused(refusal) => {
                let response = v1::PipelineResponse {
                    error: Some(refusal.into_rpc_status()),
                    ..v1::PipelineResponse::default()
                };
                response.encode_raw(buf);
            }
        }
    }
}

fn put_each(buf: &mut Vec<u8>, answer: EachOutcome) {
    buf.reserve(capacity_for(answer.results.len()));
    for result in answer.results {
        match result {
            Ok(outcome) => put_outcome(buf, &outcome),
            Err(rejection) => {
                let error = Refusal::from(*rejection).into_rpc_status();
                let result = v1::OpResult {
                    result: Some(v1::op_result::Result::Error(error)),
                };
                prost::encoding::message::encode(1, &result, buf);
            }
        }
    }
    put_int(buf, 3, answer.revision);
}

/// About the bytes of an answer whose results hold ints.
fn capacity_for(results: usize) -> usize {
    results * 24 + 16
}

/// Puts an `OpResult`, field 1 of `PipelineResponse`. The functions for its kinds first add up the length of the nested message.
fn put_outcome(buf: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Read(read) => put_read(buf, read),
        Outcome::Write(write) => put_write(buf, write),
        Outcome::Add(add) => put_add(buf, add),
        Outcome::Transition(transition) => put_transition(buf, transition),
        Outcome::Delete(delete) => put_delete(buf, delete),
    }
}

#[inline]
fn put_read(buf: &mut Vec<u8>, read: &ReadOutcome) {
    let ReadOutcome { entry, revision } = read;
    let entry = entry.as_ref().map(SizedEntry::of);
    let read_len = entry.as_ref().map_or(0, SizedEntry::nested_len) + int_len(*revision);
    put_prefix(buf, 1, nested_len(read_len));
    put_prefix(buf, 1, read_len);
    if let Some(entry) = entry {
        entry.put(buf, 1);
    }
    put_int(buf, 2, *revision);
}

#[inline]
fn put_write(buf: &mut Vec<u8>, write: &WriteOutcome) {
    let WriteOutcome {
        revision,
        create_revision,
        previous,
        replayed,
    } = write;
    let previous = previous.as_deref().map(SizedEntry::of);
    let write_len = int_len(*revision)
        + int_len(*create_revision)
        + flag_len(*replayed)
        + previous.as_ref().map_or(0, SizedEntry::nested_len);
    put_prefix(buf, 1, nested_len(write_len));
    put_prefix(buf, 2, write_len);
    put_int(buf, 1, *revision);
    put_int(buf, 2, *create_revision);
    put_bool(buf, 3, *replayed);
    if let Some(previous) = previous {
        previous.put(buf, 4);
    }
}

#[inline]
fn put_add(buf: &mut Vec<u8>, add: &AddOutcome) {
    let AddOutcome {
        revision,
        create_revision,
        value,
        applied,
        replayed,
    } = add;
    let add_len = int_len(*revision)
        + int_len(*create_revision)
        + flag_len(*replayed)
        + int_len(*value)
        + int_len(*applied);
    put_prefix(buf, 1, nested_len(add_len));
    put_prefix(buf, 3, add_len);
    put_int(buf, 1, *revision);
    put_int(buf, 2, *create_revision);
    put_bool(buf, 3, *replayed);
    put_int(buf, 4, *value);
    put_int(buf, 5, *applied);
}

#[inline]
fn put_transition(buf: &mut Vec<u8>, transition: &TransitionOutcome) {
    let TransitionOutcome {
        revision,
        create_revision,
        from,
        replayed,
    } = transition;
    let from = from.as_str();
    let transition_len = int_len(*revision)
        + int_len(*create_revision)
        + flag_len(*replayed)
        + nested_len(from.len());
    put_prefix(buf, 1, nested_len(transition_len));
    put_prefix(buf, 4, transition_len);
    put_int(buf, 1, *revision);
    put_int(buf, 2, *create_revision);
    put_bool(buf, 3, *replayed);
    put_prefix(buf, 4, from.len());
    buf.extend_from_slice(from.as_bytes());
}

#[inline]
fn put_delete(buf: &mut Vec<u8>, delete: &DeleteOutcome) {
    let DeleteOutcome {
        revision,
        previous,
        replayed,
    } = delete;
    let previous = previous.as_deref().map(SizedEntry::of);
    let delete_len = int_len(*revision)
        + flag_len(*replayed)
        + previous.as_ref().map_or(0, SizedEntry::nested_len);
    put_prefix(buf, 1, nested_len(delete_len));
    put_prefix(buf, 5, delete_len);
    put_int(buf, 1, *revision);
    put_bool(buf, 3, *replayed);
    if let Some(previous) = previous {
        previous.put(buf, 4);
    }
}

/// An `Entry` to be put into an answer, with its encoded length. It has no key, which the client knows from its request.
enum SizedEntry<'a> {
    /// An entry without lifetime and machine state. The lengths of the nested messages are worked out once, from the inside
    /// out.
    Common {
        entry: &'a Entry,
        entry_len: usize,
        value_len: usize,
    },
    /// Any other entry, which is left to the generated messages.
    Any(Box<v1::Entry>),
}

impl<'a> SizedEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        if entry.attached.is_some() {
            return Self::Any(Box::new(responses::entry(entry.clone())));
        }
        let value_len = match &entry.value {
            // Encoded even if it is 0, because the field is part of a oneof.
            Value::Int(int) => 1 + encoded_len_varint(int.cast_unsigned()),
            Value::Text(_) | Value::Bytes(_) => nested_len(entry.value.byte_len()),
        };
        Self::Common {
            entry,
            entry_len: nested_len(value_len)
                + int_len(entry.revision)
                + int_len(entry.create_revision),
            value_len,
        }
    }

    /// The encoded length, with tag and length in front.
    fn nested_len(&self) -> usize {
        match self {
            Self::Common { entry_len, .. } => nested_len(*entry_len),
            Self::Any(entry) => nested_len(entry.encoded_len()),
        }
    }

    fn put(&self, buf: &mut Vec<u8>, field: u8) {
        match self {
            Self::Common {
                entry,
                entry_len,
                value_len,
            } => put_entry(buf, field, entry, *entry_len, *value_len),
            Self::Any(entry) => prost::encoding::message::encode(field.into(), &**entry, buf),
        }
    }
}

fn put_entry(buf: &mut Vec<u8>, field: u8, entry: &Entry, entry_len: usize, value_len: usize) {
    put_prefix(buf, field, entry_len);
    put_prefix(buf, 2, value_len);
    match &entry.value {
        Value::Int(int) => {
            buf.push(1 << 3);
            varint::put(buf, int.cast_unsigned());
        }
        Value::Text(text) => {
            put_prefix(buf, 2, text.len());
            buf.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            put_prefix(buf, 3, bytes.len());
            buf.extend_from_slice(bytes);
        }
    }
    put_int(buf, 3, entry.revision);
    put_int(buf, 4, entry.create_revision);
}

/// Puts the tag and the length of a nested message, text or bytes.
fn put_prefix(buf: &mut Vec<u8>, field: u8, len: usize) {
    buf.push(field << 3 | 2);
    varint::put(buf, len as u64);
}

/// The encoded length of something nested of `len` bytes, with tag and length in front, for fields 1 to 15.
fn nested_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Puts an int64 field, which is left out if it is 0.
fn put_int(buf: &mut Vec<u8>, field: u8, int: i64) {
    if int != 0 {
        buf.push(field << 3);
        varint::put(buf, int.cast_unsigned());
    }
}

/// Puts a bool field, which is left out if it is false.
fn put_bool(buf: &mut Vec<u8>, field: u8, flag: bool) {
    put_int(buf, field, flag.into());
}

fn flag_len(flag: bool) -> usize {
    int_len(flag.into())
}

fn int_len(int: i64) -> usize {
    if int == 0 {
        0
    } else {
        1 + encoded_len_varint(int.cast_unsigned())
    }
}

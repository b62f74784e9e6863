//! Encodes answers from outcomes, as the generated `PipelineResponse` would.

use prost::Message as _;
use prost::encoding::encoded_len_varint;
use soloist::v1;

use super::pieces::{Piece, append};
use super::scratch::Scratch;
use crate::machine::{
    AddOutcome, AllOutcome, DeleteOutcome, Entry, EntryRef, Outcome, ReadOutcome, Revision,
    TransitionOutcome, ValueRef, WriteOutcome,
};
use crate::rpc::body::response::{Put, put};
use crate::rpc::responses;
use crate::rpc::status::Refusal;

/// What a stream sends for frames.
#[derive(Debug)]
pub(crate) enum FrameAnswer {
    /// Answers to plain frames, encoded.
    Each(Vec<u8>),
    /// The frame was applied as a whole.
    All(AllOutcome),
    /// The frame was refused as a whole. This answer has no revision, because the state was not looked at.
    Refused(Refusal),
}

impl FrameAnswer {
    /// Raises the revision of an atomic frame of reads that was answered as of what is on disk, while a change of an earlier
    /// frame of its stream was on its way there. `last` is the greatest revision of the stream so far. The keys that were
    /// read had no change on its way, so they were the same at that revision. (Plain frames: see `answers.rs`.)
    pub(crate) fn raise_revision(&mut self, last: &mut Revision) {
        match self {
            Self::All(answer) if answer.revision < *last && !answer.replayed => {
                answer.set_revision(*last);
            }
            Self::All(AllOutcome { revision, .. }) => *last = (*revision).max(*last),
            Self::Each(_) | Self::Refused(_) => {}
        }
    }
}

impl Put for FrameAnswer {
    fn put(self, buf: &mut Vec<u8>) {
        match self {
            Self::Each(encoded) if buf.is_empty() => *buf = encoded,
            Self::Each(encoded) => buf.extend_from_slice(&encoded),
            Self::All(answer) => put(buf, |buf| put_all(buf, answer)),
            Self::Refused(refusal) => {
                let response = v1::PipelineResponse {
                    error: Some(refusal.into_rpc_status()),
                    ..v1::PipelineResponse::default()
                };
                put(buf, |buf| response.encode_raw(buf));
            }
        }
    }
}

fn put_all(buf: &mut Vec<u8>, answer: AllOutcome) {
    buf.reserve(capacity_for(answer.outcomes.len()));
    for outcome in answer.outcomes {
        put_outcome(buf, &outcome);
    }
    put_end(buf, answer.revision, answer.replayed);
}

/// Puts what follows the results.
pub(super) fn put_end(buf: &mut Vec<u8>, revision: Revision, replayed: bool) {
    let mut out = Scratch::new();
    out.int(3, revision);
    out.flag(4, replayed);
    buf.extend_from_slice(out.bytes());
}

/// About the bytes of an answer whose results hold ints.
pub(super) fn capacity_for(results: usize) -> usize {
    results * 24 + 16
}

/// Most bytes of a value that is copied quickly. Longer ones are shared with the store.
const SHORT_VALUE_BYTES: usize = 1 << 10;

/// Whether encoding an entry is quick: it has no lifetime, no machine state and no long value.
#[inline]
pub(super) fn is_quick_entry(entry: EntryRef<'_>) -> bool {
    entry.attached.is_none() && entry.value.byte_len() <= SHORT_VALUE_BYTES
}

/// Whether encoding an outcome is quick.
pub(super) fn is_quick(outcome: &Outcome) -> bool {
    let entry = outcome.entry();
    entry.is_none_or(|entry| is_quick_entry(entry.into()))
}

/// Puts an `OpResult`, field 1 of `PipelineResponse`. The functions for its kinds first add up the length of the nested message.
pub(super) fn put_outcome(buf: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Read(ReadOutcome { entry, revision }) => match entry {
            Some(entry) if entry.attached.is_some() => {
                put_any_read(buf, Some(SizedEntry::of(entry)), *revision);
            }
            _ => put_read(buf, entry.as_ref().map(EntryRef::from), *revision),
        },
        Outcome::Write(write) => put_write(buf, write),
        Outcome::Add(add) => put_add(buf, add),
        Outcome::Transition(transition) => put_transition(buf, transition),
        Outcome::Delete(delete) => put_delete(buf, delete),
    }
}

/// Puts the result of a Read that found this entry, without lifetime and machine state, or none.
#[inline(always)]
pub(super) fn put_read(buf: &mut Vec<u8>, entry: Option<EntryRef<'_>>, revision: Revision) {
    if let Some(entry) = entry
        && let ValueRef::Int(int) = entry.value.unshared()
        && put_int_read(buf, entry, int, revision).is_some()
    {
        return;
    }
    put_any_read(buf, entry.map(SizedEntry::quick), revision);
}

/// Puts the result of a Read that found an int, if its numbers are short. Returns whether they are.
#[inline(always)]
fn put_int_read(
    buf: &mut Vec<u8>,
    entry: EntryRef<'_>,
    int: i64,
    revision: Revision,
) -> Option<()> {
    // Present even if it is 0, because the field is part of a oneof.
    let value = Piece::present_int(1, int)?;
    let entry_revision = Piece::int(3, entry.revision)?;
    let create_revision = Piece::int(4, entry.create_revision)?;
    let revision = Piece::int(2, revision)?;
    // All lengths are below 128, and so a byte each.
    let entry_len = 2 + value.len() + entry_revision.len() + create_revision.len();
    let read_len = 2 + entry_len + revision.len();
    let head = [
        nested(1),
        2 + read_len as u8,
        nested(1),
        read_len as u8,
        nested(1),
        entry_len as u8,
        nested(2),
        value.len() as u8,
    ];
    let head = Piece::of(head);
    append(
        buf,
        [head, value, entry_revision, create_revision, revision],
    );
    Some(())
}

/// The tag of a nested message.
const fn nested(field: u8) -> u8 {
    field << 3 | 2
}

/// Puts the result of a Read.
fn put_any_read(buf: &mut Vec<u8>, entry: Option<SizedEntry<'_>>, revision: Revision) {
    let read_len = entry.as_ref().map_or(0, SizedEntry::nested_len) + int_len(revision);
    let mut out = Scratch::new();
    out.prefix(1, nested_len(read_len));
    out.prefix(1, read_len);
    if let Some(entry) = entry {
        entry.put(buf, &mut out, 1);
    }
    out.int(2, revision);
    buf.extend_from_slice(out.bytes());
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
    let mut out = Scratch::new();
    out.prefix(1, nested_len(write_len));
    out.prefix(2, write_len);
    out.int(1, *revision);
    out.int(2, *create_revision);
    out.flag(3, *replayed);
    if let Some(previous) = previous {
        previous.put(buf, &mut out, 4);
    }
    buf.extend_from_slice(out.bytes());
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
    let mut out = Scratch::new();
    out.prefix(1, nested_len(add_len));
    out.prefix(3, add_len);
    out.int(1, *revision);
    out.int(2, *create_revision);
    out.flag(3, *replayed);
    out.int(4, *value);
    out.int(5, *applied);
    buf.extend_from_slice(out.bytes());
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
    let mut out = Scratch::new();
    out.prefix(1, nested_len(transition_len));
    out.prefix(4, transition_len);
    out.int(1, *revision);
    out.int(2, *create_revision);
    out.flag(3, *replayed);
    out.prefix(4, from.len());
    buf.extend_from_slice(out.bytes());
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
    let mut out = Scratch::new();
    out.prefix(1, nested_len(delete_len));
    out.prefix(5, delete_len);
    out.int(1, *revision);
    out.flag(3, *replayed);
    if let Some(previous) = previous {
        previous.put(buf, &mut out, 4);
    }
    buf.extend_from_slice(out.bytes());
}

/// An entry to be put into an answer, with its encoded length. It has no key, which the client knows from its request.
enum SizedEntry<'a> {
    /// An entry without lifetime and machine state. The lengths of the nested messages are worked out once, from the inside
    /// out.
    Quick {
        entry: EntryRef<'a>,
        entry_len: usize,
        value_len: usize,
    },
    /// Any other entry, which is left to the generated messages.
    Any(Box<v1::Entry>),
}

impl<'a> SizedEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        match entry.attached {
            Some(_) => Self::Any(Box::new(responses::entry(entry.clone()))),
            None => Self::quick(entry.into()),
        }
    }

    /// An entry without lifetime and machine state.
    #[inline]
    fn quick(entry: EntryRef<'a>) -> Self {
        let value_len = match entry.value.unshared() {
            // Encoded even if it is 0, because the field is part of a oneof.
            ValueRef::Int(int) => 1 + encoded_len_varint(int.cast_unsigned()),
            value => nested_len(value.byte_len()),
        };
        Self::Quick {
            entry,
            entry_len: nested_len(value_len)
                + int_len(entry.revision)
                + int_len(entry.create_revision),
            value_len,
        }
    }

    /// The encoded length, with tag and length in front.
    #[inline]
    fn nested_len(&self) -> usize {
        match self {
            Self::Quick { entry_len, .. } => nested_len(*entry_len),
            Self::Any(entry) => nested_len(entry.encoded_len()),
        }
    }

    /// Puts the entry behind what is in `out`.
    #[inline]
    fn put(&self, buf: &mut Vec<u8>, out: &mut Scratch, field: u8) {
        match self {
            Self::Quick {
                entry,
                entry_len,
                value_len,
            } => {
                out.prefix(field, *entry_len);
                out.prefix(2, *value_len);
                put_value(buf, out, entry.value);
                out.int(3, entry.revision);
                out.int(4, entry.create_revision);
            }
            Self::Any(entry) => {
                out.move_to(buf);
                prost::encoding::message::encode(field.into(), &**entry, buf);
            }
        }
    }
}

#[inline]
fn put_value(buf: &mut Vec<u8>, out: &mut Scratch, value: ValueRef<'_>) {
    let (field, bytes) = match value.unshared() {
        ValueRef::Int(int) => {
            out.byte(1 << 3);
            out.varint(int.cast_unsigned());
            return;
        }
        ValueRef::Text(bytes) => (2, bytes),
        ValueRef::Bytes(bytes) => (3, bytes),
        ValueRef::Shared(_) => unreachable!("unshared returns no shared value"),
    };
    out.prefix(field, bytes.len());
    out.move_to(buf);
    buf.extend_from_slice(bytes);
}

/// The encoded length of something nested of `len` bytes, with tag and length in front, for fields 1 to 15.
fn nested_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
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

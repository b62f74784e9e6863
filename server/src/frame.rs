//! Frames on the wire: decoded straight into operations, encoded straight from outcomes.
//!
//! A frame may hold a thousand operations, and going through the generated messages costs several times what the owner
//! does with them. So what nearly every frame consists of is read here by hand. Whatever else a frame holds, and
//! whatever is wrong with it, is left to the generated messages and `arguments.rs`: they alone decide what a frame
//! means and how it is refused. A test compares the two.
//!
//! Source of the format: the protobuf documentation, "Encoding".

use prost::encoding::encoded_len_varint;
use prost::{DecodeError, Message as _};
use soloist::codec::Encoded;
use soloist::v1;

use crate::arguments::{self, BadArgument};
use crate::config::Limits;
use crate::machine::{
    Add, AddOutcome, AllOutcome, Delete, DeleteOutcome, EachOutcome, Entry, Key, Operation,
    Outcome, Read, ReadOutcome, Value, Write, WriteAnswer, WriteOutcome,
};
use crate::status::Refusal;

/// A frame whose arguments have been checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) operations: Vec<Operation>,
    pub(crate) atomic: bool,
    pub(crate) timeout: Option<std::time::Duration>,
}

/// Decodes and checks a frame.
///
/// # Errors
/// The outer one if this is no frame at all, the inner one if its arguments cannot be.
pub(crate) fn decode(
    message: &[u8],
    limits: &Limits,
) -> Result<Result<Frame, BadArgument>, DecodeError> {
    let count = match checked_count(message, limits) {
        Ok(count) => count,
        Err(bad) => return Ok(Err(bad)),
    };
    match common_frame(message, count, limits) {
        Some(frame) => Ok(Ok(frame)),
        None => any_frame(message, limits),
    }
}

/// Decodes and checks the operations of a batch. It comes once where frames come by the thousand, so all of it is left to
/// the generated messages.
///
/// # Errors
/// Those of [`decode`].
pub(crate) fn decode_batch(
    message: &[u8],
    limits: &Limits,
) -> Result<Result<Vec<Operation>, BadArgument>, DecodeError> {
    if let Err(bad) = checked_count(message, limits) {
        return Ok(Err(bad));
    }
    let request = v1::BatchRequest::decode(message)?;
    Ok(arguments::frame(request.ops, true, limits))
}

fn any_frame(message: &[u8], limits: &Limits) -> Result<Result<Frame, BadArgument>, DecodeError> {
    let request = v1::PipelineRequest::decode(message)?;
    let checked = || {
        let timeout = arguments::timeout(request.timeout)?;
        let operations = arguments::frame(request.ops, request.atomic, limits)?;
        Ok(Frame {
            operations,
            atomic: request.atomic,
            timeout,
        })
    };
    Ok(checked())
}

/// A frame of `count` operations without conditions, timeout or anything wrong. None: perhaps a frame, but not such a
/// one.
fn common_frame(message: &[u8], count: usize, limits: &Limits) -> Option<Frame> {
    if count == 0 {
        return None;
    }
    let mut operations = Vec::with_capacity(count);
    let mut atomic = false;
    let mut fields = Fields(message);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(op)) => operations.push(common_operation(op, limits)?),
            (2, Field::Varint(flag)) => atomic = flag != 0,
            _ => return None,
        }
    }
    let bytes = || operations.iter().map(Operation::byte_len).sum::<usize>();
    if atomic && bytes() > limits.max_batch_bytes {
        return None;
    }
    Some(Frame {
        operations,
        atomic,
        timeout: None,
    })
}

/// How many operations a frame or batch has, as far as it can be read: field 1 of both. They are counted before they are
/// made: an empty operation is two bytes here and a hundred in memory.
fn checked_count(message: &[u8], limits: &Limits) -> Result<usize, BadArgument> {
    let mut fields = Fields(message);
    let mut count = 0;
    while let Some((number, _)) = fields.next() {
        count += usize::from(number == 1);
    }
    if count > limits.max_batch_ops {
        return Err(arguments::too_many_operations(count, limits));
    }
    Ok(count)
}

fn common_operation(op: &[u8], limits: &Limits) -> Option<Operation> {
    let mut fields = Fields(op);
    let operation = match fields.next()? {
        (1, Field::Bytes(read)) => Operation::Read(common_read(read, limits)?),
        (2, Field::Bytes(write)) => Operation::Write(common_write(write, limits)?),
        (3, Field::Bytes(add)) => Operation::Add(common_add(add, limits)?),
        (5, Field::Bytes(delete)) => Operation::Delete(common_delete(delete, limits)?),
        _ => return None,
    };
    fields.0.is_empty().then_some(operation)
}

fn common_read(read: &[u8], limits: &Limits) -> Option<Read> {
    Some(Read {
        key: only_key(read, limits)?,
        expect: None,
    })
}

fn common_delete(delete: &[u8], limits: &Limits) -> Option<Delete> {
    Some(Delete {
        key: only_key(delete, limits)?,
        expect: None,
    })
}

/// The key of a message that has nothing else.
fn only_key(message: &[u8], limits: &Limits) -> Option<Key> {
    let mut fields = Fields(message);
    match fields.next()? {
        (1, Field::Bytes(key)) if fields.0.is_empty() => common_key(key, limits),
        _ => None,
    }
}

fn common_add(add: &[u8], limits: &Limits) -> Option<Add> {
    let (mut key, mut delta) = (None, 0);
    let mut fields = Fields(add);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            (4, Field::Varint(int)) => delta = int.cast_signed(),
            _ => return None,
        }
    }
    Some(Add {
        key: key?,
        expect: None,
        delta,
        bounds: None,
    })
}

fn common_write(write: &[u8], limits: &Limits) -> Option<Write> {
    let (mut key, mut value) = (None, None);
    let mut answer = WriteAnswer::Revisions;
    let mut fields = Fields(write);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            // A second value would have to be merged with the first.
            (4, Field::Bytes(bytes)) if value.is_none() => {
                value = Some(common_value(bytes, limits)?);
            }
            (9, Field::Varint(flag)) => {
                answer = if flag == 0 {
                    WriteAnswer::Revisions
                } else {
                    WriteAnswer::Previous
                };
            }
            _ => return None,
        }
    }
    Some(Write {
        key: key?,
        expect: None,
        value: value?,
        answer,
    })
}

fn common_key(bytes: &[u8], limits: &Limits) -> Option<Key> {
    let text = std::str::from_utf8(bytes).ok()?;
    arguments::is_key(text, limits).then(|| Key::from(text))
}

fn common_value(message: &[u8], limits: &Limits) -> Option<Value> {
    let mut fields = Fields(message);
    let value = match fields.next()? {
        (1, Field::Varint(int)) => Value::Int(int.cast_signed()),
        (2, Field::Bytes(text)) => Value::Text(std::str::from_utf8(text).ok()?.into()),
        (3, Field::Bytes(bytes)) => Value::Bytes(bytes.into()),
        _ => return None,
    };
    let fits = matches!(value, Value::Int(_)) || value.byte_len() <= limits.max_value_bytes;
    (fields.0.is_empty() && fits).then_some(value)
}

/// The fields of a message, one after another.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field with its number. None if there is none, or not one of these kinds.
    #[inline]
    fn next(&mut self) -> Option<(u32, Field<'a>)> {
        let (tag, rest) = self.0.split_first()?;
        // One byte: fields 1 to 15.
        if *tag >= 0x80 {
            return None;
        }
        self.0 = rest;
        let number = u32::from(tag >> 3);
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        (number > 0).then_some((number, field))
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        // Nearly all have one byte.
        match self.0.split_first()? {
            (byte, rest) if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        // The tenth byte has the last bit, and nothing more.
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        (*byte < 2).then(|| value | u64::from(*byte) << 63)
    }
}

/// Encodes the answer to a frame whose operations stand alone.
pub(crate) fn encode_each(answer: EachOutcome) -> Encoded {
    let mut buf = buffer(answer.results.len());
    for result in answer.results {
        match result {
            Ok(outcome) => put_outcome(&mut buf, &outcome),
            Err(rejection) => {
                let error = Refusal::from(*rejection).into_rpc_status();
                let result = v1::OpResult {
                    result: Some(v1::op_result::Result::Error(error)),
                };
                prost::encoding::message::encode(1, &result, &mut buf);
            }
        }
    }
    put_int(&mut buf, 3, answer.revision);
    Encoded(buf)
}

/// Encodes the answer to a frame that was done as a whole.
pub(crate) fn encode_all(answer: AllOutcome) -> Encoded {
    let mut buf = buffer(answer.outcomes.len());
    for outcome in answer.outcomes {
        put_outcome(&mut buf, &outcome);
    }
    put_int(&mut buf, 3, answer.revision);
    Encoded(buf)
}

/// Encodes the answer to a frame that was refused as a whole. It names no revision: none was seen.
pub(crate) fn encode_refused(refusal: Refusal) -> Encoded {
    let response = v1::PipelineResponse {
        results: Vec::new(),
        error: Some(refusal.into_rpc_status()),
        revision: 0,
    };
    Encoded(response.encode_to_vec())
}

fn buffer(results: usize) -> Vec<u8> {
    // About what a result with an int takes.
    Vec::with_capacity(results * 24 + 16)
}

/// `PipelineResponse.results`, an `OpResult`.
fn put_outcome(buf: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Read(ReadOutcome { entry, revision }) => {
            let entry = entry.as_ref().map(|entry| (entry, EntryLen::of(entry)));
            let read_len = entry.map_or(0, |(_, len)| nested_len(len.entry)) + int_len(*revision);
            put_prefix(buf, 1, nested_len(read_len));
            put_prefix(buf, 1, read_len);
            if let Some((entry, len)) = entry {
                put_entry(buf, 1, entry, len);
            }
            put_int(buf, 2, *revision);
        }
        Outcome::Write(WriteOutcome {
            revision,
            create_revision,
            previous,
        }) => {
            let previous = previous.as_ref().map(|entry| (entry, EntryLen::of(entry)));
            let write_len = int_len(*revision)
                + int_len(*create_revision)
                + previous.map_or(0, |(_, len)| nested_len(len.entry));
            put_prefix(buf, 1, nested_len(write_len));
            put_prefix(buf, 2, write_len);
            put_int(buf, 1, *revision);
            put_int(buf, 2, *create_revision);
            if let Some((previous, len)) = previous {
                put_entry(buf, 4, previous, len);
            }
        }
        Outcome::Add(AddOutcome {
            revision,
            create_revision,
            value,
            applied,
        }) => {
            let ints = [
                (1, *revision),
                (2, *create_revision),
                (4, *value),
                (5, *applied),
            ];
            let add_len = ints.iter().map(|(_, int)| int_len(*int)).sum();
            put_prefix(buf, 1, nested_len(add_len));
            put_prefix(buf, 3, add_len);
            for (field, int) in ints {
                put_int(buf, field, int);
            }
        }
        Outcome::Delete(DeleteOutcome { revision, previous }) => {
            let previous = previous.as_ref().map(|entry| (entry, EntryLen::of(entry)));
            let delete_len =
                int_len(*revision) + previous.map_or(0, |(_, len)| nested_len(len.entry));
            put_prefix(buf, 1, nested_len(delete_len));
            put_prefix(buf, 5, delete_len);
            put_int(buf, 1, *revision);
            if let Some((previous, len)) = previous {
                put_entry(buf, 4, previous, len);
            }
        }
    }
}

/// Lengths of the messages within an `Entry`, worked out once from the inside out.
#[derive(Clone, Copy)]
struct EntryLen {
    entry: usize,
    value: usize,
}

impl EntryLen {
    fn of(entry: &Entry) -> Self {
        let value = match &entry.value {
            // Set, so it is there even if it is 0.
            Value::Int(int) => 1 + encoded_len_varint(int.cast_unsigned()),
            Value::Text(_) | Value::Bytes(_) => nested_len(entry.value.byte_len()),
        };
        Self {
            entry: nested_len(value) + int_len(entry.revision) + int_len(entry.create_revision),
            value,
        }
    }
}

/// An `Entry` without its key, which the request names.
fn put_entry(buf: &mut Vec<u8>, field: u8, entry: &Entry, len: EntryLen) {
    put_prefix(buf, field, len.entry);
    put_prefix(buf, 2, len.value);
    match &entry.value {
        Value::Int(int) => {
            buf.push(1 << 3);
            put_varint(buf, int.cast_unsigned());
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

/// Tag and length of something nested.
fn put_prefix(buf: &mut Vec<u8>, field: u8, len: usize) {
    buf.push(field << 3 | 2);
    put_varint(buf, len as u64);
}

#[inline]
fn put_varint(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

/// What a nested message of `len` bytes takes with its tag and length, for fields 1 to 15.
fn nested_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// An int64 field, left out where it is 0.
fn put_int(buf: &mut Vec<u8>, field: u8, int: i64) {
    if int != 0 {
        buf.push(field << 3);
        put_varint(buf, int.cast_unsigned());
    }
}

fn int_len(int: i64) -> usize {
    if int == 0 {
        0
    } else {
        1 + encoded_len_varint(int.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::convert::op_result;
    use crate::machine::{Cause, Rejection};

    const LIMITS: Limits = Limits {
        max_key_bytes: 4,
        max_value_bytes: 8,
        max_batch_ops: 5,
        max_batch_bytes: 20,
        ..Limits::DEFAULT
    };

    /// What is read by hand, if it is.
    fn common(message: &[u8]) -> Option<Frame> {
        let count = checked_count(message, &LIMITS).ok()?;
        common_frame(message, count, &LIMITS)
    }

    fn value() -> impl Strategy<Value = v1::Value> {
        use v1::value::Kind;
        option::weighted(
            0.9,
            prop_oneof![
                any::<i64>().prop_map(Kind::Int),
                ".{0,3}".prop_map(Kind::Text),
                vec(any::<u8>(), 0..10).prop_map(Kind::Bytes),
            ],
        )
        .prop_map(|kind| v1::Value { kind })
    }

    fn condition() -> impl Strategy<Value = Option<v1::Condition>> {
        let test = option::of(any::<i64>().prop_map(v1::condition::Test::Revision));
        option::weighted(0.1, test.prop_map(|test| v1::Condition { test }))
    }

    fn op() -> impl Strategy<Value = v1::Op> {
        let key = || prop_oneof![3 => "[a-z]{1,3}", 1 => any::<String>()];
        let read = (key(), condition())
            .prop_map(|(key, expect)| v1::op::Op::Read(v1::ReadRequest { key, expect }));
        let write = (
            key(),
            condition(),
            option::weighted(0.9, value()),
            any::<bool>(),
        )
            .prop_map(|(key, expect, value, return_previous)| {
                v1::op::Op::Write(v1::WriteRequest {
                    key,
                    expect,
                    value,
                    return_previous,
                })
            });
        let add = (
            key(),
            condition(),
            any::<i64>(),
            option::of(any::<i64>()),
            any::<bool>(),
        )
            .prop_map(|(key, expect, delta, min, saturate)| {
                v1::op::Op::Add(v1::AddRequest {
                    key,
                    expect,
                    delta,
                    min,
                    max: None,
                    saturate,
                })
            });
        let delete = (key(), condition())
            .prop_map(|(key, expect)| v1::op::Op::Delete(v1::DeleteRequest { key, expect }));
        option::weighted(0.95, prop_oneof![read, write, add, delete]).prop_map(|op| v1::Op { op })
    }

    fn request() -> impl Strategy<Value = v1::PipelineRequest> {
        let timeout = option::weighted(
            0.1,
            (-2..5i64).prop_map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        );
        (vec(op(), 0..7), any::<bool>(), timeout).prop_map(|(ops, atomic, timeout)| {
            v1::PipelineRequest {
                ops,
                atomic,
                timeout,
            }
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let value = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            ".{0,200}".prop_map(|text| Value::Text(text.into())),
            vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        (value, 1..i64::MAX, 1..i64::MAX).prop_map(|(value, revision, create_revision)| Entry {
            value,
            revision,
            create_revision,
        })
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let read = (option::of(entry()), 0..i64::MAX)
            .prop_map(|(entry, revision)| Outcome::Read(ReadOutcome { entry, revision }));
        let write = (option::of(entry()), 1..i64::MAX, 1..i64::MAX).prop_map(
            |(previous, revision, create_revision)| {
                Outcome::Write(WriteOutcome {
                    revision,
                    create_revision,
                    previous,
                })
            },
        );
        let add = [any::<i64>(); 4].prop_map(|[revision, create_revision, value, applied]| {
            Outcome::Add(AddOutcome {
                revision,
                create_revision,
                value,
                applied,
            })
        });
        let delete = (option::of(entry()), 0..i64::MAX)
            .prop_map(|(previous, revision)| Outcome::Delete(DeleteOutcome { revision, previous }));
        prop_oneof![read, write, add, delete]
    }

    #[test]
    fn the_common_frame_is_decoded_by_hand() {
        let frame = v1::PipelineRequest {
            ops: vec![
                v1::Op {
                    op: Some(v1::op::Op::Read(v1::ReadRequest {
                        key: "a".into(),
                        expect: None,
                    })),
                },
                v1::Op {
                    op: Some(v1::op::Op::Write(v1::WriteRequest {
                        key: "b".into(),
                        value: Some(v1::Value {
                            kind: Some(v1::value::Kind::Int(-1)),
                        }),
                        ..v1::WriteRequest::default()
                    })),
                },
            ],
            ..v1::PipelineRequest::default()
        };
        assert!(common(&frame.encode_to_vec()).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn by_hand_means_what_the_generated_messages_mean(request in request()) {
            let message = request.encode_to_vec();
            let any = any_frame(&message, &LIMITS).unwrap();
            if let Some(common) = common(&message) {
                prop_assert_eq!(Ok(common), any);
            }
        }

        #[test]
        fn noise_means_the_same_too(
            request in request(),
            flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in option::of(any::<prop::sample::Index>()),
        ) {
            let mut message = request.encode_to_vec();
            if !message.is_empty() {
                for (at, byte) in flips {
                    let at = at.index(message.len());
                    message[at] = byte;
                }
                if let Some(cut) = cut {
                    message.truncate(cut.index(message.len()));
                }
            }
            if let Some(common) = common(&message) {
                prop_assert_eq!(Ok(Ok(common)), any_frame(&message, &LIMITS));
            }
        }

        #[test]
        fn answers_are_what_the_generated_messages_would_be(
            outcomes in vec(outcome(), 0..6),
            refused in any::<bool>(),
            revision in 0..i64::MAX,
        ) {
            let mut expected = v1::PipelineResponse {
                results: outcomes.iter().cloned().map(op_result).collect(),
                error: None,
                revision,
            };
            let all = encode_all(AllOutcome { outcomes: outcomes.clone(), revision, answer_bytes: 0 });
            prop_assert_eq!(all.0, expected.encode_to_vec());

            let mut results: Vec<_> = outcomes.into_iter().map(Ok).collect();
            if refused {
                let rejection = Rejection { key: "k".into(), cause: Cause::KeyNotFound };
                let error = Refusal::from(rejection.clone()).into_rpc_status();
                results.push(Err(Box::new(rejection)));
                expected.results.push(v1::OpResult {
                    result: Some(v1::op_result::Result::Error(error)),
                });
            }
            let each = encode_each(EachOutcome { results, revision, answer_bytes: 0 });
            prop_assert_eq!(each.0, expected.encode_to_vec());
        }
    }
}

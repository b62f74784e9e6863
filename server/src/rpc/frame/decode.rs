//! Decodes frames into operations.

use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message as _};
use soloist::v1;

use crate::config::{Limits, NAME_BYTES_MAX};
use crate::machine::{
    Add, Delete, Key, Name, Operation, Read, RequestId, Transition, Value, Write, WriteOptions,
    WriteShows,
};
use crate::rpc::arguments::{self, BadArgument};
use crate::varint;

/// A frame whose arguments have been checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) operations: Vec<Operation>,
    pub(crate) apply: Apply,
    pub(crate) timeout: Option<std::time::Duration>,
}

/// How the operations of a frame are applied.
#[derive(Debug, PartialEq)]
pub(crate) enum Apply {
    /// Each on its own. With the request ids of operations that have one, by the index of the operation.
    Each(Vec<(usize, RequestId)>),
    /// All or none. With the request id of the frame, if it has one.
    All(Option<Box<RequestId>>),
}

/// Decodes and checks a frame.
///
/// # Errors
/// The outer error if `message` is not a frame at all, which ends the stream. The inner error if an argument of the frame is
/// bad, which refuses the frame.
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

/// The operations of a batch, and its request id, if it has one.
pub(crate) type Batch = (Vec<Operation>, Option<Box<RequestId>>);

/// Decodes and checks a batch. Batches are few where frames come by the thousand, so this goes through the generated
/// messages.
///
/// # Errors
/// Those of [`decode`].
pub(crate) fn decode_batch(
    message: &[u8],
    limits: &Limits,
) -> Result<Result<Batch, BadArgument>, DecodeError> {
    if let Err(bad) = checked_count(message, limits) {
        return Ok(Err(bad));
    }
    let request = v1::BatchRequest::decode(message)?;
    Ok(arguments::frame::all(
        request.ops,
        request.request_id,
        limits,
    ))
}

/// Decodes and checks any frame, through the generated messages.
pub(crate) fn any_frame(
    message: &[u8],
    limits: &Limits,
) -> Result<Result<Frame, BadArgument>, DecodeError> {
    let request = v1::PipelineRequest::decode(message)?;
    let checked = || {
        let timeout = arguments::duration::timeout(request.timeout)?;
        let (operations, apply) = if request.atomic {
            let (operations, request_id) =
                arguments::frame::all(request.ops, request.request_id, limits)?;
            (operations, Apply::All(request_id))
        } else {
            arguments::frame::no_request_id(&request.request_id)?;
            let (operations, request_ids) = arguments::frame::each(request.ops, limits)?;
            (operations, Apply::Each(request_ids))
        };
        Ok(Frame {
            operations,
            apply,
            timeout,
        })
    };
    Ok(checked())
}

/// Decodes and checks a common frame: `count` operations without conditions, lifetimes, request ids and timeout, and without
/// a mistake. Returns none for any other message.
pub(crate) fn common_frame(message: &[u8], count: usize, limits: &Limits) -> Option<Frame> {
    if count == 0 {
        return None;
    }
    let mut operations = Vec::with_capacity(count);
    let mut atomic = false;
    let mut fields = Fields(message);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(op)) => common_operation(op, &mut operations, limits)?,
            (2, Field::Varint(flag)) => atomic = flag != 0,
            _ => return None,
        }
    }
    let bytes = || operations.iter().map(Operation::byte_len).sum::<usize>();
    if atomic && bytes() > limits.max_batch_bytes {
        return None;
    }
    let apply = if atomic {
        Apply::All(None)
    } else {
        Apply::Each(Vec::new())
    };
    Some(Frame {
        operations,
        apply,
        timeout: None,
    })
}

/// Counts the operations of a frame or batch, which are field 1 of both, as far as the message can be read. This comes before
/// decoding them, because an operation may take two bytes on the wire and a hundred in memory.
pub(crate) fn checked_count(message: &[u8], limits: &Limits) -> Result<usize, BadArgument> {
    let mut fields = Fields(message);
    let mut count = 0;
    let mut rest = message;
    while let Some((number, _)) = fields.next() {
        count += usize::from(number == 1);
        rest = fields.0;
    }
    // The rest, if any, has fields of newer versions, or tags longer than need be. The slow way skips those. It must not run
    // on an empty rest: prost's error for that would cost each frame an allocation.
    while !rest.is_empty() {
        let Ok((number, wire_type)) = decode_key(&mut rest) else {
            break;
        };
        count += usize::from(number == 1);
        if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
    }
    if count > limits.max_batch_ops {
        return Err(arguments::frame::too_many_operations(count, limits));
    }
    Ok(count)
}

/// Decodes an operation, and appends it to `operations`. Returning it instead would cost as much as decoding it, for the move.
fn common_operation(op: &[u8], operations: &mut Vec<Operation>, limits: &Limits) -> Option<()> {
    let mut fields = Fields(op);
    let (number, Field::Bytes(operation)) = fields.next()? else {
        return None;
    };
    if !fields.0.is_empty() {
        return None;
    }
    match number {
        1 => operations.push(Operation::Read(Read {
            key: only_key(operation, limits)?,
            expect: None,
        })),
        2 => operations.push(Operation::Write(common_write(operation, limits)?)),
        3 => operations.push(Operation::Add(common_add(operation, limits)?)),
        4 => operations.push(Operation::Transition(common_transition(operation, limits)?)),
        5 => operations.push(Operation::Delete(Delete {
            key: only_key(operation, limits)?,
            expect: None,
        })),
        _ => return None,
    }
    Some(())
}

/// The key of a message that has no other field.
#[inline]
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
        delta,
        options: None,
    })
}

fn common_transition(transition: &[u8], limits: &Limits) -> Option<Transition> {
    let mut fields = Fields(transition);
    let (mut key, mut to) = (None, None);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            (4, Field::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?;
                to = Some(
                    arguments::names::is_name(text, NAME_BYTES_MAX).then(|| Name::from(text))?,
                );
            }
            _ => return None,
        }
    }
    Some(Transition {
        key: key?,
        to: to?,
        options: None,
    })
}

fn common_write(write: &[u8], limits: &Limits) -> Option<Write> {
    let (mut key, mut value) = (None, None);
    let mut shows = WriteShows::Revisions;
    let mut fields = Fields(write);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            // Protobuf merges a second value into the first, which is left to the generated messages.
            (4, Field::Bytes(bytes)) if value.is_none() => {
                value = Some(common_value(bytes, limits)?);
            }
            (9, Field::Varint(flag)) => {
                shows = if flag == 0 {
                    WriteShows::Revisions
                } else {
                    WriteShows::Previous
                };
            }
            _ => return None,
        }
    }
    let options = match shows {
        WriteShows::Revisions => None,
        WriteShows::Previous => Some(Box::new(WriteOptions {
            shows,
            ..WriteOptions::default()
        })),
    };
    Some(Write {
        key: key?,
        value: Some(value?),
        options,
    })
}

fn common_key(bytes: &[u8], limits: &Limits) -> Option<Key> {
    let text = std::str::from_utf8(bytes).ok()?;
    arguments::names::is_key(text, limits).then(|| Key::from(text))
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

/// The fields of a message that were not read yet.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field and its number. None at the end, and for fields of other kinds or with numbers over 15. Always inlined:
    /// a function call for each field takes a tenth of the time that decoding a frame takes.
    #[inline(always)]
    fn next(&mut self) -> Option<(u32, Field<'a>)> {
        let (tag, rest) = self.0.split_first()?;
        // A tag of one byte stands for fields 1 to 15.
        if *tag >= 0x80 {
            return None;
        }
        self.0 = rest;
        let number = u32::from(tag >> 3);
        let field = match tag & 7 {
            0 => Field::Varint(varint::take(&mut self.0)?),
            2 => {
                let length = usize::try_from(varint::take(&mut self.0)?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        (number > 0).then_some((number, field))
    }
}

//! Decodes frames into operations.

use std::time::Duration;

use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message as _};
use soloist::v1;

use crate::config::{Limits, NAME_BYTES_MAX};
use crate::machine::{Operation, PlainFrames, RequestId, Value, Write, WriteOptions, WriteShows};
use crate::rpc::arguments::{self, BadArgument};
use crate::rpc::rights::KeyCheck;
use crate::varint;

/// A frame whose arguments have been checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) operations: Vec<Operation>,
    pub(crate) apply: Apply,
    pub(crate) timeout: Option<Duration>,
}

/// How the operations of a frame are applied.
#[derive(Debug, PartialEq)]
pub(crate) enum Apply {
    /// Each on its own. With the request ids of operations that have one, by the index of the operation.
    Each(Vec<(usize, RequestId)>),
    /// All or none. With the request id of the frame, if it has one.
    All(Option<Box<RequestId>>),
}

/// A frame that was decoded.
pub(crate) enum Decoded {
    /// Each operation is applied on its own. They were added to the plain frames.
    Each {
        timeout: Option<Duration>,
        has_request_ids: bool,
    },
    /// All operations are applied, or none.
    All {
        operations: Vec<Operation>,
        request_id: Option<Box<RequestId>>,
        timeout: Option<Duration>,
    },
}

/// Decodes and checks a frame. If it is a plain one, it is added to `frames`. If it is a common one, `keys` is shown all its keys.
///
/// # Errors
/// The outer error if `message` is not a frame at all, which ends the stream. The inner error if an argument of the frame is
/// bad, which refuses the frame. After an error, `frames` may have a part of the frame.
pub(crate) fn decode(
    message: &[u8],
    limits: &Limits,
    frames: &mut PlainFrames,
    keys: &mut KeyCheck<'_>,
) -> Result<Result<Decoded, BadArgument>, DecodeError> {
    let before = frames.mark();
    match common_frame(message, limits, frames, keys) {
        Some(Atomic(false)) => Ok(Ok(Decoded::Each {
            timeout: None,
            has_request_ids: false,
        })),
        Some(Atomic(true)) => Ok(Ok(Decoded::All {
            operations: frames.split_off(&before).into_operations(),
            request_id: None,
            timeout: None,
        })),
        None => {
            frames.truncate(&before);
            if let Err(bad) = checked_count(message, limits) {
                return Ok(Err(bad));
            }
            Ok(any_frame(message, limits)?.map(|frame| frame.decoded(frames)))
        }
    }
}

impl Frame {
    /// Adds the frame to `frames`, if it is a plain one.
    fn decoded(self, frames: &mut PlainFrames) -> Decoded {
        let Self {
            operations,
            apply,
            timeout,
        } = self;
        match apply {
            Apply::Each(request_ids) => {
                let has_request_ids = !request_ids.is_empty();
                let mut request_ids = request_ids.into_iter().peekable();
                for (index, operation) in operations.into_iter().enumerate() {
                    let request_id = request_ids.next_if(|(at, _)| *at == index);
                    frames.operation(operation, request_id.map(|(_, request_id)| request_id));
                }
                frames.end_frame();
                Decoded::Each {
                    timeout,
                    has_request_ids,
                }
            }
            Apply::All(request_id) => Decoded::All {
                operations,
                request_id,
                timeout,
            },
        }
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

/// Whether a frame is atomic.
#[derive(Debug, PartialEq)]
struct Atomic(bool);

/// The frame by itself, if it is a common one.
#[cfg(test)]
pub(crate) fn whole_common_frame(message: &[u8], limits: &Limits) -> Option<Frame> {
    let mut frames = PlainFrames::default();
    let Atomic(atomic) = common_frame(message, limits, &mut frames, &mut KeyCheck::of_nobody())?;
    Some(Frame {
        operations: frames.into_operations(),
        apply: match atomic {
            true => Apply::All(None),
            false => Apply::Each(Vec::new()),
        },
        timeout: None,
    })
}

/// Decodes and checks a common frame, and adds it to `frames`: operations without conditions, lifetimes, request ids and
/// timeout, and without a mistake. Returns none for any other message, of which `frames` may have a part then.
fn common_frame(
    message: &[u8],
    limits: &Limits,
    frames: &mut PlainFrames,
    keys: &mut KeyCheck<'_>,
) -> Option<Atomic> {
    let before = frames.mark();
    frames.reserve(message.len());
    let mut atomic = false;
    let mut count = 0;
    let mut fields = Fields(message);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(op)) => {
                count += 1;
                common_operation(op, limits, frames, keys)?;
            }
            (2, Field::Varint(flag)) => atomic = flag != 0,
            _ => return None,
        }
        if count > limits.max_batch_ops {
            return None;
        }
    }
    if count == 0 || atomic && frames.bytes_since(&before) > limits.max_batch_bytes {
        return None;
    }
    frames.end_frame();
    Some(Atomic(atomic))
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

/// Decodes an operation, and adds it to `frames`.
fn common_operation(
    op: &[u8],
    limits: &Limits,
    frames: &mut PlainFrames,
    keys: &mut KeyCheck<'_>,
) -> Option<()> {
    let mut fields = Fields(op);
    let (number, Field::Bytes(operation)) = fields.next()? else {
        return None;
    };
    if !fields.0.is_empty() {
        return None;
    }
    if number == 1 {
        let key = only_key(operation, limits)?;
        keys.read(key);
        frames.read(key);
        return Some(());
    }
    let key = match number {
        2 => common_write(operation, limits, frames)?,
        3 => common_add(operation, limits, frames)?,
        4 => common_transition(operation, limits, frames)?,
        5 => {
            let key = only_key(operation, limits)?;
            frames.delete(key);
            key
        }
        _ => return None,
    };
    keys.change(key);
    Some(())
}

/// The key of a message that has no other field.
#[inline]
fn only_key<'a>(message: &'a [u8], limits: &Limits) -> Option<&'a str> {
    let mut fields = Fields(message);
    match fields.next()? {
        (1, Field::Bytes(key)) if fields.0.is_empty() => common_key(key, limits),
        _ => None,
    }
}

/// Returns the key.
fn common_add<'a>(add: &'a [u8], limits: &Limits, frames: &mut PlainFrames) -> Option<&'a str> {
    let (mut key, mut delta) = (None, 0);
    let mut fields = Fields(add);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            (4, Field::Varint(int)) => delta = int.cast_signed(),
            _ => return None,
        }
    }
    let key = key?;
    frames.add(key, delta);
    Some(key)
}

/// Returns the key.
fn common_transition<'a>(
    transition: &'a [u8],
    limits: &Limits,
    frames: &mut PlainFrames,
) -> Option<&'a str> {
    let mut fields = Fields(transition);
    let (mut key, mut to) = (None, None);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Field::Bytes(bytes)) => key = Some(common_key(bytes, limits)?),
            (4, Field::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?;
                to = Some(arguments::names::is_name(text, NAME_BYTES_MAX).then_some(text)?);
            }
            _ => return None,
        }
    }
    let key = key?;
    frames.transition(key, to?);
    Some(key)
}

/// Returns the key.
fn common_write<'a>(write: &'a [u8], limits: &Limits, frames: &mut PlainFrames) -> Option<&'a str> {
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
    let (key, value) = (key?, value?);
    match (shows, value) {
        (WriteShows::Revisions, CommonValue::Int(int)) => frames.write_int(key, int),
        (WriteShows::Revisions, CommonValue::Text(text)) => frames.write_text(key, text),
        (WriteShows::Revisions, CommonValue::Bytes(bytes)) => frames.write_bytes(key, bytes),
        (WriteShows::Previous, value) => {
            let write = Write {
                key: key.into(),
                value: Some(value.into()),
                options: Some(Box::new(WriteOptions {
                    shows,
                    ..WriteOptions::default()
                })),
            };
            frames.operation(Operation::Write(write), None);
        }
    }
    Some(key)
}

#[inline]
fn common_key<'a>(bytes: &'a [u8], limits: &Limits) -> Option<&'a str> {
    let text = std::str::from_utf8(bytes).ok()?;
    arguments::names::is_key(text, limits).then_some(text)
}

/// A value, borrowed from its message.
enum CommonValue<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<CommonValue<'_>> for Value {
    fn from(value: CommonValue<'_>) -> Self {
        match value {
            CommonValue::Int(int) => Self::Int(int),
            CommonValue::Text(text) => Self::Text(text.into()),
            CommonValue::Bytes(bytes) => Self::Bytes(bytes.into()),
        }
    }
}

fn common_value<'a>(message: &'a [u8], limits: &Limits) -> Option<CommonValue<'a>> {
    let mut fields = Fields(message);
    let (value, len) = match fields.next()? {
        (1, Field::Varint(int)) => (CommonValue::Int(int.cast_signed()), 0),
        (2, Field::Bytes(text)) => (
            CommonValue::Text(std::str::from_utf8(text).ok()?),
            text.len(),
        ),
        (3, Field::Bytes(bytes)) => (CommonValue::Bytes(bytes), bytes.len()),
        _ => return None,
    };
    (fields.0.is_empty() && len <= limits.max_value_bytes).then_some(value)
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

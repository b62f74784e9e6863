//! A message of gRPC on the wire, and the message of an answer while it arrives.

use std::ops::Range;

use tonic::Code;

use crate::http2::failure::{CallFailure, Processed};

/// The flag that says "not compressed", and four bytes of length, before each message (gRPC over HTTP/2).
pub(super) const MESSAGE_PREFIX_BYTES: usize = 5;

/// Where the bytes being received are.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Where in them the frame's payload begins; `None` if it was put together elsewhere.
    pub(super) payload_start: Option<usize>,
}

/// What has arrived of a call's message, with the five bytes before it.
#[derive(Debug, Default)]
pub(super) enum Body {
    #[default]
    Empty,
    /// All of it, and it still is in the bytes that are being received: here.
    Input(Range<u32>),
    /// Some or all of it, put aside.
    Owned(Vec<u8>),
}

/// Whether these bytes are one message that is not compressed, with its head, and no more.
#[inline]
pub(super) fn is_whole_message(data: &[u8]) -> bool {
    match data {
        [0, a, b, c, d, message @ ..] => {
            u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len()
        }
        _ => false,
    }
}

/// Whether these bytes can be the beginning of one message that we take.
pub(super) fn check_partial_message(owned: &[u8], limit: usize) -> Result<(), CallFailure> {
    let Some((header, message)) = owned.split_first_chunk::<MESSAGE_PREFIX_BYTES>() else {
        return Ok(());
    };
    let [compressed, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        Err(CallFailure::malformed(
            "the answer is compressed, and compression was not offered",
        ))
    } else if length > limit {
        Err(CallFailure::new(
            Processed::Unknown,
            Code::ResourceExhausted,
            format!("the answer has {length} bytes, the limit is {limit}"),
        ))
    } else if message.len() > length {
        let more = message.len() - length;
        Err(CallFailure::malformed(format!(
            "the answer has {more} bytes after its message"
        )))
    } else {
        Ok(())
    }
}

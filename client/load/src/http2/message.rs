//! Length-prefixed messages (gRPC over HTTP/2), and the message of a response while it arrives.

use std::ops::Range;

use tonic::Code;

use crate::http2::failure::{CallFailure, Processed};

/// The prefix of a message: a byte that says whether it is compressed, and its length in four bytes.
pub(super) const MESSAGE_PREFIX_BYTES: usize = 5;

/// The bytes being received, while one of their frames is handled.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the payload of the frame begins in `bytes`. `None` if the frame was put together elsewhere.
    pub(super) payload_start: Option<usize>,
}

/// The part of a response's message that has arrived, with its prefix.
#[derive(Debug, Default)]
pub(super) enum Body {
    #[default]
    Empty,
    /// The whole message, which still lies in [`Input::bytes`], in this range.
    Input(Range<u32>),
    /// A part or all of the message, copied.
    Owned(Vec<u8>),
}

/// Whether `data` is exactly one uncompressed message with its prefix.
#[inline]
pub(super) fn is_whole_message(data: &[u8]) -> bool {
    match data {
        [0, a, b, c, d, message @ ..] => {
            u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len()
        }
        _ => false,
    }
}

/// Checks that `owned` is the beginning of one uncompressed message of at most `limit` bytes, or all of it.
pub(super) fn check_partial_message(owned: &[u8], limit: usize) -> Result<(), CallFailure> {
    let Some((prefix, message)) = owned.split_first_chunk::<MESSAGE_PREFIX_BYTES>() else {
        return Ok(());
    };
    let [compressed, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        Err(CallFailure::malformed(
            "the response is compressed, and compression was not offered",
        ))
    } else if length > limit {
        Err(CallFailure::new(
            Processed::Unknown,
            Code::ResourceExhausted,
            format!("the response has {length} bytes, the limit is {limit}"),
        ))
    } else if message.len() > length {
        let more = message.len() - length;
        Err(CallFailure::malformed(format!(
            "the response has {more} bytes after its message"
        )))
    } else {
        Ok(())
    }
}

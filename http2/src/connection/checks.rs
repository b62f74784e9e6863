//! Checks that several types of frames share.

use std::ops::Range;

use crate::connection::error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame::{FrameHeader, PADDED};

/// Checks the length of a frame that always has the same.
#[inline]
pub(super) fn expect_length(
    name: &str,
    payload: &[u8],
    length: usize,
) -> Result<(), ConnectionError> {
    if payload.len() == length {
        return Ok(());
    }
    let text = format!("{name} of {} bytes instead of {length}", payload.len());
    Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text))
}

/// Checks that a frame is on the connection.
pub(super) fn expect_connection(name: &str, header: FrameHeader) -> Result<(), ConnectionError> {
    match header.stream {
        0 => Ok(()),
        stream => Err(ConnectionError::protocol(format!(
            "{name} on stream {stream}"
        ))),
    }
}

/// Checks that a frame is on a stream that a client may open: they have odd numbers (section 5.1.1).
#[inline]
pub(super) fn check_client_stream(name: &str, header: FrameHeader) -> Result<(), ConnectionError> {
    match header.stream % 2 {
        1 => Ok(()),
        _ => Err(ConnectionError::protocol(format!(
            "{name} on stream {}, which no client opens",
            header.stream
        ))),
    }
}

/// The part of a payload that is not padding.
#[inline]
pub(super) fn unpad(header: FrameHeader, payload: &[u8]) -> Result<Range<usize>, ConnectionError> {
    if !header.has(PADDED) {
        return Ok(0..payload.len());
    }
    let Some(padding) = payload.first() else {
        let text = "a padded frame without a payload";
        return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text));
    };
    match (payload.len() - 1).checked_sub(usize::from(*padding)) {
        Some(length) => Ok(1..1 + length),
        None => Err(ConnectionError::protocol(format!(
            "padding of {padding} bytes in a frame of {}",
            payload.len()
        ))),
    }
}

/// Whether a stream's priority depends on the stream itself (RFC 7540, section 5.3.1).
#[inline]
pub(super) fn depends_on_itself(priority: &[u8; 5], stream: u32) -> bool {
    let [a, b, c, d, _weight] = *priority;
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff == stream
}

//! Checks that several types of frames share.

use soloist_http2::ErrorCode;
use soloist_http2::frame::{FrameHeader, PADDED};

use crate::http2::connection_error::ConnectionError;

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

pub(super) fn expect_connection(name: &str, header: FrameHeader) -> Result<(), ConnectionError> {
    match header.stream {
        0 => Ok(()),
        stream => Err(ConnectionError::protocol(format!(
            "{name} on stream {stream}"
        ))),
    }
}

/// Returns the payload without its padding, and the number of bytes before it.
#[inline]
pub(super) fn unpad(
    header: FrameHeader,
    payload: &[u8],
) -> Result<(&[u8], usize), ConnectionError> {
    if !header.has(PADDED) {
        return Ok((payload, 0));
    }
    let (padding, rest) = payload.split_first().ok_or_else(|| {
        ConnectionError::new(
            ErrorCode::FRAME_SIZE_ERROR,
            "a padded frame without a payload",
        )
    })?;
    let padding = usize::from(*padding);
    match rest.len().checked_sub(padding) {
        Some(length) => Ok((&rest[..length], 1)),
        None => Err(ConnectionError::protocol(format!(
            "padding of {padding} bytes in a frame of {}",
            payload.len()
        ))),
    }
}

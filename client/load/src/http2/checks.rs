//! Checks of frames that several kinds share.

use crate::http2::frame::{Head, PADDED, Reason};
use crate::http2::violation::Violation;

pub(super) fn expect_length(name: &str, payload: &[u8], length: usize) -> Result<(), Violation> {
    if payload.len() == length {
        return Ok(());
    }
    let text = format!("{name} of {} bytes instead of {length}", payload.len());
    Err(Violation::new(Reason::FRAME_SIZE_ERROR, text))
}

pub(super) fn expect_connection(name: &str, head: Head) -> Result<(), Violation> {
    match head.stream {
        0 => Ok(()),
        stream => Err(Violation::protocol(format!("{name} on stream {stream}"))),
    }
}

/// A payload without its padding, and how much was before it.
#[inline]
pub(super) fn unpad(head: Head, payload: &[u8]) -> Result<(&[u8], usize), Violation> {
    if !head.has(PADDED) {
        return Ok((payload, 0));
    }
    let (padding, rest) = payload
        .split_first()
        .ok_or_else(|| Violation::new(Reason::FRAME_SIZE_ERROR, "a padded frame that is empty"))?;
    let padding = usize::from(*padding);
    match rest.len().checked_sub(padding) {
        Some(length) => Ok((&rest[..length], 1)),
        None => Err(Violation::protocol(format!(
            "padding of {padding} bytes in a frame of {}",
            payload.len()
        ))),
    }
}

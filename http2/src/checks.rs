//! Checks of frames, which both ends make alike.
//!
//! Source: RFC 9113, sections 5.1.1 and 6.

use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame::{FrameHeader, PADDED, PAYLOAD_MAX, WINDOW_MAX, setting};

/// Checks the length of a frame that always has the same.
///
/// # Errors
/// If the length is another.
#[inline]
pub fn expect_length(name: &str, payload: &[u8], length: usize) -> Result<(), ConnectionError> {
    if payload.len() == length {
        return Ok(());
    }
    let text = format!("{name} of {} bytes instead of {length}", payload.len());
    Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text))
}

/// Checks that a frame is on the connection.
///
/// # Errors
/// If it is not.
pub fn expect_connection(name: &str, header: FrameHeader) -> Result<(), ConnectionError> {
    match header.stream {
        0 => Ok(()),
        stream => Err(ConnectionError::protocol(format!(
            "{name} on stream {stream}"
        ))),
    }
}

/// Checks that a frame is on a stream that a client may open: they have odd numbers (section 5.1.1).
///
/// # Errors
/// If it is not.
#[inline]
pub fn check_client_stream(name: &str, header: FrameHeader) -> Result<(), ConnectionError> {
    match header.stream % 2 {
        1 => Ok(()),
        _ => Err(ConnectionError::protocol(format!(
            "{name} on stream {}, which no client opens",
            header.stream
        ))),
    }
}

/// Returns the payload without its padding, and the number of bytes before it.
///
/// # Errors
/// If the payload is shorter than its padding.
#[inline]
pub fn unpad(header: FrameHeader, payload: &[u8]) -> Result<(&[u8], usize), ConnectionError> {
    if !header.has(PADDED) {
        return Ok((payload, 0));
    }
    let Some((padding, rest)) = payload.split_first() else {
        let text = "a padded frame without a payload";
        return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text));
    };
    let padding = usize::from(*padding);
    match rest.len().checked_sub(padding) {
        Some(length) => Ok((&rest[..length], 1)),
        None => Err(ConnectionError::protocol(format!(
            "padding of {padding} bytes in a frame of {}",
            payload.len()
        ))),
    }
}

/// The settings of a SETTINGS frame without ACK: six bytes each, name and value.
///
/// # Errors
/// If the length is not a multiple of six.
pub fn settings(payload: &[u8]) -> Result<&[[u8; 6]], ConnectionError> {
    match payload.as_chunks() {
        (settings, []) => Ok(settings),
        _ => {
            let length = payload.len();
            let text = format!("SETTINGS of {length} bytes, which is not a multiple of 6");
            Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text))
        }
    }
}

/// Whether a stream's priority depends on the stream itself (RFC 7540, section 5.3.1).
#[inline]
#[must_use]
pub fn depends_on_itself(priority: &[u8; 5], stream: u32) -> bool {
    let [a, b, c, d, _weight] = *priority;
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff == stream
}

/// Checks the value of a setting (section 6.5.2). Unknown settings must be ignored.
///
/// # Errors
/// If no peer may set this value.
pub fn check_setting(name: u16, value: u32) -> Result<(), ConnectionError> {
    match name {
        setting::ENABLE_PUSH if value > 1 => Err(ConnectionError::protocol(format!(
            "ENABLE_PUSH of {value}, which is neither 0 nor 1"
        ))),
        setting::INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => Err(ConnectionError::new(
            ErrorCode::FLOW_CONTROL_ERROR,
            format!("INITIAL_WINDOW_SIZE of {value}, the limit is {WINDOW_MAX}"),
        )),
        setting::MAX_FRAME_SIZE if !(PAYLOAD_MAX as u32..1 << 24).contains(&value) => {
            Err(ConnectionError::protocol(format!(
                "MAX_FRAME_SIZE of {value}, not from 16384 to 16777215"
            )))
        }
        _ => Ok(()),
    }
}

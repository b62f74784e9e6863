//! What a connection ends for.

use crate::http2::frame::ErrorCode;

/// What the server did that HTTP/2 forbids.
#[derive(Debug)]
pub(super) struct ConnectionError {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

impl ConnectionError {
    pub(super) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::PROTOCOL_ERROR, text)
    }
}

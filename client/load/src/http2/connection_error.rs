//! Connection errors: faults of the server for which the connection is closed (RFC 9113, section 5.4.1).

use soloist_http2::ErrorCode;

/// A fault of the server, and the error code that it is told.
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

    /// A PROTOCOL_ERROR.
    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::PROTOCOL_ERROR, text)
    }
}

//! Connection errors: faults of the client for which the connection ends (RFC 9113, section 5.4.1).

use std::fmt;

use crate::error_code::ErrorCode;

/// Why a connection has ended: the code that the client is told, and a text for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code.
    pub code: ErrorCode,
    /// What the client did.
    pub text: String,
}

impl ConnectionError {
    #[cold]
    pub(super) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    #[cold]
    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::PROTOCOL_ERROR, text)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

impl std::error::Error for ConnectionError {}

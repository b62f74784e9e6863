//! Connection errors: faults of the peer for which the connection ends (RFC 9113, section 5.4.1).

use std::fmt;

use crate::error_code::ErrorCode;

/// Why a connection has ended: the code that the peer is told, and a text for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code.
    pub code: ErrorCode,
    /// What the peer did.
    pub text: String,
}

impl ConnectionError {
    /// An error with this code.
    #[cold]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// A PROTOCOL_ERROR.
    #[cold]
    pub fn protocol(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::PROTOCOL_ERROR, text)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

impl std::error::Error for ConnectionError {}

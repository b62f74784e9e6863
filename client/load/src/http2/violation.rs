//! What a connection ends for.

use crate::http2::frame::Reason;

/// What the server did that HTTP/2 forbids.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) reason: Reason,
    pub(super) text: String,
}

impl Violation {
    pub(super) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::new(Reason::PROTOCOL_ERROR, text)
    }
}

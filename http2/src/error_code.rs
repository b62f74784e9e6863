//! Error codes: why a stream or a connection was closed.
//!
//! Source: RFC 9113, section 7.

use std::fmt;

/// Why a stream or connection was closed. Codes that nobody has registered are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

/// The registered codes, in their order: the code of each is its place.
const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl ErrorCode {
    /// Nothing went wrong.
    pub const NO_ERROR: Self = Self(0x0);
    /// The peer broke the protocol, and no other code says how.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// This side has failed.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// The peer sent more than a window allows, or made a window too large.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// The peer did not acknowledge SETTINGS in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame came on a stream whose end the peer had sent.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame has a length that its type does not allow.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// Nothing of the request was processed: it may be sent again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is not needed any more.
    pub const CANCEL: Self = Self(0x8);
    /// A header block cannot be decoded, so no later one can.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The connection that a CONNECT had made was closed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer asks for too much that is of no use.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The connection below is not secure enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// The peer should use HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|at| NAMES.get(at)) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_name() {
        assert_eq!(ErrorCode::NO_ERROR.to_string(), "NO_ERROR");
        assert_eq!(ErrorCode(0xd).to_string(), "HTTP_1_1_REQUIRED");
        assert_eq!(ErrorCode(0xe).to_string(), "error 0xe");
        assert_eq!(ErrorCode(u32::MAX).to_string(), "error 0xffffffff");
    }
}

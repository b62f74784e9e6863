//! Why a call failed, and whether the server has processed it.
//!
//! Source: gRPC over HTTP/2, "HTTP2 Transport Mapping", table of error codes.

use soloist_http2::ErrorCode;
use tonic::Code;

/// Whether the server has processed a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processed {
    /// The server sent a gRPC status, which says what happened.
    Answered,
    /// The server has not begun it. It is safe to send the call again.
    No,
    /// Nobody can tell: the call may have been applied.
    Unknown,
}

/// A failed call: its gRPC status, sent by the server or made up on this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFailure {
    pub(crate) processed: Processed,
    pub(crate) code: Code,
    pub(crate) message: String,
    /// `grpc-status-details-bin`: a `google.rpc.Status`, or empty.
    pub(crate) details: Vec<u8>,
}

impl CallFailure {
    pub(super) fn new(processed: Processed, code: Code, message: impl Into<String>) -> Self {
        Self {
            processed,
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// The failure of a response that breaks HTTP/2 or gRPC.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Processed::Unknown, Code::Internal, message)
    }

    /// The failure of a call whose stream the server reset.
    pub(super) fn reset(error: ErrorCode) -> Self {
        let code = match error {
            ErrorCode::REFUSED_STREAM => Code::Unavailable,
            ErrorCode::CANCEL => Code::Cancelled,
            ErrorCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            ErrorCode::INADEQUATE_SECURITY => Code::PermissionDenied,
            ErrorCode(0..=0xa) => Code::Internal,
            _ => Code::Unknown,
        };
        let processed = match error {
            ErrorCode::REFUSED_STREAM => Processed::No,
            _ => Processed::Unknown,
        };
        Self::new(
            processed,
            code,
            format!("the server reset the stream: {error}"),
        )
    }
}

//! How a call failed.
//!
//! Source: gRPC over HTTP/2, its table of HTTP/2 errors.

use tonic::Code;

use crate::http2::frame::ErrorCode;

/// What is known about whether the server did what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processed {
    /// The server answered; the status says.
    Answered,
    /// The server never began: the same call may be sent again.
    No,
    /// Perhaps, perhaps not.
    Unknown,
}

/// How a call failed.
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

    /// An answer that is none.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Processed::Unknown, Code::Internal, message)
    }

    /// The server reset the stream.
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

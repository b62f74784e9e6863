//! How a call failed.
//!
//! Source: gRPC over HTTP/2, its table of HTTP/2 errors.

use tonic::Code;

use crate::http2::frame::Reason;

/// What is known about whether the server did what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server answered; the status says.
    Answered,
    /// The server never began: the same call may be sent again.
    NotDone,
    /// Perhaps, perhaps not.
    Unknown,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fate: Fate,
    pub(crate) code: Code,
    pub(crate) message: String,
    /// `grpc-status-details-bin`: a `google.rpc.Status`, or empty.
    pub(crate) details: Vec<u8>,
}

impl Failure {
    pub(super) fn new(fate: Fate, code: Code, message: impl Into<String>) -> Self {
        Self {
            fate,
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// An answer that is none.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Fate::Unknown, Code::Internal, message)
    }

    /// The server reset the stream.
    pub(super) fn reset(reason: Reason) -> Self {
        let code = match reason {
            Reason::REFUSED_STREAM => Code::Unavailable,
            Reason::CANCEL => Code::Cancelled,
            Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
            Reason(0..=0xa) => Code::Internal,
            _ => Code::Unknown,
        };
        let fate = match reason {
            Reason::REFUSED_STREAM => Fate::NotDone,
            _ => Fate::Unknown,
        };
        Self::new(fate, code, format!("the server reset the stream: {reason}"))
    }
}

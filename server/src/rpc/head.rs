//! The head of a request: what is looked at before anything of its body is.

use http::request::Parts;
use http::{Method, Response, StatusCode};
use soloist_http2 as http2;
use tokio::time::Instant;
use tonic::Status;

use super::answering::{Begun, ResponseFuture};
use super::body::response::{self, Answer, ResponseBody};
use super::body::unread::ReadBy;
use super::call_count::CallCount;
use super::deadline::Deadline;
use super::header_fields::HeaderFields;
use super::status::{Refusal, unknown_encoding, unknown_method};
use crate::config::Limits;
use crate::metrics;
use crate::owner::ConnectionQuota;

/// What the head of a call says.
pub(super) struct Head<'a> {
    /// `/SERVICE/METHOD`.
    pub(super) path: &'a str,
    pub(super) service: &'a str,
    pub(super) method_name: &'a str,
    pub(super) method: metrics::Method,
    pub(super) deadline: Deadline,
    pub(super) fields: HeaderFields<'a>,
}

impl<'a> Head<'a> {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// The response, if the request is no call, or one that cannot be begun.
    #[allow(
        clippy::result_large_err,
        reason = "the error is rare, and is passed on at once"
    )]
    #[inline]
    pub(super) fn read(parts: &'a Parts, quota: &ConnectionQuota) -> Result<Self, Begun> {
        if parts.method != Method::POST {
            return Err(not_grpc(StatusCode::METHOD_NOT_ALLOWED));
        }
        Self::check(parts.uri.path(), HeaderFields::of(&parts.headers), quota)
    }

    /// Reads the head of a request that the own transport has read, with this path. None if it has fields that it must not have.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[allow(clippy::result_large_err, reason = "as above")]
    #[inline]
    pub(super) fn of_http2(
        path: &'a str,
        head: &http2::Head<'a>,
        quota: &ConnectionQuota,
    ) -> Option<Result<Self, Begun>> {
        let fields = HeaderFields::of_head(head)?;
        Some(match head.method() {
            http2::Method::Post => Self::check(path, fields, quota),
            http2::Method::Connect | http2::Method::Other => {
                Err(not_grpc(StatusCode::METHOD_NOT_ALLOWED))
            }
        })
    }

    /// What holds for every call, whatever has read its head.
    #[allow(clippy::result_large_err, reason = "as above")]
    #[inline]
    fn check(
        path: &'a str,
        fields: HeaderFields<'a>,
        quota: &ConnectionQuota,
    ) -> Result<Self, Begun> {
        if !is_grpc(fields.content_type) {
            return Err(not_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let method = names.map_or(metrics::Method::UNKNOWN, |(service, method)| {
            metrics::Method::of(service, method)
        });
        let refused = |status| refused(status, CallCount::begin(method, Instant::now()));
        if let Some(encoding) = fields.encoding.filter(|encoding| *encoding != b"identity") {
            return Err(refused(unknown_encoding(encoding)));
        }
        if let Err(full) = quota.check_call() {
            return Err(refused(Refusal::from(full).into()));
        }
        let deadline = Deadline::from_header(fields.timeout).map_err(refused)?;
        let Some((service, method_name)) = names else {
            return Err(refused(unknown_method(path).into()));
        };
        Ok(Self {
            path,
            service,
            method_name,
            method,
            deadline,
            fields,
        })
    }

    /// Counts the call.
    #[inline]
    pub(super) fn count(&self) -> Option<CallCount> {
        CallCount::begin(self.method, self.deadline.begun())
    }

    /// By when the client must have read the answer.
    #[inline]
    pub(super) fn read_by(&self, limits: &Limits) -> ReadBy {
        let deadline = self.deadline.or_never();
        match self.method_name {
            "Watch" | "Pipeline" | "Backup" | "ServerReflectionInfo" => {
                deadline.map_or(ReadBy::Never, ReadBy::Deadline)
            }
            _ => ReadBy::Within(limits.max_deadline, deadline),
        }
    }
}

/// A call that is refused before it has a handler.
pub(super) fn refused(status: Status, call: Option<CallCount>) -> Begun {
    Begun {
        response: grpc_error(status),
        read_by: ReadBy::Never,
        call,
        slow: None,
    }
}

/// The response to a call that is refused before it has a handler.
pub(super) fn grpc_error(status: Status) -> ResponseFuture {
    let response = response::error(status);
    Box::pin(async { Ok(response) })
}

/// The response to a request that is not gRPC: plain HTTP, as the gRPC specification asks.
fn not_grpc(status: StatusCode) -> Begun {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = status;
    let answer = Answer::from(response);
    Begun {
        response: Box::pin(async { Ok(answer) }),
        read_by: ReadBy::Never,
        call: None,
        slow: None,
    }
}

/// Whether the content-type is `application/grpc`, optionally followed by `+proto`, or by a parameter. Source: gRPC over
/// HTTP/2, "Content-Type".
fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| {
        let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
        rest.is_empty() || rest.starts_with(b";")
    })
}

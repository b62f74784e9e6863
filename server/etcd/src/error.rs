//! What can go wrong, told apart by what a caller can do about it.

use std::fmt;

use tonic::{Code, Status};

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    endpoint: String,
    message: String,
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Refused connection, broken connection, timeout, no leader or a new one. **Whether the request was applied is unknown.**
    /// The next request goes to the next endpoint.
    Unavailable,
    /// etcd has no space, or its quota is used up. Until it is defragmented and disarmed it refuses all puts and new leases.
    NoSpace,
    /// The request is larger than etcd takes.
    TooLarge,
    /// There is no such lease, or no more.
    LeaseGone,
    /// The revision has been compacted.
    Compacted,
    /// Wrong user or password, or none.
    Unauthenticated,
    /// The user may not do this.
    PermissionDenied,
    /// Refused for another reason: the same request is refused again.
    Refused,
}

impl ErrorKind {
    /// Whether the same request is refused again, however often it is made.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        match self {
            Self::Unavailable | Self::NoSpace => false,
            Self::TooLarge
            | Self::LeaseGone
            | Self::Compacted
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::Refused => true,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, endpoint: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            endpoint: endpoint.to_owned(),
            message: message.into(),
        }
    }

    /// What was said, without the name of the endpoint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Who said it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn of(status: &Status, endpoint: &str) -> Self {
        let kind = kind(status.code(), status.message());
        let message = match root_cause(status) {
            Some(cause) => format!("{}: {cause}", status.message()),
            None => status.message().to_owned(),
        };
        Self::new(kind, endpoint, message)
    }

    /// A watch that etcd has cancelled says why in a text.
    pub(crate) fn cancelled(reason: &str, endpoint: &str) -> Self {
        // What ends a watch for a reason that is not listed is mended by another watch.
        let kind = by_message(reason).unwrap_or(ErrorKind::Unavailable);
        let reason = match reason {
            "" => "the watch was cancelled",
            reason => reason,
        };
        Self::new(kind, endpoint, reason)
    }

    /// The token is too old, or missing: nothing was applied, and a new token helps.
    pub(crate) fn is_about_token(&self) -> bool {
        TOKEN_TEXTS.iter().any(|text| self.message.contains(text))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.message)
    }
}

impl std::error::Error for Error {}

// Source of the texts: api/v3rpc/rpctypes/error.go of etcd.
const TOKEN_TEXTS: [&str; 3] = [
    "invalid auth token",
    "revision of auth store is old",
    // There was no token, because authentication was not enabled before.
    "user name is empty",
];

const TEXTS: [(&str, ErrorKind); 14] = [
    ("mvcc: database space exceeded", ErrorKind::NoSpace),
    ("request is too large", ErrorKind::TooLarge),
    // Not etcd's own: the limit of its gRPC library, which is a little above.
    ("received message larger than max", ErrorKind::TooLarge),
    (
        "trying to send message larger than max",
        ErrorKind::TooLarge,
    ),
    ("requested lease not found", ErrorKind::LeaseGone),
    ("required revision has been compacted", ErrorKind::Compacted),
    ("invalid auth token", ErrorKind::Unauthenticated),
    ("revision of auth store is old", ErrorKind::Unauthenticated),
    ("authentication failed", ErrorKind::Unauthenticated),
    ("user name is empty", ErrorKind::Unauthenticated),
    ("permission denied", ErrorKind::PermissionDenied),
    // Other members, or the same one later, do better.
    ("too many requests", ErrorKind::Unavailable),
    ("not leader", ErrorKind::Unavailable),
    ("not supported for learner", ErrorKind::Unavailable),
];

fn by_message(message: &str) -> Option<ErrorKind> {
    let found = TEXTS.iter().find(|(text, _)| message.contains(text));
    found.map(|(_, kind)| *kind)
}

fn kind(code: Code, message: &str) -> ErrorKind {
    by_message(message).unwrap_or(match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        // What HTTP/2 and sockets fail with, and errors that etcd has no name for.
        | Code::Unknown
        | Code::Internal => ErrorKind::Unavailable,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Refused,
    })
}

/// The innermost cause of a status that has one: "connection refused" and the like.
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    (!status.message().contains(&cause)).then_some(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_errors_are_told_apart() {
        let cases = [
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                ErrorKind::NoSpace,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                ErrorKind::Unavailable,
            ),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max (2097160 vs. 2097152)",
                ErrorKind::TooLarge,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                ErrorKind::TooLarge,
            ),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                ErrorKind::LeaseGone,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                ErrorKind::Compacted,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
                ErrorKind::Refused,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                ErrorKind::PermissionDenied,
            ),
            (
                Code::Unavailable,
                "etcdserver: leader changed",
                ErrorKind::Unavailable,
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                ErrorKind::Unavailable,
            ),
            (
                Code::FailedPrecondition,
                "etcdserver: not leader",
                ErrorKind::Unavailable,
            ),
            (Code::Unknown, "transport error", ErrorKind::Unavailable),
            (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
                ErrorKind::Refused,
            ),
            (
                Code::DataLoss,
                "etcdserver: corrupt cluster",
                ErrorKind::Refused,
            ),
        ];
        for (code, message, expected) in cases {
            let error = Error::of(&Status::new(code, message), "http://e:1");
            assert_eq!(error.kind, expected, "{message}");
            assert_eq!(error.to_string(), format!("http://e:1: {message}"));
        }
    }
}

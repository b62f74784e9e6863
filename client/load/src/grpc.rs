//! What all gRPC calls have in common: the names of codes, the largest answer, and the reason of a failed connection.

use std::error::Error as StdError;
use std::iter;

use tonic::Code;

/// The largest answer that is accepted, in bytes: 64 MiB. It is far above the default limit of servers.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Returns the last cause of an error, which says what happened. The causes above it only say "transport error".
pub(crate) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes.last().unwrap_or(error)
}

/// Returns the name of a code as the gRPC specification spells it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

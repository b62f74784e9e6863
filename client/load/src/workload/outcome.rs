//! The outcome of an operation, judged by its answer. An answer that makes no sense is a failure.

use std::time::Duration;

use soloist::v1::Value;
use soloist::v1::error::Reason;
use soloist::v1::op_result::Result as OpAnswer;
use soloist_client::{Error, Outcome};
use tonic::{Code, Status};

use crate::plan::kind::Kind;
use crate::workload::operation::Reply;

/// The outcome of one operation.
#[derive(Debug)]
pub(crate) enum OpOutcome {
    /// The server did it. A miss is a Read or Delete of a key that does not exist, or an empty List.
    Done {
        is_miss: bool,
    },
    /// The server refused it for a reason that the workload expects at times.
    Refused(Error, Reason),
    /// The server answered with this code, which the user expects beside OK.
    Expected(&'static str),
    Failed(Failure),
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Whether the operation may have been applied.
    pub(crate) outcome: Outcome,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            code,
            message: message.into(),
            outcome,
        }
    }

    /// The server has not answered for this long.
    pub(crate) fn unanswered(waited: Duration) -> Self {
        Self::new(
            Code::DeadlineExceeded,
            format!("no answer within {waited:.1?}"),
            Outcome::Unknown,
        )
    }

    /// There was no connection on which to send the operation.
    pub(crate) fn no_connection() -> Self {
        Self::new(
            Code::Unavailable,
            "there was no connection to the server",
            Outcome::NotApplied,
        )
    }

    /// The operation was in flight at the end of the run, and nobody waits for its answer.
    pub(crate) fn given_up() -> Self {
        Self::new(
            Code::Cancelled,
            "given up at the end of the run",
            Outcome::Unknown,
        )
    }

    /// The server sent an answer that makes no sense.
    pub(crate) fn wrong_answer(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message, Outcome::Unknown)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match (error.reason(), error.message()) {
            (Some(reason), "") => reason.as_str_name().to_owned(),
            (_, message) => message.to_owned(),
        };
        Self::new(error.code(), message, error.outcome())
    }
}

impl OpOutcome {
    /// Judges an error that the server answered with.
    pub(crate) fn of_error(kind: Kind, error: Error) -> Self {
        match error.reason() {
            Some(reason) if kind.expects(reason) => Self::Refused(error, reason),
            _ => Self::Failed(error.into()),
        }
    }

    /// Judges the status of a call that failed.
    pub(crate) fn of_status(kind: Kind, status: &Status) -> Self {
        Self::of_error(kind, Error::from_status(status, kind.default_outcome()))
    }

    /// Judges a reply. A reply of the wrong kind, or an empty one, is a failure even if its status is OK.
    pub(crate) fn of_reply(kind: Kind, reply: Option<&Reply>) -> Self {
        match (kind, reply) {
            (_, Some(Reply::Op(OpAnswer::Error(error)))) => {
                Self::of_error(kind, Error::from_rpc_status(error))
            }
            (Kind::Read, Some(Reply::Op(OpAnswer::Read(read)))) => match &read.entry {
                None => Self::Done { is_miss: true },
                Some(entry) => match entry.value {
                    Some(Value { kind: Some(_) }) => Self::done(),
                    _ => Self::wrong("an entry without a value"),
                },
            },
            (Kind::Write | Kind::CompareAndSet, Some(Reply::Op(OpAnswer::Write(write)))) => {
                Self::changed(write.revision)
            }
            (Kind::Add, Some(Reply::Op(OpAnswer::Add(add)))) => Self::changed(add.revision),
            (Kind::Delete, Some(Reply::Op(OpAnswer::Delete(delete)))) => match &delete.previous {
                None => Self::Done { is_miss: true },
                Some(_) => Self::changed(delete.revision),
            },
            (Kind::Transition, Some(Reply::Op(OpAnswer::Transition(transition)))) => {
                Self::changed(transition.revision)
            }
            (Kind::List, Some(Reply::List(list))) => Self::Done {
                is_miss: list.entries.is_empty(),
            },
            (Kind::Batch, Some(Reply::Batch(batch))) => {
                match batch.results.iter().any(|one| one.result.is_none()) {
                    true => Self::wrong("a batch without all its results"),
                    false => Self::done(),
                }
            }
            (Kind::Renew, Some(Reply::Renew(session))) => match session.expire_time {
                Some(_) => Self::done(),
                None => Self::wrong("a session without an expire time"),
            },
            (_, Some(_)) => Self::wrong(format!(
                "an answer to another operation than {}",
                kind.name()
            )),
            (_, None) => Self::wrong("a result without an answer"),
        }
    }

    fn done() -> Self {
        Self::Done { is_miss: false }
    }

    /// Every change has a revision above 0.
    fn changed(revision: i64) -> Self {
        match revision > 0 {
            true => Self::done(),
            false => Self::wrong("a change without a revision"),
        }
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::Failed(Failure::wrong_answer(message))
    }
}

#[cfg(test)]
mod tests {
    use soloist::ERROR_DOMAIN;
    use soloist::v1::{self, Entry, ReadResponse, WriteResponse, value};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn read(entry: Option<Entry>) -> Option<Reply> {
        Some(Reply::Op(OpAnswer::Read(ReadResponse {
            entry,
            revision: 1,
        })))
    }

    fn write(revision: i64) -> Option<Reply> {
        Some(Reply::Op(OpAnswer::Write(WriteResponse {
            revision,
            ..WriteResponse::default()
        })))
    }

    fn refusal(code: Code) -> Option<Reply> {
        Some(Reply::Op(OpAnswer::Error(tonic_types::Status {
            code: code as i32,
            message: "why".to_owned(),
            details: Vec::new(),
        })))
    }

    #[test]
    fn every_answer_is_checked() {
        let full = Entry {
            value: Some(Value {
                kind: Some(value::Kind::Int(0)),
            }),
            ..Entry::default()
        };
        let list = || Some(Reply::List(v1::ListResponse::default()));
        let renewed = || Some(Reply::Renew(v1::Session::default()));
        let wrong = Some(Code::Internal);
        let cases = [
            (Kind::Read, read(None), None),
            (Kind::Read, read(Some(full)), None),
            (Kind::Read, read(Some(Entry::default())), wrong),
            (Kind::Read, write(1), wrong),
            (Kind::Read, None, wrong),
            (Kind::Write, write(1), None),
            (Kind::Write, write(0), wrong),
            (Kind::CompareAndSet, write(1), None),
            (Kind::Write, read(None), wrong),
            (Kind::Write, refusal(Code::Aborted), Some(Code::Aborted)),
            (Kind::Add, write(1), wrong),
            (Kind::List, list(), None),
            (Kind::Write, list(), wrong),
            (Kind::Renew, renewed(), wrong),
        ];
        for (kind, reply, code) in cases {
            let described = format!("{kind:?} {reply:?}");
            let failed = match OpOutcome::of_reply(kind, reply.as_ref()) {
                OpOutcome::Failed(failure) => Some(failure.code),
                _ => None,
            };
            assert_eq!(failed, code, "{described}");
        }
    }

    fn refused(reason: Reason) -> Error {
        let details = ErrorDetails::with_error_info(reason.as_str_name(), ERROR_DOMAIN, []);
        let status = Status::with_error_details(Code::Aborted, "why", details);
        Error::from_status(&status, Outcome::Unknown)
    }

    #[test]
    fn a_refusal_is_an_answer_if_the_kind_expects_it() {
        let cases = [
            (Kind::CompareAndSet, Reason::ExpectationFailed, true),
            (Kind::CompareAndSet, Reason::StoreFull, false),
            (Kind::Write, Reason::ExpectationFailed, false),
            (Kind::Transition, Reason::TransitionRefused, true),
            (Kind::Add, Reason::BoundReached, true),
            (Kind::Read, Reason::KeyNotFound, false),
        ];
        for (kind, reason, expected) in cases {
            let outcome = OpOutcome::of_error(kind, refused(reason));
            let is_refused = matches!(outcome, OpOutcome::Refused(..));
            assert_eq!(is_refused, expected, "{kind:?} {reason:?}");
        }
    }
}

//! What is asked of the server, and whether what it answers can be an answer to that.

use std::time::{Duration, Instant};

use soloist::v1::error::Reason;
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, Value, condition, op};
use tonic::{Code, Status};

use crate::plan::kind::Kind;
use soloist_client::{Error, Outcome};

/// A call, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// What may as well travel in a frame.
    Op(op::Op),
    List(v1::ListRequest),
    Batch(v1::BatchRequest),
    Renew(v1::RenewSessionRequest),
}

impl Call {
    /// A Read of a key.
    pub(crate) fn read(key: String) -> Self {
        Self::Op(op::Op::Read(v1::ReadRequest { key, expect: None }))
    }
}

/// An answer, as it is received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Op(OpAnswer),
    List(v1::ListResponse),
    Batch(v1::BatchResponse),
    Renew(v1::Session),
}

/// What is remembered of a call until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentOp {
    pub(crate) kind: Kind,
    /// The number of its key.
    pub(crate) key: u64,
}

/// What an answer comes to.
#[derive(Debug)]
pub(crate) enum OpOutcome {
    /// Done as asked. A miss found nothing.
    Done {
        is_miss: bool,
    },
    /// Refused as the workload expects it to be at times.
    Refused(Error, Reason),
    Failed(Failure),
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Whether it may have been done.
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

    fn wrong(message: impl Into<String>) -> Self {
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
    fn done() -> Self {
        Self::Done { is_miss: false }
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::Failed(Failure::wrong(message))
    }

    /// Of an error of the server's.
    pub(crate) fn of_error(kind: Kind, error: Error) -> Self {
        match error.reason() {
            Some(reason) if kind.expects(reason) => Self::Refused(error, reason),
            _ => Self::Failed(error.into()),
        }
    }

    /// Of a call that came to a status.
    pub(crate) fn of_status(kind: Kind, status: &Status) -> Self {
        Self::of_error(kind, Error::from_status(status, kind.default_outcome()))
    }

    /// Of an answer: one of the wrong kind, or an empty one, is a failure however friendly its status.
    pub(crate) fn of_reply(kind: Kind, reply: Option<&Reply>) -> Self {
        let changed = |revision: i64| match revision > 0 {
            true => Self::done(),
            false => Self::wrong("a change without a revision"),
        };
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
                changed(write.revision)
            }
            (Kind::Add, Some(Reply::Op(OpAnswer::Add(add)))) => changed(add.revision),
            (Kind::Delete, Some(Reply::Op(OpAnswer::Delete(delete)))) => match &delete.previous {
                None => Self::Done { is_miss: true },
                Some(_) => changed(delete.revision),
            },
            (Kind::Transition, Some(Reply::Op(OpAnswer::Transition(transition)))) => {
                changed(transition.revision)
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
                None => Self::wrong("a session without an end"),
            },
            (_, Some(_)) => {
                let name = kind.name();
                Self::wrong(format!("an answer to something else than a {name}"))
            }
            (_, None) => Self::wrong("a result without an answer"),
        }
    }
}

/// Operations under way: one frame, or one call.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) ops: Vec<SentOp>,
    /// What was sent, if a history wants to know it.
    pub(crate) calls: Vec<Call>,
    /// When they were to start by the schedule.
    pub(crate) intended: Instant,
    /// When they started.
    pub(crate) started: Instant,
}

impl InFlight {
    pub(crate) fn count(&self) -> u64 {
        self.ops.len() as u64
    }
}

/// The failure of operations that nobody answered.
pub(crate) fn unanswered(waited: Duration) -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("no answer within {waited:.1?}"),
        Outcome::Unknown,
    )
}

/// The failure of operations that were under way at the end.
pub(crate) fn given_up() -> Failure {
    Failure::new(
        Code::Cancelled,
        "given up at the end of the run",
        Outcome::Unknown,
    )
}

/// The condition that a key has this revision; 0: that it is not there.
pub(crate) fn has_revision(revision: i64) -> v1::Condition {
    let test = match revision {
        0 => condition::Test::Exists(false),
        revision => condition::Test::Revision(revision),
    };
    v1::Condition { test: Some(test) }
}

#[cfg(test)]
mod tests {
    use soloist::ERROR_DOMAIN;
    use soloist::v1::{Entry, ReadResponse, WriteResponse, value};
    use tonic::{Code, Status};
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
    fn a_refusal_that_is_expected_is_an_answer() {
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

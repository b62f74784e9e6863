//! The one table from our errors to gRPC: code, reason, message, metadata and details.
//!
//! Every error that leaves the server is built here (but for [`soloist::codec::bad_message`], which the codec
//! needs). The published rule: an error with our ErrorInfo means that nothing was applied.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use http::HeaderValue;
use soloist::ERROR_DOMAIN;
use soloist::v1::error::Reason;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::config::{RETRY_DELAY, WATCH_RETRY_DELAY};
use crate::machine::{
    ALLOWED_BYTES, Cause, Condition, CopyLost, DiskLow, Entry, Lost, Mismatch, Name, RefusedMove,
    RejectedAt, Rejection, Revision, Stranded, Value,
};
use crate::owner::{CallError, Unknown};
use crate::rpc::arguments::BadArgument;

/// Longest text of a value in an error's metadata, in bytes: enough to compare it.
const METADATA_BYTES: usize = 256;

/// Longest text of a key or value elsewhere in an error, in bytes: enough to recognise it. An error travels in
/// headers, of which clients take 8 KiB; and a thousand of them in one answer, of which clients take 4 MiB.
const SHOWN_BYTES: usize = 64;

/// `ResourceInfo.resource_type` of a key.
const ENTRY_TYPE: &str = "soloist.v1.Entry";

/// The same of a session and of a machine.
const SESSION_TYPE: &str = "soloist.v1.Session";
const MACHINE_TYPE: &str = "soloist.v1.Machine";

/// An error on its way out. Turns into a [`Status`] for a call, or into a `google.rpc.Status` for one operation or
/// frame of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    /// Boxed, because it is much larger than what it is returned in place of.
    details: Box<ErrorDetails>,
}

impl Refusal {
    fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: Box::default(),
        }
    }

    fn with(mut self, name: &str, value: impl Display) -> Self {
        self.metadata.insert(name.into(), value.to_string());
        self
    }

    fn limit(self, limit: impl Display, actual: impl Display) -> Self {
        self.with("limit", limit).with("actual", actual)
    }

    fn over_quota(self, subject: &str, limit: u64, actual: u64) -> Self {
        self.limit(limit, actual).details(|details| {
            let description = format!("{actual} bytes, the limit is {limit}");
            details.add_quota_failure_violation(subject, description);
        })
    }

    fn violation(self, kind: &str, subject: &str, description: &str) -> Self {
        self.details(|details| {
            details.add_precondition_failure_violation(kind, subject, description);
        })
    }

    fn retry_after(self, delay: Duration) -> Self {
        self.details(|details| {
            details.set_retry_info(Some(delay));
        })
    }

    fn resource(self, kind: &str, name: &str, description: &str) -> Self {
        self.details(|details| {
            details.set_resource_info(kind, name, "", description);
        })
    }

    fn details(mut self, set: impl FnOnce(&mut ErrorDetails)) -> Self {
        set(&mut self.details);
        self
    }

    /// A gRPC status with the details in `grpc-status-details-bin`, and for OVERLOADED the pushback trailer.
    #[must_use]
    pub(crate) fn into_status(mut self) -> Status {
        let mut metadata = MetadataMap::new();
        if let Some(delay) = self.details.retry_info().and_then(|info| info.retry_delay) {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            metadata.insert("grpc-retry-pushback-ms", millis.into());
        }
        self.details
            .set_error_info(self.reason.as_str_name(), ERROR_DOMAIN, self.metadata);
        Status::with_error_details_and_metadata(self.code, self.message, *self.details, metadata)
    }

    /// The same as a message.
    #[must_use]
    pub(crate) fn into_rpc_status(self) -> pb::Status {
        let status = self.into_status();
        // tonic-types encodes exactly this message into the status' details.
        prost::Message::decode(status.details()).expect("details of our own are well-formed")
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}

/// No new work is taken any more.
#[must_use]
pub(crate) fn draining() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        Reason::Draining,
        "the server is shutting down",
    )
}

/// More frames of one stream are unanswered than may be.
#[must_use]
pub(crate) fn too_many_frames(limit: usize) -> Refusal {
    overloaded(limit, "frames of this stream")
}

/// A request message announces more bytes than may be.
#[must_use]
pub(crate) fn message_too_large(limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::MessageTooLarge,
        format!("request message has {actual} bytes, the limit is {limit}"),
    )
    .over_quota("message", limit as u64, actual as u64)
}

/// There is no such method.
#[must_use]
pub(crate) fn unknown_method(path: &str) -> Refusal {
    let path = cut(path.into(), METADATA_BYTES);
    Refusal::new(
        Code::Unimplemented,
        Reason::UnknownMethod,
        format!("no method {path} here; grpcurl list shows what there is"),
    )
}

/// Messages are compressed, which is not done here. Source of the header: gRPC compression, "Test cases".
#[must_use]
pub(crate) fn unknown_encoding(encoding: &HeaderValue) -> Status {
    let encoding = cut(
        encoding.as_bytes().escape_ascii().to_string(),
        METADATA_BYTES,
    );
    let mut status = Refusal::new(
        Code::Unimplemented,
        Reason::UnknownEncoding,
        format!("grpc-encoding is {encoding}, and messages are not compressed here"),
    )
    .with("actual", encoding)
    .into_status();
    let accepted = MetadataValue::from_static("identity");
    status
        .metadata_mut()
        .insert("grpc-accept-encoding", accepted);
    status
}

/// A Watch means another history of the store.
#[must_use]
pub(crate) fn store_changed(expected: &str, actual: &str) -> Refusal {
    let expected = cut(expected.into(), METADATA_BYTES);
    Refusal::new(
        Code::OutOfRange,
        Reason::StoreChanged,
        "the store's history is not the one that is meant: start again with initial",
    )
    .violation("HISTORY", "store_id", "store_id")
    .with("expected", expected)
    .with("actual", actual)
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Compacted { oldest, actual } => Self::new(
                Code::OutOfRange,
                Reason::RevisionCompacted,
                format!(
                    "the changes after revision {actual} are not kept any more, only those after {oldest}: start again with initial"
                ),
            )
            .violation("HISTORY", "after_revision", "revision")
            .with("oldest_revision", oldest)
            .with("actual", actual),
            Lost::Unknown { limit, actual } => Self::new(
                Code::OutOfRange,
                Reason::RevisionUnknown,
                format!(
                    "the store is at revision {limit} and has never been at {actual}: start again with initial"
                ),
            )
            .violation("HISTORY", "after_revision", "revision")
            .limit(limit, actual),
        }
    }
}

fn overloaded(limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {unit} may wait, and this is one too many"),
    )
    .with("limit", limit)
    .retry_after(RETRY_DELAY)
}

impl From<BadArgument> for Refusal {
    fn from(bad: BadArgument) -> Self {
        let BadArgument {
            field,
            reason,
            problem,
            limit,
            actual,
        } = bad;
        // Clients take 8 KiB of headers, in which this stands up to three times, in base64.
        let field = cut(field, METADATA_BYTES);
        let problem = cut(problem, 2 * METADATA_BYTES);
        let actual = actual.map(|actual| cut(actual, METADATA_BYTES));
        let refusal = Refusal::new(Code::InvalidArgument, reason, format!("{field} {problem}"))
            .details(|details| {
                details.add_bad_request_violation(field.as_str(), problem);
            })
            .with("field", &field);
        let refusal = limit
            .into_iter()
            .fold(refusal, |refusal, limit| refusal.with("limit", limit));
        actual
            .into_iter()
            .fold(refusal, |refusal, actual| refusal.with("actual", actual))
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Overloaded { limit, unit } => overloaded(limit, unit),
            CallError::NotStarted => Self::new(
                Code::DeadlineExceeded,
                Reason::NotStarted,
                "the deadline passed before the owner began; nothing was applied",
            ),
            CallError::OwnerLost => Self::new(
                Code::Unavailable,
                Reason::OwnerLost,
                "the owner of the state has ended, and the state with it",
            ),
            CallError::OutcomeUnknown { revision, why } => outcome_unknown(revision, why),
            CallError::DiskFull(low) => disk_full(low),
            CallError::Rejected(rejection) => (*rejection).into(),
            CallError::RejectedAt(RejectedAt { index, rejection }) => {
                let refusal = Self::from(*rejection);
                match index {
                    Some(index) => refusal.with("op", index),
                    None => refusal,
                }
            }
            CallError::Lost(lost) => lost.into(),
            CallError::CopyLost(CopyLost { limit }) => Self::new(
                Code::ResourceExhausted,
                Reason::Overloaded,
                format!(
                    "more than {limit} bytes were changed ahead of the backup, which is too slow"
                ),
            )
            .with("limit", limit)
            .retry_after(WATCH_RETRY_DELAY),
            CallError::TooManyOpen { what, limit } => Self::new(
                Code::ResourceExhausted,
                Reason::Overloaded,
                format!("no more than {limit} {what} may be open, and this is one too many"),
            )
            .with("limit", limit)
            .retry_after(WATCH_RETRY_DELAY),
        }
    }
}

fn outcome_unknown(revision: Option<Revision>, why: Unknown) -> Refusal {
    let (code, when) = match why {
        Unknown::Deadline => (Code::DeadlineExceeded, "the deadline passed"),
        Unknown::OwnerEnded => (Code::Unavailable, "the owner of the state ended"),
    };
    let refusal = Refusal::new(
        code,
        Reason::OutcomeUnknown,
        format!("{when} before it was on disk; it may be applied, or not"),
    );
    match revision {
        Some(revision) => refusal.with("revision", revision),
        None => refusal,
    }
}

fn disk_full(DiskLow { free, least }: DiskLow) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::StoreFull,
        format!(
            "the disk has {free} bytes left, and {least} should be: nothing is changed until there is space, but for deletes while they can be kept"
        ),
    )
    .limit(least, free)
    .details(|details| {
        let description = format!("{free} bytes are free, {least} must be");
        details.add_quota_failure_violation("disk", description);
    })
}

impl From<Rejection> for Refusal {
    fn from(Rejection { subject, cause }: Rejection) -> Self {
        let name = cut(subject.as_str().into(), SHOWN_BYTES);
        let key = quoted(&subject);
        match cause {
            Cause::ExpectationFailed(mismatch) => expectation_failed(&name, &key, &mismatch),
            Cause::KeyExists { revision } => Self::new(
                Code::AlreadyExists,
                Reason::KeyExists,
                format!("key {key} exists, at revision {revision}"),
            )
            .with("revision", revision)
            .resource(ENTRY_TYPE, &name, "the key exists"),
            Cause::KeyNotFound => Self::new(
                Code::NotFound,
                Reason::KeyNotFound,
                format!("key {key} does not exist"),
            )
            .resource(ENTRY_TYPE, &name, "the key does not exist"),
            Cause::StateMismatch { expected, actual } => Self::new(
                Code::FailedPrecondition,
                Reason::StateMismatch,
                match &actual {
                    Some(actual) => format!(
                        "key {key} was expected to be in state {}, and is in {}",
                        quoted(&expected),
                        quoted(actual)
                    ),
                    None => format!(
                        "key {key} was expected to be in state {}, and is in none",
                        quoted(&expected)
                    ),
                },
            )
            .violation("STATE", &name, "state")
            .with("expected", expected)
            .with("actual", actual.as_ref().map_or("", Name::as_str)),
            Cause::TransitionRefused(refused) => {
                let allowed = allowed(&refused);
                let RefusedMove { machine, from, to, .. } = *refused;
                let to = to.expect("a transition has a state to move to");
                let may = match allowed.as_str() {
                    "" => "and cannot move on".to_owned(),
                    allowed => format!(
                        "and can move to {}, not to {}",
                        cut(allowed.replace(',', ", "), METADATA_BYTES),
                        quoted(&to)
                    ),
                };
                Self::new(
                    Code::FailedPrecondition,
                    Reason::TransitionRefused,
                    format!(
                        "key {key} is in state {} of machine {} {may}",
                        quoted(&from),
                        quoted(&machine)
                    ),
                )
                .violation("TRANSITION", &name, "to")
                .with("machine", machine)
                .with("from", from)
                .with("to", to)
                .with("allowed", allowed)
            }
            Cause::StateNotFinal(refused) => {
                let allowed = allowed(&refused);
                let RefusedMove { machine, from, .. } = *refused;
                Self::new(
                    Code::FailedPrecondition,
                    Reason::StateNotFinal,
                    format!(
                        "key {key} is in state {} of machine {}, which is not final, and cannot be deleted",
                        quoted(&from), quoted(&machine)
                    ),
                )
                .violation("TRANSITION", &name, "state")
                .with("machine", machine)
                .with("state", from)
                .with("allowed", allowed)
            }
            Cause::NoMachine => Self::new(
                Code::FailedPrecondition,
                Reason::NoMachine,
                format!("key {key} lies under no machine's prefix"),
            )
            .violation("TYPE", &name, "machine"),
            Cause::MachineExists { revision } => Self::new(
                Code::AlreadyExists,
                Reason::MachineExists,
                format!("machine {key} exists, at revision {revision}"),
            )
            .with("revision", revision)
            .resource(MACHINE_TYPE, &name, "the machine exists"),
            Cause::MachineNotFound => Self::new(
                Code::NotFound,
                Reason::MachineNotFound,
                format!("machine {key} does not exist"),
            )
            .resource(MACHINE_TYPE, &name, "the machine does not exist"),
            Cause::MachineChanged { expected, actual } => Self::new(
                Code::Aborted,
                Reason::ExpectationFailed,
                format!("machine {key} was expected to have revision {expected}, and has {actual}"),
            )
            .violation("EXPECTATION", &name, "revision")
            .with("test", "revision")
            .with("expected", expected)
            .with("actual", actual),
            Cause::EntriesInState(stranded) => entries_in_state(&name, &key, *stranded),
            Cause::PrefixTaken { machine, key_prefix } => Self::new(
                Code::FailedPrecondition,
                Reason::PrefixTaken,
                format!(
                    "the prefix of machine {key} and that of machine {}, {}, overlap",
                    quoted(&machine),
                    quoted(&key_prefix)
                ),
            )
            .violation("MACHINE", &name, "key_prefix")
            .with("machine", machine)
            .with("key_prefix", cut(key_prefix.to_string(), METADATA_BYTES)),
            Cause::StateUnreachable { state } => BadArgument {
                field: format!("machine.states[{}]", quoted(&state)),
                reason: Reason::BadMachine,
                problem: "can never be reached from initial, and no key is in it".into(),
                limit: None,
                actual: None,
            }
            .into(),
            Cause::SessionNotFound { id } => Self::new(
                Code::NotFound,
                Reason::SessionNotFound,
                format!("session {} does not exist or has ended", quoted(&id)),
            )
            .resource(SESSION_TYPE, id.as_str(), "the session does not exist"),
            Cause::SessionExists { create_revision } => Self::new(
                Code::AlreadyExists,
                Reason::SessionExists,
                format!("session {key} exists, since revision {create_revision}"),
            )
            .with("create_revision", create_revision)
            .resource(SESSION_TYPE, &name, "the session exists"),
            Cause::SessionTakenOver {
                id,
                expected,
                actual,
            } => Self::new(
                Code::Aborted,
                Reason::SessionTakenOver,
                format!(
                    "session {} of revision {expected} was taken over: it is of revision {actual} now",
                    quoted(&id)
                ),
            )
            .violation("SESSION", id.as_str(), "create_revision")
            .with("expected", expected)
            .with("actual", actual),
            Cause::RequestIdReused => Self::new(
                Code::InvalidArgument,
                Reason::RequestIdReused,
                format!("request_id {key} was used before, for a request with other content"),
            )
            .details(|details| {
                details.add_bad_request_violation("request_id", "was used for other content");
            })
            .with("field", "request_id"),
            Cause::RequestIdsFull {
                limit,
                unit,
                retry_after,
            } => Self::new(
                Code::ResourceExhausted,
                Reason::Overloaded,
                format!("no more than {limit} {unit} are remembered, and none is forgotten early"),
            )
            .with("limit", limit)
            .retry_after(retry_after.max(RETRY_DELAY)),
            Cause::TooMany { what, limit } => Self::new(
                Code::ResourceExhausted,
                Reason::StoreFull,
                format!("there are {limit} {what}, and no more may be"),
            )
            .limit(limit, limit)
            .details(|details| {
                details.add_quota_failure_violation(what, format!("the limit is {limit}"));
            }),
            Cause::NotAnInt { kind } => Self::new(
                Code::FailedPrecondition,
                Reason::NotAnInt,
                format!("key {key} has a value of kind {kind}, and only to an int can be added"),
            )
            .with("actual", kind)
            .violation("TYPE", &name, "kind"),
            Cause::Overflow { value, delta } => Self::new(
                Code::OutOfRange,
                Reason::Overflow,
                format!("key {key}: {value} and {delta} add up to more than 64 bits can tell"),
            )
            .with("actual", value)
            .with("delta", delta)
            .violation("BOUND", &name, "64 bits"),
            Cause::BoundReached {
                bound,
                limit,
                value,
                delta,
            } => Self::new(
                Code::OutOfRange,
                Reason::BoundReached,
                format!("key {key}: {value} and {delta} add up to more than {bound} allows, which is {limit}"),
            )
            .with("bound", bound)
            .limit(limit, value)
            .with("delta", delta)
            .violation("BOUND", &name, bound),
            Cause::DiskFull(low) => disk_full(low),
            Cause::StoreFull { limit, actual } => Self::new(
                Code::ResourceExhausted,
                Reason::StoreFull,
                format!("the store would hold {actual} bytes, the limit is {limit}"),
            )
            .over_quota("store", limit, actual),
            Cause::AnswerTooLarge { limit, actual } => Self::new(
                Code::ResourceExhausted,
                Reason::AnswerTooLarge,
                format!("up to key {key} the answer would hold {actual} bytes of values, the limit is {limit}"),
            )
            .over_quota("answer", limit as u64, actual as u64),
        }
    }
}

/// A name, as it stands in a message.
fn quoted(name: &Name) -> String {
    cut(
        format!("{:?}", cut(name.to_string(), SHOWN_BYTES)),
        SHOWN_BYTES,
    )
}

/// Where a key may move, sorted and separated by commas, as far as it fits.
fn allowed(refused: &RefusedMove) -> String {
    let names: Vec<_> = refused.allowed.iter().map(Name::as_str).collect();
    cut(names.join(","), ALLOWED_BYTES)
}

fn entries_in_state(name: &str, machine: &str, stranded: Stranded) -> Refusal {
    let Stranded {
        count,
        example,
        state,
    } = stranded;
    let count = match count {
        Stranded::COUNT_MAX => format!("{count} or more"),
        count => count.to_string(),
    };
    let keys = if count == "1" { "key" } else { "keys" };
    let what = match &state {
        Some(state) => format!("in state {}", quoted(state)),
        None => "under that prefix".to_owned(),
    };
    Refusal::new(
        Code::FailedPrecondition,
        Reason::EntriesInState,
        format!(
            "machine {machine} would strand {count} {keys} {what}, such as {}",
            quoted(&example)
        ),
    )
    .violation("MACHINE", name, "entries")
    .with("count", count)
    .with("example", cut(example.to_string(), METADATA_BYTES))
    .with("state", state.as_ref().map_or("", Name::as_str))
}

fn expectation_failed(name: &str, key: &str, mismatch: &Mismatch) -> Refusal {
    let entry = mismatch.actual.as_ref();
    let revision = |revision: fn(&Entry) -> i64| entry.map_or(0, revision);
    let (test, expected, actual) = match &mismatch.expected {
        Condition::Revision(expected) => (
            "revision",
            expected.to_string(),
            revision(|entry| entry.revision).to_string(),
        ),
        Condition::CreateRevision(expected) => (
            "create_revision",
            expected.to_string(),
            revision(|entry| entry.create_revision).to_string(),
        ),
        Condition::Value(expected) => (
            "value",
            shown(expected),
            entry.map_or(String::new(), |entry| shown(&entry.value)),
        ),
        Condition::Session(expected) => (
            "session",
            expected.as_ref().map_or("", Name::as_str).to_owned(),
            entry
                .and_then(Entry::session)
                .map_or("", Name::as_str)
                .to_owned(),
        ),
        Condition::Exists(_) | Condition::State(_) => unreachable!("have causes of their own"),
    };
    let message = match (&mismatch.expected, entry) {
        (Condition::Revision(0) | Condition::CreateRevision(0), _) => {
            format!("key {key} was expected not to exist, and has {test} {actual}")
        }
        (_, None) => format!(
            "key {key} was expected to have {test} {}, and does not exist",
            cut(expected.clone(), SHOWN_BYTES)
        ),
        (_, Some(_)) => format!(
            "key {key} was expected to have {test} {}, and has {}",
            cut(expected.clone(), SHOWN_BYTES),
            cut(actual.clone(), SHOWN_BYTES)
        ),
    };
    Refusal::new(Code::Aborted, Reason::ExpectationFailed, message)
        .violation("EXPECTATION", name, test)
        .with("test", test)
        .with("expected", expected)
        .with(
            "actual",
            if entry.is_some() {
                actual
            } else {
                String::new()
            },
        )
}

/// A value as the JSON of the contract's `Value`, cut where it is long.
fn shown(value: &Value) -> String {
    let json = match value {
        Value::Int(int) => format!("{{\"int\":\"{int}\"}}"),
        Value::Text(text) => {
            let mut json = String::from("{\"text\":\"");
            // More than what is shown in the end, so that a large value is not escaped for nothing.
            for char in text.chars().take(METADATA_BYTES) {
                match char {
                    '"' | '\\' => json.extend(['\\', char]),
                    char if char.is_control() => {
                        write!(json, "\\u{:04x}", char as u32).expect("a String takes all");
                    }
                    char => json.push(char),
                }
            }
            json + "\"}"
        }
        Value::Bytes(bytes) => {
            let head = &bytes[..bytes.len().min(METADATA_BYTES)];
            format!("{{\"bytes\":\"{}\"}}", base64(head))
        }
    };
    cut(json, METADATA_BYTES)
}

/// The beginning of `text`, if it has more than `limit` bytes.
fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - '…'.len_utf8()));
        text.push('…');
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;

//! The machine rejects an operation on a key.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::{METADATA_BYTES, SHOWN_BYTES, Subject, cut, json, quoted};
use crate::machine::{
    ALLOWED_BYTES, Condition, Entry, Mismatch, Name, RefusedTransition, Revision,
};

/// `ResourceInfo.resource_type` of a key.
const ENTRY_TYPE: &str = "soloist.v1.Entry";

pub(super) fn exists(key: &Subject, revision: Revision) -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        Reason::KeyExists,
        format!("key {} exists, at revision {revision}", key.quoted),
    )
    .with("revision", revision)
    .resource(ENTRY_TYPE, &key.name, "the key exists")
}

pub(super) fn not_found(key: &Subject) -> Refusal {
    Refusal::new(
        Code::NotFound,
        Reason::KeyNotFound,
        format!("key {} does not exist", key.quoted),
    )
    .resource(ENTRY_TYPE, &key.name, "the key does not exist")
}

pub(super) fn expectation_failed(key: &Subject, mismatch: &Mismatch) -> Refusal {
    let entry = mismatch.actual.as_ref();
    let (test, expected, actual) = tested(&mismatch.expected, entry);
    let quoted = &key.quoted;
    let message = match (&mismatch.expected, entry) {
        (Condition::Revision(0) | Condition::CreateRevision(0), _) => {
            format!("key {quoted} was expected not to exist, and has {test} {actual}")
        }
        (_, None) => format!(
            "key {quoted} was expected to have {test} {}, and does not exist",
            cut(expected.clone(), SHOWN_BYTES)
        ),
        (_, Some(_)) => format!(
            "key {quoted} was expected to have {test} {}, and has {}",
            cut(expected.clone(), SHOWN_BYTES),
            cut(actual.clone(), SHOWN_BYTES)
        ),
    };
    let actual = if entry.is_some() {
        actual
    } else {
        String::new()
    };
    Refusal::new(Code::Aborted, Reason::ExpectationFailed, message)
        .violation("EXPECTATION", &key.name, test)
        .with("test", test)
        .with("expected", expected)
        .with("actual", actual)
}

/// The field that `condition` tests, the text that it expects there, and the text that `entry` has there.
fn tested(condition: &Condition, entry: Option<&Entry>) -> (&'static str, String, String) {
    let revision = |revision: fn(&Entry) -> i64| entry.map_or(0, revision).to_string();
    match condition {
        Condition::Revision(expected) => (
            "revision",
            expected.to_string(),
            revision(|entry| entry.revision),
        ),
        Condition::CreateRevision(expected) => (
            "create_revision",
            expected.to_string(),
            revision(|entry| entry.create_revision),
        ),
        Condition::Value(expected) => (
            "value",
            json(expected),
            entry.map_or(String::new(), |entry| json(&entry.value)),
        ),
        Condition::Session(expected) => {
            let actual = entry.and_then(Entry::session);
            let id = |id: Option<&Name>| id.map_or("", Name::as_str).to_owned();
            ("session", id(expected.as_ref()), id(actual))
        }
        Condition::Exists(_) | Condition::State(_) => {
            unreachable!("these conditions have causes of their own")
        }
    }
}

pub(super) fn state_mismatch(key: &Subject, expected: Name, actual: Option<Name>) -> Refusal {
    let found = match &actual {
        Some(actual) => format!("is in {}", quoted(actual)),
        None => "is in no state".to_owned(),
    };
    Refusal::new(
        Code::FailedPrecondition,
        Reason::StateMismatch,
        format!(
            "key {} was expected to be in state {}, and {found}",
            key.quoted,
            quoted(&expected)
        ),
    )
    .violation("STATE", &key.name, "state")
    .with("expected", expected)
    .with("actual", actual.as_ref().map_or("", Name::as_str))
}

pub(super) fn transition_refused(key: &Subject, refused: RefusedTransition) -> Refusal {
    let allowed = allowed(&refused);
    let RefusedTransition {
        machine, from, to, ..
    } = refused;
    let to = to.expect("a transition names the state to move to");
    let may = match allowed.as_str() {
        "" => "and cannot move on".to_owned(),
        allowed => format!(
            "and can move to {}, not to {}",
            cut(allowed.replace(',', ", "), METADATA_BYTES),
            quoted(&to)
        ),
    };
    Refusal::new(
        Code::FailedPrecondition,
        Reason::TransitionRefused,
        format!(
            "key {} is in state {} of machine {} {may}",
            key.quoted,
            quoted(&from),
            quoted(&machine)
        ),
    )
    .violation("TRANSITION", &key.name, "to")
    .with("machine", machine)
    .with("from", from)
    .with("to", to)
    .with("allowed", allowed)
}

pub(super) fn state_not_final(key: &Subject, refused: RefusedTransition) -> Refusal {
    let allowed = allowed(&refused);
    let RefusedTransition { machine, from, .. } = refused;
    Refusal::new(
        Code::FailedPrecondition,
        Reason::StateNotFinal,
        format!(
            "key {} is in state {} of machine {}, which is not final, and cannot be deleted",
            key.quoted,
            quoted(&from),
            quoted(&machine)
        ),
    )
    .violation("TRANSITION", &key.name, "state")
    .with("machine", machine)
    .with("state", from)
    .with("allowed", allowed)
}

/// The states that the key may move to, sorted and separated by commas, as many as fit.
fn allowed(refused: &RefusedTransition) -> String {
    let names: Vec<_> = refused.allowed.iter().map(Name::as_str).collect();
    cut(names.join(","), ALLOWED_BYTES)
}

pub(super) fn no_machine(key: &Subject) -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        Reason::NoMachine,
        format!(
            "key {} is not under the key_prefix of a machine",
            key.quoted
        ),
    )
    .violation("TYPE", &key.name, "machine")
}

pub(super) fn not_an_int(key: &Subject, kind: &'static str) -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        Reason::NotAnInt,
        format!(
            "key {} has a value of kind {kind}, but Add needs an int",
            key.quoted
        ),
    )
    .with("actual", kind)
    .violation("TYPE", &key.name, "kind")
}

pub(super) fn overflow(key: &Subject, value: i64, delta: i64) -> Refusal {
    Refusal::new(
        Code::OutOfRange,
        Reason::Overflow,
        format!(
            "key {}: {value} plus {delta} does not fit into 64 bits",
            key.quoted
        ),
    )
    .with("actual", value)
    .with("delta", delta)
    .violation("BOUND", &key.name, "64 bits")
}

pub(super) fn bound_reached(
    key: &Subject,
    bound: &'static str,
    limit: i64,
    value: i64,
    delta: i64,
) -> Refusal {
    Refusal::new(
        Code::OutOfRange,
        Reason::BoundReached,
        format!(
            "key {}: {value} plus {delta} is beyond {bound}, which is {limit}",
            key.quoted
        ),
    )
    .with("bound", bound)
    .limit(limit, value)
    .with("delta", delta)
    .violation("BOUND", &key.name, bound)
}

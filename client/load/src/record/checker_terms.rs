//! Answers in the terms of the checker.

use soloist::v1::error::Reason;
use soloist::v1::op_result::Result as Answer;
use soloist::v1::{self, condition, value};
use soloist_client::Error;
use soloist_verify::{
    Action, Actual, Entry, Expectation, Machine, Observed, Outcome, Refusal, Value,
};

use crate::plan::mix::STATES;
use crate::workload::operation::OpOutcome;

/// What an answer says of one operation.
pub(crate) fn outcome(action: Action, verdict: &OpOutcome, answer: Option<&Answer>) -> Outcome {
    let done = |revision: i64, observed: Observed| Outcome::Done { revision, observed };
    match (verdict, answer) {
        (OpOutcome::Refused(error, reason), _) => refused(action, error, *reason),
        (OpOutcome::Failed(failure), _) => match (action, failure.outcome) {
            // A read of which nothing is known has changed nothing.
            (Action::Read, _) | (_, soloist_client::Outcome::NotApplied) => Outcome::NotDone,
            (_, soloist_client::Outcome::Unknown) => Outcome::Unknown,
        },
        (OpOutcome::Done { .. }, Some(Answer::Read(read))) => {
            let entry = read.entry.as_ref().and_then(wire_entry);
            done(read.revision, Observed::Entry(entry))
        }
        (OpOutcome::Done { .. }, Some(Answer::Write(write))) => {
            done(write.revision, Observed::NotReported)
        }
        (OpOutcome::Done { .. }, Some(Answer::Add(add))) => {
            done(add.revision, Observed::Sum(add.value))
        }
        (OpOutcome::Done { .. }, Some(Answer::Delete(delete))) => {
            let previous = delete.previous.as_ref().and_then(wire_entry);
            done(delete.revision, Observed::Entry(previous))
        }
        (OpOutcome::Done { .. }, Some(Answer::Transition(transition))) => {
            match state_number(&transition.from) {
                Some(from) => done(transition.revision, Observed::FromState(from)),
                None => done(transition.revision, Observed::NotReported),
            }
        }
        (OpOutcome::Done { .. }, Some(Answer::Error(_)) | None) => Outcome::Unknown,
    }
}

/// What a refusal tells of the key.
pub(crate) fn refused(action: Action, error: &Error, reason: Reason) -> Outcome {
    let number = |name: &str| error.metadata(name).map(|text| text.trim_matches('"'));
    let revision = |name: &str| match number(name) {
        Some("") => Some(0),
        Some(text) => text.parse().ok(),
        None => None,
    };
    let refusal = match reason {
        Reason::ExpectationFailed => {
            Refusal::Expectation(revision("actual").map_or(Actual::NotReported, Actual::Revision))
        }
        Reason::KeyExists => {
            Refusal::Expectation(revision("revision").map_or(Actual::NotReported, Actual::Revision))
        }
        Reason::KeyNotFound => match action {
            Action::Transition { .. } => Refusal::Missing,
            _ => Refusal::Expectation(Actual::Revision(0)),
        },
        Reason::TransitionRefused => match number("from").and_then(state_number) {
            Some(from) => Refusal::IllegalTransition { from },
            None => return Outcome::NotDone,
        },
        Reason::Overflow => Refusal::Overflow,
        // It tells nothing that the checker knows how to use.
        _ => return Outcome::NotDone,
    };
    Outcome::Refused(refusal)
}

pub(crate) fn expectation(condition: &v1::Condition) -> Option<Expectation> {
    match condition.test.as_ref()? {
        condition::Test::Exists(exists) => Some(Expectation::Exists(*exists)),
        condition::Test::Revision(revision) => Some(Expectation::Revision(*revision)),
        condition::Test::Value(value) => wire_value(value).map(Expectation::Value),
        // No workload has them.
        _ => None,
    }
}

pub(crate) fn wire_value(value: &v1::Value) -> Option<Value> {
    Some(match value.kind.as_ref()? {
        value::Kind::Int(int) => Value::Int(*int),
        value::Kind::Text(text) => Value::text(text),
        value::Kind::Bytes(bytes) => Value::bytes(bytes),
    })
}

pub(crate) fn wire_entry(entry: &v1::Entry) -> Option<Entry> {
    Some(Entry {
        value: wire_value(entry.value.as_ref()?)?,
        revision: entry.revision,
        state: state_number(&entry.state),
    })
}

pub(crate) fn state_number(name: &str) -> Option<u8> {
    let position = STATES.iter().position(|state| *state == name)?;
    u8::try_from(position).ok()
}

/// The machine that `prepare` defines.
pub(crate) fn machine() -> Machine {
    Machine {
        name: "connection".to_owned(),
        states: STATES.map(str::to_owned).to_vec(),
        initial: 0,
        next: vec![vec![1], vec![0, 2], vec![0]],
    }
}

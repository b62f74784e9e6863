//! Operations, answers and keys in the terms of the checker.

use soloist::v1::error::Reason;
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, condition, value};
use soloist_client::Error;
use soloist_verify::{
    Action, Actual, Entry, Expectation, Machine, Observed, Outcome, Refusal, Value,
};

use crate::plan::mix::STATES;
use crate::workload::outcome::OpOutcome;

/// Returns the outcome of an operation. `answer` is that of the server, if there is one.
pub(crate) fn outcome_of_answer(
    action: Action,
    outcome: &OpOutcome,
    answer: Option<&OpAnswer>,
) -> Outcome {
    match outcome {
        OpOutcome::Refused(error, reason) => refusal(action, error, *reason),
        OpOutcome::Expected(_) => Outcome::Unknown,
        OpOutcome::Failed(failure) => match (action, failure.outcome) {
            // A Read changes nothing, even if its outcome is unknown.
            (Action::Read, _) | (_, soloist_client::Outcome::NotApplied) => Outcome::NotDone,
            (_, soloist_client::Outcome::Unknown) => Outcome::Unknown,
        },
        OpOutcome::Done { .. } => done(answer),
    }
}

fn done(answer: Option<&OpAnswer>) -> Outcome {
    let (revision, observed) = match answer {
        Some(OpAnswer::Read(read)) => {
            let entry = read.entry.as_ref().and_then(entry_of_wire);
            (read.revision, Observed::Entry(entry))
        }
        Some(OpAnswer::Write(write)) => (write.revision, Observed::NotReported),
        Some(OpAnswer::Add(add)) => (add.revision, Observed::Sum(add.value)),
        Some(OpAnswer::Delete(delete)) => {
            let previous = delete.previous.as_ref().and_then(entry_of_wire);
            (delete.revision, Observed::Entry(previous))
        }
        Some(OpAnswer::Transition(transition)) => {
            let from = state_number(&transition.from);
            (
                transition.revision,
                from.map_or(Observed::NotReported, Observed::FromState),
            )
        }
        Some(OpAnswer::Error(_)) | None => return Outcome::Unknown,
    };
    Outcome::Done { revision, observed }
}

/// Returns what a refusal says about the key.
fn refusal(action: Action, error: &Error, reason: Reason) -> Outcome {
    let metadata = |name: &str| error.metadata(name).map(|text| text.trim_matches('"'));
    let expectation = |name: &str| {
        let revision = match metadata(name) {
            Some("") => Some(0),
            Some(text) => text.parse().ok(),
            None => None,
        };
        Refusal::Expectation(revision.map_or(Actual::NotReported, Actual::Revision))
    };
    Outcome::Refused(match reason {
        Reason::ExpectationFailed => expectation("actual"),
        Reason::KeyExists => expectation("revision"),
        Reason::KeyNotFound => match action {
            Action::Transition { .. } => Refusal::Missing,
            _ => Refusal::Expectation(Actual::Revision(0)),
        },
        Reason::TransitionRefused => match metadata("from").and_then(state_number) {
            Some(from) => Refusal::IllegalTransition { from },
            None => return Outcome::NotDone,
        },
        Reason::Overflow => Refusal::Overflow,
        // Any other refusal says nothing that the checker uses.
        _ => return Outcome::NotDone,
    })
}

/// Returns the condition of an operation. `None` for conditions that no workload has.
pub(crate) fn expectation_of_wire(condition: &v1::Condition) -> Option<Expectation> {
    match condition.test.as_ref()? {
        condition::Test::Exists(exists) => Some(Expectation::Exists(*exists)),
        condition::Test::Revision(revision) => Some(Expectation::Revision(*revision)),
        condition::Test::Value(value) => value_of_wire(value).map(Expectation::Value),
        _ => None,
    }
}

/// Returns a value. `None` if the message has none.
pub(crate) fn value_of_wire(value: &v1::Value) -> Option<Value> {
    Some(match value.kind.as_ref()? {
        value::Kind::Int(int) => Value::Int(*int),
        value::Kind::Text(text) => Value::text(text),
        value::Kind::Bytes(bytes) => Value::bytes(bytes),
    })
}

/// Returns an entry. `None` if it has no value.
pub(crate) fn entry_of_wire(entry: &v1::Entry) -> Option<Entry> {
    Some(Entry {
        value: value_of_wire(entry.value.as_ref()?)?,
        revision: entry.revision,
        state: state_number(&entry.state),
    })
}

/// Returns the number of a state of the [machine]. `None` for any other name.
pub(crate) fn state_number(name: &str) -> Option<u8> {
    let position = STATES.iter().position(|state| *state == name)?;
    u8::try_from(position).ok()
}

/// Returns the machine of the workload `transition`.
pub(crate) fn machine() -> Machine {
    Machine {
        name: "connection".to_owned(),
        states: STATES.map(str::to_owned).to_vec(),
        initial: 0,
        next: vec![vec![1], vec![0, 2], vec![0]],
    }
}

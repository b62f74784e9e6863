//! A violation for people: one line an operation, with its times in microseconds since the first.

use std::fmt::Write as _;

use crate::history::{History, Told};
use crate::operation::{
    Action, Actual, Entry, Expectation, NEVER, Operation, Outcome, Refusal, Seen, StateNumber,
    Value,
};
use crate::packed::Record;
use crate::verdict::Violation;

/// More lines than these nobody reads; the file has all.
const LINES: usize = 60;

/// What is wrong, what each key was before, and what was done, in the order of starts.
pub fn timeline(violation: &Violation) -> String {
    let history = &violation.evidence;
    let mut text = match &violation.key {
        Some(key) => format!("key {key:?}: {}", violation.what),
        None => violation.what.clone(),
    };
    for key in &history.keys {
        let before = match key.found {
            None => "not looked at".into(),
            Some(found) => format!(
                "{} at store revision {}",
                entry_text(found.entry),
                found.revision
            ),
        };
        let _ = write!(text, "\n  before: {:?} {before}", key.name);
    }
    let zero = history.operations.first().map_or(0, Record::start);
    let places = history.operations.iter().take(LINES);
    for operation in places.map(Record::operation) {
        let _ = write!(text, "\n  {}", line(history, &operation, zero));
    }
    for watch in &history.watches {
        let _ = write!(text, "\n  a watch after revision {}:", watch.after);
        for (_, told) in watch.told.iter().take(LINES) {
            let _ = match told {
                Told::Progress { revision } => write!(text, "\n    all up to {revision}"),
                Told::Event {
                    key,
                    revision,
                    entry,
                } => {
                    let name = &history.keys[*key as usize].name;
                    write!(
                        text,
                        "\n    revision {revision}: {name:?} {}",
                        entry_text(*entry)
                    )
                }
            };
        }
    }
    let more = history.operations.len().saturating_sub(LINES);
    if more > 0 {
        let _ = write!(text, "\n  and {more} operations more");
    }
    text
}

/// One operation: its client, from when to when, what was asked, what was answered.
fn line(history: &History, operation: &Operation, zero: u64) -> String {
    let micros = |time: u64| (time.saturating_sub(zero)) as f64 / 1e3;
    let until = match operation.end {
        NEVER => format!("{:>10}", "never"),
        end => format!("{:>10.1}", micros(end)),
    };
    let key = &history.keys[operation.key as usize].name;
    let asked = asked(history, operation);
    let answered = answered(history, operation);
    format!(
        "client {:>4} message {:>4} {:>10.1} to {until} us  {key:?} {asked}: {answered}",
        operation.client,
        operation.message,
        micros(operation.start),
    )
}

fn value_text(value: Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::Digest(digest) => format!("#{digest:016x}"),
    }
}

fn entry_text(entry: Option<Entry>) -> String {
    match entry {
        None => "nothing".into(),
        Some(entry) => format!("{} of revision {}", value_text(entry.value), entry.revision),
    }
}

fn state_text(history: &History, key: u32, state: StateNumber) -> String {
    let name = history
        .machine(key)
        .and_then(|it| it.states.get(usize::from(state)));
    name.cloned().unwrap_or_else(|| format!("state {state}"))
}

fn asked(history: &History, operation: &Operation) -> String {
    let state = |state| state_text(history, operation.key, state);
    let asked = match operation.action {
        Action::Read => "read".into(),
        Action::Write(value) => format!("write {}", value_text(value)),
        Action::Add(delta) => format!("add {delta}"),
        Action::Delete => "delete".into(),
        Action::Transition { to, value: None } => format!("move to {}", state(to)),
        Action::Transition {
            to,
            value: Some(value),
        } => {
            format!("move to {} with {}", state(to), value_text(value))
        }
    };
    match operation.expect {
        None => asked,
        Some(Expectation::Exists(true)) => format!("{asked} if it is there"),
        Some(Expectation::Exists(false)) => format!("{asked} if it is not there"),
        Some(Expectation::Revision(revision)) => format!("{asked} if of revision {revision}"),
        Some(Expectation::Value(value)) => format!("{asked} if it is {}", value_text(value)),
        Some(Expectation::State(expected)) => format!("{asked} if in {}", state(expected)),
    }
}

fn answered(history: &History, operation: &Operation) -> String {
    let state = |state| state_text(history, operation.key, state);
    match operation.outcome {
        Outcome::Unknown => "unknown".into(),
        Outcome::NotDone => "not done".into(),
        Outcome::Done { revision, seen } => match seen {
            Seen::Untold => format!("done at revision {revision}"),
            Seen::Entry(entry) => format!("{}, at revision {revision}", entry_text(entry)),
            Seen::Sum(sum) => format!("{sum}, at revision {revision}"),
            Seen::From(from) => format!("from {}, at revision {revision}", state(from)),
        },
        Outcome::Refused(refusal) => match refusal {
            Refusal::Expectation(Actual::Untold) => "refused".into(),
            Refusal::Expectation(Actual::Revision(actual)) => {
                format!("refused, it is of revision {actual}")
            }
            Refusal::Expectation(Actual::Value(None)) | Refusal::Missing => {
                "refused, it is not there".into()
            }
            Refusal::Expectation(Actual::Value(Some(value))) => {
                format!("refused, it is {}", value_text(value))
            }
            Refusal::Expectation(Actual::State(None)) => "refused, it is in no state".into(),
            Refusal::Expectation(Actual::State(Some(actual))) => {
                format!("refused, it is in {}", state(actual))
            }
            Refusal::Move { from } => format!("refused, it is in {}", state(from)),
            Refusal::NotFinal { state: is } => format!("refused, it is in {}", state(is)),
            Refusal::NoMachine => "refused, it has no machine".into(),
            Refusal::NotInt => "refused, it is no int".into(),
            Refusal::Overflow => "refused, past 64 bits".into(),
        },
    }
}

//! Shows a violation to people: what is wrong, what each key was before, and one line for each operation.

use std::fmt;

use crate::history::{History, Watch, WatchUpdate};
use crate::operation::{
    Action, Actual, Entry, Expectation, NEVER, NO_REVISION, Observed, Operation, Outcome, Refusal,
    StateNumber, Value,
};
use crate::packed::PackedOperation;
use crate::verdict::Violation;

/// Operations, and updates of a watch, that are shown. Nobody reads more; a file of the evidence has all.
const LINES_MAX: usize = 60;

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = &self.evidence;
        if let Some(key) = &self.key {
            write!(formatter, "key {key:?}: ")?;
        }
        write!(formatter, "{}", self.description)?;
        for key in &history.keys {
            write!(formatter, "\n  before: {:?} ", key.name)?;
            match key.initial {
                None => write!(formatter, "not looked at")?,
                Some(initial) => write!(
                    formatter,
                    "{} at store revision {}",
                    entry_text(initial.entry),
                    initial.revision
                )?,
            }
        }
        let first_start = history.operations.first().map_or(0, PackedOperation::start);
        let shown = history.operations.iter().take(LINES_MAX);
        for operation in shown.map(PackedOperation::unpack) {
            let line = operation_text(history, &operation, first_start);
            write!(formatter, "\n  {line}")?;
        }
        for watch in &history.watches {
            write_watch(formatter, history, watch)?;
        }
        match history.operations.len().saturating_sub(LINES_MAX) {
            0 => Ok(()),
            more => write!(formatter, "\n  and {more} operations more"),
        }
    }
}

fn write_watch(
    formatter: &mut fmt::Formatter<'_>,
    history: &History,
    watch: &Watch,
) -> fmt::Result {
    write!(formatter, "\n  a watch after revision {}:", watch.after)?;
    for (_, update) in watch.updates.iter().take(LINES_MAX) {
        match update {
            WatchUpdate::Progress { revision } => {
                write!(formatter, "\n    everything up to revision {revision}")?;
            }
            WatchUpdate::Event {
                key,
                revision,
                entry,
            } => {
                let name = &history.keys[*key as usize].name;
                let entry = entry_text(*entry);
                write!(formatter, "\n    revision {revision}: {name:?} {entry}")?;
            }
        }
    }
    Ok(())
}

/// One operation: who asked, from when to when, for what, and the outcome. Times are microseconds since the first start.
fn operation_text(history: &History, operation: &Operation, first_start: u64) -> String {
    let micros = |time: u64| time.saturating_sub(first_start) as f64 / 1e3;
    let end = match operation.end {
        NEVER => format!("{:>10}", "never"),
        end => format!("{:>10.1}", micros(end)),
    };
    let key = &history.keys[operation.key as usize].name;
    let request = request_text(history, operation);
    let outcome = outcome_text(history, operation);
    format!(
        "client {:>4} message {:>4} {:>10.1} to {end} us  {key:?} {request}: {outcome}",
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
        Some(entry) if entry.revision == NO_REVISION => value_text(entry.value),
        Some(entry) => format!("{} of revision {}", value_text(entry.value), entry.revision),
    }
}

fn state_text(history: &History, key: u32, state: StateNumber) -> String {
    let name = history
        .machine(key)
        .and_then(|it| it.states.get(usize::from(state)));
    name.cloned().unwrap_or_else(|| format!("state {state}"))
}

fn request_text(history: &History, operation: &Operation) -> String {
    let state = |state| state_text(history, operation.key, state);
    let action = match operation.action {
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
        None => action,
        Some(Expectation::Exists(true)) => format!("{action} if it exists"),
        Some(Expectation::Exists(false)) => format!("{action} if it does not exist"),
        Some(Expectation::Revision(revision)) => format!("{action} if of revision {revision}"),
        Some(Expectation::Value(value)) => format!("{action} if it is {}", value_text(value)),
        Some(Expectation::State(expected)) => format!("{action} if in {}", state(expected)),
    }
}

fn outcome_text(history: &History, operation: &Operation) -> String {
    let state = |state| state_text(history, operation.key, state);
    match operation.outcome {
        Outcome::Unknown => "unknown".into(),
        Outcome::NotDone => "not done".into(),
        Outcome::Done { revision, observed } => {
            let text = match observed {
                Observed::NotReported if revision == NO_REVISION => "done".to_owned(),
                Observed::NotReported => return format!("done at revision {revision}"),
                Observed::Entry(entry) => entry_text(entry),
                Observed::Sum(sum) => sum.to_string(),
                Observed::FromState(from) => format!("from {}", state(from)),
            };
            match revision {
                NO_REVISION => text,
                revision => format!("{text}, at revision {revision}"),
            }
        }
        Outcome::Refused(refusal) => match refusal {
            Refusal::Expectation(Actual::NotReported) => "refused".into(),
            Refusal::Expectation(Actual::Revision(actual)) => {
                format!("refused, it is of revision {actual}")
            }
            Refusal::Expectation(Actual::Value(None)) | Refusal::Missing => {
                "refused, it does not exist".into()
            }
            Refusal::Expectation(Actual::Value(Some(value))) => {
                format!("refused, it is {}", value_text(value))
            }
            Refusal::Expectation(Actual::State(None)) => "refused, it is in no state".into(),
            Refusal::Expectation(Actual::State(Some(actual))) => {
                format!("refused, it is in {}", state(actual))
            }
            Refusal::IllegalTransition { from } => format!("refused, it is in {}", state(from)),
            Refusal::NotFinal { state: is } => format!("refused, it is in {}", state(is)),
            Refusal::NoMachine => "refused, it has no machine".into(),
            Refusal::NotInt => "refused, it is not an integer".into(),
            Refusal::Overflow => "refused, the sum needs more than 64 bits".into(),
        },
    }
}

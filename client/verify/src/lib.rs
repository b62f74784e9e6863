//! Tells whether the answers of a key-value store can all be true: a linearizability checker.
//!
//! Record what clients asked and were answered, with the times, as a [`History`]; [`check`] searches for one order of the
//! operations in which each takes effect at one moment between its start and its end, and which explains every answer. If
//! there is none, the store has broken its promise, and the [`Verdict`] has the smallest part of the history that shows it.
//!
//! The checker knows the operations of Soloist: Read, Write, Add, Delete, Transition and List, conditions, Batches and
//! Pipelines, unknown outcomes, the revisions in answers, and watches. It does no I/O and reads no clock.
//!
//! ```
//! use soloist_verify::{
//!     Action, Capacity, Entry, History, Initial, Key, MessageKind, Observed, Options, Outcome,
//!     Recorder, Request, Value, Verdict, check,
//! };
//!
//! let on_a = |action| Request { key: 0, action, expect: None };
//! let done = |revision, observed| Outcome::Done { revision, observed };
//! let shows = |value, revision| {
//!     Observed::Entry(Some(Entry { value: Value::Int(value), revision, state: None }))
//! };
//!
//! let capacity = Capacity::new(1_000);
//! let mut writer = Recorder::new(0, capacity.clone());
//! let mut reader = Recorder::new(1, capacity);
//! // At 10 the writer writes 1, is answered at 20, and writes 2.
//! let first = writer.begin(MessageKind::Call, 1, 10)?;
//! writer.end(first, 20, [(on_a(Action::Write(Value::Int(1))), done(1, Observed::NotReported))]);
//! let second = writer.begin(MessageKind::Call, 1, 30)?;
//! writer.end(second, 40, [(on_a(Action::Write(Value::Int(2))), done(2, Observed::NotReported))]);
//! // The reader asks at 50, when both writes are over, and is shown the first.
//! let read = reader.begin(MessageKind::Call, 1, 50)?;
//! reader.end(read, 60, [(on_a(Action::Read), done(2, shows(1, 1)))]);
//!
//! let keys = vec![Key::new("a", Some(Initial::default()))];
//! let history = History::merge(keys, vec![], [writer, reader])?;
//! let Verdict::NotLinearizable(violations) = check(&history, Options::default())?.verdict else {
//!     panic!("a stale read");
//! };
//! println!("{}", violations[0]);
//! # assert!(violations[0].to_string().contains("read: 1 of revision 1, at revision 2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod deadline;
mod display;
mod file;
mod history;
mod judge;
mod key;
mod model;
mod operation;
mod options;
mod packed;
mod recorder;
mod register;
mod resolve;
mod revision_order;
mod revisions;
mod search;
mod shared_messages;
mod shrink;
mod verdict;
mod watch;

#[cfg(test)]
mod tests;

pub use check::{Judged, check, judge};
pub use deadline::Deadline;
pub use file::ReadError;
pub use history::{History, Initial, Key, Machine, Watch, WatchUpdate};
pub use operation::{
    Action, Actual, Entry, Expectation, MessageKind, NEVER, Observed, Operation, Outcome, Refusal,
    StateNumber, Value,
};
pub use options::{IN_FLIGHT_MAX, Limits, Observer, Options, Stage, StopReason, ValueSearch};
pub use packed::PackedOperation;
pub use recorder::{Capacity, Invocation, RecordError, Recorder, Request};
pub use verdict::{InvalidHistory, Report, UndecidedKey, Verdict, Violation, ViolationKind};

//! Whether what a server answered can be true: the history of a run, and the check that there is one order of all that
//! was done, in which each operation takes effect between its start and its end, that explains every answer.
//!
//! `history` is recorded while the run goes on, out of `operation`s; `file` and `lines` keep it. `check` comes to the
//! verdict with `store`, `witness`, `search`, `messages` and `watch`, which go by the rules in `model`; `shrink` and `timeline` show
//! what is wrong to people.

#![allow(missing_docs)] // Until the names are settled.

mod check;
mod file;
mod history;
mod judge;
mod key;
mod messages;
mod model;
mod operation;
mod options;
mod packed;
mod patience;
mod recorder;
mod resolve;
mod search;
mod shrink;
mod store;
mod timeline;
mod verdict;
mod watch;
mod witness;

#[cfg(test)]
mod tests;

pub use check::check;
pub use file::{ReadError, read, write};
pub use history::{Found, History, Key, Machine, Told, Watched};
pub use operation::{
    Action, Actual, Entry, Expectation, NEVER, Operation, Outcome, Refusal, Seen, StateNumber,
    Travel, Value,
};
pub use options::{BlackBox, Checks, Effort, SLOTS, Why};
pub use packed::Record;
pub use patience::Patience;
pub use recorder::{Asked, Begun, RecordError, Recorder, Room};
pub use timeline::timeline;
pub use verdict::{BadHistory, GaveUp, Kind, Report, Verdict, Violation};

//! Whether what a server answered can be true: the history of a run, and the check that there is one order of all that
//! was done, in which each operation takes effect between its start and its end, that explains every answer.
//!
//! `history` is recorded while the run goes on, out of `operation`s; `file` and `lines` keep it. `check` comes to the
//! verdict with `store`, `witness`, `search`, `messages` and `watch`, which go by the rules in `model`; `shrink` and `timeline` show
//! what is wrong to people.

#![allow(missing_docs)] // Until the names are settled.

pub mod check;
pub mod file;
pub mod history;
mod key;
pub mod lines;
mod messages;
mod model;
pub mod operation;
pub mod patience;
mod search;
mod shrink;
mod store;
pub mod timeline;
mod watch;
mod witness;

pub use search::{Effort, SLOTS, Why};

#[cfg(test)]
mod tests;

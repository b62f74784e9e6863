//! Whether what a server answered can be true: the history of a run, and the check that there is one order of all that
//! was done, in which each operation takes effect between its start and its end, that explains every answer.
//!
//! `history` is recorded while the run goes on, out of `operation`s; `file` and `lines` keep it. `check` comes to the
//! verdict with `store`, `witness`, `search`, `messages` and `watch`, which go by the rules in `model`; `shrink` and `timeline` show
//! what is wrong to people.

pub(crate) mod check;
pub(crate) mod file;
pub(crate) mod history;
mod key;
pub(crate) mod lines;
mod messages;
mod model;
pub(crate) mod operation;
pub(crate) mod patience;
pub(crate) mod search;
mod shrink;
mod store;
pub(crate) mod timeline;
mod watch;
mod witness;

#[cfg(test)]
mod tests;

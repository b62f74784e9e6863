//! How operations travel: the loops that send and receive them.
//!
//! [`threads`] starts the threads of a run; each is a [`thread`]. With the engines `unary` and `pipeline`, [`calls`] runs a
//! task for each [`worker`], which sends over a [`lane`] of a [`connection`], with [`unary`] calls or in frames. With the
//! engine `raw`, one loop runs all workers of a thread ([`raw`]). [`watchers`] is the loop of the watches.
//!
//! The loops differ; the [`rules`] that they follow are the same.

mod calls;
mod connection;
mod lane;
mod raw;
mod rules;
pub(crate) mod thread;
pub(crate) mod threads;
mod unary;
mod watchers;
mod worker;

//! Records the answers: counts, latencies, failures and histories.
//!
//! [`settle`] takes the answers to the operations that were sent together. It passes each to the [`recorder`] of the
//! thread, which keeps latencies and failures ([`stats`]), and to the history of the worker ([`worker_history`]), if the
//! run has a history. While the run lasts, [`live`] shows the counts of each thread, and [`timeline`] collects its
//! intervals. [`history`] collects what the workers and watches of a thread have recorded, in the terms of the checker
//! ([`checker_terms`]).
//!
//! For what happens when a server goes away, [`links`] keeps how many connections there are, [`losses`] what was lost
//! meanwhile, and [`gaps`] the times in which nothing was completed.

pub(crate) mod checker_terms;
pub(crate) mod gaps;
pub(crate) mod history;
pub(crate) mod key_numbers;
pub(crate) mod links;
pub(crate) mod live;
pub(crate) mod losses;
pub(crate) mod recorder;
pub(crate) mod settle;
pub(crate) mod stats;
pub(crate) mod timeline;
pub(crate) mod watch_history;
pub(crate) mod worker_history;

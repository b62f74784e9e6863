//! One run, from connecting to its report.
//!
//! A [`runner`] has a [`target`] and does runs against it. For each run it makes everything that the workload needs
//! ([`prepare`]), looks at the keys if there is to be a history ([`before`]), lets the threads work while a [`view`] shows
//! how far they are ([`measure`]), and makes a report of what they return ([`summary`]; [`verdict`] on the history).

pub(crate) mod barrier;
mod before;
mod breakdown;
mod clean;
pub(crate) mod error;
mod faults;
mod measure;
mod measured;
mod objectives;
mod prepare;
pub(crate) mod runner;
pub(crate) mod signals;
pub(crate) mod summary;
pub(crate) mod target;
pub(crate) mod verdict;
pub(crate) mod view;
mod warnings;

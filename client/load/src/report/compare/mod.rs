//! Whether one set of runs differs from another, and whether that can be told at all.
//!
//! Runs are the unit, not operations and not intervals: what differs from run to run (where the scheduler puts threads,
//! which pages are warm) is the same for all operations within one, so that a million of them say no more about it than
//! one run does (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, 2013). Runs of both sides should take
//! turns.
//!
//! A metric is called better or worse if the rank test says so at 5% and the change is at least the smallest that
//! matters. As many metrics are looked at, the whole is a regression only if a worse one stands up to Holm's correction.

mod analysis;
mod conditions;
mod figures;
mod markdown;
mod metrics;
mod model;
mod statistics;
mod text;

pub(crate) use analysis::compare;
pub(crate) use model::{Comparison, Options};

#[cfg(test)]
mod tests;

//! Compares two sets of runs: do they differ, and can that be told at all?
//!
//! The samples are runs, not operations or intervals. Some conditions differ from run to run, such as the placement of
//! threads and the pages in caches, but are the same for all operations of one run. So a million operations say no more
//! about them than one run (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, 2013). Runs of both sides
//! should take turns.
//!
//! A metric is better or worse if the rank test says so at 5% and the change is at least the smallest that matters.
//! Because there are several metrics, the verdict is a regression only if a worse one passes a correction for their number.

mod analysis;
mod conditions;
mod figures;
mod markdown;
mod metrics;
mod model;
mod statistics;
mod text;
mod together;

pub(crate) use analysis::compare;
pub(crate) use model::{Comparison, Options};

#[cfg(test)]
mod tests;

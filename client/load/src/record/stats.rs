//! The counts and latencies of a run, by kind of operation and by phase.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::histogram::{add, histogram};

/// One kind of operation: all operations that started in the measured time.
///
/// Latencies are in nanoseconds. No latency is sampled or cut off. The histograms also have the operations that were
/// answered after the end, because the slowest are the most likely to be late.
#[derive(Clone, Debug)]
pub(crate) struct KindStats {
    /// Answered before the end, including refusals.
    pub(crate) completed: u64,
    /// Answered after the end.
    pub(crate) late: u64,
    /// Those of the completed that found nothing.
    pub(crate) misses: u64,
    /// From the intended start to the answer, of the operations that were done.
    pub(crate) response: Histogram<u64>,
    /// From the actual start to the answer, of the operations that were done.
    pub(crate) service: Histogram<u64>,
    /// As `response`, of the operations that were refused.
    pub(crate) refused_response: Histogram<u64>,
    /// As `service`, of the operations that were refused.
    pub(crate) refused_service: Histogram<u64>,
    /// How many were refused before the end, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Response times of the operations that failed, by gRPC code. They count whenever they fail: the warm-up must not
    /// hide failures.
    pub(crate) failed: BTreeMap<&'static str, Histogram<u64>>,
}

/// The warm-up, or the time after the end in which late answers come.
#[derive(Clone, Debug)]
pub(crate) struct PhaseStats {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Histogram<u64>,
}

impl KindStats {
    pub(crate) fn new() -> Self {
        Self {
            completed: 0,
            late: 0,
            misses: 0,
            response: histogram(),
            service: histogram(),
            refused_response: histogram(),
            refused_service: histogram(),
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Counts operations that were answered.
    pub(crate) fn count(&mut self, ops: u64, is_late: bool) {
        match is_late {
            true => self.late += ops,
            false => self.completed += ops,
        }
    }

    /// Adds the operations of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.late += other.late;
        self.misses += other.misses;
        add(&mut self.response, &other.response);
        add(&mut self.service, &other.service);
        add(&mut self.refused_response, &other.refused_response);
        add(&mut self.refused_service, &other.refused_service);
        for (reason, ops) in &other.refused {
            *self.refused.entry(reason).or_default() += ops;
        }
        for (code, failed) in &other.failed {
            add(self.failed.entry(code).or_insert_with(histogram), failed);
        }
    }

    /// Returns how many operations failed, with any code.
    pub(crate) fn failed_ops(&self) -> u64 {
        self.failed.values().map(Histogram::len).sum()
    }
}

impl PhaseStats {
    pub(crate) fn new() -> Self {
        Self {
            completed: 0,
            failed: 0,
            response: histogram(),
        }
    }

    /// Adds the operations of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        add(&mut self.response, &other.response);
    }
}

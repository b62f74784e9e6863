//! What a thread shows of its work while the run lasts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use crate::histogram::histogram;

/// The counts of one thread, for others to read.
///
/// Only the thread itself changes the counts. So an addition is a plain load and store, and the alignment keeps the counts
/// of two threads out of one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LiveCounters {
    completed: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
    /// Intervals that are over, in order, until they are taken.
    intervals: Mutex<Vec<Interval>>,
}

/// The counts of some threads together since the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// Operations that are in flight now.
    pub(crate) in_flight: u64,
}

/// What the server answered one thread within one interval of the measured time.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    /// Counted from 0.
    pub(crate) index: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Histogram<u64>,
}

impl LiveCounters {
    /// Counts operations that were answered.
    #[inline]
    pub(crate) fn completed(&self, ops: u64) {
        add_as_only_writer(&self.completed, ops);
    }

    /// Returns how many operations were answered so far.
    pub(crate) fn all_completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Counts an operation that failed.
    pub(crate) fn failed(&self) {
        add_as_only_writer(&self.failed, 1);
    }

    /// Counts operations that were sent.
    #[inline]
    pub(crate) fn sent(&self, ops: u64) {
        add_as_only_writer(&self.in_flight, ops);
    }

    /// Counts operations that are no longer in flight.
    #[inline]
    pub(crate) fn landed(&self, ops: u64) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.in_flight
            .store(in_flight.saturating_sub(ops), Ordering::Relaxed);
    }

    /// Sets how many operations are in flight.
    pub(crate) fn set_in_flight(&self, ops: u64) {
        self.in_flight.store(ops, Ordering::Relaxed);
    }

    /// Adds an interval that is over.
    pub(crate) fn push_interval(&self, interval: Interval) {
        self.lock().push(interval);
    }

    /// Takes the intervals that are over.
    pub(crate) fn take_intervals(&self) -> Vec<Interval> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Interval>> {
        self.intervals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    /// Adds the counts of one thread.
    pub(crate) fn add(&mut self, live: &LiveCounters) {
        self.completed += live.completed.load(Ordering::Relaxed);
        self.failed += live.failed.load(Ordering::Relaxed);
        self.in_flight += live.in_flight.load(Ordering::Relaxed);
    }
}

impl Interval {
    pub(crate) fn new(index: u64) -> Self {
        Self {
            index,
            completed: 0,
            failed: 0,
            response: histogram(),
        }
    }
}

fn add_as_only_writer(counter: &AtomicU64, ops: u64) {
    let count = counter.load(Ordering::Relaxed);
    counter.store(count + ops, Ordering::Relaxed);
}

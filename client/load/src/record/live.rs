//! What a thread shows of its work while it is at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::histogram::{add, histogram};

/// What one thread shows while it is at work. Only that thread changes the counts, so that they cost it next to nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LiveCounters {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    /// Intervals that are over, in order. Whoever watches takes them away.
    intervals: Mutex<Vec<Interval>>,
}

impl LiveCounters {
    /// Takes the intervals that are over.
    pub(crate) fn take_intervals(&self) -> Vec<Interval> {
        std::mem::take(&mut self.lock())
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Interval>> {
        self.intervals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many operations are under way.
    pub(crate) fn sent(&self, ops: u64) {
        publish(&self.in_flight, ops, 0);
    }
}

/// What one thread was answered within one interval of the window.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    /// The first is 0.
    pub(crate) index: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Histogram<u64>,
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

    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        add(&mut self.response, &other.response);
    }
}

/// A plain addition: there is one writer.
pub(crate) fn publish(counter: &AtomicU64, more: u64, less: u64) {
    let count = counter.load(Ordering::Relaxed) + more;
    counter.store(count.saturating_sub(less), Ordering::Relaxed);
}

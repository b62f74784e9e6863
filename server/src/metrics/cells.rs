//! Numbers that one thread counts and others read: no lock, and no cache line that two threads write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// Adds `count`. Only the thread that the cell belongs to may call it: another thread's count could be lost.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        // Two plain moves. `fetch_add` would lock the bus.
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    /// Adds `count` to a cell that several threads count in. For what happens seldom.
    pub(crate) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of the buckets of every histogram of times, in nanoseconds. A call takes some 20 us in the server, a
/// commit on a good disk some hundred, so the first bound is 50 us; the last is the default of `--max-deadline`. Steps of 2
/// and 2.5 tell a quantile to within a factor of 2.5. The bounds are the same everywhere, so that times can be compared.
const BOUNDS_NANOS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Buckets of a histogram: one for each bound, and one above.
pub(crate) const BUCKETS: usize = BOUNDS_NANOS.len() + 1;

/// The upper bounds of the buckets, in seconds. The last is infinite.
pub(crate) const BOUNDS_SECONDS: [f64; BUCKETS] = [
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    f64::INFINITY,
];

/// How often something took how long. It has one writer.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: [Cell; BUCKETS],
    nanos: Cell,
}

impl Times {
    /// Counts a time. Only the thread that the histogram belongs to may call it.
    #[inline]
    pub(crate) fn add(&self, time: Duration) {
        let nanos = nanos(time);
        self.counts[bucket(nanos)].add(1);
        self.nanos.add(nanos);
    }

    /// Counts a time in a histogram that several threads count in. For what happens seldom.
    pub(crate) fn add_shared(&self, time: Duration) {
        let nanos = nanos(time);
        self.counts[bucket(nanos)].add_shared(1);
        self.nanos.add_shared(nanos);
    }
}

#[inline]
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of a time. Most times are short, so the search begins at the shortest.
#[inline]
fn bucket(nanos: u64) -> usize {
    let bound = BOUNDS_NANOS.iter().position(|bound| nanos <= *bound);
    bound.unwrap_or(BOUNDS_NANOS.len())
}

/// The sum of histograms, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimesSum {
    /// How many times are in each bucket; not cumulative.
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) nanos: u64,
}

impl TimesSum {
    pub(crate) fn add(&mut self, times: &Times) {
        for (sum, count) in self.counts.iter_mut().zip(&times.counts) {
            *sum += count.get();
        }
        self.nanos = self.nanos.wrapping_add(times.nanos.get());
    }

    /// How many times were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all times, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        seconds(self.nanos)
    }
}

impl From<&Times> for TimesSum {
    fn from(times: &Times) -> Self {
        let mut sum = Self::default();
        sum.add(times);
        sum
    }
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_whose_bound_is_not_below_it() {
        let times = Times::default();
        let micros = Duration::from_micros;
        for (time, expected) in [
            (Duration::ZERO, 0),
            (micros(50), 0),
            (micros(51), 1),
            (micros(100), 1),
            (Duration::from_secs(10), BUCKETS - 2),
            (Duration::from_secs(11), BUCKETS - 1),
            (Duration::MAX, BUCKETS - 1),
        ] {
            let before = TimesSum::from(&times).counts[expected];
            times.add(time);
            let after = TimesSum::from(&times);
            assert_eq!(after.counts[expected], before + 1, "{time:?}");
        }
        assert_eq!(TimesSum::from(&times).count(), 7);
    }

    #[test]
    fn both_lists_of_bounds_agree() {
        for (nanos, seconds) in BOUNDS_NANOS.iter().zip(BOUNDS_SECONDS) {
            assert_eq!(*nanos, (seconds * 1e9).round() as u64);
        }
        assert!(BOUNDS_NANOS.is_sorted());
    }
}

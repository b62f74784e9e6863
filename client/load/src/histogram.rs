//! Histograms of times, all with one setting, so that any two can be added.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The significant digits of a recorded time: no value is off by more than 0.1%.
const DIGITS: u8 = 3;

/// Returns an empty histogram. It grows with the largest value.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("the number of digits is one of those allowed")
}

/// Adds all values of `other` to `sum`.
pub(crate) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other)
        .expect("a histogram that grows takes any other");
}

/// Records one latency for `ops` operations, in nanoseconds.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration, ops: u64) {
    let nanos = u64::try_from(latency.as_nanos()).expect("an answer within 584 years");
    histogram
        .record_n(nanos, ops)
        .expect("a histogram that grows takes any value");
}

//! The one setting of histograms, so that any two can be added.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of a recorded latency: none is off by more than 0.1%.
const DIGITS: u8 = 3;

pub(crate) fn histogram() -> Histogram<u64> {
    // Grows with the largest value.
    Histogram::new(DIGITS).expect("as many digits as it can keep")
}

pub(crate) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other)
        .expect("a histogram that grows takes any other");
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration, ops: u64) {
    let nanos = u64::try_from(latency.as_nanos()).expect("an answer within 584 years");
    histogram
        .record_n(nanos, ops)
        .expect("a histogram that grows takes any value");
}

//! Histograms of times, all with one setting, so that any two can be added.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

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

/// A histogram that is seldom added to, in a form that takes little memory: HdrHistogram V2, which counts empty cells. Of an
/// interval of a run this takes some 2 KB, instead of the 100 KB and more of a cell for each value.
#[derive(Clone, Debug)]
pub(crate) struct PackedHistogram(Box<[u8]>);

impl PackedHistogram {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("a Vec takes everything, and recorded counts fit");
        Self(bytes.into_boxed_slice())
    }

    pub(crate) fn unpack(&self) -> Histogram<u64> {
        Deserializer::new()
            .deserialize(&mut &*self.0)
            .expect("these are the bytes of a histogram")
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// The latencies of a second: most around 200 us, some far above, a stall of 300 ms.
    fn second() -> Histogram<u64> {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut latencies = histogram();
        for _ in 0..50_000 {
            let usual: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            let nanos = 200_000.0 * (0.4 * usual).exp();
            let tail = match rng.random_bool(0.005) {
                true => rng.random::<f64>() * 5e6,
                false => 0.0,
            };
            latencies.record((nanos + tail) as u64).unwrap();
        }
        latencies.record(300_000_000).unwrap();
        latencies
    }

    /// An hour of intervals of a second: 0.6 GB as cells, and below 20 MB packed.
    #[test]
    fn a_packed_histogram_is_the_same_and_small() {
        let latencies = second();
        let packed = PackedHistogram::of(&latencies);
        assert_eq!(packed.unpack(), latencies);
        let cells = latencies.distinct_values() * size_of::<u64>();
        assert!(cells > 100_000, "{cells} bytes as cells");
        assert!(packed.0.len() < 5_000, "{} bytes packed", packed.0.len());
        let nothing = histogram();
        assert_eq!(PackedHistogram::of(&nothing).unpack(), nothing);
    }
}

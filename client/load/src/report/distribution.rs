//! Histograms in reports: their figures, and their encoding.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use crate::histogram::histogram;
use crate::report::model::{Distribution, IntervalReport};

/// A histogram of a report cannot be decoded.
#[derive(Debug)]
pub(crate) struct HistogramError(String);

impl fmt::Display for HistogramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "histogram: {}", self.0)
    }
}

impl std::error::Error for HistogramError {}

/// A point of a percentile spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpectrumPoint {
    /// The share of latencies that are at most `us`, from 0 to 1.
    pub(crate) quantile: f64,
    pub(crate) us: f64,
}

impl IntervalReport {
    /// Makes the report of an interval from its response times. The counts are 0, for the caller to fill in.
    pub(crate) fn of(response: &Histogram<u64>, start_seconds: f64, seconds: f64) -> Self {
        let of = Distribution::of(response, &[]);
        Self {
            start_seconds,
            seconds,
            completed: 0,
            failed: 0,
            dropped: 0,
            in_flight: 0,
            ops_per_second: 0.0,
            p50_us: of.p50_us,
            p90_us: of.p90_us,
            p99_us: of.p99_us,
            p99_9_us: of.p99_9_us,
            max_us: of.max_us,
            histogram: of.histogram,
        }
    }
}

impl Distribution {
    /// Returns the figures of a histogram of nanoseconds, with the `extra` percentiles, in percent, beside the usual
    /// ones.
    pub(crate) fn of(histogram: &Histogram<u64>, extra: &[f64]) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let us = |nanos: u64| Some(micros(nanos));
        let at = |percentile: f64| us(histogram.value_at_percentile(percentile));
        Self {
            count: histogram.len(),
            min_us: us(histogram.min()),
            mean_us: Some(histogram.mean() / 1e3),
            stddev_us: Some(histogram.stdev() / 1e3),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p99_9_us: at(99.9),
            p99_99_us: at(99.99),
            p99_999_us: at(99.999),
            max_us: us(histogram.max()),
            percentiles: extra
                .iter()
                .map(|&percentile| {
                    (
                        percentile,
                        micros(histogram.value_at_percentile(percentile)),
                    )
                })
                .collect(),
            histogram: encode(histogram),
        }
    }

    /// Returns the histogram behind the figures, of nanoseconds.
    pub(crate) fn histogram(&self) -> Result<Histogram<u64>, HistogramError> {
        decode(&self.histogram)
    }
}

/// Encodes a histogram as HdrHistogram V2, deflated, in base64. An empty histogram is an empty text.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::new();
    let written: Result<usize, _> = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.expect("a Vec takes everything, and recorded counts fit");
    STANDARD.encode(bytes)
}

/// Decodes what [`encode`] has encoded.
pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    if text.is_empty() {
        return Ok(histogram());
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| HistogramError(format!("not base64: {error}")))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| HistogramError(format!("not an HdrHistogram: {error:?}")))
}

pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// Returns the percentile spectrum, with the quantiles of HdrHistogram's own percentile output: `ticks` of them in each
/// half of the remaining distance to 1, so that they are denser towards 1. The last point is the maximum, at 1.
pub(crate) fn spectrum(histogram: &Histogram<u64>, ticks: u32) -> Vec<SpectrumPoint> {
    let mut points: Vec<SpectrumPoint> = Vec::new();
    for step in histogram.iter_quantiles(ticks) {
        let point = SpectrumPoint {
            quantile: step.quantile(),
            us: micros(step.value_iterated_to()),
        };
        // Several steps may end at one value.
        if points.last() != Some(&point) {
            points.push(point);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = histogram();
        for value in values {
            histogram.record(value).unwrap();
        }
        histogram
    }

    /// Checks a figure up to the three digits of a histogram.
    fn close(actual: Option<f64>, expected: f64) {
        let actual = actual.unwrap();
        assert!(
            (actual - expected).abs() <= expected * 0.001,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn figures_are_those_of_the_values() {
        let distribution = Distribution::of(&of((1..=100_000).map(|us| us * 1_000)), &[12.5, 75.0]);
        assert_eq!(distribution.count, 100_000);
        close(distribution.min_us, 1.0);
        close(distribution.mean_us, 50_000.5);
        close(distribution.stddev_us, 28_867.5);
        close(distribution.p50_us, 50_000.0);
        close(distribution.p90_us, 90_000.0);
        close(distribution.p99_us, 99_000.0);
        close(distribution.p99_9_us, 99_900.0);
        close(distribution.p99_99_us, 99_990.0);
        close(distribution.p99_999_us, 99_999.0);
        close(distribution.max_us, 100_000.0);
        let [(12.5, low), (75.0, high)] = distribution.percentiles[..] else {
            panic!("{:?}", distribution.percentiles);
        };
        close(Some(low), 12_500.0);
        close(Some(high), 75_000.0);
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        let distribution = Distribution::of(&histogram(), &[50.0]);
        assert_eq!(distribution, Distribution::default());
        assert!(distribution.histogram().unwrap().is_empty());
    }

    #[test]
    fn a_histogram_is_decoded_as_it_was() {
        let histogram = of([0, 1, 999, 123_456, 7_000_000_000, u64::MAX / 4]);
        let back = Distribution::of(&histogram, &[]).histogram().unwrap();
        assert_eq!(back, histogram);
    }

    #[test]
    fn other_texts_are_refused() {
        let error = |text: &str| decode(text).unwrap_err().to_string();
        assert!(error("%%").starts_with("histogram: not base64"));
        assert!(error("AAAA").starts_with("histogram: not an HdrHistogram"));
    }

    #[test]
    fn a_spectrum_ends_with_the_maximum() {
        let points = spectrum(&of(1..=1_000), 5);
        assert!(points.is_sorted_by(|a, b| a.quantile <= b.quantile && a.us <= b.us));
        let last = points.last().unwrap();
        assert_eq!((last.quantile, last.us), (1.0, 1.0));
        let near = points.iter().filter(|point| point.quantile > 0.99).count();
        assert!(near >= 5, "{near} points beyond p99");
        assert!(spectrum(&histogram(), 5).is_empty());
    }
}

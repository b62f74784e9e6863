//! The two formats of the tools around HdrHistogram: percentile distributions and interval logs.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use prost_types::Timestamp;

use crate::report::distribution::{HistogramError, decode};
use crate::report::model::{Distribution, Report};

/// Points in each half of the distance to 1: the default of HdrHistogram's own output.
const TICKS: u32 = 5;

/// Writes a percentile distribution in microseconds, as `outputPercentileDistribution` of HdrHistogram does (Java,
/// `AbstractHistogram`). Files of this format end in `.hgrm`, and HdrHistogram's plotter reads them. It has to be told
/// that the unit is microseconds.
pub(crate) fn percentiles(distribution: &Distribution) -> Result<String, HistogramError> {
    let histogram = distribution.histogram()?;
    let digits = usize::from(histogram.sigfig());
    let us = |nanos: f64| nanos / 1e3;
    let mut text = String::new();
    write_lines(&histogram, digits, &mut text).expect("a String takes everything");
    let (mean, deviation) = match histogram.is_empty() {
        true => (0.0, 0.0),
        false => (histogram.mean(), histogram.stdev()),
    };
    write!(
        text,
        "#[Mean    = {:>12.digits$}, StdDeviation   = {:>12.digits$}]\n\
         #[Max     = {:>12.digits$}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        us(mean),
        us(deviation),
        us(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        sub_buckets(histogram.sigfig()),
    )
    .expect("a String takes everything");
    Ok(text)
}

fn write_lines(histogram: &Histogram<u64>, digits: usize, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut seen = 0;
    for step in histogram.iter_quantiles(TICKS) {
        seen += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / 1e3;
        let quantile = step.quantile_iterated_to();
        write!(text, "{value:>12.digits$} {quantile:>2.12} {seen:>10}")?;
        match quantile {
            1.0 => writeln!(text)?,
            _ => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile))?,
        }
    }
    Ok(())
}

/// Returns the number of sub-buckets in a bucket of a histogram: 2 * 10^digits, rounded up to a power of two.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(digits))).next_power_of_two()
}

/// Writes the response times of each interval as an interval log, version 1.3, which HistogramLogProcessor and
/// HistogramLogAnalyzer read. Answers that came after the end have a line of their own, the last: without the slowest
/// answers the percentiles of all lines together would be too low. As in logs of Java programs, values are nanoseconds, and the maximum on each line is in
/// milliseconds.
pub(crate) fn interval_log(report: &Report) -> Result<String, HistogramError> {
    let started = started_at(report);
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let fits = "a Vec takes everything, and recorded counts fit";
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!(
            "[Logged with soloist-load {}]",
            one_line(&report.version)
        ))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect(fits);
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    for interval in &report.intervals {
        log.write_histogram(
            &decode(&interval.histogram)?,
            seconds(interval.start_seconds),
            seconds(interval.seconds),
            None,
        )
        .expect(fits);
    }
    let mut phases = report.phases.iter();
    if let Some(drain) = phases.find(|phase| phase.phase == "drain") {
        let response = drain.response.histogram()?;
        if !response.is_empty() {
            log.write_histogram(
                &response,
                seconds(report.elapsed_seconds),
                seconds(drain.seconds),
                None,
            )
            .expect(fits);
        }
    }
    Ok(String::from_utf8(bytes)
        .expect("an interval log is ASCII, except for comments, which are UTF-8"))
}

/// Removes line ends: the rest of a comment must not become a line of the log.
fn one_line(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

/// Returns when the measured window began, or the epoch if the report has an invalid time.
fn started_at(report: &Report) -> SystemTime {
    let parsed = report.started_at.parse::<Timestamp>().ok();
    parsed
        .and_then(|time| SystemTime::try_from(time).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::histogram::histogram;
    use crate::report::sample;

    /// Written by hand from the format strings of `AbstractHistogram.outputPercentileDistribution`:
    /// `%12.3f %2.12f %10d %14.2f`, and the last line without its last field.
    #[test]
    fn percentiles_are_as_hdrhistogram_prints_them() {
        let mut histogram = histogram();
        for nanos in [1_000, 1_000, 1_000, 1_000, 2_000, 2_000, 4_000] {
            histogram.record(nanos).unwrap();
        }
        let text = percentiles(&Distribution::of(&histogram, &[])).unwrap();
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)\n\
            \n\
            \x20      1.000 0.000000000000          4           1.00\n\
            \x20      1.000 0.100000000000          4           1.11\n\
            \x20      1.000 0.200000000000          4           1.25\n\
            \x20      1.000 0.300000000000          4           1.43\n\
            \x20      1.000 0.400000000000          4           1.67\n\
            \x20      1.000 0.500000000000          4           2.00\n\
            \x20      1.000 0.550000000000          4           2.22\n\
            \x20      2.000 0.600000000000          6           2.50\n\
            \x20      2.000 0.650000000000          6           2.86\n\
            \x20      2.000 0.700000000000          6           3.33\n\
            \x20      2.000 0.750000000000          6           4.00\n\
            \x20      2.000 0.775000000000          6           4.44\n\
            \x20      2.000 0.800000000000          6           5.00\n\
            \x20      2.000 0.825000000000          6           5.71\n\
            \x20      2.000 0.850000000000          6           6.67\n\
            \x20      4.001 0.875000000000          7           8.00\n\
            \x20      4.001 1.000000000000          7\n\
            #[Mean    =        1.714, StdDeviation   =        1.030]\n\
            #[Max     =        4.001, Total count    =            7]\n\
            #[Buckets =            2, SubBuckets     =         2048]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_histogram_has_only_a_footer() {
        let text = percentiles(&Distribution::default()).unwrap();
        assert!(text.contains("Total count    =            0]"), "{text}");
    }

    #[test]
    fn an_interval_log_is_read_back() {
        let report = sample::report();
        let log = interval_log(&report).unwrap();
        assert!(log.contains("\n#[Histogram log format version 1.3]\n"));
        assert!(
            log.contains("#[StartTime: 1795456860.250 (seconds since epoch)]"),
            "{}",
            &log[..300]
        );
        let entries: Vec<_> = IntervalLogIterator::new(log.as_bytes())
            .map(|entry| entry.unwrap())
            .collect();
        let histograms: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        // The answers after the end have no histogram in this report.
        assert_eq!(histograms.len(), 60);
        for (read, interval) in histograms.iter().zip(&report.intervals) {
            assert_eq!(read.start_timestamp().as_secs_f64(), interval.start_seconds);
            assert_eq!(
                decode(read.encoded_histogram()).unwrap(),
                decode(&interval.histogram).unwrap()
            );
        }
    }

    #[test]
    fn a_version_with_a_line_end_adds_no_line() {
        let mut report = sample::report();
        report.version = "1]\n0,1,2,AAAA".to_owned();
        let log = interval_log(&report).unwrap();
        assert_eq!(
            log.lines().filter(|line| !line.starts_with('#')).count(),
            60
        );
    }
}

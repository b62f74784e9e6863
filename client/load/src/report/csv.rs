//! The intervals of a run as CSV (RFC 4180), for spreadsheets and plots.

use std::fmt::Write;

use crate::report::model::{IntervalReport, Report};

/// The end of a line in RFC 4180.
const END: &str = "\r\n";

const HEADER: &str = "start_seconds,seconds,completed,failed,dropped,in_flight,ops_per_second,\
    p50_us,p90_us,p99_us,p99.9_us,max_us";

/// Returns a header, and a line for each interval. A field without a value is empty. All fields are numbers, so none
/// needs quotes.
pub(crate) fn render(report: &Report) -> String {
    let mut csv = String::from(HEADER);
    csv.push_str(END);
    for interval in &report.intervals {
        write(interval, &mut csv);
    }
    csv
}

fn write(interval: &IntervalReport, csv: &mut String) {
    let IntervalReport {
        start_seconds,
        seconds,
        completed,
        failed,
        dropped,
        in_flight,
        ops_per_second,
        ..
    } = interval;
    write!(
        csv,
        "{start_seconds},{seconds},{completed},{failed},{dropped},{in_flight},{ops_per_second:.3}"
    )
    .expect("a String takes everything");
    let latencies = [
        interval.p50_us,
        interval.p90_us,
        interval.p99_us,
        interval.p99_9_us,
        interval.max_us,
    ];
    for us in latencies {
        csv.push(',');
        csv.push_str(&us.map_or(String::new(), |us| us.to_string()));
    }
    csv.push_str(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn each_interval_is_a_line_of_as_many_fields_as_the_header() {
        let report = sample::report();
        let csv = render(&report);
        let lines: Vec<_> = csv.split_terminator(END).collect();
        assert_eq!(lines.len(), 1 + 60);
        for line in &lines {
            assert_eq!(line.split(',').count(), 12, "{line}");
        }
        let first: Vec<f64> = lines[1]
            .split(',')
            .map(|field| field.parse().unwrap())
            .collect();
        assert_eq!(first[2], report.intervals[0].completed as f64);
        assert_eq!(first[9], report.intervals[0].p99_us.unwrap());
    }

    #[test]
    fn a_field_without_a_value_is_empty() {
        let mut report = sample::report();
        report.intervals.truncate(1);
        report.intervals[0].max_us = None;
        assert!(render(&report).ends_with(",\r\n"));
    }
}

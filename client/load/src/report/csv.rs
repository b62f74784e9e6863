//! The intervals and the other phases of a run as CSV (RFC 4180), for spreadsheets and plots.

use std::fmt::Write;

use crate::histogram::histogram;
use crate::report::distribution::decode;
use crate::report::model::{IntervalReport, PhaseReport, Report};

/// The end of a line in RFC 4180.
const END: &str = "\r\n";

const HEADER: &str = "start_seconds,seconds,completed,failed,dropped,in_flight,ops_per_second,\
    p50_us,p90_us,p99_us,p99.9_us,max_us,phase";

/// Returns a header, and a line for each interval. A field without a value is empty. No field needs quotes: all are numbers,
/// except for the last one, which is a word.
///
/// The operations that were counted before and after the measured time have lines of their own, so that the lines add up
/// to the counts of the other forms: one of the phase "warmup", if there was one, and one of the phase "drain", if anything
/// was answered after the end.
pub(crate) fn render(report: &Report) -> String {
    let mut csv = String::from(HEADER);
    csv.push_str(END);
    let phase = |name: &str| report.phases.iter().find(|phase| phase.phase == name);
    if let Some(warmup) = phase("warmup") {
        write(&line_of(warmup, -warmup.seconds), "warmup", &mut csv);
    }
    for interval in &report.intervals {
        write(interval, "measured", &mut csv);
    }
    if let Some(drain) = phase("drain").filter(|drain| drain.completed + drain.failed > 0) {
        write(&line_of(drain, report.elapsed_seconds), "drain", &mut csv);
    }
    csv
}

/// Makes an interval of a whole phase. What was dropped or in flight is told interval by interval only.
fn line_of(phase: &PhaseReport, start_seconds: f64) -> IntervalReport {
    let response = decode(&phase.response.histogram).unwrap_or_else(|_| histogram());
    IntervalReport {
        completed: phase.completed,
        failed: phase.failed,
        ops_per_second: match phase.seconds > 0.0 {
            true => phase.completed as f64 / phase.seconds,
            false => 0.0,
        },
        ..IntervalReport::of(&response, start_seconds, phase.seconds)
    }
}

fn write(interval: &IntervalReport, phase: &str, csv: &mut String) {
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
    csv.push(',');
    csv.push_str(phase);
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
        // Besides the intervals, there are a warm-up and answers after the end.
        assert_eq!(lines.len(), 1 + 1 + 60 + 1);
        for line in &lines {
            assert_eq!(line.split(',').count(), 13, "{line}");
        }
        assert!(lines[1].starts_with("-5,5,") && lines[1].ends_with(",warmup"));
        assert!(lines[62].starts_with("60,0.002,12,0,") && lines[62].ends_with(",drain"));
        let first: Vec<f64> = lines[2]
            .trim_end_matches(",measured")
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
        report.phases.clear();
        report.intervals[0].max_us = None;
        assert!(render(&report).ends_with(",,measured\r\n"));
    }
}

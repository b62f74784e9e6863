//! All forms of one report tell the same counts, whatever came before, within and after the measured time.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::histogram::{add, histogram};
use crate::report::distribution::decode;
use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{grouped, latency};
use crate::report::text::{self, Detail};
use crate::report::{csv, hdr, html, sample};
use soloist_flags::Style;

/// How long the slowest operations took: they were stalled across the end.
const STALL_NANOS: u64 = 2_050_000_000;
const LATE: u64 = 12;

/// A run with a warm-up, and with a stall across its end. Its histograms have as many values as its counts say.
fn stalled_at_the_end() -> Report {
    let mut report = sample::report();
    report.intervals.truncate(3);
    let mut all = histogram();
    for interval in &mut report.intervals {
        let response = decode(&interval.histogram).unwrap();
        interval.completed = response.len();
        interval.failed = 2;
        interval.dropped = 3;
        add(&mut all, &response);
    }
    let mut late = histogram();
    late.record_n(STALL_NANOS, LATE).unwrap();
    add(&mut all, &late);
    report.elapsed_seconds = 3.0;
    report.completed = all.len() - LATE;
    report.failed = [("UNAVAILABLE".to_owned(), 5 + 6 + 4)].into();
    report.late.ops = LATE;
    report.late.max_us = STALL_NANOS as f64 / 1e3;
    let offered = report.offered.as_mut().unwrap();
    offered.dropped = 9;
    let counts = [(700, 5), (report.completed, 6), (LATE, 4)];
    for (phase, (completed, failed)) in report.phases.iter_mut().zip(counts) {
        (phase.completed, phase.failed) = (completed, failed);
    }
    report.phases[2].response = Distribution::of(&late, &[]);
    report.latency.clear();
    let all = Distribution::of(&all, &[]);
    let latency = LatencyReport {
        response: all.clone(),
        service: all,
    };
    report.latency.insert("all".to_owned(), latency);
    report
}

/// The counts that a form tells. `None` for a count that it does not have.
#[derive(Debug, PartialEq)]
struct Counts {
    completed: Option<u64>,
    late: Option<u64>,
    failed: Option<u64>,
    dropped: Option<u64>,
    /// Completed and late.
    latencies: u64,
    max_us: Option<f64>,
}

fn of_json(report: &Report) -> Counts {
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    let count = |value: &Value| value.as_u64();
    let failed = json["failed"].as_object().unwrap();
    let response = &json["latency"]["all"]["response"];
    Counts {
        completed: count(&json["completed"]),
        late: count(&json["late"]["ops"]),
        failed: failed.values().map(count).sum(),
        dropped: count(&json["offered"]["dropped"]),
        latencies: count(&response["count"]).unwrap(),
        max_us: response["max_us"].as_f64(),
    }
}

fn of_csv(report: &Report) -> Counts {
    let csv = csv::render(report);
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let lines: Vec<_> = lines.collect();
    let sum = |name: &str, phases: &[&str]| -> u64 {
        let of_phases = lines
            .iter()
            .filter(|line| phases.contains(&line[column("phase")]));
        of_phases
            .map(|line| line[column(name)].parse::<u64>().unwrap())
            .sum()
    };
    let max = lines
        .iter()
        .filter(|line| line[column("phase")] != "warmup");
    let max = max.filter_map(|line| line[column("max_us")].parse().ok());
    Counts {
        completed: Some(sum("completed", &["measured"])),
        late: Some(sum("completed", &["drain"])),
        failed: Some(sum("failed", &["warmup", "measured", "drain"])),
        dropped: Some(sum("dropped", &["measured"])),
        latencies: sum("completed", &["measured", "drain"]),
        max_us: max.reduce(f64::max),
    }
}

/// The sum of all lines, as HistogramLogProcessor makes it.
fn of_hlog(report: &Report) -> Counts {
    let log = hdr::interval_log(report).unwrap();
    let mut sum: Histogram<u64> = histogram();
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            add(&mut sum, &decode(interval.encoded_histogram()).unwrap());
        }
    }
    Counts {
        completed: None,
        late: None,
        failed: None,
        dropped: None,
        latencies: sum.len(),
        max_us: Some(sum.max() as f64 / 1e3),
    }
}

fn of_hgrm(report: &Report) -> Counts {
    let text = hdr::percentiles(&report.latency["all"].response).unwrap();
    let after = |label: &str| {
        let (_, rest) = text.split_once(label).unwrap();
        let number = rest.trim_start_matches([' ', '=']).split([',', ']']).next();
        number.unwrap().trim().parse::<f64>().unwrap()
    };
    Counts {
        completed: None,
        late: None,
        failed: None,
        dropped: None,
        latencies: after("Total count") as u64,
        max_us: Some(after("#[Max")),
    }
}

#[test]
fn all_forms_of_a_report_tell_the_same_counts() {
    let report = stalled_at_the_end();
    let expected = of_json(&report);
    assert_eq!((expected.late, expected.failed), (Some(LATE), Some(15)));
    let told = [
        ("csv", of_csv(&report)),
        ("hlog", of_hlog(&report)),
        ("hgrm", of_hgrm(&report)),
    ];
    for (form, counts) in told {
        let has = |own: Option<u64>, expected: Option<u64>| own.is_none() || own == expected;
        assert!(
            has(counts.completed, expected.completed)
                && has(counts.late, expected.late)
                && has(counts.failed, expected.failed)
                && has(counts.dropped, expected.dropped),
            "{form}: {counts:?}, not {expected:?}"
        );
        assert_eq!(counts.latencies, expected.latencies, "{form}");
        let (max, expected) = (counts.max_us.unwrap(), expected.max_us.unwrap());
        assert!(
            (max - expected).abs() < 2.0,
            "{form}: {max}, not {expected}"
        );
    }
    // For people: the numbers as they read them.
    let pages = [
        text::render(&report, Style::Plain, Detail::All),
        html::render(&report, None),
    ];
    for page in pages {
        for number in [
            grouped(expected.completed.unwrap()),
            grouped(expected.latencies),
            grouped(LATE),
            latency(Some(STALL_NANOS as f64 / 1e3)),
            "15".to_owned(),
        ] {
            assert!(page.contains(&number), "{number} is not in\n{page}");
        }
    }
}

use crate::report::sample;
use crate::report::text::*;
use crate::report::wrap::WIDTH;
use soloist_flags::Style;

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}

#[test]
fn the_first_two_lines_are_read_ops_and_write_ops() {
    for report in [sample::report(), sample::empty_report()] {
        for style in [Style::Plain, Style::Coloured] {
            let text = render(&report, style, Detail::Result);
            let first: Vec<_> = text.lines().take(2).map(str::to_owned).collect();
            let expected = [
                format!("readOps: {}", report.read_ops),
                format!("writeOps: {}", report.write_ops),
            ];
            assert_eq!(first, expected);
        }
    }
}

#[test]
fn colours_do_not_change_the_text() {
    let report = sample::report();
    for detail in [Detail::Result, Detail::All] {
        let plain = render(&report, Style::Plain, detail);
        assert!(!plain.contains('\x1b'));
        let coloured = render(&report, Style::Coloured, detail);
        assert_eq!(without_colours(&coloured), plain);
    }
}

#[test]
fn the_text_has_everything() {
    let text = render(&sample::report(), Style::Plain, Detail::All);
    for said in [
        "WARNING      the server was started",
        "dropped      1,200 not sent",
        "failed       180 UNAVAILABLE (0.003%): the mailbox is full",
        "transition ",
        "WRONG_STATE",
        "lateness     of the generator itself: p50 8.9 us",
        "p99.999",
        "p99.5",
        "warmup ",
        "NOT MET  error_rate<0.001%",
        "verified     linearizable",
        "throughput   ",
        "repeat       soloist-load 127.0.0.1:50051 --rps 100k",
        "after 5 s of warm-up",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

#[test]
fn the_result_alone_has_no_settings() {
    let text = render(&sample::report(), Style::Plain, Detail::Result);
    for label in ["settings ", "repeat ", "client  version", "seed "] {
        assert!(!text.contains(label), "{label} is in\n{text}");
    }
    for label in ["completed ", "failed ", "p99.99", "verified "] {
        assert!(text.contains(label), "{label} is not in\n{text}");
    }
}

#[test]
fn every_line_but_the_command_fits_80_columns() {
    for report in [sample::report(), sample::empty_report()] {
        let text = render(&report, Style::Plain, Detail::All);
        let mut lines = text.lines().filter(|line| !line.starts_with("repeat "));
        let long = lines.find(|line| line.chars().count() > WIDTH);
        assert_eq!(long, None, "in\n{text}");
    }
}

/// Of a run of days, at a million operations a second, with many percentiles.
#[test]
fn large_numbers_stay_apart_and_within_80_columns() {
    let mut report = sample::report();
    for latency in report.latency.values_mut() {
        for part in [&mut latency.response, &mut latency.service] {
            part.count = 123_456_789_012;
            part.max_us = Some(123_456_789.0);
            part.percentiles = [75.0, 99.999_99, 99.999_999].map(|at| (at, 5_000.0)).into();
        }
    }
    let cas = report.latency["read"].clone();
    report.latency.insert("compare_and_set".to_owned(), cas);
    report.completed = 123_456_789_012;
    report.refused = 12_345_678_901;
    report.read_misses = 12_345_678_901;
    for phase in &mut report.phases {
        (phase.completed, phase.failed, phase.seconds) = (123_456_789_012, 99_999_999, 604_800.0);
    }
    report.slos[0].slo = "compare_and_set:p99.9999<=100.0ms   and so on".to_owned();
    report.slos[0].actual = "123456.789ms".to_owned();
    let text = render(&report, Style::Plain, Detail::All);
    let mut lines = text.lines().filter(|line| !line.starts_with("repeat "));
    let long = lines.find(|line| line.chars().count() > WIDTH);
    assert_eq!(long, None, "in\n{text}");
    assert!(text.contains("compare_and_set 123,456,789,012 "), "{text}");
    assert!(text.contains(" p99.999999"), "{text}");
}

#[test]
fn a_closed_loop_has_one_table() {
    let mut report = sample::report();
    for latency in report.latency.values_mut() {
        latency.service = latency.response.clone();
    }
    let text = render(&report, Style::Plain, Detail::All);
    assert!(text.contains("\nlatency "));
    assert!(!text.contains("\nservice time") && !text.contains("\nresponse time"));
}

#[test]
fn control_characters_are_removed() {
    let mut report = sample::report();
    report.name = Some("a\x1b[2Jb\nreadOps: 9".to_owned());
    report
        .failure_messages
        .insert("UNAVAILABLE".to_owned(), "c\x07\rd".to_owned());
    report.settings.insert("name".to_owned(), "e\x1bf".into());
    let text = render(&report, Style::Plain, Detail::All);
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
    assert!(!text.contains("\nreadOps: 9"));
}

#[test]
fn a_run_without_operations_has_a_report() {
    let text = render(&sample::empty_report(), Style::Plain, Detail::All);
    assert!(
        text.contains("completed    0 operations in 0.000 s, 0.00/s"),
        "{text}"
    );
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

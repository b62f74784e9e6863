use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::report::live::view::draw;
use crate::report::live::*;
use crate::report::sample;

fn live() -> Progress {
    let report = sample::report();
    Progress {
        title: "127.0.0.1:50051".to_owned(),
        phase: "measured".to_owned(),
        elapsed: Duration::from_secs(45),
        total: Some(Duration::from_secs(60)),
        requests: None,
        ops_per_second: 99_876.4,
        requested_per_second: Some(100_000.0),
        completed: 4_461_690,
        failed: [("UNAVAILABLE".to_owned(), 180), ("ABORTED".to_owned(), 2)].into(),
        dropped: 1_200,
        in_flight: 24,
        connections: String::new(),
        intervals: report.intervals[..45].to_vec(),
    }
}

/// The lines on the terminal.
fn drawn(live: &Progress, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(live, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(row).collect()
}

#[test]
fn every_figure_has_a_line() {
    for (width, height) in [(80, 24), (40, 10), (200, 60)] {
        let lines = drawn(&live(), width, height);
        let starts = [
            "soloist-load measured  127.0.0.1:50051",
            "",
            "rate       99,876/s of 100,000/s",
            "completed  4,461,690",
            "in flight  24",
            "failed     180 UNAVAILABLE, 2 ",
            "dropped    1,200 (0.027%)",
            "response   p50 ",
        ];
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line:?} at {width}x{height}");
        }
        assert!(lines[1].contains("0:45 of 1:00"), "{:?}", lines[1]);
        let all = lines.join("\n");
        for value in [
            "p50 216 us",
            "p90 412 us",
            "p99 656 us",
            "p99.9 1.09 ms",
            "max 1.09 ms",
        ] {
            assert!(all.contains(value), "{value} at {width}x{height}:\n{all}");
        }
    }
}

#[test]
fn charts_are_drawn_if_there_is_room() {
    let has =
        |lines: &[String], text: &str| lines.iter().filter(|line| line.contains(text)).count();
    let small = drawn(&live(), 40, 10);
    assert_eq!(has(&small, "operations per second"), 0);
    let usual = drawn(&live(), 80, 24);
    assert_eq!(
        (
            has(&usual, "operations per second"),
            has(&usual, "response: ━ p50 ━ p99 ━ max")
        ),
        (1, 1)
    );
    let large = drawn(&live(), 200, 60);
    assert_eq!(
        (
            has(&large, "operations per second"),
            has(&large, "response: ━ p50 ━ p99 ━ max")
        ),
        (1, 1)
    );
    assert!(
        has(&large, "0:44") == 2 && has(&large, "110,000") >= 1,
        "{large:#?}"
    );
    let braille = |lines: &[String]| {
        lines
            .concat()
            .chars()
            .filter(|char| ('\u{2801}'..='\u{28ff}').contains(char))
            .count()
    };
    assert!(braille(&large) > 200);
}

/// The colours of the cells in which a text stands.
fn colours(live: &Progress, text: &str) -> Vec<ratatui::style::Color> {
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    terminal.draw(|frame| draw(live, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    for y in 0..40 {
        let row: Vec<&str> = (0..120).map(|x| buffer[(x, y)].symbol()).collect();
        let wanted: Vec<String> = text.chars().map(String::from).collect();
        let at = row.windows(wanted.len()).position(|cells| cells == wanted);
        if let Some(at) = at {
            let cells = at..at + wanted.len();
            return cells.map(|x| buffer[(x as u16, y)].fg).collect();
        }
    }
    panic!("{text} is not drawn");
}

#[test]
fn each_name_of_the_legend_has_the_colour_of_its_line() {
    use ratatui::style::Color;
    for (name, colour) in [
        ("━ completed", Color::Cyan),
        ("━ requested", Color::Magenta),
        ("━ p50", Color::Cyan),
        ("━ p99", Color::Yellow),
        ("━ max", Color::Red),
    ] {
        let colours = colours(&live(), name);
        assert!(
            colours.iter().all(|of| *of == colour),
            "{name}: {colours:?}"
        );
    }
    let mut closed = live();
    closed.requested_per_second = None;
    let lines = drawn(&closed, 120, 40).concat();
    assert!(!lines.contains("requested"), "{lines}");
}

#[test]
fn the_progress_can_be_read_wherever_the_bar_ends() {
    use ratatui::style::Color;
    let mut live = live();
    for seconds in [0, 10, 20, 30, 40, 60] {
        live.elapsed = Duration::from_secs(seconds);
        let percent = format!("{:.0}%", seconds as f64 / 0.6);
        for text in ["of 1:00", &percent] {
            let colours = colours(&live, text);
            assert!(colours.iter().all(|of| *of == Color::Reset), "{colours:?}");
        }
    }
}

#[test]
fn no_size_and_no_progress_panics() {
    let mut states = vec![Progress::default(), live()];
    let mut first = live();
    first.intervals.truncate(1);
    states.push(first);
    let mut empty = live();
    for interval in &mut empty.intervals {
        interval.ops_per_second = 0.0;
        (interval.p50_us, interval.p99_us, interval.max_us) = (None, None, None);
    }
    states.push(empty);
    let mut over = live();
    over.elapsed = Duration::from_secs(100);
    over.requests = Some(1);
    over.title = "a\x1b[2J\u{1f600}".repeat(50);
    states.push(over);
    for live in &states {
        for (width, height) in [
            (0, 0),
            (1, 1),
            (3, 2),
            (10, 5),
            (40, 10),
            (39, 17),
            (80, 24),
            (200, 60),
            (500, 1),
        ] {
            drawn(live, width, height);
        }
    }
}

#[test]
fn the_gauge_shows_the_condition_that_ends_the_run_first() {
    let mut live = live();
    assert_eq!(live.done(), Some(0.75));
    live.requests = Some(4_461_872);
    assert_eq!(live.done(), Some(1.0));
    live.phase = "warmup".to_owned();
    assert_eq!(live.done(), Some(0.75));
    live.total = None;
    assert_eq!(live.done(), None);
    assert!(drawn(&live, 80, 24)[1].starts_with("0:45 "));
}

#[test]
fn without_a_terminal_progress_is_a_line() {
    let mut live = live();
    let last = live.intervals.last_mut().unwrap();
    (last.p50_us, last.p99_us, last.max_us) = (Some(219.0), Some(715.0), Some(1_580.0));
    assert_eq!(
        line(&live),
        "0:45 of 1:00: 99,876/s of 100,000/s, p50 219 us, p99 715 us, 24 in flight,\n      182 FAILED, 1,200 dropped"
    );
    live.connections = "0 of 16 connections, 1,234 ended so far, NO SERVER for 123.4 s".to_owned();
    live.phase = "warmup".to_owned();
    live.dropped = 123_456_789;
    for line in line(&live).lines() {
        assert!(line.len() <= 80, "{line}");
    }
    assert_eq!(line(&Progress::default()), " 0:00: 0.00/s, 0 in flight");
}

#[test]
fn old_intervals_are_removed() {
    let first = live().intervals[0].clone();
    let mut live = Progress::default();
    for at in 0..INTERVALS_MAX + 3 {
        let mut interval = first.clone();
        interval.start_seconds = at as f64;
        live.push(interval);
        if at == 5 {
            assert_eq!(live.intervals.len(), 6);
        }
    }
    assert_eq!(live.intervals.len(), INTERVALS_MAX);
    assert_eq!(live.intervals[0].start_seconds, 3.0);
    assert_eq!(live.intervals[0].histogram, "");
}

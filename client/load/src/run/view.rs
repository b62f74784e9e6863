//! Shows a run while it lasts, on standard error: a live view on a terminal, otherwise a line a second.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::links::LinkStatus;
use crate::record::timeline::Timeline;
use crate::report::live::{INTERVALS_MAX, Progress, Screen, Work, line};
use crate::report::model::IntervalReport;

/// The time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far a run is.
pub(crate) trait View {
    /// How to show the work before and after the run.
    fn work(&self) -> Work;

    /// Shows the counts of now. `dropped` is the number of operations dropped so far.
    fn show(&mut self, settings: &Settings, timeline: &Timeline, stop: &Stop, dropped: u64);

    /// Ends the view, and leaves the terminal as it was.
    fn end(&mut self);
}

/// Shows nothing.
#[derive(Debug)]
pub(crate) struct NoView;

impl View for NoView {
    fn work(&self) -> Work {
        Work::Nothing
    }

    fn show(&mut self, _: &Settings, _: &Timeline, _: &Stop, _: u64) {}

    fn end(&mut self) {}
}

/// How much to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewKind {
    Nothing,
    /// A line a second, even on a terminal.
    Lines,
    /// The live view on a terminal; otherwise a line a second.
    View,
}

/// Returns the view for standard error. `title` is the name of the run.
pub(crate) fn view(kind: ViewKind, title: String) -> Box<dyn View> {
    if kind == ViewKind::Nothing {
        return Box::new(NoView);
    }
    Box::new(LiveView {
        title,
        kind,
        has_begun: false,
        screen: None,
        next_line: None,
        counted: None,
        intervals: BTreeMap::new(),
    })
}

struct LiveView {
    title: String,
    kind: ViewKind,
    /// Whether the run was shown. Until then, the screen is left to the work before it.
    has_begun: bool,
    /// `None` to write lines, and before and after the run.
    screen: Option<Screen>,
    /// When to write the next line. `None` until the run is shown for the first time.
    next_line: Option<Instant>,
    /// When the rate was computed last, and how many operations were completed then.
    counted: Option<(Instant, u64)>,
    /// The reports of intervals that are over, by their numbers.
    intervals: BTreeMap<u64, IntervalReport>,
}

impl View for LiveView {
    fn work(&self) -> Work {
        match self.kind {
            ViewKind::Nothing => Work::Nothing,
            ViewKind::Lines => Work::Lines,
            ViewKind::View => Work::Bar,
        }
    }

    fn show(&mut self, settings: &Settings, timeline: &Timeline, stop: &Stop, dropped: u64) {
        let now = Instant::now();
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first && self.kind == ViewKind::View && io::stderr().is_terminal() {
            self.screen = Screen::enter().ok();
        }
        if self.screen.is_none() && !self.is_time_for_line(now) {
            return;
        }
        let totals = timeline.totals();
        let (phase, from, total) = phase(settings, stop, now);
        let requested = settings.open_loop.as_ref();
        let requested = requested.and_then(|open_loop| open_loop.rate_at(stop.nanos_of(now)));
        let live = Progress {
            title: self.title.clone(),
            phase: phase.to_owned(),
            elapsed: now.saturating_duration_since(from),
            total,
            requests: settings.requests,
            ops_per_second: self.rate(totals.completed, now, stop),
            requested_per_second: requested,
            completed: totals.completed,
            failed: failures(totals.failed),
            dropped,
            in_flight: totals.in_flight,
            connections: connections(timeline.links().status(), now),
            intervals: self.latest_intervals(settings, timeline),
        };
        match &mut self.screen {
            // If the terminal is lost, the measurement goes on.
            Some(screen) => _ = screen.draw(&live),
            None => _ = writeln!(io::stderr(), "{}", line(&live)),
        }
    }

    fn end(&mut self) {
        self.screen = None;
    }
}

impl LiveView {
    /// Returns whether to write a line, and sets the time of the next one. The first line comes after a second.
    fn is_time_for_line(&mut self, now: Instant) -> bool {
        let is_time = self.next_line.is_some_and(|next| now >= next);
        if is_time || self.next_line.is_none() {
            self.next_line = Some(now + LINE_INTERVAL);
        }
        is_time
    }

    /// Returns the operations per second since the last call.
    fn rate(&mut self, completed: u64, now: Instant, stop: &Stop) -> f64 {
        let (since, before) = self.counted.unwrap_or((stop.window_start(), 0));
        self.counted = Some((now, completed));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        match seconds > 0.0 {
            true => completed.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        }
    }

    /// Returns the reports of the latest intervals that are over, the latest last. A report is made again only if its
    /// interval has changed: percentiles cost CPU time that the run should have.
    fn latest_intervals(
        &mut self,
        settings: &Settings,
        timeline: &Timeline,
    ) -> Vec<IntervalReport> {
        let length = settings.interval.as_secs_f64();
        let mut intervals: Vec<_> = timeline.intervals().collect();
        // The last interval is not over.
        intervals.pop();
        let skipped = intervals.len().saturating_sub(INTERVALS_MAX);
        intervals.drain(..skipped);
        let first = intervals.first().map_or(0, |interval| interval.index);
        self.intervals = self.intervals.split_off(&first);
        for interval in intervals {
            let is_known = self.intervals.get(&interval.index).is_some_and(|of| {
                (of.completed, of.failed) == (interval.completed, interval.failed)
            });
            if !is_known {
                let start = interval.index as f64 * length;
                let report = IntervalReport {
                    completed: interval.completed,
                    failed: interval.failed,
                    in_flight: interval.in_flight,
                    ops_per_second: interval.completed as f64 / length,
                    histogram: String::new(),
                    ..IntervalReport::of(&interval.response(), start, length)
                };
                self.intervals.insert(interval.index, report);
            }
        }
        self.intervals.values().cloned().collect()
    }
}

/// Returns the name of the phase at `now`, when it began, and how long it lasts if that is known.
fn phase(
    settings: &Settings,
    stop: &Stop,
    now: Instant,
) -> (&'static str, Instant, Option<Duration>) {
    let start = stop.window_start();
    match stop.end() {
        _ if now < start => ("warmup", stop.instant_of(0), Some(settings.warmup)),
        Some(end) if now >= end => ("drain", end, None),
        end => ("measured", start, end.map(|end| end - start)),
    }
}

/// Says what has happened to the connections.
fn connections(of: LinkStatus, now: Instant) -> String {
    let ended = of.totals.lost + of.totals.goaways;
    if ended == 0 {
        return String::new();
    }
    let (up, all) = (of.up, of.totals.all);
    let mut text = format!("{up} of {all} connections, {ended} ended so far");
    if let Some(since) = of.out_since {
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        text += &format!(", NO SERVER for {seconds:.1} s");
    }
    text
}

fn failures(failed: u64) -> BTreeMap<String, u64> {
    match failed {
        0 => BTreeMap::new(),
        failed => BTreeMap::from([("failed".to_owned(), failed)]),
    }
}

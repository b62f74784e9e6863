//! What is shown of a run while it lasts: a view on a terminal, a line a second elsewhere. Nothing on standard output.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::timeline::Timeline;
use crate::report::live::{INTERVALS_MAX, Live, Screen, line};
use crate::report::model::IntervalReport;

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far a run is.
pub(crate) trait View {
    /// Shows it as it is.
    fn show(&mut self, settings: &Settings, timeline: &Timeline, stop: &Stop, dropped: u64);

    /// Takes away what is in the way of what comes.
    fn end(&mut self);
}

/// Shows nothing.
#[derive(Debug)]
pub(crate) struct NoView;

impl View for NoView {
    fn show(&mut self, _: &Settings, _: &Timeline, _: &Stop, _: u64) {}

    fn end(&mut self) {}
}

/// How much is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewKind {
    Nothing,
    /// A line a second, terminal or not.
    Lines,
    /// The view, if there is a terminal.
    View,
}

/// What fits where standard error goes.
pub(crate) fn view(show: ViewKind, title: String) -> Box<dyn View> {
    let screen = match show {
        ViewKind::Nothing => return Box::new(NoView),
        ViewKind::View if io::stderr().is_terminal() => Screen::enter().ok(),
        ViewKind::View | ViewKind::Lines => None,
    };
    Box::new(LiveView {
        title,
        screen,
        rate: None,
        said: None,
        made: BTreeMap::new(),
    })
}

struct LiveView {
    title: String,
    /// None: lines are written.
    screen: Option<Screen>,
    /// When the rate was taken last, and of what.
    rate: Option<(Instant, u64)>,
    /// When a line was written last.
    said: Option<Instant>,
    /// What was made of the intervals that are over, by their numbers.
    made: BTreeMap<u64, IntervalReport>,
}

impl View for LiveView {
    fn show(&mut self, settings: &Settings, timeline: &Timeline, stop: &Stop, dropped: u64) {
        let now = Instant::now();
        let is_due = self
            .said
            .is_none_or(|said| now.saturating_duration_since(said) >= LINE_INTERVAL);
        if self.screen.is_none() && !is_due {
            return;
        }
        // The first second is told when it is over.
        if self.screen.is_none() && self.said.is_none() {
            self.said = Some(now);
            return;
        }
        let totals = timeline.totals();
        let (since, before) = self.rate.unwrap_or((stop.window_start(), 0));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let ops_per_second = match seconds > 0.0 {
            true => totals.completed.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        };
        self.rate = Some((now, totals.completed));
        let (phase, from, total) = phase(settings, stop, now);
        let live = Live {
            title: self.title.clone(),
            phase: phase.to_owned(),
            elapsed: now.saturating_duration_since(from),
            total,
            requests: settings.requests,
            ops_per_second,
            requested_per_second: settings
                .open_loop
                .as_ref()
                .and_then(|open_loop| open_loop.rate_at(stop.nanos_of(now))),
            completed: totals.completed,
            failed: failures(totals.failed),
            dropped,
            in_flight: totals.in_flight,
            intervals: self.intervals(settings, timeline),
        };
        match &mut self.screen {
            // A lost terminal is no reason to stop measuring.
            Some(screen) => _ = screen.draw(&live),
            None => {
                self.said = Some(now);
                let _ = writeln!(io::stderr(), "{}", line(&live));
            }
        }
    }

    fn end(&mut self) {
        self.screen = None;
    }
}

/// The phase, when it began, and how long it lasts.
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

fn failures(failed: u64) -> BTreeMap<String, u64> {
    match failed {
        0 => BTreeMap::new(),
        failed => BTreeMap::from([("failed".to_owned(), failed)]),
    }
}

impl LiveView {
    /// Those that are over, the latest last. What was made of one is kept until more is known of it: percentiles cost
    /// more than the run that they are shown of should lose.
    fn intervals(&mut self, settings: &Settings, timeline: &Timeline) -> Vec<IntervalReport> {
        let length = settings.interval.as_secs_f64();
        let mut slots: Vec<_> = timeline.intervals().collect();
        // The present one is not over.
        slots.pop();
        let skipped = slots.len().saturating_sub(INTERVALS_MAX);
        slots.drain(..skipped);
        let first = slots.first().map_or(0, |slot| slot.sum.index);
        self.made = self.made.split_off(&first);
        for slot in slots {
            let sum = &slot.sum;
            let is_known = self
                .made
                .get(&sum.index)
                .is_some_and(|of| (of.completed, of.failed) == (sum.completed, sum.failed));
            if !is_known {
                let start = sum.index as f64 * length;
                let interval = IntervalReport {
                    completed: sum.completed,
                    failed: sum.failed,
                    in_flight: slot.in_flight,
                    ops_per_second: sum.completed as f64 / length,
                    histogram: String::new(),
                    ..IntervalReport::of(&sum.response, start, length)
                };
                self.made.insert(sum.index, interval);
            }
        }
        self.made.values().cloned().collect()
    }
}

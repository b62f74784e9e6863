//! The line that is refreshed while a run lasts.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::recorder::Counters;
use super::stop::Stop;
use super::text::grouped;

/// Between two refreshes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

/// Draws on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    enabled: bool,
    /// When the line was drawn last, and the operations completed until then.
    last: Option<(Instant, u64)>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            enabled: !quiet && io::stderr().is_terminal(),
            last: None,
        }
    }

    /// Draws the line anew.
    pub(crate) fn draw(&mut self, counters: &[Arc<Counters>], stop: &Stop) {
        if !self.enabled {
            return;
        }
        let now = Instant::now();
        let sum = |count: fn(&Counters) -> u64| counters.iter().map(|one| count(one)).sum::<u64>();
        let completed = sum(|counters| counters.completed.load(Ordering::Relaxed));
        let failed = sum(|counters| counters.failed.load(Ordering::Relaxed));
        let (since, before) = self.last.unwrap_or((stop.window_start(), 0));
        let rate = (completed - before) as f64 / now.saturating_duration_since(since).as_secs_f64();
        self.last = Some((now, completed));
        let line = line(stop, now, completed, failed, rate);
        // A lost terminal is no reason to stop measuring.
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }

    /// Removes the line.
    pub(crate) fn clear(&self) {
        if self.enabled {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(stop: &Stop, now: Instant, completed: u64, failed: u64, rate: f64) -> String {
    let start = stop.window_start();
    if now < start {
        return format!("warming up, {:.1} s to go", (start - now).as_secs_f64());
    }
    let elapsed = (now - start).as_secs_f64();
    let time = match stop.end() {
        Some(end) => format!("{elapsed:.1} of {:.1} s", (end - start).as_secs_f64()),
        None => format!("{elapsed:.1} s"),
    };
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {} failed", grouped(failed)),
    };
    format!(
        "{time}: {} operations, {}/s{failed}",
        grouped(completed),
        grouped(rate as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_it_is() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let timed = Stop::new(start, second, Some(2 * second), None);
        assert_eq!(line(&timed, start, 0, 0, 0.0), "warming up, 1.0 s to go");
        assert_eq!(
            line(&timed, start + 2 * second, 12_345, 0, 6_789.5),
            "1.0 of 2.0 s: 12,345 operations, 6,789/s"
        );
        let counted = Stop::new(start, Duration::ZERO, None, Some(5));
        assert_eq!(
            line(&counted, start + second, 3, 1, 3.0),
            "1.0 s: 3 operations, 3/s, 1 failed"
        );
    }
}

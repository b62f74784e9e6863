//! When to stop, and what counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::choices::DurationStop;

/// How long answers are waited for beyond the time that the server has for them, so that its own refusal arrives.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How long answers are waited for after Ctrl-C.
pub(crate) const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// Decides for all workers together whether another operation is sent, and which operations count: those that start
/// after the warm-up and are answered before the end. Latencies are taken of those answered after it, too.
#[derive(Debug)]
pub(crate) struct Stop {
    start: Instant,
    window_start: Instant,
    window_end: Option<Instant>,
    /// Operations still to be sent.
    budget: Option<AtomicU64>,
    interrupted: OnceLock<Instant>,
}

impl Stop {
    /// `start` is when sending begins.
    pub(crate) fn new(
        start: Instant,
        warmup: Duration,
        duration: Option<Duration>,
        requests: Option<u64>,
    ) -> Self {
        let window_start = start + warmup;
        Self {
            start,
            window_start,
            window_end: duration.map(|duration| window_start + duration),
            budget: requests.map(AtomicU64::new),
            interrupted: OnceLock::new(),
        }
    }

    /// How many of `wanted` operations may start at `now`; 0: stop.
    pub(crate) fn admit(&self, now: Instant, wanted: u64) -> u64 {
        if self.end().is_some_and(|end| now >= end) {
            return 0;
        }
        match &self.budget {
            // The warm-up is on top.
            Some(budget) if now >= self.window_start => {
                let take = |left: u64| Some(left.saturating_sub(wanted));
                let left = budget
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .expect("the update never declines");
                left.min(wanted)
            }
            _ => wanted,
        }
    }

    /// Nanoseconds from the start; 0 before it.
    pub(crate) fn nanos_of(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant so many nanoseconds after the start.
    pub(crate) fn instant_of(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos)
    }

    /// Operations that started at this instant or before should have been answered by `now`, if any.
    pub(crate) fn latest_start(&self, now: Instant, timeout: Duration) -> Option<Instant> {
        let is_last_call = self
            .interrupted()
            .is_some_and(|interrupted| now >= interrupted + INTERRUPT_GRACE);
        match is_last_call {
            true => Some(now),
            // `None` in the first moments after the machine has started.
            false => now.checked_sub(timeout + GRACE),
        }
    }

    /// Whether what was due can no longer be sent: the time is over, and with it the patience for what had to wait.
    pub(crate) fn is_too_late(&self, now: Instant, how: DurationStop, timeout: Duration) -> bool {
        let Some(end) = self.end() else {
            return false;
        };
        match how == DurationStop::Wait && self.interrupted().is_none() {
            true => now > end + timeout,
            false => now > end,
        }
    }

    /// Whether an operation that started at `started` belongs to what is measured.
    pub(crate) fn is_measured(&self, started: Instant) -> bool {
        started >= self.window_start
    }

    /// Whether an answer at `now` comes too late to be counted.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end().is_some_and(|end| now > end)
    }

    /// Stops at `now`, because someone asks for it.
    pub(crate) fn interrupt(&self, now: Instant) {
        let _ = self.interrupted.set(now);
    }

    pub(crate) fn interrupted(&self) -> Option<Instant> {
        self.interrupted.get().copied()
    }

    pub(crate) fn window_start(&self) -> Instant {
        self.window_start
    }

    /// When measuring ends, if that is known yet.
    pub(crate) fn end(&self) -> Option<Instant> {
        match (self.window_end, self.interrupted()) {
            (Some(end), Some(interrupted)) => Some(end.min(interrupted)),
            (end, interrupted) => end.or(interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_count_is_spent_exactly_and_not_by_the_warmup() {
        let start = Instant::now();
        let stop = Stop::new(start, SECOND, None, Some(10));
        assert_eq!(stop.admit(start, 64), 64);
        let warm = start + SECOND;
        assert_eq!(stop.admit(warm, 4), 4);
        assert_eq!(stop.admit(warm, 4), 4);
        assert_eq!(stop.admit(warm, 4), 2);
        assert_eq!(stop.admit(warm, 4), 0);
        assert!(!stop.is_over(warm + 1_000 * SECOND));
    }

    #[test]
    fn time_ends_after_warmup_and_duration() {
        let start = Instant::now();
        let stop = Stop::new(start, SECOND, Some(2 * SECOND), None);
        let end = start + 3 * SECOND;
        assert_eq!(stop.admit(end - Duration::from_nanos(1), 1), 1);
        assert_eq!(stop.admit(end, 1), 0);
        assert!(!stop.is_measured(start));
        assert!(stop.is_measured(start + SECOND));
        assert!(!stop.is_over(end));
        assert!(stop.is_over(end + Duration::from_nanos(1)));
    }

    #[test]
    fn an_interruption_ends_it_early_and_only_once() {
        let start = Instant::now();
        let stop = Stop::new(start, Duration::ZERO, Some(9 * SECOND), Some(10));
        stop.interrupt(start + SECOND);
        stop.interrupt(start + 2 * SECOND);
        assert_eq!(stop.end(), Some(start + SECOND));
        assert_eq!(stop.admit(start + SECOND, 1), 0);
    }
}

//! When to stop, and which operations are measured.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::choices::DurationStop;

/// How much longer than its deadline an operation may take here. By then the refusal of the server has arrived, which
/// says more than a timeout of this tool.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How long to wait for answers after Ctrl-C.
pub(crate) const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// Decides for all workers together whether another operation is sent, and which operations count.
///
/// An operation counts if it starts after the warm-up and is answered before the end. The latency of an operation that
/// is answered later is recorded too, because the slowest operations are the most likely to be late.
#[derive(Debug)]
pub(crate) struct Stop {
    start: Instant,
    window_start: Instant,
    window_end: Option<Instant>,
    /// How many operations may still start; `None` for no limit.
    budget: Option<AtomicU64>,
    interrupted: OnceLock<Instant>,
}

impl Stop {
    /// `start` is the start of the warm-up. `duration` and `requests` are without the warm-up.
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

    /// Returns how many of `wanted` operations may start at `now`. 0 means that the run is over.
    pub(crate) fn admit(&self, now: Instant, wanted: u64) -> u64 {
        if self.end().is_some_and(|end| now >= end) {
            return 0;
        }
        match &self.budget {
            // Operations of the warm-up are not taken from the budget.
            Some(budget) if now >= self.window_start => {
                let take = |left: u64| Some(left.saturating_sub(wanted));
                let left = budget
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .expect("the update always returns a value");
                left.min(wanted)
            }
            _ => wanted,
        }
    }

    /// Returns the nanoseconds from the start of the run to an instant; 0 if the instant is before the start.
    pub(crate) fn nanos_of(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the instant this many nanoseconds after the start of the run.
    pub(crate) fn instant_of(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos)
    }

    /// Returns the latest start of operations that must have been answered by `now`, if `timeout` is the time that the
    /// server has for each.
    pub(crate) fn latest_start(&self, now: Instant, timeout: Duration) -> Option<Instant> {
        let is_interrupted_for_long = self
            .interrupted()
            .is_some_and(|interrupted| now >= interrupted + INTERRUPT_GRACE);
        match is_interrupted_for_long {
            true => Some(now),
            // `None` only just after the machine has booted.
            false => now.checked_sub(timeout + GRACE),
        }
    }

    /// Returns whether it is too late at `now` to send an operation that has been due for a while. With `Wait` such
    /// operations may start until `timeout` after the end.
    pub(crate) fn is_too_late(&self, now: Instant, how: DurationStop, timeout: Duration) -> bool {
        let Some(end) = self.end() else {
            return false;
        };
        match how == DurationStop::Wait && self.interrupted().is_none() {
            true => now > end + timeout,
            false => now > end,
        }
    }

    /// Returns whether an operation that started at `started` belongs to the measured time, not to the warm-up.
    pub(crate) fn is_measured(&self, started: Instant) -> bool {
        started >= self.window_start
    }

    /// Returns whether the measured time is over at `now`: answers no longer count.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end().is_some_and(|end| now > end)
    }

    /// Returns whether the count of the run is used up, so that the run may be over before its time.
    pub(crate) fn is_spent(&self) -> bool {
        let budget = self.budget.as_ref();
        budget.is_some_and(|budget| budget.load(Ordering::Relaxed) == 0)
    }

    /// Returns whether no operation may start from `now` on.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.end().is_some_and(|end| now >= end) || self.is_spent()
    }

    /// Ends the run at `now`. Only the first call has an effect.
    pub(crate) fn interrupt(&self, now: Instant) {
        let _ = self.interrupted.set(now);
    }

    /// Returns when the run was [interrupted](Self::interrupt), if it was.
    pub(crate) fn interrupted(&self) -> Option<Instant> {
        self.interrupted.get().copied()
    }

    /// Returns when the warm-up ends and the measured time begins.
    pub(crate) fn window_start(&self) -> Instant {
        self.window_start
    }

    /// Returns when the measured time ends, if that is known yet. With a count alone it is not, unless the run is
    /// interrupted.
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
    fn the_budget_is_spent_exactly_and_not_by_the_warmup() {
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
    fn the_run_ends_after_warmup_and_duration() {
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
    fn an_interruption_ends_the_run_early_and_only_the_first_counts() {
        let start = Instant::now();
        let stop = Stop::new(start, Duration::ZERO, Some(9 * SECOND), Some(10));
        stop.interrupt(start + SECOND);
        stop.interrupt(start + 2 * SECOND);
        assert_eq!(stop.end(), Some(start + SECOND));
        assert_eq!(stop.admit(start + SECOND, 1), 0);
    }
}

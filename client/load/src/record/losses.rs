//! When a thread lost operations because there was no server to take them.

use std::time::Instant;

/// The most losses of a thread that are told apart.
const LOSSES_MAX: usize = 4_096;

/// Operations that were lost one after the other, with none completed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    /// Sent, and failed.
    pub(crate) failed: u64,
    /// Due, and never sent.
    pub(crate) dropped: u64,
    /// How many operations the thread had completed before.
    completed: u64,
}

/// The losses of one thread, in their order.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<Loss>);

impl Losses {
    /// Takes operations that were lost at `now`, when the thread had completed so many.
    pub(crate) fn add(&mut self, now: Instant, failed: u64, dropped: u64, completed: u64) {
        let is_full = self.0.len() >= LOSSES_MAX;
        match self.0.last_mut() {
            Some(last) if last.completed == completed || is_full => {
                last.last = last.last.max(now);
                last.failed += failed;
                last.dropped += dropped;
                last.completed = completed;
            }
            _ => self.0.push(Loss {
                first: now,
                last: now,
                failed,
                dropped,
                completed,
            }),
        }
    }

    /// Adds the losses of another thread.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Returns how many operations failed and were dropped between `start` and `end`.
    pub(crate) fn within(&self, start: Instant, end: Instant) -> (u64, u64) {
        let within = self.0.iter();
        let within = within.filter(|loss| loss.first <= end && loss.last >= start);
        within.fold((0, 0), |(failed, dropped), loss| {
            (failed + loss.failed, dropped + loss.dropped)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn losses_belong_to_the_time_in_which_nothing_was_completed() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let mut losses = Losses::default();
        losses.add(start + ms, 3, 0, 10);
        losses.add(start + 2 * ms, 0, 5, 10);
        // Completed in between.
        losses.add(start + 9 * ms, 1, 0, 11);
        assert_eq!(losses.within(start, start + ms), (3, 5));
        assert_eq!(losses.within(start + 3 * ms, start + 8 * ms), (0, 0));
        assert_eq!(losses.within(start, start + 9 * ms), (4, 5));
        let mut other = Losses::default();
        other.add(start, 7, 7, 0);
        losses.extend(&other);
        assert_eq!(losses.within(start, start + ms), (10, 12));
    }

    #[test]
    fn there_is_a_bound_to_losses_that_are_told_apart_and_none_is_forgotten() {
        let now = Instant::now();
        let mut losses = Losses::default();
        for completed in 0..10_000 {
            losses.add(now, 1, 0, completed);
        }
        assert_eq!(losses.0.len(), LOSSES_MAX);
        assert_eq!(losses.within(now, now), (10_000, 0));
    }
}

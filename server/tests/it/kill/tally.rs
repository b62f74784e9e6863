//! Counts what a run was about.

use soloist_verify::{Outcome, Watch, WatchUpdate};

use super::call::Step;

/// How much there was to lose.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: usize,
    pub(super) changes_answered: usize,
    pub(super) compare_and_sets: usize,
    pub(super) refused: usize,
    pub(super) unknown: usize,
    /// Unknown outcomes with a revision that the server named.
    pub(super) unknown_named: usize,
    pub(super) kills_in_flight: usize,
    pub(super) retries_replayed: usize,
    pub(super) retries_done: usize,
    pub(super) repeated: usize,
    pub(super) events: usize,
}

impl Tally {
    pub(super) fn count(&mut self, step: &Step, outcome: Outcome) {
        let is_change = step.change(outcome).is_some();
        self.changes_answered += usize::from(is_change);
        self.compare_and_sets += usize::from(is_change && step.expect.is_some());
        self.refused += usize::from(matches!(outcome, Outcome::Refused(_)));
    }

    pub(super) fn count_events(&mut self, watch: &Watch) {
        let is_event = |update: &WatchUpdate| matches!(update, WatchUpdate::Event { .. });
        let events = watch.updates.iter().filter(|(_, update)| is_event(update));
        self.events += events.count();
    }

    /// Checks that the run proves something: that there was enough to lose.
    #[track_caller]
    pub(super) fn assert_enough(&self, seed: u64, cycles: usize) {
        for (what, count, least) in [
            ("answered changes", self.changes_answered, 20 * cycles),
            ("compare-and-sets", self.compare_and_sets, cycles / 2),
            ("refusals", self.refused, cycles / 2),
            ("unknown outcomes", self.unknown, 4 * cycles),
            (
                "kills with calls in flight",
                self.kills_in_flight,
                cycles * 9 / 10,
            ),
            (
                "retries that were replayed",
                self.retries_replayed,
                cycles / 25,
            ),
            ("retries that were done", self.retries_done, cycles / 25),
            ("repeated calls", self.repeated, cycles),
            ("watched changes", self.events, 20 * cycles),
        ] {
            assert!(
                count >= least,
                "seed {seed}: {count} {what} in {cycles} cycles, but at least {least} are needed: {self:?}"
            );
        }
    }
}

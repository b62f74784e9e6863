//! What a run was about, in numbers.

use crate::checker::{Action, Outcome};

/// How much there was to lose.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: usize,
    pub(super) changes_answered: usize,
    pub(super) compare_and_sets: usize,
    pub(super) refused: usize,
    pub(super) unknown: usize,
    /// Those of them that the server itself could tell of.
    pub(super) unknown_told: usize,
    pub(super) kills_in_flight: usize,
    pub(super) retries_replayed: usize,
    pub(super) retries_done: usize,
    pub(super) repeated: usize,
    pub(super) events: usize,
    pub(super) events_of_unknown: usize,
}

impl Tally {
    pub(super) fn count(&mut self, action: Action, outcome: Outcome) {
        let change = outcome.change(action).is_some();
        self.changes_answered += usize::from(change);
        let is_guarded = matches!(action, Action::CompareAndSet { .. });
        self.compare_and_sets += usize::from(change && is_guarded);
        self.refused += usize::from(matches!(outcome, Outcome::Refused { .. }));
    }

    /// A run in which nothing could be lost proves nothing.
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
                "retries that were done before",
                self.retries_replayed,
                cycles / 25,
            ),
            ("retries that were not", self.retries_done, cycles / 25),
            ("repeated calls", self.repeated, cycles),
            ("watched changes", self.events, 20 * cycles),
        ] {
            assert!(
                count >= least,
                "seed {seed}: {count} {what} in {cycles} cycles, at least {least} are needed: {self:?}"
            );
        }
    }
}

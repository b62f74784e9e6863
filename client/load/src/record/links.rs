//! The connections of a run: how many there are, and the times without any.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The most outages that are told apart: a server that crashes every second for an hour has 3,600. Later ones are counted.
const OUTAGES_MAX: usize = 10_000;

/// The connections of all threads. The threads tell what happens to each; that is rare, so a lock does.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that can take new operations.
    up: u64,
    totals: LinkTotals,
    /// The outage that lasts.
    outage: Option<OpenOutage>,
    outages: Vec<Outage>,
    /// Why the latest attempt to connect failed, since there was a connection.
    why_down: Option<String>,
    /// The address of the node that has answered last.
    owner: Option<String>,
}

/// What happened to the connections of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkTotals {
    /// All connections that a run is to have.
    pub(crate) all: u64,
    /// How often a connection broke.
    pub(crate) lost: u64,
    /// How often the server ended a connection in order, by GOAWAY: it finishes what it has taken, and takes no more.
    pub(crate) goaways: u64,
    /// How often a connection was made again.
    pub(crate) made_again: u64,
    /// How often that failed.
    pub(crate) attempts_failed: u64,
    /// Outages beyond those that are told apart.
    pub(crate) outages_more: u64,
    /// Calls whose stream the server refused, and that were sent again.
    pub(crate) refused: u64,
    /// How often another node answered than the one before.
    pub(crate) owner_changes: u64,
}

impl LinkTotals {
    /// Adds what happened to other connections.
    pub(crate) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.lost += other.lost;
        self.goaways += other.goaways;
        self.made_again += other.made_again;
        self.attempts_failed += other.attempts_failed;
        self.refused += other.refused;
        // Both have seen the same changes, if they were looking.
        self.owner_changes = self.owner_changes.max(other.owner_changes);
    }
}

#[derive(Clone, Copy, Debug)]
struct OpenOutage {
    start: Instant,
    /// The server ended the last connection in order, and it is not known yet whether another one can be made: if so, there
    /// is no outage.
    is_handover: bool,
}

/// A time without a server: from when the last connection was lost until an operation was completed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) start: Instant,
    /// `None` if nothing was completed again.
    pub(crate) end: Option<Instant>,
}

/// What a view shows of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkStatus {
    pub(crate) up: u64,
    pub(crate) totals: LinkTotals,
    /// Since when there has been no connection that answers.
    pub(crate) out_since: Option<Instant>,
}

impl Links {
    /// Counts a connection to `node` that was made before the run.
    pub(crate) fn opened(&self, node: &str) {
        let mut state = self.lock();
        state.owner.get_or_insert_with(|| node.to_owned());
        state.up += 1;
        state.totals.all += 1;
    }

    /// A connection broke at `now`.
    pub(crate) fn lost(&self, now: Instant) {
        let mut state = self.lock();
        state.totals.lost += 1;
        state.take_down(now, false);
    }

    /// The server ended a connection in order at `now`.
    pub(crate) fn goaway(&self, now: Instant) {
        let mut state = self.lock();
        state.totals.goaways += 1;
        state.take_down(now, true);
    }

    /// A connection takes no more operations at `now`, for a reason that is no fault of anybody.
    pub(crate) fn replaced(&self, now: Instant) {
        self.lock().take_down(now, true);
    }

    /// An attempt to connect failed.
    pub(crate) fn attempt_failed(&self, why: &str) {
        let mut state = self.lock();
        if state.why_down.as_deref() != Some(why) {
            state.why_down = Some(why.to_owned());
        }
        state.totals.attempts_failed += 1;
        if let Some(outage) = &mut state.outage {
            outage.is_handover = false;
        }
    }

    /// The server refused the streams of this many calls, which are sent again.
    pub(crate) fn refused(&self, calls: u64) {
        self.lock().totals.refused += calls;
    }

    /// A connection was made again.
    pub(crate) fn made_again(&self) {
        let mut state = self.lock();
        state.totals.made_again += 1;
        state.up += 1;
        state.why_down = None;
        state.outage = state.outage.filter(|outage| !outage.is_handover);
    }

    /// A connection to `node` that was made again has answered at `now` for the first time.
    pub(crate) fn answered(&self, node: &str, now: Instant) {
        let mut state = self.lock();
        if state.owner.as_deref() != Some(node) {
            state.owner = Some(node.to_owned());
            state.totals.owner_changes += 1;
        }
        state.end_outage(Some(now));
    }

    /// Ends the run: an outage that lasts has no end.
    pub(crate) fn finish(&self) -> (LinkTotals, Vec<Outage>) {
        let mut state = self.lock();
        state.end_outage(None);
        (state.totals, std::mem::take(&mut state.outages))
    }

    /// Returns why the latest attempt to connect failed, if none has succeeded since.
    pub(crate) fn why_down(&self) -> Option<String> {
        self.lock().why_down.clone()
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let state = self.lock();
        let outage = state.outage.filter(|outage| !outage.is_handover);
        LinkStatus {
            up: state.up,
            totals: state.totals,
            out_since: outage.map(|outage| outage.start),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_down(&mut self, now: Instant, is_handover: bool) {
        self.up = self.up.saturating_sub(1);
        if self.up > 0 {
            return;
        }
        match &mut self.outage {
            // It was made again, and has broken before it has answered anything.
            Some(outage) => outage.is_handover &= is_handover,
            None => {
                self.outage = Some(OpenOutage {
                    start: now,
                    is_handover,
                });
            }
        }
    }

    fn end_outage(&mut self, end: Option<Instant>) {
        let Some(outage) = self.outage.take().filter(|outage| !outage.is_handover) else {
            return;
        };
        match self.outages.len() < OUTAGES_MAX {
            true => self.outages.push(Outage {
                start: outage.start,
                end,
            }),
            false => self.totals.outages_more += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn links(count: u64) -> (Links, Instant) {
        let links = Links::default();
        (0..count).for_each(|_| links.opened("a:1"));
        (links, Instant::now())
    }

    #[test]
    fn an_outage_lasts_from_the_loss_of_the_last_connection_to_the_first_answer() {
        let (links, start) = links(2);
        links.lost(start + MS);
        assert_eq!(links.status().out_since, None);
        links.lost(start + 2 * MS);
        assert_eq!(links.status().out_since, Some(start + 2 * MS));
        links.attempt_failed("refused");
        assert_eq!(links.why_down().as_deref(), Some("refused"));
        links.made_again();
        assert_eq!(links.why_down(), None);
        // Accepted, and closed before an answer.
        links.lost(start + 3 * MS);
        links.made_again();
        links.answered("a:1", start + 9 * MS);
        links.made_again();
        links.answered("a:1", start + 10 * MS);
        links.lost(start + 11 * MS);
        links.lost(start + 12 * MS);
        let (totals, outages) = links.finish();
        let outage = |start, end| Outage { start, end };
        let expected = [
            outage(start + 2 * MS, Some(start + 9 * MS)),
            outage(start + 12 * MS, None),
        ];
        assert_eq!(outages, expected);
        assert_eq!((totals.lost, totals.made_again), (5, 3));
    }

    #[test]
    fn a_goaway_is_an_outage_only_if_no_other_connection_can_be_made() {
        let (links, start) = links(1);
        links.goaway(start);
        links.made_again();
        links.answered("a:1", start + MS);
        links.goaway(start + 2 * MS);
        links.attempt_failed("refused");
        links.made_again();
        links.answered("a:1", start + 5 * MS);
        let (totals, outages) = links.finish();
        let expected = Outage {
            start: start + 2 * MS,
            end: Some(start + 5 * MS),
        };
        assert_eq!(outages, [expected]);
        assert_eq!((totals.goaways, totals.lost), (2, 0));
    }

    #[test]
    fn another_node_that_answers_is_a_change_of_the_owner() {
        let (links, start) = links(2);
        for (node, changes) in [("a:1", 0), ("b:2", 1), ("b:2", 1), ("a:1", 2)] {
            links.replaced(start);
            links.made_again();
            links.answered(node, start + MS);
            assert_eq!(links.status().totals.owner_changes, changes, "{node}");
        }
        let mut totals = links.finish().0;
        totals.add(totals);
        assert_eq!(totals.owner_changes, 2);
    }
}

//! How long a batch waits for more changes, so that they share its commit.
//!
//! A commit answers many callers at once, and most of them call again soon. A batch that left the moment the one before it was
//! committed would miss what they bring. Callers would fall into two groups that take turns, and each commit would carry the changes
//! of one. So a batch waits for about as many changes as the last commit answered, besides those that came meanwhile, but not for longer
//! than that commit took. Where callers do not come back in time, waiting is tried more and more seldom.
//!
//! PostgreSQL has the same with `commit_delay`, as a fixed time.

use tokio::time::Instant;

use crate::config::{GROUP_BYTES_ENOUGH, GROUP_SKIPS_MAX, GROUP_WAIT_MAX, GROUPED_COMMIT_MIN};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct GroupCommit {
    /// When the last batch was sent.
    sent: Instant,
    wait: Option<Wait>,
    /// After how many more commits there is a wait again.
    skips: u32,
    /// How many waits in a row were in vain.
    vain: u32,
}

/// What the next batch waits for.
#[derive(Debug)]
struct Wait {
    changes: usize,
    until: Instant,
    /// Whether there is something that waits.
    holds: bool,
}

impl GroupCommit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sent: now,
            wait: None,
            skips: 0,
            vain: 0,
        }
    }

    /// Notes that a batch is sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
        self.wait = None;
    }

    /// Notes that a batch of `answered` changes is committed, when `unsent` have come since it was sent.
    pub(super) fn committed(&mut self, answered: usize, unsent: usize, now: Instant) {
        let took = now - self.sent;
        if took < GROUPED_COMMIT_MIN {
            return;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return;
        }
        self.wait = Some(Wait {
            // One in 32 may come late: the others need not wait for the last.
            changes: unsent + answered - answered / 32,
            until: now + took.min(GROUP_WAIT_MAX),
            holds: false,
        });
    }

    /// Whether `unsent` changes, which have so many bytes, wait for others.
    pub(super) fn holds(&mut self, unsent: usize, bytes: usize, now: Instant) -> bool {
        let Some(wait) = &mut self.wait else {
            return false;
        };
        if unsent == 0 {
            // What was held may have been sent by others, as before a handoff.
            wait.holds = false;
            return false;
        }
        let is_complete = unsent >= wait.changes || bytes >= GROUP_BYTES_ENOUGH;
        if !is_complete && now < wait.until {
            wait.holds = true;
            return true;
        }
        if is_complete {
            self.vain = 0;
        } else if wait.holds {
            self.vain += 1;
            self.skips = GROUP_SKIPS_MAX.min((1 << self.vain.min(31)) - 1);
        }
        self.wait = None;
        false
    }

    /// Until when changes wait for others. None if there are none that do.
    pub(super) fn until(&self) -> Option<Instant> {
        let wait = self.wait.as_ref().filter(|wait| wait.holds)?;
        Some(wait.until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const COMMIT: Duration = Duration::from_millis(2);

    /// A group commit after a batch of so many changes was committed, when there were as many unsent.
    fn after_commit(answered: usize, unsent: usize) -> (GroupCommit, Instant) {
        let start = Instant::now();
        let mut group = GroupCommit::new(start);
        group.committed(answered, unsent, start + COMMIT);
        (group, start + COMMIT)
    }

    #[test]
    fn what_is_waited_for() {
        for (unsent, bytes, waited, holds) in [
            (1, 0, Duration::ZERO, true),
            (36, 0, Duration::ZERO, true),
            (37, 0, Duration::ZERO, false),
            (1, GROUP_BYTES_ENOUGH, Duration::ZERO, false),
            (1, 0, COMMIT - Duration::from_nanos(1), true),
            (1, 0, COMMIT, false),
            // Nothing waits for something.
            (0, 0, Duration::ZERO, false),
        ] {
            // 6 unsent, and 31 of the 32 that have an answer.
            let (mut group, now) = after_commit(32, 6);
            assert_eq!(
                group.holds(unsent, bytes, now + waited),
                holds,
                "{unsent} {bytes} {waited:?}"
            );
            assert_eq!(group.until(), holds.then_some(now + COMMIT));
        }
    }

    #[test]
    fn a_long_commit_is_not_waited_for_as_long() {
        let start = Instant::now();
        let mut group = GroupCommit::new(start);
        let now = start + Duration::from_secs(1);
        group.committed(8, 0, now);
        assert!(group.holds(1, 0, now));
        assert_eq!(group.until(), Some(now + GROUP_WAIT_MAX));
    }

    #[test]
    fn nothing_is_due_when_what_was_held_is_gone() {
        let (mut group, now) = after_commit(8, 0);
        assert!(group.holds(1, 0, now));
        assert!(!group.holds(0, 0, now));
        assert_eq!(group.until(), None);
    }

    #[test]
    fn vain_waits_become_rare_and_a_good_one_brings_them_back() {
        let mut now = Instant::now();
        let mut group = GroupCommit::new(now);
        let mut waits = |comes: usize, commits: usize| {
            let mut waited = 0;
            for _ in 0..commits {
                group.sent(now);
                now += COMMIT;
                group.committed(8, 0, now);
                if group.holds(1, 0, now) {
                    waited += 1;
                    now += COMMIT;
                    assert!(!group.holds(comes, 0, now));
                }
            }
            waited
        };
        // After 0, 1, 3, 7, 15, 31 and 63 commits, and then always 64.
        assert_eq!(
            waits(1, 1_000),
            7 + (1_000 - 7 - 1 - 3 - 7 - 15 - 31 - 63) / 65
        );
        assert!(waits(8, 200) > 100);
    }
}

//! Everything that the owner's task owns, and what the task does between messages.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{DUE_KEYS_BETWEEN_WAKES, DUE_KEYS_MAX, MailboxLimits};
use crate::journal::{Event, Journal};
use crate::machine::{Revision, StateMachine, Time};
use crate::metrics::OwnerCells;

use super::backups::OpenBackups;
use super::clock::Now;
use super::commit::CommitQueue;
use super::error::JournalLost;
use super::gate::Place;
use super::group_commit::GroupCommit;
use super::reply::HeldReply;
use super::successor::HandOff;
use super::times::CallTimes;
use super::watches::Watches;

/// The limits that the owner is started with.
#[derive(Clone, Debug)]
pub struct OwnerLimits {
    /// Limits on the mailbox.
    pub mailbox: MailboxLimits,
    /// Most bytes of values in the answer to one frame.
    pub answer_bytes: usize,
    /// Most watches open at once.
    pub watches: usize,
}

/// The state, and everything that belongs to it. Only the owner's task has it, so nothing needs a lock.
pub(super) struct Owner {
    pub(super) machine: StateMachine,
    /// Changes that are not on disk yet. `None` if the state is kept in memory only.
    pub(super) commits: Option<Box<CommitQueue>>,
    group: GroupCommit,
    /// Most bytes of values in the answer to one frame.
    pub(super) answer_bytes_max: usize,
    pub(super) watches: Watches,
    pub(super) backups: OpenBackups,
    /// Answers that wait until a session's last key is gone, each with the session's create revision.
    pub(super) until_session_ended: Vec<(Revision, Box<dyn HeldReply>)>,
    /// The store revision before the current message.
    pub(super) revision_before: Revision,
    /// Whether the current message changes nothing by its kind.
    pub(super) reads_only: bool,
    /// Whether the current message has a request id, so that its answer may be that of an earlier message.
    pub(super) has_request_id: bool,
    /// The room of the current message, if it is a costly one.
    pub(super) place: Option<Box<Place>>,
    /// The store is to be handed off when the current batch of messages is done.
    pub(super) hand_off: Option<HandOff>,
    /// Where the owner counts. `None` if nobody can look.
    pub(super) metrics: Option<Arc<OwnerCells>>,
    /// The times of the call whose message is being handled, if they are measured.
    pub(super) times: Option<Arc<CallTimes>>,
}

impl Owner {
    pub(super) fn new(
        mut machine: StateMachine,
        journal: Option<Journal>,
        limits: &OwnerLimits,
        metrics: Option<Arc<OwnerCells>>,
    ) -> Self {
        let commits = journal.map(|journal| Box::new(CommitQueue::new(journal, &mut machine)));
        Self {
            machine,
            commits,
            group: GroupCommit::new(Instant::now()),
            answer_bytes_max: limits.answer_bytes,
            watches: Watches::new(limits.watches),
            backups: OpenBackups::new(),
            until_session_ended: Vec::new(),
            revision_before: 0,
            reads_only: true,
            has_request_id: false,
            place: None,
            hand_off: None,
            metrics,
            times: None,
        }
    }

    /// Begins with a message of a call.
    #[inline]
    pub(super) fn begin_timed(&mut self, times: Option<Arc<CallTimes>>) {
        if let Some(times) = times {
            times.note_taken();
            self.times = Some(times);
        }
    }

    /// Ends the message that was begun.
    #[inline]
    pub(super) fn end_timed(&mut self) {
        if let Some(times) = self.times.take() {
            times.note_applied();
        }
    }

    /// Returns when changes that wait for others are to be sent. `None` if there are none.
    pub(super) fn batch_due(&self) -> Option<Instant> {
        self.group.until()
    }

    /// Returns when the next ttl, timeout or remembered request id ends. `None` while these must wait.
    pub(super) fn next_due(&self) -> Option<Time> {
        let due = self.machine.next_due()?;
        (!self.delays_what_is_due()).then_some(due)
    }

    /// Whether what is due must wait, because the disk is full, or so slow that the rest of the room is left to calls.
    fn delays_what_is_due(&self) -> bool {
        let commits = self.commits.as_ref();
        commits.is_some_and(|commits| commits.disk_full().is_some() || commits.is_half_full())
    }

    /// Returns the revision up to which all changes may be shown.
    pub(super) fn durable_revision(&self) -> Revision {
        match &self.commits {
            Some(commits) => commits.durable_revision(&self.machine),
            None => self.machine.revision(),
        }
    }

    /// Wakes the watches that sleep and have something new to show.
    pub(super) fn wake_watches(&mut self) {
        let durable_revision = self.durable_revision();
        self.watches.wake(&self.machine, durable_revision);
    }

    /// Ends the sessions and keys that are due, and fires due timeouts: about [`DUE_KEYS_MAX`] keys at most, so that
    /// calls need not wait. Stops where what is due must leave room for calls.
    pub(super) fn advance_time(&mut self, now: Now) {
        let mut done = 0;
        while done < DUE_KEYS_MAX && !self.delays_what_is_due() {
            if self.machine.next_due().is_none_or(|due| due > now.time) {
                return;
            }
            done += self
                .machine
                .advance(now.time, DUE_KEYS_BETWEEN_WAKES)
                .max(1);
            // Wake before the history drops changes that sleeping watches must still be shown.
            self.wake_watches();
        }
    }

    /// Has the next batch for the journal be sent even if nothing has changed.
    pub(super) fn tell_time(&mut self) {
        if let Some(commits) = &mut self.commits {
            commits.tell_time();
        }
    }

    /// Handles an event of the journal. `None` means that the journal's thread has ended.
    ///
    /// # Errors
    /// [`JournalLost`] if the journal has failed. The owner must end then: its callers are told when it is dropped.
    pub(super) fn handle_journal_event(
        &mut self,
        event: Option<Event>,
        now: Now,
    ) -> Result<(), JournalLost> {
        let commits = self.commits.as_mut().expect("only a journal has events");
        if let Some(Event::Committed { .. }) = event {
            let unsent = commits.unsent(&mut self.machine).count;
            self.group
                .committed(commits.in_flight(), unsent, now.instant);
        }
        let handled = match event {
            Some(event) => commits.handle_event(event, &mut self.machine),
            None => Err("the journal's thread has ended".into()),
        };
        handled.map_err(JournalLost)
    }

    /// Does what follows a batch of messages: sends its changes to the journal, unless they wait for others, asks for the confirmation
    /// of its answers, and wakes watches.
    pub(super) fn finish_batch(&mut self, now: Now) {
        self.backups.end_dropped(&mut self.machine);
        if let Some(commits) = &mut self.commits {
            let unsent = commits.unsent(&mut self.machine);
            if !self.group.holds(unsent.count, unsent.bytes, now.instant)
                && commits.send_batch(&mut self.machine, now.time)
            {
                self.group.sent(now.instant);
            }
            commits.confirm();
        }
        self.wake_watches();
    }

    /// Ends in order: waits until the journal has committed everything and closed. Returns the state.
    pub(super) async fn close(mut self, now: Now) -> Result<StateMachine, JournalLost> {
        if let Some(commits) = &mut self.commits {
            commits
                .close(&mut self.machine, now.time)
                .await
                .map_err(JournalLost)?;
        }
        Ok(self.machine)
    }
}

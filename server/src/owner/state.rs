//! What the owner's task owns, and what it does with it beside answering messages.

use crate::config::{DUE_KEYS_BETWEEN_WAKES, DUE_KEYS_MAX, MailboxLimits};
use crate::journal::{Event, Journal};
use crate::machine::{Revision, StateMachine, Time};

use super::backups::OpenBackups;
use super::clock::Now;
use super::commit::{CommitQueue, HeldReply};
use super::error::{CallError, JournalLost, Unknown};
use super::watches::Watches;

/// What the owner is told when it starts.
#[derive(Clone, Debug)]
pub struct OwnerLimits {
    /// What may wait for it.
    pub mailbox: MailboxLimits,
    /// Most bytes of values in the answer to one frame.
    pub answer_bytes: usize,
    /// Most watches that are open at once.
    pub watches: usize,
}

/// Owns the state: nothing else can reach it.
pub(super) struct Owner {
    pub(super) machine: StateMachine,
    /// What is done and not on disk yet, if there is a disk.
    pub(super) commits: Option<Box<CommitQueue>>,
    /// Most bytes of values in the answer to one frame.
    pub(super) answer_bytes_max: usize,
    pub(super) watches: Watches,
    pub(super) backups: OpenBackups,
    /// Answers that wait until a session's last key is gone.
    pub(super) until_session_ended: Vec<(Revision, Box<dyn HeldReply>)>,
    /// The store revision before the message that is being done.
    pub(super) revision_before: Revision,
    /// Whether that message asks for no change.
    pub(super) reads_only: bool,
}

impl Owner {
    pub(super) fn new(
        mut machine: StateMachine,
        journal: Option<Journal>,
        limits: &OwnerLimits,
    ) -> Self {
        let commits = journal.map(|journal| Box::new(CommitQueue::new(journal, &mut machine)));
        Self {
            machine,
            commits,
            answer_bytes_max: limits.answer_bytes,
            watches: Watches::new(limits.watches),
            backups: OpenBackups::new(),
            until_session_ended: Vec::new(),
            revision_before: 0,
            reads_only: true,
        }
    }

    /// When time has something to do. While nothing can be kept, it has to wait.
    pub(super) fn next_due(&self) -> Option<Time> {
        let due = self.machine.next_due()?;
        (!self.refuses_changes()).then_some(due)
    }

    fn refuses_changes(&self) -> bool {
        let commits = self.commits.as_ref();
        commits.is_some_and(|commits| commits.refusal().is_some())
    }

    /// Up to where everything may be shown.
    pub(super) fn durable_revision(&self) -> Revision {
        match &self.commits {
            Some(commits) => commits.durable_revision(&self.machine),
            None => self.machine.revision(),
        }
    }

    pub(super) fn wake(&mut self) {
        let durable_revision = self.durable_revision();
        self.watches.wake(&self.machine, durable_revision);
    }

    /// Lets time do what is due, or a slice of it, unless nothing can be kept.
    pub(super) fn advance_time(&mut self, now: Now) {
        if self.refuses_changes() {
            return;
        }
        let mut done = 0;
        while done < DUE_KEYS_MAX {
            if self.machine.next_due().is_none_or(|due| due > now.time) {
                return;
            }
            done += self
                .machine
                .advance(now.time, DUE_KEYS_BETWEEN_WAKES)
                .max(1);
            // Before so much has ended that it is not kept for those who sleep.
            self.wake();
        }
    }

    pub(super) fn handle_journal_event(&mut self, event: Option<Event>) -> Result<(), JournalLost> {
        let commits = self
            .commits
            .as_mut()
            .expect("only a journal says something");
        let said = match event {
            Some(event) => commits.handle_event(event, &mut self.machine),
            None => Err("the journal's thread has ended".into()),
        };
        said.map_err(|why| {
            commits.fail_held(&CallError::OutcomeUnknown {
                revision: None,
                why: Unknown::OwnerEnded,
            });
            JournalLost(why)
        })
    }

    /// What follows a batch of messages.
    pub(super) fn finish_batch(&mut self, now: Now) {
        self.backups.forget_ended(&mut self.machine);
        if let Some(commits) = &mut self.commits {
            commits.send_batch(&mut self.machine, now.time);
        }
        self.wake();
    }

    /// Ends in order: everything is kept, and noted to be all.
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

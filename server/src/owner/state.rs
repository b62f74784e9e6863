//! What the owner's task owns, and what it does with it beside answering messages.

use crate::config::{DUE_KEYS_BETWEEN_WAKES, DUE_KEYS_MAX, MailboxLimits};
use crate::journal::{Event, Journal};
use crate::machine::{Revision, StateMachine, Time};

use super::backups::Copies;
use super::clock::Now;
use super::commit::{Answer, Kept};
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
    pub(super) kept: Option<Box<Kept>>,
    /// Most bytes of values in the answer to one frame.
    pub(super) answer_bytes_max: usize,
    pub(super) watches: Watches,
    pub(super) copies: Copies,
    /// Answers that wait until a session's last key is gone.
    pub(super) ending: Vec<(Revision, Box<dyn Answer>)>,
    /// The store revision before the message that is being done.
    pub(super) before: Revision,
    /// Whether that message asks for no change.
    pub(super) only_reads: bool,
}

impl Owner {
    pub(super) fn new(
        mut machine: StateMachine,
        journal: Option<Journal>,
        limits: &OwnerLimits,
    ) -> Self {
        let kept = journal.map(|journal| Box::new(Kept::new(journal, &mut machine)));
        Self {
            machine,
            kept,
            answer_bytes_max: limits.answer_bytes,
            watches: Watches::new(limits.watches),
            copies: Copies::new(),
            ending: Vec::new(),
            before: 0,
            only_reads: true,
        }
    }

    /// When time has something to do. While nothing can be kept, it has to wait.
    pub(super) fn next_due(&self) -> Option<Time> {
        let due = self.machine.next_due()?;
        (!self.cannot_keep()).then_some(due)
    }

    fn cannot_keep(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.refusal().is_some())
    }

    /// Up to where everything may be shown.
    pub(super) fn horizon(&self) -> Revision {
        match &self.kept {
            Some(kept) => kept.horizon(&self.machine),
            None => self.machine.revision(),
        }
    }

    pub(super) fn wake(&mut self) {
        let horizon = self.horizon();
        self.watches.wake(&self.machine, horizon);
    }

    /// Lets time do what is due, or a slice of it, unless nothing can be kept.
    pub(super) fn advance(&mut self, now: Now) {
        if self.cannot_keep() {
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

    pub(super) fn journal_says(&mut self, event: Option<Event>) -> Result<(), JournalLost> {
        let kept = self.kept.as_mut().expect("only a journal says something");
        let said = match event {
            Some(event) => kept.handle(event, &mut self.machine),
            None => Err("the journal's thread has ended".into()),
        };
        said.map_err(|why| {
            kept.fail(&CallError::OutcomeUnknown {
                revision: None,
                why: Unknown::OwnerEnded,
            });
            JournalLost(why)
        })
    }

    /// What follows a batch of messages.
    pub(super) fn end_turn(&mut self, now: Now) {
        self.copies.forget_ended(&mut self.machine);
        if let Some(kept) = &mut self.kept {
            kept.send(&mut self.machine, now.time);
        }
        self.wake();
    }

    /// Ends in order: everything is kept, and noted to be all.
    pub(super) async fn end(mut self, now: Now) -> Result<StateMachine, JournalLost> {
        if let Some(kept) = &mut self.kept {
            kept.close(&mut self.machine, now.time)
                .await
                .map_err(JournalLost)?;
        }
        Ok(self.machine)
    }
}

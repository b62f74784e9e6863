//! The loop of the owner's task.

use std::pin::pin;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::{OWNER_BATCH_MAX, OWNER_MESSAGE_LARGE};
use crate::journal::{Event, Journal};
use crate::machine::StateMachine;

use super::clock::Clock;
use super::commit::CommitQueue;
use super::error::JournalLost;
use super::handle::OwnerHandle;
use super::mailbox::{Mailbox, mailbox};
use super::message::Envelope;
use super::state::{Owner, OwnerLimits};

/// Starts the owner of `machine` as a task of the current runtime, in memory only. The task ends, and gives the state
/// back, when the last handle is gone and the mailbox is empty.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    spawn_with(machine, None, clock, limits)
}

/// The same, with a journal that keeps what happens.
pub(crate) fn spawn_with(
    machine: StateMachine,
    journal: Option<Journal>,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    let owner = Owner::new(machine, journal, &limits);
    let (sender, mailbox) = mailbox(limits.mailbox);
    let task = tokio::spawn(run(owner, mailbox, clock));
    (OwnerHandle::new(sender), task)
}

/// Takes messages in order until every handle is gone, and lets time do its work in between. This is the only place
/// in which the owner waits, so an operation is never half done.
async fn run(
    mut owner: Owner,
    mut mailbox: Mailbox,
    clock: Clock,
) -> Result<StateMachine, JournalLost> {
    let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
    let mut alarm = pin!(sleep_until(Instant::now()));
    loop {
        let due = owner.next_due().map(|time| clock.at(time));
        if let Some(due) = due
            && due != alarm.deadline()
        {
            alarm.as_mut().reset(due);
        }
        // Biased: messages that are there cost no look at the alarm, and what is due is done after them all the same.
        // What the journal tells comes first: many wait for it.
        let wakeup = tokio::select! {
            biased;
            event = journal_event(&mut owner.commits), if owner.commits.is_some() => Wakeup::JournalEvent(event),
            wakeup = mailbox.recv_many(&mut batch) => Wakeup::Messages(wakeup),
            () = alarm.as_mut(), if due.is_some() => Wakeup::Alarm,
        };
        let mut now = clock.now();
        owner.advance_time(now);
        match wakeup {
            Wakeup::Messages(0) => return owner.close(now).await,
            Wakeup::Messages(_) => {}
            Wakeup::JournalEvent(event) => owner.handle_journal_event(event)?,
            // A great many that are due must not keep everybody else on this thread waiting.
            Wakeup::Alarm => tokio::task::yield_now().await,
        }
        for envelope in batch.drain(..) {
            mailbox.release(&envelope);
            let Envelope { message, byte_len } = envelope;
            owner.dispatch(message, now);
            if byte_len > OWNER_MESSAGE_LARGE {
                now = clock.now();
                // Before so much has changed that it is not kept for those who sleep.
                owner.wake();
            }
        }
        owner.answer_ended_sessions();
        owner.finish_batch(now);
    }
}

/// What became of the wait.
enum Wakeup {
    Messages(usize),
    /// None: the journal's thread is gone.
    JournalEvent(Option<Event>),
    Alarm,
}

async fn journal_event(commits: &mut Option<Box<CommitQueue>>) -> Option<Event> {
    match commits {
        Some(commits) => commits.next_event().await,
        None => std::future::pending().await,
    }
}

//! Starting the owner's task, and its loop.

use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::{OWNER_BATCH_MAX, OWNER_MESSAGE_LARGE_BYTES};
use crate::journal::{Event, Journal};
use crate::machine::{Key, StateMachine};
use crate::metrics::OwnerCells;

use super::clock::Clock;
use super::commit::CommitQueue;
use super::error::JournalLost;
use super::handle::OwnerHandle;
use super::mailbox::{Mailbox, mailbox};
use super::message::Envelope;
use super::state::{Owner, OwnerLimits};

/// Starts the owner of `machine`, in memory only, as a task of the current runtime. The task ends and returns the state
/// when the last handle is gone and the mailbox is empty.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    spawn_with(machine, None, clock, limits, None)
}

/// Like [`spawn`], but with a journal that keeps the state on disk, and with cells in which the owner counts.
pub(crate) fn spawn_with(
    machine: StateMachine,
    journal: Option<Journal>,
    clock: Clock,
    limits: OwnerLimits,
    metrics: Option<Arc<OwnerCells>>,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    let mut owner = Owner::new(machine, journal, &limits, metrics);
    owner.publish(0);
    let (sender, mailbox) = mailbox(limits.mailbox);
    let task = tokio::spawn(run(owner, mailbox, clock));
    (OwnerHandle::new(sender), task)
}

/// Handles messages in order until every handle is gone, and ends sessions and keys in between. The owner waits only
/// here, between batches, so an operation is never left half done.
async fn run(
    mut owner: Owner,
    mut mailbox: Mailbox,
    clock: Clock,
) -> Result<StateMachine, JournalLost> {
    let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
    let mut alarm = pin!(sleep_until(Instant::now()));
    loop {
        let due = owner.next_due().map(|time| clock.at(time));
        let due = due.into_iter().chain(owner.batch_due()).min();
        if let Some(due) = due
            && due != alarm.deadline()
        {
            alarm.as_mut().reset(due);
        }
        // Biased: events of the journal come first, because many calls wait for them. While there are messages, the
        // alarm is not polled; what is due is done below all the same.
        let wakeup = tokio::select! {
            biased;
            event = journal_event(&mut owner.commits), if owner.commits.is_some() => Wakeup::JournalEvent(event),
            wakeup = mailbox.recv_many(&mut batch) => Wakeup::Messages(wakeup),
            () = alarm.as_mut(), if due.is_some() => Wakeup::Alarm,
        };
        let mut now = clock.now();
        let mut busy_since = now.instant;
        owner.advance_time(now);
        match wakeup {
            Wakeup::Messages(0) => return owner.close(now).await,
            Wakeup::Messages(_) => {}
            Wakeup::JournalEvent(event) => owner.handle_journal_event(event, now)?,
            Wakeup::Alarm => {
                owner.count_busy(busy_since);
                // If very many keys are due, other tasks of this thread must have their turn in between.
                tokio::task::yield_now().await;
                busy_since = Instant::now();
            }
        }
        let messages = batch.len();
        let keys = batch.iter().filter_map(|envelope| envelope.message.key());
        owner.machine.warm(keys.map(Key::as_str));
        for envelope in batch.drain(..) {
            mailbox.release(&envelope);
            let Envelope {
                message,
                byte_len,
                place,
                sent,
                times,
            } = envelope;
            owner.count_wait(sent);
            owner.begin_timed(times);
            owner.place = place;
            owner.dispatch(message, now);
            owner.place = None;
            owner.end_timed();
            if byte_len > OWNER_MESSAGE_LARGE_BYTES {
                now = clock.now();
                // Wake before the history drops changes that sleeping watches must still be shown.
                owner.wake_watches();
            }
        }
        owner.answer_ended_sessions();
        owner.finish_batch(now);
        owner.publish(messages);
        owner.count_busy(busy_since);
        if let Some(hand_off) = owner.hand_off.take()
            && let Some(successor) = Box::pin(owner.hand_off(hand_off, clock.now())).await?
        {
            mailbox.end(successor);
            return Ok(owner.machine);
        }
    }
}

/// Why the loop woke up.
enum Wakeup {
    /// This many messages; 0 means that every handle is gone.
    Messages(usize),
    /// An event of the journal; `None` means that its thread has ended.
    JournalEvent(Option<Event>),
    /// Something is due.
    Alarm,
}

/// Waits for the journal's next event; for ever if there is no journal.
async fn journal_event(commits: &mut Option<Box<CommitQueue>>) -> Option<Event> {
    match commits {
        Some(commits) => commits.next_event().await,
        None => std::future::pending().await,
    }
}

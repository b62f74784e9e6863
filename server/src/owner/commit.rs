//! The changes that the owner has applied and the journal has not committed yet: which answers wait for them, and what
//! may be shown meanwhile.
//!
//! The owner applies a change at once and goes on with the next message. An answer may show only what is on disk, so it
//! is held until the journal has committed the batch with the last change that the answer depends on. A read of a key
//! with an uncommitted change need not wait: it shows the version on disk, as if the read had come before the change.
//! Nobody can tell the difference, because nobody has seen the answer to the change yet.

use std::collections::VecDeque;
use std::ops::Bound;

use tracing::warn;

use crate::config::{UNSYNCED_BYTES_MAX, UNSYNCED_BYTES_MIN, UNSYNCED_OPERATIONS_MAX};
use crate::journal::{AnswerWhen, Command, Event, Journal, LogBatch, Space};
use crate::machine::{Effect, Entry, Key, Revision, SpaceLow, StateMachine, Time};
use crate::metrics::{DISK_ENOUGH, DISK_FULL, DISK_LOW};
use crate::mutants::mutant;

use super::error::CallError;
use super::quota::{ConnectionQuota, UncommittedGuard};
use super::snapshot::Snapshots;
use super::uncommitted::Uncommitted;

/// An answer that is ready, and held until it is on disk.
pub(crate) trait HeldReply: Send {
    /// Whether the caller has left.
    fn is_abandoned(&self) -> bool;

    /// Sends the answer, or the error instead.
    fn send(self: Box<Self>, committed: Result<(), CallError>);
}

/// How many answers may be held before the ones whose callers have left are looked for and dropped.
const HELD_MIN: usize = 1_024;

/// The queue of uncommitted changes, and of the answers that wait for them.
///
/// At most one batch is with the journal at a time. Changes that come meanwhile go into the next batch.
pub(crate) struct CommitQueue {
    journal: Journal,
    /// Effects that have not been sent to the journal.
    unsent: Vec<Effect>,
    unsent_bytes: usize,
    /// Sequence number of the last batch sent.
    sent_seq: u64,
    /// The batch that the journal is committing.
    in_flight: Option<InFlight>,
    /// Held answers, each with the batch that it waits for, in the order of the batches.
    held: VecDeque<(u64, Box<dyn HeldReply>)>,
    /// How many answers may be held before abandoned ones are dropped.
    held_max: usize,
    uncommitted: Uncommitted,
    /// What frames have changed, charged to their connections, with the batches that the changes are in.
    charged: VecDeque<(u64, UncommittedGuard)>,
    space: Space,
    snapshots: Snapshots,
}

/// A batch that the journal is committing.
#[derive(Debug)]
struct InFlight {
    /// The store revision after the batch.
    revision: Revision,
    /// Effects in the batch.
    count: usize,
    bytes: usize,
}

/// Effects that have not been sent to the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent {
    count: usize,
    bytes: usize,
}

/// What is committed of a key, and so may be shown at once.
pub(crate) enum CommittedEntry<'a> {
    /// The current entry.
    Current,
    /// This entry, or its absence: a later change of the key is not committed.
    Before(Option<&'a Entry>),
    /// Nothing may be shown: a change of a machine is not committed, and it may concern the key.
    Unknown,
}

impl CommitQueue {
    /// Starts a queue: from now on `machine` records its effects for the journal.
    pub(crate) fn new(journal: Journal, machine: &mut StateMachine) -> Self {
        machine.keep_effects();
        machine.set_disk(low(journal.space));
        if journal.answers != AnswerWhen::Applied {
            machine.keep_history_after(machine.revision());
        }
        Self {
            unsent: Vec::new(),
            unsent_bytes: 0,
            sent_seq: journal.seq,
            in_flight: None,
            held: VecDeque::new(),
            held_max: HELD_MIN,
            uncommitted: Uncommitted::at(machine.revision()),
            charged: VecDeque::new(),
            space: journal.space,
            snapshots: Snapshots::new(journal.snapshot_log_bytes, low(journal.space).is_some()),
            journal,
        }
    }

    /// Waits for the journal's next event. `None` means that the journal's thread has ended. Cancelling it loses no
    /// event.
    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        self.journal.events.recv().await
    }

    /// Whether answers wait until they are on disk.
    fn replies_wait(&self) -> bool {
        self.journal.answers != AnswerWhen::Applied
    }

    /// Returns the revision up to which all changes may be shown.
    pub(crate) fn durable_revision(&self, machine: &StateMachine) -> Revision {
        match self.replies_wait() && !mutant("watch-what-is-pending") {
            true => self.uncommitted.durable_revision,
            false => machine.revision(),
        }
    }

    /// Takes the effects that `machine` has recorded since the last time.
    fn collect_effects(&mut self, machine: &mut StateMachine) {
        let from = self.unsent.len();
        machine.take_effects(&mut self.unsent);
        for effect in &self.unsent[from..] {
            self.unsent_bytes += effect.byte_len();
            if self.journal.answers == AnswerWhen::Applied {
                continue;
            }
            match effect {
                Effect::Changed(change) => self.uncommitted.add(change),
                Effect::MachineDefined(_) => {
                    self.uncommitted.machine_changed = machine.revision();
                }
                Effect::MachineDeleted { name, .. } => {
                    self.uncommitted.machine_changed = machine.revision();
                    self.uncommitted.forget_machine(name);
                }
                _ => {}
            }
        }
    }

    /// Sends all unsent effects to the journal as one batch, unless it is still committing another one. Starts a
    /// snapshot if one is due.
    pub(crate) fn send_batch(&mut self, machine: &mut StateMachine, now: Time) {
        self.collect_effects(machine);
        if self.in_flight.is_none() && !self.unsent.is_empty() {
            let effects = std::mem::take(&mut self.unsent);
            self.sent_seq += 1;
            let revision = machine.revision();
            self.in_flight = Some(InFlight {
                revision,
                count: effects.len(),
                bytes: std::mem::take(&mut self.unsent_bytes),
            });
            self.command(Command::Commit(LogBatch {
                seq: self.sent_seq,
                revision,
                time: now,
                effects,
            }));
        }
        if self.unsent.is_empty()
            && let Some((head, slices)) = self.snapshots.begin_if_due(machine)
        {
            self.command(Command::Snapshot {
                head,
                seq: self.sent_seq,
                time: now,
                bytes: machine.usage().used_bytes,
                slices,
            });
        }
    }

    /// Sends a command to the journal. If the journal is gone this does nothing: an event has told the owner, or the
    /// queue of events ends.
    fn command(&mut self, command: Command) {
        let _ = self.journal.commands.send(command);
    }

    /// Returns the batch that an answer must wait for, so that every change before it is on disk. `None` if they all
    /// are.
    pub(crate) fn seq_to_await(&mut self, machine: &mut StateMachine) -> Option<u64> {
        if !self.replies_wait() {
            return None;
        }
        self.collect_effects(machine);
        if !self.unsent.is_empty() {
            Some(self.sent_seq + 1)
        } else {
            self.in_flight.as_ref().map(|_| self.sent_seq)
        }
    }

    /// Holds an answer until batch `seq` is committed.
    pub(crate) fn hold(&mut self, seq: u64, reply: Box<dyn HeldReply>) {
        if self.held.len() >= self.held_max {
            // While the disk accepts nothing, callers come and leave at their deadlines.
            self.held.retain(|(_, reply)| !reply.is_abandoned());
            self.held_max = HELD_MIN.max(2 * self.held.len());
        }
        self.held.push_back((seq, reply));
    }

    /// Returns the error for calls while the disk is full, and nothing can be committed.
    pub(crate) fn disk_full(&self) -> Option<CallError> {
        match self.space {
            Space::Full(low) => Some(CallError::DiskFull(low)),
            Space::Enough { .. } | Space::Low(_) => None,
        }
    }

    /// Whether a change of a machine is not committed. Any entry could show such a change.
    pub(crate) fn has_uncommitted_machine(&mut self, machine: &mut StateMachine) -> bool {
        self.collect_effects(machine);
        self.replies_wait() && self.uncommitted.machine_changed > self.uncommitted.durable_revision
    }

    /// Returns what is committed of a key, and the revision as of which that is.
    pub(crate) fn committed(
        &mut self,
        key: &Key,
        machine: &mut StateMachine,
    ) -> (CommittedEntry<'_>, Revision) {
        if !self.replies_wait() {
            return (CommittedEntry::Current, machine.revision());
        }
        self.collect_effects(machine);
        let revision = self.uncommitted.durable_revision;
        if self.uncommitted.machine_changed > revision {
            return (CommittedEntry::Unknown, revision);
        }
        if mutant("read-what-is-pending") {
            return (CommittedEntry::Current, revision);
        }
        match self.uncommitted.versions.get(key) {
            None => (CommittedEntry::Current, revision),
            Some(versions) => (
                CommittedEntry::Before(versions.committed.as_ref()),
                revision,
            ),
        }
    }

    /// Whether all keys with a prefix are committed as they are, and the revision as of which that is.
    pub(crate) fn committed_below(
        &mut self,
        prefix: &str,
        machine: &mut StateMachine,
    ) -> (bool, Revision) {
        if !self.replies_wait() {
            return (true, machine.revision());
        }
        self.collect_effects(machine);
        let revision = self.uncommitted.durable_revision;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let mut from = self.uncommitted.versions.range::<str, _>(from);
        let changing = from
            .next()
            .is_some_and(|(key, _)| key.as_str().starts_with(prefix));
        (
            !changing && self.uncommitted.machine_changed <= revision,
            revision,
        )
    }

    /// Whether so many changes are uncommitted already that what is due has to wait: the rest of the room is for calls.
    /// Keys that move by timeouts for ever would otherwise leave none, and the calls that end it would be refused.
    pub(crate) fn is_half_full(&self) -> bool {
        let (count, bytes) = self.uncommitted_size();
        count >= UNSYNCED_OPERATIONS_MAX / 2 || bytes >= UNSYNCED_BYTES_MAX / 2
    }

    /// How many changes are uncommitted.
    pub(crate) fn unsynced_operations(&self) -> usize {
        self.uncommitted_size().0
    }

    /// How much space the disk has, as metrics show it.
    pub(crate) fn disk_level(&self) -> u64 {
        match self.space {
            Space::Enough { .. } => DISK_ENOUGH,
            Space::Low(_) => DISK_LOW,
            Space::Full(_) => DISK_FULL,
        }
    }

    /// How many changes are uncommitted, and how many bytes they have, as far as they were collected.
    fn uncommitted_size(&self) -> (usize, usize) {
        let (count, bytes) = self
            .in_flight
            .as_ref()
            .map_or((0, 0), |in_flight| (in_flight.count, in_flight.bytes));
        (count + self.unsent.len(), bytes + self.unsent_bytes)
    }

    /// Returns the error for calls that would change something, if nothing can be changed now.
    pub(crate) fn refusal(&self) -> Option<CallError> {
        if let Some(full) = self.disk_full() {
            return Some(full);
        }
        let (count, bytes) = self.uncommitted_size();
        if count >= UNSYNCED_OPERATIONS_MAX {
            Some(CallError::Overloaded {
                limit: UNSYNCED_OPERATIONS_MAX,
                unit: "changes not yet on disk",
            })
        } else if bytes >= self.unsynced_bytes_max() {
            Some(CallError::Overloaded {
                limit: self.unsynced_bytes_max(),
                unit: "bytes of changes not yet on disk",
            })
        } else {
            None
        }
    }

    /// Returns the error for frames that would change something: as [`refusal`](Self::refusal), or if their connection has
    /// more uncommitted changes than there is room left for those of others. `quota.rs` has the rule.
    pub(crate) fn refusal_of_frames(&self, quota: &ConnectionQuota) -> Option<CallError> {
        if let Some(refusal) = self.refusal() {
            return Some(refusal);
        }
        let (count, bytes) = self.uncommitted_size();
        let (own_count, own_bytes) = quota.uncommitted();
        let free = UNSYNCED_OPERATIONS_MAX.saturating_sub(count);
        let free_bytes = self.unsynced_bytes_max().saturating_sub(bytes);
        if own_count > free {
            Some(CallError::Overloaded {
                limit: free,
                unit: "changes of one connection not yet on disk",
            })
        } else if own_bytes > free_bytes {
            Some(CallError::Overloaded {
                limit: free_bytes,
                unit: "bytes of changes of one connection not yet on disk",
            })
        } else {
            None
        }
    }

    /// Returns how much there is to send to the journal before frames are applied.
    pub(crate) fn unsent(&mut self, machine: &mut StateMachine) -> Unsent {
        self.collect_effects(machine);
        Unsent {
            count: self.unsent.len(),
            bytes: self.unsent_bytes,
        }
    }

    /// Charges what frames have changed since `before` to their connection, until it is on disk.
    pub(crate) fn charge(
        &mut self,
        quota: &ConnectionQuota,
        before: Unsent,
        machine: &mut StateMachine,
    ) {
        let now = self.unsent(machine);
        if now.count > before.count {
            let guard =
                quota.charge_uncommitted(now.count - before.count, now.bytes - before.bytes);
            self.charged.push_back((self.sent_seq + 1, guard));
        }
    }

    /// Most bytes of uncommitted changes: less if there is little space on the disk, so that what is accepted fits on it.
    fn unsynced_bytes_max(&self) -> usize {
        let room = match self.space {
            Space::Enough { room } => room,
            Space::Low(low) | Space::Full(low) => low.free,
        };
        // Records take up to twice their bytes.
        let fits = usize::try_from(room / 2).unwrap_or(usize::MAX);
        fits.clamp(UNSYNCED_BYTES_MIN, UNSYNCED_BYTES_MAX)
    }

    /// Handles an event of the journal.
    ///
    /// # Errors
    /// The journal's reason, if it has failed.
    pub(crate) fn handle_event(
        &mut self,
        event: Event,
        machine: &mut StateMachine,
    ) -> Result<(), String> {
        match event {
            Event::Committed { seq, log_bytes } => {
                let in_flight = self.in_flight.take();
                debug_assert_eq!(seq, self.sent_seq, "batches are committed in order");
                let in_flight = in_flight.expect("a committed batch was in flight");
                self.uncommitted.commit(in_flight.revision);
                while self.charged.front().is_some_and(|(at, _)| *at <= seq) {
                    self.charged.pop_front();
                }
                while self.held.front().is_some_and(|(at, _)| *at <= seq) {
                    let (_, reply) = self.held.pop_front().expect("front was Some");
                    reply.send(Ok(()));
                }
                if self.replies_wait() {
                    machine.keep_history_after(self.uncommitted.durable_revision);
                }
                self.snapshots.set_log_bytes(log_bytes, machine);
            }
            Event::NextSlice => self.snapshots.send_next_slice(machine),
            Event::SnapshotEnded { made } => self.snapshots.ended(made, machine),
            Event::Space(space) => {
                self.space = space;
                machine.set_disk(low(space));
                self.snapshots.set_space_low(low(space).is_some(), machine);
            }
            Event::Removable(bytes) => self.snapshots.set_removable(bytes, machine),
            Event::HandOffRefused(why) => warn!(%why, "the store was not handed off"),
            // Nobody asks the journal for these yet.
            Event::Confirmed | Event::HandedOff { .. } => {}
            Event::Failed(why) => return Err(why),
            Event::Closed => {}
        }
        Ok(())
    }

    /// Answers all held calls with `error`.
    pub(crate) fn fail_held(&mut self, error: &CallError) {
        for (_, reply) in self.held.drain(..) {
            reply.send(Err(error.clone()));
        }
    }

    /// Whether the journal is working, so that an event will come.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some() || self.snapshots.is_running()
    }

    /// The sequence number of the last batch sent.
    #[cfg(test)]
    pub(crate) fn sent_seq(&self) -> u64 {
        self.sent_seq
    }

    /// Sends everything unsent, and waits until the journal has committed it and closed in order.
    ///
    /// # Errors
    /// The journal's reason, if it has failed.
    pub(crate) async fn close(
        &mut self,
        machine: &mut StateMachine,
        now: Time,
    ) -> Result<(), String> {
        loop {
            self.snapshots.stop();
            self.send_batch(machine, now);
            if self.in_flight.is_none() {
                break;
            }
            self.handle_next_event(machine).await?;
        }
        let revision = machine.revision();
        self.command(Command::Close {
            revision,
            time: now,
        });
        loop {
            if self.handle_next_event(machine).await? == Closed::Yes {
                return Ok(());
            }
        }
    }

    async fn handle_next_event(&mut self, machine: &mut StateMachine) -> Result<Closed, String> {
        let event = self.next_event().await;
        let event = event.ok_or_else(|| "the journal's thread has ended".to_owned())?;
        let closed = match event {
            Event::Closed => Closed::Yes,
            _ => Closed::No,
        };
        self.handle_event(event, machine)?;
        Ok(closed)
    }
}

/// The figures of a disk with too little space.
fn low(space: Space) -> Option<SpaceLow> {
    match space {
        Space::Enough { .. } => None,
        Space::Low(low) | Space::Full(low) => Some(low),
    }
}

/// Whether the journal has closed.
#[derive(PartialEq, Eq)]
enum Closed {
    Yes,
    No,
}

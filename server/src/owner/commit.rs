//! The changes that the owner has applied and the journal has not committed yet: which answers wait for them, and what
//! may be shown meanwhile.
//!
//! The owner applies a change at once and goes on with the next message. An answer may show only what is on disk, so it
//! is held until the journal has committed the batch with the last change that the answer depends on. A read of a key
//! with an uncommitted change need not wait: it shows the version on disk, as if the read had come before the change.
//! Nobody can tell the difference, because nobody has seen the answer to the change yet. `shown.rs` has what waits besides
//! where another process can take the store over.

use std::collections::VecDeque;

use crate::config::{
    HELD_ANSWERS_LOOK_MIN, UNSYNCED_BYTES_MAX, UNSYNCED_BYTES_MIN, UNSYNCED_OPERATIONS_MAX,
};
use crate::journal::{AnswerWhen, Command, Event, Journal, LogBatch, Space};
use crate::machine::{Effect, Entry, Revision, SpaceLow, StateMachine, Time};
use crate::metrics::{DISK_ENOUGH, DISK_FULL, DISK_LOW};
use crate::mutants::mutant;

use super::error::CallError;
use super::quota::{ConnectionQuota, UncommittedGuard};
use super::reply::HeldReply;
use super::shown::Shown;
use super::snapshot::Snapshots;
use super::uncommitted::Uncommitted;

/// An answer that waits for a batch.
struct Held {
    /// The batch.
    seq: u64,
    /// Whether the commit of the batch confirms the answer: the batch was sent after the answer was computed.
    is_confirmed: bool,
    reply: Box<dyn HeldReply>,
}

/// The queue of uncommitted changes, and of the answers that wait for them.
///
/// At most one batch is with the journal at a time. Changes that come meanwhile go into the next batch.
pub(crate) struct CommitQueue {
    journal: Journal,
    /// Effects that have not been sent to the journal.
    unsent: Vec<Effect>,
    unsent_bytes: usize,
    /// Whether a batch is to be sent even if nothing has changed, because it has the time.
    tells_time: bool,
    /// Sequence number of the last batch sent.
    sent_seq: u64,
    /// The batch that the journal is committing.
    in_flight: Option<InFlight>,
    /// Held answers, in the order of the batches that they wait for.
    held: VecDeque<Held>,
    /// How many answers may be held before abandoned ones are dropped.
    held_max: usize,
    /// Answers that wait for nothing on disk, but for a confirmation.
    shown: Shown,
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
    pub(super) count: usize,
    pub(super) bytes: usize,
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
            tells_time: false,
            sent_seq: journal.seq,
            in_flight: None,
            held: VecDeque::new(),
            held_max: HELD_ANSWERS_LOOK_MIN,
            shown: Shown::new(),
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

    /// Whether answers that show state wait until they are confirmed.
    #[inline]
    pub(super) fn confirms(&self) -> bool {
        self.journal.answers == AnswerWhen::Confirmed
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
        for effect in &mut self.unsent[from..] {
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
    /// snapshot if one is due. Returns whether it has sent a batch.
    pub(crate) fn send_batch(&mut self, machine: &mut StateMachine, now: Time) -> bool {
        self.collect_effects(machine);
        let sends = self.in_flight.is_none() && (self.tells_time || !self.unsent.is_empty());
        if sends {
            self.tells_time = false;
            let effects = std::mem::take(&mut self.unsent);
            self.uncommitted.sent();
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
        sends
    }

    /// Has the next batch be sent even if nothing has changed: it tells the time.
    pub(super) fn tell_time(&mut self) {
        self.tells_time = true;
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
            self.held.retain(|held| !held.reply.is_abandoned());
            self.held_max = HELD_ANSWERS_LOOK_MIN.max(2 * self.held.len());
        }
        self.held.push_back(Held {
            seq,
            is_confirmed: seq > self.sent_seq || !self.confirms(),
            reply,
        });
    }

    /// Returns the error for an answer that cannot wait for a confirmation, because too many do.
    pub(super) fn refusal_to_show(&mut self) -> Option<CallError> {
        self.shown.refusal()
    }

    /// Keeps an answer that waits for nothing on disk until it is confirmed.
    pub(super) fn show(&mut self, reply: Box<dyn HeldReply>) {
        self.shown.keep(self.sent_seq + 1, reply);
    }

    /// Asks for a confirmation, if something waits for one and none is under way.
    pub(super) fn confirm(&mut self) {
        if self.shown.ask() {
            self.command(Command::Confirm);
        }
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
        key: &str,
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
        match self.uncommitted.committed(key) {
            None => (CommittedEntry::Current, revision),
            Some(entry) => (CommittedEntry::Before(entry), revision),
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
        let changing = self.uncommitted.changes_below(prefix);
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

    /// Returns how much is not sent to the journal yet.
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
                self.shown.committed(seq);
                while self.held.front().is_some_and(|held| held.seq <= seq) {
                    let held = self.held.pop_front().expect("front was Some");
                    match held.is_confirmed {
                        true => held.reply.send(),
                        false => self.show(held.reply),
                    }
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
            Event::Confirmed => self.shown.confirmed(),
            Event::Failed(why) => return Err(why),
            // Whoever waits for these takes them.
            Event::HandedOff { .. } | Event::HandOffRefused(_) | Event::Closed => {}
        }
        Ok(())
    }

    /// How many effects are in the batch that the journal is committing.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.as_ref().map_or(0, |batch| batch.count)
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
        self.commit_all(machine, now).await?;
        let revision = machine.revision();
        self.command(Command::Close {
            revision,
            time: now,
        });
        loop {
            match self.event_or_end().await? {
                Event::Closed => return Ok(()),
                event => self.handle_event(event, machine)?,
            }
        }
    }

    /// Sends everything unsent, waits until the journal has committed it, and has the journal give the store to the node `to`, or
    /// to any. Returns the address of the node that owns it then, or the reason for which the journal refuses. In the second
    /// case everything goes on.
    ///
    /// # Errors
    /// The journal's reason, if it has failed.
    pub(super) async fn hand_off(
        &mut self,
        to: Option<String>,
        machine: &mut StateMachine,
        now: Time,
    ) -> Result<Result<String, String>, String> {
        self.commit_all(machine, now).await?;
        self.command(Command::HandOff {
            to,
            revision: machine.revision(),
            time: now,
        });
        loop {
            match self.event_or_end().await? {
                Event::HandedOff { owner } => {
                    // Until then this process has owned the store, and nothing was computed since the command was sent.
                    self.shown.all_confirmed();
                    return Ok(Ok(owner));
                }
                Event::HandOffRefused(why) => return Ok(Err(why)),
                event => self.handle_event(event, machine)?,
            }
        }
    }

    /// Sends everything unsent, and waits until the journal has committed it. Waits for the confirmation under way, too: after the
    /// end it would find that this process does not own the store.
    async fn commit_all(&mut self, machine: &mut StateMachine, now: Time) -> Result<(), String> {
        loop {
            self.snapshots.stop();
            self.send_batch(machine, now);
            if self.in_flight.is_none() && !self.shown.is_asking() {
                return Ok(());
            }
            let event = self.event_or_end().await?;
            self.handle_event(event, machine)?;
        }
    }

    async fn event_or_end(&mut self) -> Result<Event, String> {
        let event = self.next_event().await;
        event.ok_or_else(|| "the journal's thread has ended".to_owned())
    }
}

/// The figures of a disk with too little space.
fn low(space: Space) -> Option<SpaceLow> {
    match space {
        Space::Enough { .. } => None,
        Space::Low(low) | Space::Full(low) => Some(low),
    }
}

//! What is done and not on disk yet: who waits for it, and what may be shown meanwhile.
//!
//! The owner applies at once, and goes on. What an answer tells of is shown when it is on disk: an answer is held until the
//! segment is committed that has everything it saw. A plain read of a key that is changing is answered at once, with what
//! is on disk: it is as if it had come before the change, whose answer nobody has seen.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::mpsc;

use crate::config::{UNSYNCED_BYTES_MAX, UNSYNCED_OPERATIONS_MAX};
use crate::journal::{AnswerWhen, Command, DiskSpace, Event, Journal, LogBatch};
use crate::machine::{DiskLow, Effect, Entry, Key, Revision, StateMachine, Time};
use crate::mutants::mutant;

use super::error::CallError;
use super::snapshot::Snapshots;
use super::uncommitted::Uncommitted;

/// An answer that is ready.
pub(crate) trait HeldReply: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;

    /// Sends it, or an error in its place.
    fn send(self: Box<Self>, committed: Result<(), CallError>);
}

/// So many answers may be held before those are looked for that nobody waits for.
const HELD_MIN: usize = 1_024;

/// The journal's side of the owner.
pub(crate) struct CommitQueue {
    journal: Journal,
    /// What was done since the last segment was sent.
    unsent: Vec<Effect>,
    unsent_bytes: usize,
    /// The last segment that was sent.
    sent_seq: u64,
    /// The segment that is being committed.
    in_flight: Option<InFlight>,
    /// Answers that wait for a segment, in the order of the segments.
    held: VecDeque<(u64, Box<dyn HeldReply>)>,
    /// How many of them may be held before the abandoned are let go of.
    held_max: usize,
    uncommitted: Uncommitted,
    space: DiskSpace,
    snapshots: Snapshots,
}

#[derive(Debug)]
struct InFlight {
    revision: Revision,
    count: usize,
    bytes: usize,
}

/// What may be shown of a key at once.
pub(crate) enum CommittedEntry<'a> {
    /// What there is.
    Current,
    /// This: what there is now is not on disk yet.
    Before(Option<&'a Entry>),
    /// Nothing.
    Unknown,
}

impl CommitQueue {
    pub(crate) fn new(journal: Journal, machine: &mut StateMachine) -> Self {
        machine.keep_effects();
        if journal.answers == AnswerWhen::Committed {
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
            space: DiskSpace::Enough,
            snapshots: Snapshots::new(journal.snapshot_log_bytes),
            journal,
        }
    }

    /// What the journal tells next. None: it is gone.
    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        self.journal.events.recv().await
    }

    /// Whether answers wait for the disk.
    fn replies_wait(&self) -> bool {
        self.journal.answers == AnswerWhen::Committed
    }

    /// The revision up to which everything may be shown.
    pub(crate) fn durable_revision(&self, machine: &StateMachine) -> Revision {
        match self.replies_wait() && !mutant("watch-what-is-pending") {
            true => self.uncommitted.durable_revision,
            false => machine.revision(),
        }
    }

    /// Takes over what was done.
    pub(crate) fn collect_effects(&mut self, machine: &mut StateMachine) {
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

    /// Sends off what was done, if nothing is under way.
    pub(crate) fn send_batch(&mut self, machine: &mut StateMachine, now: Time) {
        self.collect_effects(machine);
        if self.in_flight.is_none() && !self.unsent.is_empty() {
            let mut effects = std::mem::take(&mut self.unsent);
            if mutant("requests-not-kept") {
                effects.retain(|effect| !matches!(effect, Effect::RequestApplied(_)));
            }
            if mutant("requests-kept-later")
                && let Some(Effect::RequestApplied(_)) = effects.last()
            {
                self.unsent.extend(effects.pop());
            }
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
                slices,
                done: self.journal.commands.clone(),
            });
        }
    }

    fn command(&mut self, command: Command) {
        if let Err(mpsc::TrySendError::Full(_)) = self.journal.commands.try_send(command) {
            unreachable!("there is room for all commands that can be under way");
        }
        // If it is gone, it has said so, or its queue of events ends.
    }

    /// Holds an answer back until everything is on disk that was done before. Gives it back if it is already.
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

    /// Keeps an answer for when the segment is committed.
    pub(crate) fn hold(&mut self, seq: u64, answer: Box<dyn HeldReply>) {
        if self.held.len() >= self.held_max {
            // While the disk takes nothing, callers come and go.
            self.held.retain(|(_, answer)| !answer.is_abandoned());
            self.held_max = HELD_MIN.max(2 * self.held.len());
        }
        self.held.push_back((seq, answer));
    }

    /// What to answer while the disk is full, and nothing gets there.
    pub(crate) fn disk_full(&self) -> Option<CallError> {
        match self.space {
            DiskSpace::Full { free, least } => Some(CallError::DiskFull(DiskLow { free, least })),
            DiskSpace::Enough | DiskSpace::Low { .. } => None,
        }
    }

    /// Whether a machine has changed, and that is not on disk: any entry may show it.
    pub(crate) fn has_uncommitted_machine(&mut self, machine: &mut StateMachine) -> bool {
        self.collect_effects(machine);
        self.replies_wait() && self.uncommitted.machine_changed > self.uncommitted.durable_revision
    }

    /// What may be shown of a key at once, and as of which revision.
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

    /// Whether what there is under a prefix may be shown at once, and as of which revision.
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

    /// Why nothing can be changed now, if so.
    pub(crate) fn refusal(&self) -> Option<CallError> {
        if let Some(full) = self.disk_full() {
            return Some(full);
        }
        let (count, bytes) = self
            .in_flight
            .as_ref()
            .map_or((0, 0), |in_flight| (in_flight.count, in_flight.bytes));
        if count + self.unsent.len() >= UNSYNCED_OPERATIONS_MAX {
            Some(CallError::Overloaded {
                limit: UNSYNCED_OPERATIONS_MAX,
                unit: "changes that wait for the disk",
            })
        } else if bytes + self.unsent_bytes >= UNSYNCED_BYTES_MAX {
            Some(CallError::Overloaded {
                limit: UNSYNCED_BYTES_MAX,
                unit: "bytes of changes that wait for the disk",
            })
        } else {
            None
        }
    }

    /// Does what an event asks for.
    ///
    /// # Errors
    /// Why the journal has ended.
    pub(crate) fn handle_event(
        &mut self,
        event: Event,
        machine: &mut StateMachine,
    ) -> Result<(), String> {
        match event {
            Event::Committed { seq, log_bytes } => {
                let in_flight = self.in_flight.take();
                debug_assert_eq!(seq, self.sent_seq, "one after the other");
                let in_flight = in_flight.expect("what is committed was under way");
                self.uncommitted.commit(in_flight.revision);
                while self.held.front().is_some_and(|(at, _)| *at <= seq) {
                    let (_, answer) = self.held.pop_front().expect("it was just there");
                    answer.send(Ok(()));
                }
                if self.replies_wait() {
                    machine.keep_history_after(self.uncommitted.durable_revision);
                }
                self.snapshots.log_has(log_bytes, machine);
            }
            Event::NextSlice => self.snapshots.next_slice(machine),
            Event::SnapshotEnded { made } => self.snapshots.ended(made, machine),
            Event::Space(space) => {
                self.space = space;
                // A log that could not be shortened may be what fills the disk.
                self.snapshots.look_at_log(machine);
                machine.set_disk(match space {
                    DiskSpace::Enough => None,
                    DiskSpace::Low { free, least } | DiskSpace::Full { free, least } => {
                        Some(DiskLow { free, least })
                    }
                });
            }
            Event::Failed(why) => return Err(why),
            Event::Closed => {}
        }
        Ok(())
    }

    /// Answers everybody who waits: what they asked for may be kept or not.
    pub(crate) fn fail_held(&mut self, error: &CallError) {
        for (_, answer) in self.held.drain(..) {
            answer.send(Err(error.clone()));
        }
    }

    /// Whether the journal has something to say soon.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some() || self.snapshots.is_under_way()
    }

    /// The last segment that was sent.
    #[cfg(test)]
    pub(crate) fn sent_seq(&self) -> u64 {
        self.sent_seq
    }

    /// Sends what is left, and waits until all of it is on disk and noted.
    ///
    /// # Errors
    /// Why the journal has ended before.
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
            if let Event::Closed = self.handle_next_event(machine).await? {
                return Ok(());
            }
        }
    }

    async fn handle_next_event(&mut self, machine: &mut StateMachine) -> Result<Event, String> {
        let event = self.next_event().await;
        let event = event.ok_or_else(|| "the journal's thread has ended".to_owned())?;
        let closed = matches!(event, Event::Closed);
        self.handle_event(event, machine)?;
        Ok(match closed {
            true => Event::Closed,
            false => Event::NextSlice,
        })
    }
}

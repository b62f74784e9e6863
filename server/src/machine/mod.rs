//! The state and its operations: no I/O, no clock, no randomness. The same calls give the same answers anywhere.
//!
//! This file holds the state as a whole, requests that come again, frames, and time. What single operations do is in
//! `operations.rs`; sessions and machines are in files of their own.

mod add;
mod copy;
mod effect;
mod history;
mod index;
mod machines;
mod operation;
mod operations;
mod rejection;
mod replay;
mod requests;
mod sessions;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod value;
mod watch;

use std::time::Duration;

pub use add::{Beyond, Bounds};
pub use copy::{CopyHead, CopyId, CopyLost, CopySlice};
pub use effect::{Answered, Effect, OpenedSession};
pub use history::{Change, ChangeCause, Keeps};
use history::{ChangeRef, History};
use index::Index;
pub(crate) use machines::ALLOWED_BYTES;
pub use machines::{DefineMachine, Machine, Purpose, State, Timeout};
pub use operation::{
    Add, AddOutcome, AddTerms, AllOutcome, Condition, Delete, DeleteOutcome, EachOutcome, Expect,
    List, ListOutcome, ListShows, Operation, Outcome, Page, Read, ReadOutcome, Rest, SetLifetime,
    Transition, TransitionOutcome, TransitionTerms, Write, WriteAnswer, WriteOutcome, WriteTerms,
};
use operations::AnswerRoom;
pub use rejection::{Cause, DiskLow, Mismatch, RefusedMove, RejectedAt, Rejection, Stranded};
pub use replay::Unfit;
pub use requests::{Answer, Fingerprint, Request};
use requests::{Replayable, Requests};
pub use sessions::{
    CloseOutcome, LivingSession, OpenOutcome, OpenSession, SESSION_SLICE, Session, SessionLife,
};
use store::EntryRef;
pub(crate) use store::Store;
pub use time::Time;
pub use value::{Attached, Entry, Key, Lifetime, Name, Place, Revision, Value};
pub use watch::{Lost, News, Watch, WatchBatch, WatchFrom, WatchShows, WatchTarget};

/// What one key costs beside its own bytes and its value's, as `Info.used_bytes` counts it: about its revisions, its place
/// in the tree, and the allocator's rounding.
const KEY_OVERHEAD_BYTES: u64 = 64;

/// What a lifetime or a state costs beside that: where it is kept, and where it is found when its time has come.
const ATTACHED_BYTES: u64 = 128;

/// What the state may hold.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Bytes as `Info.used_bytes` counts them.
    pub store_bytes: u64,
    /// Sessions that live.
    pub sessions: usize,
    /// Machines.
    pub machines: usize,
    /// How long a request id is remembered.
    pub request_id_window: Duration,
    /// Request ids that are remembered.
    pub request_ids: usize,
    /// Bytes of them and their answers.
    pub request_id_bytes: usize,
    /// Changes that are kept for watches.
    pub ring_changes: usize,
    /// Bytes of them.
    pub ring_bytes: usize,
}

/// How full the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The store revision.
    pub revision: Revision,
    /// The revision after which every change is kept.
    pub oldest_revision: Revision,
    /// Keys that are there.
    pub key_count: usize,
    /// Bytes that count towards the limit.
    pub used_bytes: u64,
    /// Sessions that live.
    pub session_count: usize,
    /// Machines that are defined.
    pub machine_count: usize,
    /// Request ids that are remembered.
    pub request_id_count: usize,
}

/// The whole state. Its owner is the only one to hold it.
#[derive(Debug)]
pub struct StateMachine {
    store: Store,
    index: Index,
    history: History,
    requests: Requests,
    revision: Revision,
    used_bytes: u64,
    limits: StoreLimits,
    /// Where there is too little: nothing but deletes is taken.
    disk: Option<DiskLow>,
    /// Names the next copy: no two have the same name.
    copies_begun: u64,
}

impl StateMachine {
    /// An empty state at revision 0.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            store: Store::new(),
            index: Index::default(),
            history: History::new(limits.ring_changes, limits.ring_bytes),
            requests: Requests::new(
                limits.request_id_window,
                limits.request_ids,
                limits.request_id_bytes,
            ),
            revision: 0,
            used_bytes: 0,
            limits,
            disk: None,
            copies_begun: 0,
        }
    }

    /// Tells it that there is too little space on disk, or enough.
    pub fn set_disk(&mut self, disk: Option<DiskLow>) {
        self.disk = disk;
    }

    /// Refuses if there is too little space on disk.
    fn disk_has_space(&self) -> Result<(), Cause> {
        self.disk.map_or(Ok(()), |low| Err(Cause::DiskFull(low)))
    }

    /// The store revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How full the state is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            revision: self.revision,
            oldest_revision: self.history.oldest(),
            key_count: self.store.len(),
            used_bytes: self.used_bytes,
            session_count: self.index.sessions.len(),
            machine_count: self.index.machines.len(),
            request_id_count: self.requests.len(),
        }
    }

    /// Does the operations in order, each standing alone with a revision of its own. `requests` names those that can be
    /// recognised when they come again, by their places in the order. Those that would make the answer hold more than
    /// `answer_bytes_max` bytes of values are refused.
    pub fn apply_each(
        &mut self,
        operations: Vec<Operation>,
        requests: &[(usize, Request)],
        answer_bytes_max: usize,
        now: Time,
    ) -> EachOutcome {
        let mut room = AnswerRoom::of(answer_bytes_max);
        let mut results = Vec::with_capacity(operations.len());
        if requests.is_empty() {
            for operation in operations {
                results.push(self.apply_at(self.revision + 1, operation, &mut room, now));
            }
        } else {
            let mut requests = requests.iter().peekable();
            for (index, operation) in operations.into_iter().enumerate() {
                let request = requests.next_if(|(at, _)| *at == index);
                let request = request.map(|(_, request)| request);
                results.push(self.apply_named(operation, request, &mut room, now));
            }
        }
        EachOutcome {
            results,
            revision: self.revision,
            answer_bytes: room.used(),
        }
    }

    /// Does one operation of a frame in which some have request ids.
    fn apply_named(
        &mut self,
        operation: Operation,
        request: Option<&Request>,
        room: &mut AnswerRoom,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        let outcome = self.once(request, now, |this| {
            this.apply_at(this.revision + 1, operation, room, now)
        })?;
        if let (Some(request), Some(previous)) = (request, outcome.replayed_previous()) {
            // It is shown again, in another answer.
            room.take(Some(previous.into()))
                .map_err(|cause| Rejection::of(&request.id, cause))?;
        }
        Ok(outcome)
    }

    /// Does the operations in order, all of them at one new revision, or none. The answer may hold `answer_bytes_max`
    /// bytes of values.
    ///
    /// # Errors
    /// The first refusal; the state is then as it was.
    pub fn apply_all(
        &mut self,
        operations: Vec<Operation>,
        request: Option<&Request>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, RejectedAt> {
        let mut at = None;
        self.once(request, now, |this| {
            this.apply_all_at(operations, answer_bytes_max, now)
                .map_err(|(index, rejection)| {
                    at = Some(index);
                    rejection
                })
        })
        .map_err(|rejection| RejectedAt {
            index: at,
            rejection,
        })
    }

    fn apply_all_at(
        &mut self,
        operations: Vec<Operation>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, (usize, Box<Rejection>)> {
        let before = self.revision;
        let revision = before + 1;
        let mut room = AnswerRoom::of(answer_bytes_max);
        self.history.begin_batch();
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            let done = self.apply_at(revision, operation, &mut room, now);
            match done {
                Ok(outcome) => outcomes.push(outcome),
                Err(rejection) => {
                    self.roll_back(before);
                    return Err((index, rejection));
                }
            }
        }
        self.history.end_batch();
        let mut all = AllOutcome {
            outcomes,
            revision: self.revision,
            answer_bytes: room.used(),
            replayed: false,
        };
        // What came in front of the first change was done at the revision before; all answers name the frame's.
        all.show_at(self.revision);
        Ok(all)
    }

    fn apply_at(
        &mut self,
        revision: Revision,
        operation: Operation,
        room: &mut AnswerRoom,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        match operation {
            Operation::Read(read) => self.read_into(&read, room).map(Outcome::Read),
            Operation::Write(write) => self
                .write_at(revision, write, room, now)
                .map(Outcome::Write),
            Operation::Add(add) => self.add_at(revision, add, now).map(Outcome::Add),
            Operation::Transition(transition) => self
                .transition_at(revision, transition, now)
                .map(Outcome::Transition),
            Operation::Delete(delete) => {
                self.delete_at(revision, delete, room).map(Outcome::Delete)
            }
        }
    }

    /// Does something once: answers it again if it is a request that came before, and remembers it if not.
    fn once<T: Replayable>(
        &mut self,
        request: Option<&Request>,
        now: Time,
        apply: impl FnOnce(&mut Self) -> Result<T, Box<Rejection>>,
    ) -> Result<T, Box<Rejection>> {
        if let Some(request) = request {
            let refuse = |cause| Rejection::of(&request.id, cause);
            if let Some(answer) = self.requests.find(request, now).map_err(refuse)? {
                // The fingerprint tells kinds of requests apart, too.
                return T::replay(answer).ok_or_else(|| refuse(Cause::RequestIdReused));
            }
        }
        let outcome = apply(self)?;
        if let Some(request) = request {
            let answer = outcome.clone().answer();
            self.happened(|| {
                Effect::Answered(Answered {
                    at: now,
                    request: request.clone(),
                    answer: answer.clone(),
                })
            });
            self.requests.remember(request, answer, now);
        }
        Ok(outcome)
    }

    /// Whether a request came before, and will be answered again.
    #[must_use]
    pub fn remembers(&self, request: &Request) -> bool {
        self.requests.remembers(request)
    }

    /// The keys that changed after `revision`, each with when, as far as that is kept.
    pub fn keys_changed_after(&self, revision: Revision) -> impl Iterator<Item = (Revision, &str)> {
        let changes = self.history.after(revision);
        changes.map(|change| (change.revision(), change.key()))
    }

    /// When [time](Self::advance) has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        let forgets = self.requests.next_due();
        self.index.next_due().into_iter().chain(forgets).min()
    }

    /// Lets time do what is due by now: ends sessions and keys, moves keys on, forgets requests. What is due first goes
    /// first; of what is due together, sessions go before ttls and these before timeouts. Stops after about `keys_max`
    /// keys, so that other calls need not wait: [`next_due`](Self::next_due) tells whether there is more. Returns about how
    /// many it was.
    pub fn advance(&mut self, now: Time, keys_max: usize) -> usize {
        let mut done = 0;
        while done < keys_max {
            let ended = self.end_next_slice();
            if ended > 0 {
                done += ended;
                continue;
            }
            let first = [
                self.index.sessions.next_due(),
                self.index.next_expiry(),
                self.index.machines.next_due(),
            ]
            .into_iter()
            .enumerate()
            .filter_map(|(order, due)| Some((due?, order)))
            .min();
            match first {
                Some((due, order)) if due <= now => match order {
                    0 => done += self.end_due_session(now).unwrap_or(0),
                    1 => self.end_expired(now),
                    _ => {
                        self.fire_due_timeout(now);
                    }
                },
                _ if self.requests.forget_due(now) => {}
                _ => break,
            }
            done += 1;
        }
        done
    }

    /// Ends the key whose ttl ended first.
    fn end_expired(&mut self, now: Time) {
        if let Some(key) = self.index.expired(now).cloned() {
            self.revision += 1;
            self.remove(&key, self.revision, ChangeCause::Expired);
        }
    }

    /// Takes a key away, which is there.
    fn remove(&mut self, key: &Key, revision: Revision, cause: ChangeCause) {
        let slot = self.store.slot(key.as_str());
        let previous = self.store.at(slot);
        let previous = previous.expect("only a key that is there is taken away");
        self.used_bytes -= entry_bytes(key, previous);
        if let Some(attached) = previous.attached {
            self.index.replaced(key, Some(attached), None);
        }
        self.history.record(ChangeRef {
            key,
            revision,
            cause,
            entry: None,
            previous: Some(previous),
        });
        self.store.take(slot);
    }

    /// Puts back what the first operations of a refused frame had changed, the last change first.
    fn roll_back(&mut self, revision: Revision) {
        for change in self.history.take_back().into_iter().rev() {
            let Change { key, previous, .. } = change;
            let slot = self.store.slot(key.as_str());
            let after = self.store.at(slot);
            let before = previous.as_ref().map(EntryRef::from);
            let bytes = |entry| entry_bytes(&key, entry);
            self.used_bytes += before.map_or(0, bytes);
            self.used_bytes -= after.map_or(0, bytes);
            let attached =
                |entry: Option<EntryRef<'_>>| entry.and_then(|entry| entry.attached.cloned());
            let (undone, restored) = (attached(after), attached(before));
            if undone.is_some() || restored.is_some() {
                self.index
                    .replaced(&key, undone.as_deref(), restored.as_deref());
            }
            match previous {
                Some(previous) => self.store.put(slot, &key, previous),
                None => self.store.take(slot),
            }
        }
        self.revision = revision;
    }
}

/// What one key counts towards `used_bytes`.
fn entry_bytes(key: &Key, entry: EntryRef<'_>) -> u64 {
    let attached = if entry.attached.is_some() {
        ATTACHED_BYTES
    } else {
        0
    };
    key.as_str().len() as u64 + entry.value.byte_len() as u64 + KEY_OVERHEAD_BYTES + attached
}

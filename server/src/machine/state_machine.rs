//! The state as a whole, and the three ways in which an entry changes: put, remove and roll back. They keep the entries,
//! the index, the history and the byte count in step.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::change::{Change, ChangeCause, ChangeRef};
use super::effect::Effect;
use super::history::ChangeHistory;
use super::index::Index;
use super::rejection::{Cause, SpaceLow};
use super::request_ids::RequestIds;
use super::tree::{Cursor, EntryRef, Tree};
use super::value::{Entry, Key, Name, Revision};

/// What `Info.used_bytes` counts for a key beyond its own bytes and those of its value: about its revisions, its part of the
/// tree, and the allocator's rounding.
const KEY_OVERHEAD_BYTES: u64 = 64;

/// What a lifetime or a machine state counts in addition: its allocation, and the key's copy in the index.
const ATTACHED_BYTES: u64 = 128;

/// How much the state may hold.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Most bytes, as `Info.used_bytes` counts them.
    pub store_bytes: u64,
    /// Most live sessions.
    pub sessions: usize,
    /// Most machines.
    pub machines: usize,
    /// How long a request id is remembered.
    pub request_id_window: Duration,
    /// Most request ids that are remembered at once.
    pub request_ids: usize,
    /// Most bytes of remembered request ids and their outcomes.
    pub request_id_bytes: usize,
    /// Most changes in the history.
    pub ring_changes: usize,
    /// Most bytes of changes in the history.
    pub ring_bytes: usize,
}

/// How full the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The store revision.
    pub revision: Revision,
    /// The revision after which every change is in the history.
    pub oldest_revision: Revision,
    /// Keys that exist.
    pub key_count: usize,
    /// Bytes that count towards the limit of the store.
    pub used_bytes: u64,
    /// Live sessions.
    pub session_count: usize,
    /// Machines.
    pub machine_count: usize,
    /// Request ids that are remembered.
    pub request_id_count: usize,
}

/// The state machine: the whole state. Only the owner holds it.
#[derive(Debug)]
pub struct StateMachine {
    pub(super) entries: Tree,
    pub(super) index: Index,
    pub(super) history: ChangeHistory,
    pub(super) request_ids: RequestIds,
    pub(super) revision: Revision,
    /// What the keys count towards `used_bytes`.
    pub(super) key_bytes: u64,
    pub(super) limits: StoreLimits,
    /// Set while the disk has too little space: only deletes and ends are applied then.
    disk: Option<SpaceLow>,
    /// How many copies were begun so far: the id of the next one.
    pub(super) copies_begun: u64,
    pub(super) ended: Ended,
    pub(super) refused_moves: RefusedMoves,
}

/// How many moves each machine has refused since the process began; those that have refused none are not here. It is no part of
/// the state: nothing depends on it, it is not on disk, and two states that differ in nothing else are the same.
#[derive(Default)]
pub(super) struct RefusedMoves(pub(super) BTreeMap<Name, u64>);

impl fmt::Debug for RefusedMoves {
    /// Says nothing of the counts, because states are compared by what they show: a refusal changes no state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedMoves").finish_non_exhaustive()
    }
}

/// How many keys changed by themselves, since the state machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Keys that are gone because their ttl ended.
    pub expired: u64,
    /// Keys that are gone because their session ended.
    pub session_ended: u64,
    /// Moves to another state after a timeout.
    pub timed_out: u64,
}

impl StateMachine {
    /// Creates an empty state at revision 0.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            entries: Tree::new(),
            index: Index::default(),
            history: ChangeHistory::new(limits.ring_changes, limits.ring_bytes),
            request_ids: RequestIds::new(
                limits.request_id_window,
                limits.request_ids,
                limits.request_id_bytes,
            ),
            revision: 0,
            key_bytes: 0,
            limits,
            disk: None,
            copies_begun: 0,
            ended: Ended::default(),
            refused_moves: RefusedMoves::default(),
        }
    }

    /// From now on, refuses every change but deletes and ends, because the disk has too little space. `None` allows all
    /// changes again.
    pub fn set_disk(&mut self, disk: Option<SpaceLow>) {
        self.disk = disk;
    }

    /// Refuses if the disk has too little space.
    pub(super) fn check_disk_space(&self) -> Result<(), Cause> {
        self.disk.map_or(Ok(()), |low| Err(Cause::DiskFull(low)))
    }

    /// The store revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Prepares operations on these keys, which come next. It changes nothing but how long they take: with millions of keys, what
    /// is looked up for one of them alone has to be waited for several times.
    #[inline]
    pub fn warm<'k>(&self, keys: impl Iterator<Item = &'k str>) {
        self.entries.warm(keys);
    }

    /// How full the state is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            revision: self.revision,
            oldest_revision: self.history.oldest(),
            key_count: self.entries.len(),
            used_bytes: self.used_bytes(),
            session_count: self.index.sessions.len(),
            machine_count: self.index.machines.len(),
            request_id_count: self.request_ids.len(),
        }
    }

    /// How many keys changed by themselves so far.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.ended
    }

    /// How many keys are in each state of each machine, also in states without any, in the order of the names.
    pub fn keys_in_states(&self) -> impl Iterator<Item = (&Name, &Name, usize)> {
        self.index.machines.keys_in_states()
    }

    /// The keys that changed after `revision`, each with the revision of its change, as far as the history has them.
    pub fn keys_changed_after(&self, revision: Revision) -> impl Iterator<Item = (Revision, &str)> {
        let changes = self.history.after(revision);
        changes.map(|change| (change.revision(), change.key()))
    }

    /// The bytes of everything that lives in the state: keys, machines, sessions and remembered requests. The history has a
    /// limit of its own.
    pub(super) fn used_bytes(&self) -> u64 {
        self.key_bytes + self.index.byte_len() + self.request_ids.byte_len()
    }

    /// Refuses a change that takes this many more bytes, if the store would be over its limit with them.
    pub(super) fn check_room(&self, freed: u64, taken: u64) -> Result<(), Cause> {
        let limit = self.limits.store_bytes;
        let actual = self.used_bytes() - freed + taken;
        if actual > limit && taken > freed {
            return Err(Cause::StoreFull { limit, actual });
        }
        Ok(())
    }

    /// The bytes that all keys count with `entry` in place of the present one.
    ///
    /// # Errors
    /// [`Cause::DiskFull`], or [`Cause::StoreFull`] if the store would hold more than now and more than its limit: a full
    /// store can always shrink.
    pub(super) fn key_bytes_with(
        &self,
        key: &Key,
        present: Option<EntryRef<'_>>,
        entry: &Entry,
    ) -> Result<u64, Cause> {
        self.check_disk_space()?;
        let freed = present.map_or(0, |entry| entry_bytes(key, entry));
        let taken = entry_bytes(key, entry.into());
        self.check_room(freed, taken)?;
        Ok(self.key_bytes - freed + taken)
    }

    /// Inserts or replaces the entry of a key. The caller accounts for `used_bytes`.
    pub(super) fn put(&mut self, cursor: Cursor, key: &Key, entry: Entry, cause: ChangeCause) {
        let previous = self.entries.at(cursor);
        let attached = previous.and_then(|previous| previous.attached);
        if attached.is_some() || entry.attached.is_some() {
            let before = attached.map(|attached| &**attached);
            self.index.update(key, before, entry.attached.as_deref());
        }
        self.history.record(ChangeRef {
            key,
            revision: entry.revision,
            cause,
            entry: Some((&entry).into()),
            previous,
        });
        self.entries.put(cursor, key, entry);
    }

    /// Removes a key, which must exist.
    pub(super) fn remove(&mut self, key: &Key, revision: Revision, cause: ChangeCause) {
        let cursor = self.entries.cursor(key.as_str());
        let previous = self.entries.at(cursor);
        let previous = previous.expect("the key exists");
        self.key_bytes -= entry_bytes(key, previous);
        if let Some(attached) = previous.attached {
            self.index.update(key, Some(attached), None);
        }
        self.history.record(ChangeRef {
            key,
            revision,
            cause,
            entry: None,
            previous: Some(previous),
        });
        self.entries.remove(cursor);
    }

    /// Undoes what the first operations of a refused frame changed, the last change first. `revision` is the store revision
    /// from before the frame.
    pub(super) fn roll_back(&mut self, revision: Revision) {
        for change in self.history.abort_batch().into_iter().rev() {
            let Change { key, previous, .. } = change;
            let cursor = self.entries.cursor(key.as_str());
            let after = self.entries.at(cursor);
            let before = previous.as_ref().map(EntryRef::from);
            let bytes = |entry| entry_bytes(&key, entry);
            self.key_bytes += before.map_or(0, bytes);
            self.key_bytes -= after.map_or(0, bytes);
            let attached =
                |entry: Option<EntryRef<'_>>| entry.and_then(|entry| entry.attached.cloned());
            let (undone, restored) = (attached(after), attached(before));
            if undone.is_some() || restored.is_some() {
                self.index
                    .update(&key, undone.as_deref(), restored.as_deref());
            }
            match previous {
                Some(previous) => self.entries.put(cursor, &key, previous),
                None => self.entries.remove(cursor),
            }
        }
        self.revision = revision;
    }

    /// Protects every change after this revision from being evicted from the history, because watches have not been shown
    /// them yet. The caller has to bound how many changes that are.
    pub fn keep_history_after(&mut self, revision: Revision) {
        self.history.keep_after(revision);
    }

    /// Starts to collect effects, for [`take_effects`](Self::take_effects).
    pub fn keep_effects(&mut self) {
        self.history.followers_mut().effects = Some(Vec::new());
    }

    /// Moves the effects since the last call to the end of `taken`.
    pub fn take_effects(&mut self, taken: &mut Vec<Effect>) {
        self.history.take_effects(taken);
    }

    /// Adds an effect, if they are collected.
    pub(super) fn push_effect(&mut self, effect: impl FnOnce() -> Effect) {
        self.history.push_effect(effect);
    }
}

/// What one key counts towards `used_bytes`.
pub(super) fn entry_bytes(key: &Key, entry: EntryRef<'_>) -> u64 {
    let attached = if entry.attached.is_some() {
        ATTACHED_BYTES
    } else {
        0
    };
    key.as_str().len() as u64 + entry.value.byte_len() as u64 + KEY_OVERHEAD_BYTES + attached
}

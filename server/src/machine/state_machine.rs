//! The state as a whole, and the only ways in which its entries change.

use std::time::Duration;

use super::change::{Change, ChangeCause, ChangeRef};
use super::effect::Effect;
use super::history::ChangeHistory;
use super::index::Index;
use super::rejection::{Cause, DiskLow};
use super::request_ids::RequestIds;
use super::tree::{Cursor, EntryRef, Tree};
use super::value::{Entry, Key, Revision};

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
    /// RequestId ids that are remembered.
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
    /// RequestId ids that are remembered.
    pub request_id_count: usize,
}

/// The whole state. Its owner is the only one to hold it.
#[derive(Debug)]
pub struct StateMachine {
    pub(super) entries: Tree,
    pub(super) index: Index,
    pub(super) history: ChangeHistory,
    pub(super) request_ids: RequestIds,
    pub(super) revision: Revision,
    pub(super) used_bytes: u64,
    pub(super) limits: StoreLimits,
    /// Where there is too little: nothing but deletes is taken.
    disk: Option<DiskLow>,
    /// Names the next copy: no two have the same name.
    pub(super) copies_begun: u64,
}

impl StateMachine {
    /// An empty state at revision 0.
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
    pub(super) fn disk_has_space(&self) -> Result<(), Cause> {
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
            key_count: self.entries.len(),
            used_bytes: self.used_bytes,
            session_count: self.index.sessions.len(),
            machine_count: self.index.machines.len(),
            request_id_count: self.request_ids.len(),
        }
    }

    /// The keys that changed after `revision`, each with when, as far as that is kept.
    pub fn keys_changed_after(&self, revision: Revision) -> impl Iterator<Item = (Revision, &str)> {
        let changes = self.history.after(revision);
        changes.map(|change| (change.revision(), change.key()))
    }

    /// What the store holds, in bytes, once `entry` is there. Only growth is refused: a full store can always be made
    /// smaller.
    pub(super) fn space(
        &self,
        key: &Key,
        present: Option<EntryRef<'_>>,
        entry: &Entry,
    ) -> Result<u64, Cause> {
        self.disk_has_space()?;
        let limit = self.limits.store_bytes;
        let freed = present.map_or(0, |entry| entry_bytes(key, entry));
        let after = self.used_bytes - freed + entry_bytes(key, entry.into());
        if after > limit && after > self.used_bytes {
            return Err(Cause::StoreFull {
                limit,
                actual: after,
            });
        }
        Ok(after)
    }

    /// Puts an entry into its slot.
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

    /// Takes a key away, which is there.
    pub(super) fn remove(&mut self, key: &Key, revision: Revision, cause: ChangeCause) {
        let cursor = self.entries.cursor(key.as_str());
        let previous = self.entries.at(cursor);
        let previous = previous.expect("only a key that is there is taken away");
        self.used_bytes -= entry_bytes(key, previous);
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
        self.entries.take(cursor);
    }

    /// Puts back what the first operations of a refused frame had changed, the last change first.
    pub(super) fn roll_back(&mut self, revision: Revision) {
        for change in self.history.take_back().into_iter().rev() {
            let Change { key, previous, .. } = change;
            let cursor = self.entries.cursor(key.as_str());
            let after = self.entries.at(cursor);
            let before = previous.as_ref().map(EntryRef::from);
            let bytes = |entry| entry_bytes(&key, entry);
            self.used_bytes += before.map_or(0, bytes);
            self.used_bytes -= after.map_or(0, bytes);
            let attached =
                |entry: Option<EntryRef<'_>>| entry.and_then(|entry| entry.attached.cloned());
            let (undone, restored) = (attached(after), attached(before));
            if undone.is_some() || restored.is_some() {
                self.index
                    .update(&key, undone.as_deref(), restored.as_deref());
            }
            match previous {
                Some(previous) => self.entries.put(cursor, &key, previous),
                None => self.entries.take(cursor),
            }
        }
        self.revision = revision;
    }

    /// Notes what happened, if that is kept.
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

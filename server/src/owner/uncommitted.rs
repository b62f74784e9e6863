//! The keys with changes that are not on disk yet, and what is on disk of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::{Change, Entry, Key, Name, Revision};

/// The keys of one batch, each with its entry before the batch; `None` if it was not there.
type Before = BTreeMap<Key, Option<Entry>>;

/// The keys with changes that are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    /// Those of the batch that the journal is committing.
    sent: Before,
    /// Those of the batch that follows.
    unsent: Before,
    /// Every change up to this revision is on disk.
    pub(super) durable_revision: Revision,
    /// The last revision at which a machine was defined or deleted, which can change the state that any entry shows.
    pub(super) machine_changed: Revision,
}

impl Uncommitted {
    /// Returns an empty collection: everything up to `revision` is on disk.
    pub(super) fn at(revision: Revision) -> Self {
        Self {
            durable_revision: revision,
            ..Self::default()
        }
    }

    /// Adds a change that is not on disk yet. Keeps the entry before the first change of a batch, which the journal has no use
    /// for.
    pub(super) fn add(&mut self, change: &mut Change) {
        let before = self.unsent.entry(change.key.clone());
        before.or_insert_with(|| change.previous.take());
    }

    /// Returns the entry on disk of a key that has changes after it.
    pub(super) fn committed(&self, key: &str) -> Option<Option<&Entry>> {
        let before = self.sent.get(key).or_else(|| self.unsent.get(key));
        before.map(Option::as_ref)
    }

    /// Whether a key with the prefix has changes that are not on disk.
    pub(super) fn changes_below(&self, prefix: &str) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        [&self.sent, &self.unsent].into_iter().any(|batch| {
            let first = batch.range::<str, _>(from).next();
            first.is_some_and(|(key, _)| key.as_str().starts_with(prefix))
        })
    }

    /// Removes the state of a deleted machine from all entries. The deletion reports no changes of its keys, so an entry
    /// that is shown after it would still have the state. Doing it now is safe: until the deletion is on disk, none of
    /// them is shown.
    pub(super) fn forget_machine(&mut self, machine: &Name) {
        let entries = self.sent.values_mut().chain(self.unsent.values_mut());
        for entry in entries.flatten() {
            entry.leave_machine(machine);
        }
    }

    /// Notes that the journal has all changes.
    pub(super) fn sent(&mut self) {
        debug_assert!(self.sent.is_empty(), "one batch is sent at a time");
        self.sent = std::mem::take(&mut self.unsent);
    }

    /// Notes that every change that the journal had, up to `revision`, is on disk.
    pub(super) fn commit(&mut self, revision: Revision) {
        self.durable_revision = revision;
        self.sent = Before::new();
    }
}

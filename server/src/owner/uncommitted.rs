//! The keys with changes that are not on disk yet, and what is on disk of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::{Change, Entry, Key, Name, Revision};

/// The keys of one batch, each with its entry before the batch; `None` if it was not there.
#[derive(Debug, Default)]
struct Before {
    entries: BTreeMap<Key, Option<Entry>>,
    /// Changes in their order, each with the entry before it. They go into the map when somebody looks, which nobody does while
    /// there are only Writes.
    changes: Vec<(Key, Option<Entry>)>,
}

impl Before {
    fn add(&mut self, key: Key, previous: Option<Entry>) {
        self.changes.push((key, previous));
    }

    fn entries(&mut self) -> &mut BTreeMap<Key, Option<Entry>> {
        for (key, previous) in self.changes.drain(..) {
            // The first change of a key counts.
            self.entries.entry(key).or_insert(previous);
        }
        &mut self.entries
    }

    /// Keeps the room for as many changes.
    fn clear(&mut self) {
        self.entries.clear();
        self.changes.clear();
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.changes.is_empty()
    }
}

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

    /// Adds a change that is not on disk yet. Keeps the entry before it, which the journal has no use for.
    pub(super) fn add(&mut self, change: &mut Change) {
        self.unsent.add(change.key.clone(), change.previous.take());
    }

    /// Returns the entry on disk of a key that has changes after it.
    pub(super) fn committed(&mut self, key: &str) -> Option<Option<&Entry>> {
        let Self { sent, unsent, .. } = self;
        let before = sent.entries().get(key);
        let before = before.or_else(|| unsent.entries().get(key));
        before.map(Option::as_ref)
    }

    /// Whether a key with the prefix has changes that are not on disk.
    pub(super) fn changes_below(&mut self, prefix: &str) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        [&mut self.sent, &mut self.unsent].into_iter().any(|batch| {
            let first = batch.entries().range::<str, _>(from).next();
            first.is_some_and(|(key, _)| key.as_str().starts_with(prefix))
        })
    }

    /// Removes the state of a deleted machine from all entries. The deletion reports no changes of its keys, so an entry
    /// that is shown after it would still have the state. Doing it now is safe: until the deletion is on disk, none of
    /// them is shown.
    pub(super) fn forget_machine(&mut self, machine: &Name) {
        for batch in [&mut self.sent, &mut self.unsent] {
            for entry in batch.entries().values_mut().flatten() {
                entry.leave_machine(machine);
            }
        }
    }

    /// Notes that the journal has all changes.
    pub(super) fn sent(&mut self) {
        debug_assert!(self.sent.is_empty(), "one batch is sent at a time");
        std::mem::swap(&mut self.sent, &mut self.unsent);
    }

    /// Notes that every change that the journal had, up to `revision`, is on disk.
    pub(super) fn commit(&mut self, revision: Revision) {
        self.durable_revision = revision;
        self.sent.clear();
    }
}

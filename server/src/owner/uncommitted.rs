//! The keys that are changing: what is on disk of them, and what came after.

use std::collections::{BTreeMap, VecDeque};

use crate::machine::{Change, Entry, Key, Name, Revision};

/// The keys that have changed, and whose change is not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    /// The version that is on disk, and those that came after it with their revisions.
    pub(super) versions: BTreeMap<Key, Versions>,
    /// In the order of their revisions.
    order: VecDeque<(Revision, Key)>,
    /// Everything up to here is on disk.
    pub(super) durable_revision: Revision,
    /// A machine changed here, and with it what any entry may show.
    pub(super) machine_changed: Revision,
}

#[derive(Debug)]
pub(super) struct Versions {
    pub(super) committed: Option<Entry>,
    later: VecDeque<(Revision, Option<Entry>)>,
}

impl Uncommitted {
    /// Nothing is changing, at this revision.
    pub(super) fn at(revision: Revision) -> Self {
        Self {
            durable_revision: revision,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, change: &Change) {
        let versions = self.versions.entry(change.key.clone());
        let versions = versions.or_insert_with(|| Versions {
            committed: change.previous.clone(),
            later: VecDeque::new(),
        });
        let version = (change.revision, change.entry.clone());
        versions.later.push_back(version);
        self.order.push_back((change.revision, change.key.clone()));
    }

    /// A machine is deleted: its keys are in no state from then on. Until that is on disk, nothing of them is shown.
    pub(super) fn forget_machine(&mut self, machine: &Name) {
        for versions in self.versions.values_mut() {
            let later = versions.later.iter_mut().map(|(_, entry)| entry);
            for entry in later.chain([&mut versions.committed]).flatten() {
                entry.leave_machine(machine);
            }
        }
    }

    /// Everything up to `revision` is on disk.
    pub(super) fn commit(&mut self, revision: Revision) {
        self.durable_revision = revision;
        while self.order.front().is_some_and(|(at, _)| *at <= revision) {
            let (_, key) = self.order.pop_front().expect("it was just there");
            let versions = self.versions.get_mut(&key);
            let versions = versions.expect("what is in order has versions");
            let (_, entry) = versions.later.pop_front().expect("one for each in order");
            versions.committed = entry;
            if versions.later.is_empty() {
                self.versions.remove(&key);
            }
        }
    }
}

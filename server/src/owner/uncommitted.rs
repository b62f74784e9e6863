//! The keys with changes that are not on disk yet: their last version on disk, and the versions after it.

use std::collections::{BTreeMap, VecDeque};

use crate::machine::{Change, Entry, Key, Name, Revision};

/// The keys with changes that are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    /// The versions of each of these keys.
    pub(super) versions: BTreeMap<Key, Versions>,
    /// One element for each change, in the order of the revisions.
    order: VecDeque<(Revision, Key)>,
    /// Every change up to this revision is on disk.
    pub(super) durable_revision: Revision,
    /// The last revision at which a machine was defined or deleted, which can change the state that any entry shows.
    pub(super) machine_changed: Revision,
}

/// The versions of one key.
#[derive(Debug)]
pub(super) struct Versions {
    /// The version on disk; `None` if the key is not there.
    pub(super) committed: Option<Entry>,
    /// The versions after it, oldest first, with their revisions.
    later: VecDeque<(Revision, Option<Entry>)>,
}

impl Uncommitted {
    /// Returns an empty collection: everything up to `revision` is on disk.
    pub(super) fn at(revision: Revision) -> Self {
        Self {
            durable_revision: revision,
            ..Self::default()
        }
    }

    /// Adds a change that is not on disk yet.
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

    /// Removes the state of a deleted machine from all versions. The deletion reports no changes of its keys, so a
    /// version shown after it would still have the state. Doing it now is safe: until the deletion is on disk, no
    /// version is shown.
    pub(super) fn forget_machine(&mut self, machine: &Name) {
        for versions in self.versions.values_mut() {
            let later = versions.later.iter_mut().map(|(_, entry)| entry);
            for entry in later.chain([&mut versions.committed]).flatten() {
                entry.leave_machine(machine);
            }
        }
    }

    /// Notes that every change up to `revision` is on disk.
    pub(super) fn commit(&mut self, revision: Revision) {
        self.durable_revision = revision;
        while self.order.front().is_some_and(|(at, _)| *at <= revision) {
            let (_, key) = self.order.pop_front().expect("front was Some");
            let versions = self.versions.get_mut(&key);
            let versions = versions.expect("each key in order has versions");
            let (_, entry) = versions
                .later
                .pop_front()
                .expect("each element in order has a version");
            versions.committed = entry;
            if versions.later.is_empty() {
                self.versions.remove(&key);
            }
        }
    }
}

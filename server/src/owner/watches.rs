//! The open watches, and which of them a change wakes.
//!
//! A watch asks for its next batch when its client has taken the one before. If there is no more, the watch sleeps
//! until one of its keys changes. So a slow watch costs the owner nothing, and a sleeping watch costs nothing until one
//! of its own keys changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use tokio::sync::Notify;

use crate::config::WATCH_MESSAGE_BYTES;
use crate::machine::{
    HasMore, Revision, StateMachine, Updates, Watch, WatchBatch, WatchError, WatchFrom, WatchShows,
    WatchTarget,
};

use super::error::CallError;
use super::quota::{ConnectionQuota, QuotaGuard};
use super::shares::{Limited, Open};

/// A watch to open.
#[derive(Clone, Debug)]
pub struct NewWatch {
    /// The key or prefix to watch.
    pub target: WatchTarget,
    /// The revision to start at.
    pub from: WatchFrom,
    /// How much of each change to show.
    pub shows: WatchShows,
}

impl NewWatch {
    pub(super) fn byte_len(&self) -> usize {
        match &self.target {
            WatchTarget::Key(key) => key.as_str().len(),
            WatchTarget::Prefix(prefix) => prefix.len(),
        }
    }
}

/// Identifies an open watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(u64);

/// An open watch. Dropping it closes the watch.
#[derive(Debug)]
pub struct OpenWatch {
    /// Identifies the watch.
    pub id: WatchId,
    /// The watch shows every change after this revision. `None` if it first shows the entries that there are.
    pub revision: Option<Revision>,
    wake: Arc<Notify>,
    on_drop: mpsc::Sender<WatchId>,
    /// Whether there were more changes or entries after the last batch, or may be before the first.
    is_behind: AtomicBool,
    _share: Open,
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        // A failed send means that the owner is gone, and all watches with it.
        let _ = self.on_drop.send(self.id);
    }
}

impl OpenWatch {
    /// Whether the next batch may be long: not only what has just changed.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Notes whether there is more after the last batch.
    pub(super) fn note(&self, next: &NextBatch) {
        if let NextBatch::Batch(batch, _) = next {
            let is_behind = batch.has_more == HasMore::Yes;
            self.is_behind.store(is_behind, Ordering::Relaxed);
        }
    }

    /// Waits until one of the watch's keys may have changed. Call it only after a batch that said that there was no
    /// more. Cancelling it loses no wake-up.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

/// A watch's next batch, if its connection has quota for it.
#[derive(Debug)]
pub enum NextBatch {
    /// The batch. Its bytes are charged to the connection's quota until the guard is dropped.
    Batch(WatchBatch, QuotaGuard),
    /// The client must first read what it was sent on this connection.
    QuotaUsedUp,
}

impl NextBatch {
    /// Whether it shows nothing but committed changes, which stay committed, whoever owns the store now. An initial state, and that
    /// a watch is up to date, is not of that kind.
    pub(super) fn stays_true(&self) -> bool {
        match self {
            Self::Batch(batch, _) => {
                matches!(&batch.updates, Updates::Changes(changes) if !changes.is_empty())
                    && !batch.caught_up
            }
            Self::QuotaUsedUp => true,
        }
    }
}

/// All open watches.
#[derive(Debug)]
pub(super) struct Watches {
    by_id: HashMap<WatchId, WatchEntry>,
    sleepers: Sleepers,
    next_id: u64,
    watches_max: usize,
    /// Ids of watches that were dropped and are still in `by_id`. Bounded: each open watch sends its id once.
    dropped: mpsc::Receiver<WatchId>,
    /// Cloned for every watch, which sends its id when it is dropped.
    on_drop: mpsc::Sender<WatchId>,
    /// Every sleeping watch has been woken for the changes up to this revision.
    woken_up_to: Revision,
}

#[derive(Debug)]
struct WatchEntry {
    watch: Watch,
    wake: Arc<Notify>,
    sleeping: Sleeping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleeping {
    Yes,
    No,
}

impl Watches {
    pub(super) fn new(watches_max: usize) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "each open watch sends once, and how many are open is limited"
        )]
        let (on_drop, dropped) = mpsc::channel();
        Self {
            by_id: HashMap::new(),
            sleepers: Sleepers::default(),
            next_id: 0,
            watches_max,
            dropped,
            on_drop,
            woken_up_to: 0,
        }
    }

    /// Returns how many watches are open.
    pub(super) fn len(&mut self) -> usize {
        self.remove_dropped();
        self.by_id.len()
    }

    /// Opens a watch.
    pub(super) fn open(
        &mut self,
        new: NewWatch,
        quota: &ConnectionQuota,
        machine: &StateMachine,
    ) -> Result<OpenWatch, CallError> {
        self.remove_dropped();
        let share = quota.shares().watches.open(&Limited {
            what: "watches",
            of_one: "watches of one connection",
            open: self.by_id.len(),
            limit: self.watches_max,
        })?;
        let is_behind = new.from != WatchFrom::Now;
        let NewWatch {
            target,
            from,
            shows,
        } = new;
        let watch = machine.watch(target, from, shows)?;
        let id = WatchId(self.next_id);
        self.next_id += 1;
        let wake = Arc::new(Notify::new());
        let revision = watch.revision();
        let entry = WatchEntry {
            watch,
            wake: wake.clone(),
            sleeping: Sleeping::No,
        };
        self.by_id.insert(id, entry);
        Ok(OpenWatch {
            id,
            revision,
            wake,
            on_drop: self.on_drop.clone(),
            is_behind: AtomicBool::new(is_behind),
            _share: share,
        })
    }

    /// Returns a watch's next batch. If there is no more after it, the watch sleeps from then on.
    pub(super) fn next_batch(
        &mut self,
        id: WatchId,
        quota: ConnectionQuota,
        machine: &StateMachine,
        durable_revision: Revision,
    ) -> Result<NextBatch, WatchError> {
        let room = quota.free_bytes().min(WATCH_MESSAGE_BYTES);
        if room == 0 {
            return Ok(NextBatch::QuotaUsedUp);
        }
        let entry = self.by_id.get_mut(&id);
        let entry = entry.expect("the caller holds the OpenWatch, which keeps the watch open");
        let was_sleeping = entry.sleeping;
        if was_sleeping == Sleeping::Yes {
            entry.watch.skip_to(self.woken_up_to);
        }
        let batch = machine.next_batch(&mut entry.watch, room, durable_revision)?;
        entry.sleeping = match batch.has_more {
            HasMore::No => Sleeping::Yes,
            HasMore::Yes => Sleeping::No,
        };
        match (was_sleeping, entry.sleeping) {
            (Sleeping::No, Sleeping::Yes) => self.sleepers.insert(entry.watch.target(), id),
            (Sleeping::Yes, Sleeping::No) => self.sleepers.remove(entry.watch.target(), id),
            _ => {}
        }
        let guard = quota.charge_values(batch.bytes);
        Ok(NextBatch::Batch(batch, guard))
    }

    /// Wakes the sleeping watches of the keys that changed up to `durable_revision`. Later changes are not shown yet.
    pub(super) fn wake(&mut self, machine: &StateMachine, durable_revision: Revision) {
        let woken_up_to = std::mem::replace(&mut self.woken_up_to, durable_revision);
        if self.by_id.is_empty() || woken_up_to == durable_revision {
            return;
        }
        if woken_up_to < machine.usage().oldest_revision {
            // The history has already dropped some of these changes, so every watch must look for itself.
            for entry in self.by_id.values_mut() {
                entry.wake(woken_up_to);
            }
            self.sleepers = Sleepers::default();
            return;
        }
        let changed = machine.keys_changed_after(woken_up_to);
        for (revision, key) in changed.take_while(|(revision, _)| *revision <= durable_revision) {
            self.wake_for(key, revision);
        }
    }

    /// Wakes the sleeping watches of `key`, which changed at `revision`.
    fn wake_for(&mut self, key: &str, revision: Revision) {
        for id in self.sleepers.take(key) {
            if let Some(entry) = self.by_id.get_mut(&id) {
                entry.wake(revision - 1);
            }
        }
    }

    /// Removes the watches that were dropped.
    fn remove_dropped(&mut self) {
        while let Ok(id) = self.dropped.try_recv() {
            let entry = self.by_id.remove(&id).expect("a watch is dropped once");
            if entry.sleeping == Sleeping::Yes {
                self.sleepers.remove(entry.watch.target(), id);
            }
        }
    }
}

/// The sleeping watches, by what they watch. Watches that are awake are not in here, so they make no change slower.
#[derive(Debug, Default)]
struct Sleepers {
    keys: IdsByName,
    /// Prefixes by their length, so that a key is looked up once for each length in use.
    prefixes: BTreeMap<usize, IdsByName>,
}

/// Watches by the key or prefix that they watch. No set is empty.
type IdsByName = HashMap<String, BTreeSet<WatchId>>;

impl Sleepers {
    fn insert(&mut self, target: &WatchTarget, id: WatchId) {
        let (names, name) = match target {
            WatchTarget::Key(key) => (&mut self.keys, key.as_str()),
            WatchTarget::Prefix(prefix) => (
                self.prefixes.entry(prefix.len()).or_default(),
                prefix.as_str(),
            ),
        };
        names.entry(name.to_owned()).or_default().insert(id);
    }

    fn remove(&mut self, target: &WatchTarget, id: WatchId) {
        match target {
            WatchTarget::Key(key) => remove(&mut self.keys, key.as_str(), id),
            WatchTarget::Prefix(prefix) => {
                if let Some(names) = self.prefixes.get_mut(&prefix.len()) {
                    remove(names, prefix, id);
                    if names.is_empty() {
                        self.prefixes.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// Removes and returns the watches of `key`.
    fn take(&mut self, key: &str) -> Vec<WatchId> {
        let mut taken = Vec::new();
        taken.extend(self.keys.remove(key).into_iter().flatten());
        let mut emptied = false;
        for (len, names) in self.prefixes.range_mut(..=key.len()) {
            let Some(list) = key.get(..*len).and_then(|prefix| names.remove(prefix)) else {
                continue;
            };
            taken.extend(list);
            emptied |= names.is_empty();
        }
        if emptied {
            self.prefixes.retain(|_, names| !names.is_empty());
        }
        taken
    }
}

fn remove(names: &mut IdsByName, name: &str, id: WatchId) {
    if let Some(list) = names.get_mut(name) {
        list.remove(&id);
        if list.is_empty() {
            names.remove(name);
        }
    }
}

impl WatchEntry {
    /// Wakes the watch if it sleeps. None of its keys changed up to `revision`, so it goes on from there.
    fn wake(&mut self, revision: Revision) {
        if self.sleeping == Sleeping::Yes {
            self.sleeping = Sleeping::No;
            self.watch.skip_to(revision);
            self.wake.notify_one();
        }
    }
}

//! The watches that are open, and whom a change wakes.
//!
//! A watch asks for what comes next when its client has taken what came before. If there is nothing, it sleeps, and the
//! first change that it watches wakes it. So a watch that is slow costs the owner nothing, and one that sleeps costs
//! nothing until something happens to its own keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, mpsc};

use tokio::sync::Notify;

use crate::config::WATCH_MESSAGE_BYTES;
use crate::machine::{
    HasMore, Revision, StateMachine, Watch, WatchBatch, WatchError, WatchFrom, WatchShows,
    WatchTarget,
};

use super::error::CallError;
use super::quota::{ConnectionQuota, QuotaGuard};

/// Asks for a watch.
#[derive(Clone, Debug)]
pub struct NewWatch {
    /// What to watch.
    pub target: WatchTarget,
    /// Where to begin.
    pub from: WatchFrom,
    /// What to show of a change.
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

/// Names an open watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(u64);

/// An open watch. Dropping it ends it.
#[derive(Debug)]
pub struct OpenWatch {
    /// Its name.
    pub id: WatchId,
    /// From where it sees everything; none if it is sent what there is first.
    pub revision: Option<Revision>,
    wake: Arc<Notify>,
    ended: mpsc::Sender<WatchId>,
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        // An error means that the owner is gone, and all watches with it.
        let _ = self.ended.send(self.id);
    }
}

impl OpenWatch {
    /// Waits until there may be something new. Call it only after [`NextBatch::Batch`] told that there was nothing more.
    /// Cancelling it loses nothing.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

/// What a watch is sent next.
#[derive(Debug)]
pub enum NextBatch {
    /// This. It counts as unread until the second is dropped.
    Batch(WatchBatch, QuotaGuard),
    /// Nothing before the client has read what it was sent on this connection.
    QuotaUsedUp,
}

/// All open watches.
#[derive(Debug)]
pub(super) struct Watches {
    by_id: HashMap<WatchId, WatchEntry>,
    sleepers: Sleepers,
    next_id: u64,
    watches_max: usize,
    /// The watches that have ended since it was looked at: never more than were open.
    ended: mpsc::Receiver<WatchId>,
    /// Given to every watch.
    end: mpsc::Sender<WatchId>,
    /// Every watch that sleeps has been woken for what happened up to here.
    seen: Revision,
}

#[derive(Debug)]
struct WatchEntry {
    watch: Watch,
    wake: Arc<Notify>,
    sleeps: Sleeping,
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
        let (end, ended) = mpsc::channel();
        Self {
            by_id: HashMap::new(),
            sleepers: Sleepers::default(),
            next_id: 0,
            watches_max,
            ended,
            end,
            seen: 0,
        }
    }

    /// How many are open.
    pub(super) fn len(&mut self) -> usize {
        self.forget_ended();
        self.by_id.len()
    }

    /// Begins a watch.
    pub(super) fn begin(
        &mut self,
        new: NewWatch,
        machine: &StateMachine,
    ) -> Result<OpenWatch, CallError> {
        self.forget_ended();
        if self.by_id.len() >= self.watches_max {
            return Err(CallError::TooManyOpen {
                what: "watches",
                limit: self.watches_max,
            });
        }
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
        let open = WatchEntry {
            watch,
            wake: wake.clone(),
            sleeps: Sleeping::No,
        };
        self.by_id.insert(id, open);
        Ok(OpenWatch {
            id,
            revision,
            wake,
            ended: self.end.clone(),
        })
    }

    /// What a watch is sent next. If that is all there is, it sleeps from then on.
    pub(super) fn next(
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
        let open = self.by_id.get_mut(&id);
        let open = open.expect("whoever asks holds the watch, which keeps it open");
        let slept = open.sleeps;
        if slept == Sleeping::Yes {
            open.watch.skip_to(self.seen);
        }
        let batch = machine.next_batch(&mut open.watch, room, durable_revision)?;
        open.sleeps = match batch.has_more {
            HasMore::No => Sleeping::Yes,
            HasMore::Yes => Sleeping::No,
        };
        match (slept, open.sleeps) {
            (Sleeping::No, Sleeping::Yes) => self.sleepers.insert(open.watch.target(), id),
            (Sleeping::Yes, Sleeping::No) => self.sleepers.remove(open.watch.target(), id),
            _ => {}
        }
        let guard = quota.charge(batch.bytes);
        Ok(NextBatch::Batch(batch, guard))
    }

    /// Wakes the watches that sleep and watch what has changed up to `durable_revision`: nothing after it is shown yet.
    pub(super) fn wake(&mut self, machine: &StateMachine, durable_revision: Revision) {
        let seen = std::mem::replace(&mut self.seen, durable_revision);
        if self.by_id.is_empty() || seen == durable_revision {
            return;
        }
        if seen < machine.usage().oldest_revision {
            // More happened in one go than is kept: all of them have to look.
            for open in self.by_id.values_mut() {
                open.wake(seen);
            }
            self.sleepers = Sleepers::default();
            return;
        }
        let changed = machine.keys_changed_after(seen);
        for (revision, key) in changed.take_while(|(revision, _)| *revision <= durable_revision) {
            self.wake_for(key, revision);
        }
    }

    fn wake_for(&mut self, key: &str, revision: Revision) {
        for id in self.sleepers.take(key) {
            if let Some(open) = self.by_id.get_mut(&id) {
                open.wake(revision - 1);
            }
        }
    }

    /// Lets go of those that have ended.
    fn forget_ended(&mut self) {
        while let Ok(id) = self.ended.try_recv() {
            let open = self.by_id.remove(&id).expect("a watch ends once");
            if open.sleeps == Sleeping::Yes {
                self.sleepers.remove(open.watch.target(), id);
            }
        }
    }
}

/// The watches that sleep, by what they watch. Who is awake asks by itself, and costs a change nothing.
#[derive(Debug, Default)]
struct Sleepers {
    keys: ByName,
    /// By the length of the prefix: a key is looked up once for each length there is.
    prefixes: BTreeMap<usize, ByName>,
}

/// Never with nobody under a name.
type ByName = HashMap<String, BTreeSet<WatchId>>;

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

    /// Takes out those that watch this key.
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

fn remove(names: &mut ByName, name: &str, id: WatchId) {
    if let Some(list) = names.get_mut(name) {
        list.remove(&id);
        if list.is_empty() {
            names.remove(name);
        }
    }
}

impl WatchEntry {
    /// Wakes it, if it sleeps: nothing that it watches has changed up to `revision`, and something after.
    fn wake(&mut self, revision: Revision) {
        if self.sleeps == Sleeping::Yes {
            self.sleeps = Sleeping::No;
            self.watch.skip_to(revision);
            self.wake.notify_one();
        }
    }
}

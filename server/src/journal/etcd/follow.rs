//! A standby: follows the log of a cluster into a state of its own, and sees who owns the store.
//!
//! It reads what there is, and then watches. Whenever the watch ends, or is silent for a while, it reads again: so nothing
//! depends on a watch being without gaps.

use std::time::Duration;

use bytes::Bytes;
use soloist_etcd::{ErrorKind, Get, KeyRange, KeyValue, Watch, WatchEvent};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{debug, info};

use super::cluster::Cluster;
use super::compare::{Comparison, Differs};
use super::messages::{Manifest, Owner};
use super::recent::Recent;
use super::recover::{Loaded, RecordReader, Records, decode, inconsistent, misfit};
use super::store_time::{Lag, StoreTime};
use super::trying::{self, Trying};
use crate::config::ETCD_PATIENCE;
use crate::journal::error::OpenError;
use crate::journal::record;
use crate::journal::replaying::{Misfit, Replaying};
use crate::progress::Progress;

/// How long the watch may be silent until the log is looked at.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The owner of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenOwner {
    pub(crate) node: String,
    /// HOST:PORT, where it is reached.
    pub(crate) address: String,
    pub(super) instance: String,
    /// When it became the owner: a later one has a greater epoch.
    pub(crate) epoch: i64,
}

/// What a standby sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) owner: Option<SeenOwner>,
    /// The last record that was applied.
    pub(crate) seq: u64,
    /// How much later it came than the fastest of the same owner.
    pub(crate) lag: Option<Duration>,
    /// Whether the standby has had all that there was.
    pub(crate) caught_up: bool,
}

/// Why it is time to take the owner's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no owner.
    NoOwner,
    /// The owner is an earlier process of this node.
    Predecessor,
    /// The owner has handed off to this node, which owns the store already.
    HandedOff,
    /// The owner's process has died, as somebody else has found out.
    Died,
}

/// What is known of the log besides the state.
enum Log {
    /// The state has all of it.
    Whole,
    /// The records after the state's last one were removed: a newer snapshot has them.
    Removed,
}

/// A standby.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(super) cluster: Cluster,
    pub(super) store_id: String,
    pub(super) state: Replaying,
    pub(super) time: StoreTime,
    /// Whether the last record is the last of an owner that ended in order.
    pub(super) closed: bool,
    pub(super) owner: Option<SeenOwner>,
    pub(super) comparison: Comparison,
    /// The last records, which the log keeps for the history of others.
    pub(super) recent: Recent,
    pub(super) caught_up: bool,
    /// Where a snapshot begins: its last record, and the bytes of the records up to there.
    snapshot_at: (u64, u64),
    lag: Option<Lag>,
    last_lag: Option<Duration>,
    /// Shows how far the loading of the store is, whenever it is loaded.
    progress: Progress,
}

impl Follower {
    /// Loads the store of a cluster, in steps of `progress`: now, and again if this node falls too far behind. Creates it if there
    /// is none.
    ///
    /// # Errors
    /// [`OpenError`] if data is missing or damaged, this server does not know its format, or etcd refuses.
    pub(crate) async fn start(cluster: Cluster, progress: &Progress) -> Result<Self, OpenError> {
        let store_id = cluster.create().await?;
        let loaded = cluster.load(progress).await?;
        let wall = (cluster.now)();
        Ok(Self {
            store_id,
            time: StoreTime::read(loaded.state.time, wall),
            state: loaded.state,
            closed: loaded.closed,
            recent: loaded.recent,
            owner: None,
            comparison: Comparison::default(),
            caught_up: false,
            snapshot_at: (0, 0),
            lag: None,
            last_lag: None,
            progress: progress.clone(),
            cluster,
        })
    }

    /// Follows until it is time to take the owner's place. If it is cancelled, nothing is lost.
    ///
    /// # Errors
    /// [`OpenError`] if data is missing or damaged, this node's state is another than the owner's, or etcd refuses.
    pub(crate) async fn follow(
        &mut self,
        seen: &watch::Sender<Following>,
    ) -> Result<Reason, OpenError> {
        loop {
            let revision = self.look(seen).await?;
            if let Some(reason) = self.reason() {
                return Ok(reason);
            }
            let range = KeyRange::Between(self.cluster.keys.records().start, after(&self.cluster));
            let mut watch = match self.cluster.etcd.watch(range, revision + 1).await {
                Ok(watch) => watch,
                Err(error) => {
                    self.watch_ended(error).await?;
                    continue;
                }
            };
            if let Some(reason) = self.watch(&mut watch, seen).await? {
                return Ok(reason);
            }
        }
    }

    /// Follows a watch until it ends, or is behind, or until it is time to take the owner's place.
    async fn watch(
        &mut self,
        watch: &mut Watch,
        seen: &watch::Sender<Following>,
    ) -> Result<Option<Reason>, OpenError> {
        loop {
            let answer = tokio::select! {
                biased;
                answer = timeout(SILENCE_MAX, watch.next()) => answer,
                () = yield_now(), if self.comparison.is_copying() => {
                    let compared = self.comparison.step(&mut self.state.machine);
                    compared.map_err(differs)?;
                    continue;
                }
            };
            let Ok(answer) = answer else {
                let before = (self.state.position, self.owner.clone());
                self.look(seen).await?;
                if before == (self.state.position, self.owner.clone()) && !watch.is_left() {
                    continue;
                }
                // The watch should have shown it, or it is that of a member which was silent just now.
                return Ok(self.reason());
            };
            let events = match answer {
                Ok(answer) => answer.events,
                Err(error) => {
                    self.watch_ended(error).await?;
                    return Ok(None);
                }
            };
            for event in events {
                let epoch = self.owner.as_ref().map(|owner| owner.epoch);
                if !self.event(event).await? {
                    return Ok(None);
                }
                // At once: whoever finds that the owner has died must mean this one, or a new owner would be challenged for it.
                if self.owner.as_ref().map(|owner| owner.epoch) != epoch {
                    self.publish(seen);
                }
                // Many may have come at once, and the thread keeps a lease alive, too.
                yield_now().await;
            }
            self.publish(seen);
            if let Some(reason) = self.reason() {
                return Ok(Some(reason));
            }
        }
    }

    async fn watch_ended(&mut self, error: soloist_etcd::Error) -> Result<(), OpenError> {
        match error.kind {
            // What is read next is newer.
            ErrorKind::Compacted => Ok(()),
            _ => Trying::to("watch the log").after(error).await,
        }
    }

    /// Takes note of a change. Returns false if records are missing before it.
    async fn event(&mut self, event: WatchEvent) -> Result<bool, OpenError> {
        let keys = &self.cluster.keys;
        match event {
            WatchEvent::Put(found) => {
                if let Some(seq) = keys.seq_of(&found.key) {
                    return self.record(seq, &found.value).await;
                } else if found.key == keys.owner() {
                    self.owner = Some(owner(&found)?);
                } else if found.key == keys.manifest() {
                    self.note_manifest(&found.value)?;
                }
            }
            WatchEvent::Delete { key, .. } if key == keys.owner() => self.owner = None,
            WatchEvent::Delete { .. } => {}
        }
        Ok(true)
    }

    /// Applies a record that was committed just now. Returns false if it is not the next one.
    async fn record(&mut self, seq: u64, value: &Bytes) -> Result<bool, OpenError> {
        if seq <= self.state.position.seq {
            return Ok(true);
        }
        if seq != self.state.position.seq + 1 {
            return Ok(false);
        }
        let Some(bytes) = self.cluster.record(seq, value).await? else {
            return Ok(false);
        };
        let (epoch, time) = self.apply(seq, &bytes)?;
        self.time.came(time);
        self.last_lag = Some(Lag::of(&mut self.lag, epoch, time));
        Ok(true)
    }

    /// Applies the next record. Returns its epoch and time.
    fn apply(&mut self, seq: u64, bytes: &[u8]) -> Result<(u64, crate::machine::Time), OpenError> {
        let read = self.state.read(seq, bytes);
        let next = read.map_err(|error| misfit(seq, error))?;
        let (epoch, time) = (next.epoch, next.time);
        if next.snapshot_before {
            self.begin_comparison();
        }
        self.closed = next.closed;
        let (changes, bytes) = next.size();
        self.recent.add(seq, changes, bytes);
        let applied = self.state.apply(next);
        applied.map_err(|error| misfit(seq, error))?;
        let compared = self.comparison.step(&mut self.state.machine);
        compared.map_err(differs)?;
        Ok((epoch, time))
    }

    /// Begins to copy the state, which is that of a snapshot.
    fn begin_comparison(&mut self) {
        let seq = self.state.position.seq;
        self.comparison.begin(seq, &mut self.state.machine);
        self.snapshot_at = (seq, self.state.log_bytes);
    }

    fn note_manifest(&mut self, value: &Bytes) -> Result<(), OpenError> {
        let manifest: Manifest = decode("the manifest", value)?;
        if manifest.seq == self.state.position.seq {
            // No record has said that a snapshot begins: none came since.
            self.begin_comparison();
        }
        self.note_snapshot(manifest.seq);
        let compared = self.comparison.snapshot(manifest.seq, manifest.digest);
        compared.map_err(differs)
    }

    /// Takes note that there is a snapshot of record `seq`: the records up to there are no part of the log any more.
    fn note_snapshot(&mut self, seq: u64) {
        if seq == self.snapshot_at.0 {
            self.state.log_bytes -= std::mem::take(&mut self.snapshot_at.1);
        }
    }

    /// Looks at the owner, and reads the records that there are. Returns the revision from which the watch goes on.
    async fn look(&mut self, seen: &watch::Sender<Following>) -> Result<i64, OpenError> {
        loop {
            // The records are read later than the owner, so the watch shows some of them again.
            let get = Get::one(self.cluster.keys.owner());
            let etcd = self.cluster.etcd.hedging(ETCD_PATIENCE);
            let found = trying::get(&etcd, "look for the owner", &get).await?;
            self.owner = found.kvs.first().map(owner).transpose()?;
            self.publish(seen);
            match self.read_rest().await? {
                Log::Whole => {
                    self.caught_up = true;
                    self.publish(seen);
                    return Ok(found.revision);
                }
                Log::Removed => self.reload().await?,
            }
        }
    }

    /// Loads the store again, because this node is so far behind that the records it needs are gone.
    async fn reload(&mut self) -> Result<(), OpenError> {
        let behind = self.state.position.seq;
        self.caught_up = false;
        let Loaded {
            state,
            closed,
            recent,
        } = self.cluster.load(&self.progress).await?;
        info!(
            behind,
            seq = state.position.seq,
            "loaded the store again: this node was too far behind"
        );
        if state.position.seq < behind {
            return Err(rolled_back(state.position.seq, behind));
        }
        self.comparison = Comparison::default();
        self.snapshot_at = (0, 0);
        self.time.came_late(state.time);
        (self.state, self.closed, self.recent) = (state, closed, recent);
        Ok(())
    }

    /// Reads the records after the state's last one, and checks that this one is still the log's.
    async fn read_rest(&mut self) -> Result<Log, OpenError> {
        let last = self.state.position;
        let mut reader = RecordReader::from(last.seq);
        let mut is_first = true;
        loop {
            let Records { records, more, .. } = reader.next(&self.cluster).await?;
            if is_first && records.is_empty() && !more {
                return Err(rolled_back(self.log_end().await?, last.seq));
            }
            for (seq, record) in records {
                if std::mem::take(&mut is_first) {
                    match record {
                        _ if seq > last.seq => return Ok(Log::Removed),
                        Some(bytes) => {
                            let decoded = record::decode_alone(seq, &bytes);
                            let (_, position) =
                                decoded.map_err(|error| misfit(seq, Misfit::Damaged(error)))?;
                            if position != last {
                                return Err(inconsistent(format!(
                                    "the log in etcd has another record {seq} than this node: etcd was rolled back to an earlier time; restore a backup to a new cluster"
                                )));
                            }
                        }
                        None => {}
                    }
                    continue;
                }
                let Some(bytes) = record else { continue };
                if seq > self.state.position.seq + 1 {
                    return Ok(Log::Removed);
                }
                let (_, time) = self.apply(seq, &bytes)?;
                self.time.came_late(time);
                yield_now().await;
            }
            if !more {
                return Ok(Log::Whole);
            }
        }
    }

    /// The number of the last record in etcd.
    async fn log_end(&self) -> Result<u64, OpenError> {
        let range = self.cluster.keys.records();
        let get = Get {
            keys_only: true,
            ..Get::range(KeyRange::Between(range.start, range.end))
        };
        let found = trying::get(&self.cluster.etcd, "look at the log", &get);
        let found = found.await?;
        let last = found.kvs.last();
        Ok(last
            .and_then(|last| self.cluster.keys.seq_of(&last.key))
            .unwrap_or(0))
    }

    /// Why it is time to take the owner's place, if it is.
    fn reason(&self) -> Option<Reason> {
        match &self.owner {
            None => Some(Reason::NoOwner),
            Some(owner) if owner.instance == self.cluster.instance => Some(Reason::HandedOff),
            Some(owner) if owner.node == self.cluster.node => Some(Reason::Predecessor),
            Some(_) => None,
        }
    }

    fn publish(&self, seen: &watch::Sender<Following>) {
        let now = Following {
            owner: self.owner.clone(),
            seq: self.state.position.seq,
            lag: self.last_lag,
            caught_up: self.caught_up,
        };
        seen.send_if_modified(|seen| {
            let is_new = *seen != now;
            *seen = now;
            is_new
        });
    }

    /// Reads the rest of the log. Nothing is added to it meanwhile.
    pub(super) async fn finish(&mut self) -> Result<(), OpenError> {
        self.comparison.stop(&mut self.state.machine);
        while let Log::Removed = self.read_rest().await? {
            self.reload().await?;
        }
        self.comparison.stop(&mut self.state.machine);
        debug!(seq = self.state.position.seq, "read the whole log");
        Ok(())
    }
}

/// The owner as its key has it.
pub(super) fn owner(found: &KeyValue) -> Result<SeenOwner, OpenError> {
    let Owner {
        node,
        address,
        instance,
    } = decode("the owner", &found.value)?;
    Ok(SeenOwner {
        node,
        address,
        instance,
        epoch: found.mod_revision,
    })
}

/// The first key after those that a standby looks at: the records, the manifest, the nodes, and the owner, which is the last.
fn after(cluster: &Cluster) -> Bytes {
    let mut end = cluster.keys.owner().to_vec();
    end.push(0);
    end.into()
}

fn differs(Differs { seq }: Differs) -> OpenError {
    inconsistent(format!(
        "this node's state after record {seq} is another than the snapshot's, which the owner made of the same record: restart this node, and it begins with the snapshot; if that repeats, compare backups of two nodes"
    ))
}

fn rolled_back(end: u64, seq: u64) -> OpenError {
    inconsistent(format!(
        "the log in etcd ends at record {end}, but this node has record {seq}: etcd was rolled back to an earlier time; restore a backup to a new cluster"
    ))
}

//! A member of a real cluster: what it needs of etcd before it follows, and what it does with what it wins.

use std::sync::Arc;
use std::time::Instant;

use soloist_etcd::Etcd;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::newcomers::newcomers;
use super::register::Registration;
use super::run::{Candidate, Seen, Why, until_won};
use super::wishes::wishes;
use super::{NodeEvent, NodeLost, connect};
use crate::config::{ClusterConfig, Config, ETCD_LOOK_INTERVAL, JOURNAL_LOOK_INTERVAL};
use crate::ids::random_name;
use crate::journal::OpenError;
use crate::journal::etcd::{
    self, Challenge, Cluster, FORMATS, Follower, Following, Keys, Node as Record, Reason,
};
use crate::metrics::{JournalCells, LastMinute, Latency};
use crate::progress::Progress;
use crate::role::{NodeStatus, OwnerSeen, Pace, Role};
use crate::store::Store;
use crate::wall_clock;

/// What a member begins with.
pub(super) struct Member {
    pub(super) config: Config,
    pub(super) progress: Progress,
    pub(super) status: Arc<watch::Sender<NodeStatus>>,
    pub(super) happens: mpsc::Sender<NodeEvent>,
}

impl Member {
    /// The life of the member, until it is told to stop or cannot go on.
    pub(super) async fn live(self, mut stopped: watch::Receiver<bool>) {
        let stop = async {
            // An error means that nobody wants it any more.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stop);
        let begun = tokio::select! {
            begun = self.begin() => begun,
            () = &mut stop => return,
        };
        let (cluster, registration) = match begun {
            Ok(begun) => begun,
            Err(lost) => return self.end(lost).await,
        };
        let record = self.record(&cluster.instance);
        let lost = tokio::select! {
            lost = registration.keep(record, self.status.subscribe()) => Some(lost),
            lost = self.follow(&cluster) => Some(lost),
            () = self.look_at_etcd(&cluster.etcd) => None,
            () = self.look_at_journal(&cluster.cells) => None,
            () = &mut stop => None,
        };
        if let Some(lost) = lost {
            self.end(lost).await;
        }
        registration.end().await;
    }

    async fn end(&self, lost: NodeLost) {
        self.progress.end();
        let _ = self.happens.send(NodeEvent::Ended(lost)).await;
    }

    /// Reaches etcd, and makes the lease of this node.
    async fn begin(&self) -> Result<(Cluster, Registration), NodeLost> {
        let config = self.cluster();
        let etcd = connect::client(
            &config.etcd,
            &config.login,
            connect::timeout(config.owner_ttl),
        )?;
        connect::check(&etcd, config.etcd_any_version).await?;
        let keys = Keys::new(config.cluster.as_ref().map_or("", |name| name.as_str()));
        let node = config.node.as_ref().map_or("", |name| name.as_str());
        let instance = random_name();
        let ttl = config.owner_ttl;
        let registration = Registration::begin(&etcd, &keys, node, &instance, ttl).await?;
        let cluster = Cluster {
            etcd,
            keys,
            node: node.into(),
            address: self.address(),
            instance,
            lease: registration.lease(),
            limits: self.config.limits.store_limits(),
            new_store_id: random_name(),
            snapshot_log_bytes: self.config.storage.snapshot_log_bytes,
            now: Arc::new(wall_clock::now),
            cells: Arc::<JournalCells>::default(),
        };
        Ok((cluster, registration))
    }

    fn cluster(&self) -> &ClusterConfig {
        &self.config.cluster
    }

    fn address(&self) -> String {
        let address = self.cluster().advertise.as_ref();
        address.map(ToString::to_string).unwrap_or_default()
    }

    fn record(&self, instance: &str) -> Record {
        Record {
            address: self.address(),
            version: env!("CARGO_PKG_VERSION").into(),
            format_min: *FORMATS.start(),
            format_max: *FORMATS.end(),
            instance: instance.into(),
            caught_up: false,
        }
    }

    /// Has the status say how etcd is, for ever.
    async fn look_at_etcd(&self, etcd: &Etcd) {
        loop {
            let members = etcd.members().await;
            let seen = connect::summary(&members, self.cluster().etcd_quota_bytes);
            if seen.is_some() {
                self.status.send_if_modified(|status| {
                    let is_new = status.etcd != seen;
                    status.etcd = seen;
                    is_new
                });
            }
            sleep(ETCD_LOOK_INTERVAL).await;
        }
    }

    /// Has the status say how the journal of an owner is, for ever.
    async fn look_at_journal(&self, cells: &JournalCells) {
        let (mut commits, mut confirms) = (LastMinute::default(), LastMinute::default());
        let pace = |latency: Latency| Pace {
            count: latency.count,
            p50: latency.p50,
            p99: latency.p99,
        };
        loop {
            sleep(JOURNAL_LOOK_INTERVAL).await;
            if self.status.borrow().role() == Role::Standby {
                continue;
            }
            let now = Instant::now();
            let commit = commits.look(now, &cells.commits).map(pace);
            let confirm = confirms.look(now, &cells.confirms).map(pace);
            self.status.send_modify(|status| {
                status.seq = status.seq.max(cells.seq.get());
                status.commit_retries = cells.commit_retries.get();
                (status.commit, status.confirm) = (commit, confirm);
            });
        }
    }

    /// Follows, and owns the store once it has won.
    async fn follow(&self, cluster: &Cluster) -> NodeLost {
        let won = async {
            let mut candidate = EtcdCandidate {
                follower: Follower::start(cluster.clone(), &self.progress).await?,
                cluster: cluster.clone(),
                quota: self.cluster().etcd_quota_bytes,
            };
            until_won(&mut candidate, &self.status).await
        };
        match won.await {
            Ok(store) => {
                let _ = self.happens.send(NodeEvent::Won(Box::new(store))).await;
                // The journal is a task of this thread, and sees whether the store is this node's still.
                let (etcd, keys) = (&cluster.etcd, &cluster.keys);
                tokio::select! {
                    lost = wishes(etcd, keys, &self.happens) => lost,
                    lost = newcomers(etcd, keys, &cluster.node, &self.happens) => lost,
                }
            }
            Err(lost) => lost,
        }
    }
}

impl From<OpenError> for NodeLost {
    fn from(error: OpenError) -> Self {
        Self {
            is_about_data: error.is_about_data(),
            why: error.to_string(),
        }
    }
}

/// A follower of the log in etcd.
struct EtcdCandidate {
    follower: Follower,
    cluster: Cluster,
    /// The quota that etcd was given.
    quota: u64,
}

impl Candidate for EtcdCandidate {
    type Won = Store;

    async fn follow(&mut self, seen: &watch::Sender<Seen>) -> Result<Why, NodeLost> {
        let (follows, mut following) = watch::channel(Following::default());
        let pass_on = async {
            while following.changed().await.is_ok() {
                seen.send_replace(Seen::from(&*following.borrow_and_update()));
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            reason = self.follower.follow(&follows) => Ok(match reason? {
                Reason::NoOwner => Why::NoOwner,
                Reason::Predecessor => Why::OwnPredecessor,
                Reason::HandedOff => Why::HandedOff,
                Reason::Died => Why::Died,
            }),
            never = pass_on => never,
        }
    }

    async fn challenge(&mut self, why: Why) -> Result<Option<Store>, NodeLost> {
        let reason = match why {
            Why::NoOwner => Reason::NoOwner,
            Why::OwnPredecessor => Reason::Predecessor,
            Why::HandedOff => Reason::HandedOff,
            Why::Died => Reason::Died,
        };
        match self.follower.challenge(reason).await? {
            Challenge::Lost => Ok(None),
            Challenge::Won(won) => {
                // It ends with its last event, and with the thread.
                let (journal, _task) = etcd::start(&self.cluster, &won, self.quota);
                let cells = Arc::clone(&self.cluster.cells);
                Ok(Some(Store::won(*won, journal, cells)))
            }
        }
    }
}

impl From<&Following> for Seen {
    fn from(following: &Following) -> Self {
        let owner = following.owner.as_ref();
        Self {
            owner: owner.map(|owner| OwnerSeen {
                node: owner.node.clone(),
                address: owner.address.clone(),
            }),
            epoch: owner.map_or(0, |owner| owner.epoch),
            seq: following.seq,
            lag: following.lag,
            caught_up: following.caught_up,
        }
    }
}

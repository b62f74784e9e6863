//! A process of a node in tests, as far as all of them need one: what it has of its cluster, and a lease.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use soloist_etcd::Etcd;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::journal::error::OpenError;
use crate::journal::etcd::cluster::{Cluster, WallClock};
use crate::journal::etcd::follow::{Follower, Following, Reason};
use crate::journal::etcd::keys::Keys;
use crate::journal::pages::digest_of;
use crate::machine::StoreLimits;
use crate::metrics::JournalCells;
use crate::progress::Progress;

/// How long a lease lives that nobody keeps.
pub(in crate::journal::etcd) const TTL: Duration = Duration::from_secs(5);

pub(in crate::journal::etcd) const HOUR: Duration = Duration::from_secs(3_600);

/// A process of a node. Its lease ends a while after it is dropped.
pub(in crate::journal::etcd) struct Process {
    pub(in crate::journal::etcd) cluster: Cluster,
    keeper: JoinHandle<()>,
    _lease: watch::Sender<i64>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Process {
    /// Starts process `number` of a node, which reaches etcd by this client.
    pub(in crate::journal::etcd) async fn start(
        etcd: Etcd,
        node: &str,
        number: u32,
        limits: StoreLimits,
        now: WallClock,
    ) -> Self {
        let lease = loop {
            // Faults may be on already.
            if let Ok(lease) = etcd.grant(TTL).await {
                break lease.id;
            }
        };
        let keeper = tokio::spawn(keep(etcd.clone(), lease));
        let (sender, lease) = watch::channel(lease);
        Self {
            cluster: Cluster {
                etcd,
                keys: Keys::new("test"),
                node: node.into(),
                address: format!("{node}:1"),
                instance: format!("{node}-{number}"),
                lease,
                limits,
                new_store_id: "new".into(),
                snapshot_log_bytes: 1 << 20,
                now,
                cells: Arc::<JournalCells>::default(),
            },
            keeper,
            _lease: sender,
        }
    }

    pub(in crate::journal::etcd) async fn follower(&self) -> Follower {
        self.try_follower().await.unwrap()
    }

    pub(in crate::journal::etcd) async fn try_follower(&self) -> Result<Follower, OpenError> {
        Follower::start(self.cluster.clone(), &Progress::default()).await
    }
}

async fn keep(etcd: Etcd, lease: i64) {
    loop {
        sleep(TTL / 5).await;
        let _ = etcd.keep_alive(lease).await;
    }
}

/// Follows until it is time to take over.
pub(in crate::journal::etcd) async fn until_reason(follower: &mut Follower) -> Reason {
    let seen = watch::channel(Following::default()).0;
    let reason = timeout(10 * HOUR, follower.follow(&seen)).await;
    reason.unwrap().unwrap()
}

pub(in crate::journal::etcd) fn digest(follower: &mut Follower) -> Bytes {
    digest_of(&mut follower.state.machine, &Progress::default())
}

//! A cluster in etcd, and one node of it.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use soloist_etcd::Etcd;
use tokio::sync::watch;

use super::keys::Keys;
use crate::machine::{StoreLimits, Time};
use crate::metrics::JournalCells;

/// The formats of a cluster that this server can read, and write.
pub(crate) const FORMATS: RangeInclusive<u32> = 1..=1;

/// Reads the system's clock.
pub(crate) type WallClock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A cluster, and this node of it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) etcd: Etcd,
    pub(crate) keys: Keys,
    /// This node's name.
    pub(crate) node: String,
    /// HOST:PORT, where this node is reached.
    pub(crate) address: String,
    /// Names this process of the node: no other one ever had it.
    pub(crate) instance: String,
    /// The lease of this node's record, which somebody else keeps alive. What this node owns ends with it.
    pub(crate) lease: watch::Receiver<i64>,
    pub(crate) limits: StoreLimits,
    /// The store_id if the cluster is new.
    pub(crate) new_store_id: String,
    /// See [`Journal::snapshot_log_bytes`](crate::journal::Journal::snapshot_log_bytes).
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) now: WallClock,
    /// Where the journal counts.
    pub(crate) cells: Arc<JournalCells>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, instance, .. } = self;
        write!(
            f,
            "Cluster {{ node: {node:?}, instance: {instance:?}, .. }}"
        )
    }
}

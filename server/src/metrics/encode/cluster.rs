//! The series that a node of a cluster has besides.

use std::fmt;

use super::series::{Series, family};
use crate::metrics::cluster::ClusterShown;
use crate::metrics::snapshot::JournalSum;

impl Series<'_> {
    pub(super) fn cluster(
        &mut self,
        cluster: &ClusterShown,
        journal: Option<&JournalSum>,
    ) -> fmt::Result {
        for (name, help, value) in [
            (
                "soloist_cluster_is_owner",
                "1 if this node owns the store, 0 if it is a standby.",
                u64::from(cluster.is_owner),
            ),
            (
                "soloist_cluster_sees_owner",
                "1 if this node knows an owner, itself or another one.",
                u64::from(cluster.sees_owner),
            ),
            (
                "soloist_cluster_reaches_owner",
                "1 if calls that come to this node reach the owner.",
                u64::from(cluster.reaches_owner),
            ),
            (
                "soloist_cluster_is_ready",
                "1 if this node owns the store or follows its log, so that it can take the owner's place; 0 while it starts.",
                u64::from(cluster.is_ready),
            ),
            (
                "soloist_cluster_epoch",
                "The epoch of the owner that this node knows. It grows with each change of the owner.",
                cluster.epoch,
            ),
            (
                "soloist_cluster_seq",
                "The number of the last record of the log that this node has.",
                cluster.seq,
            ),
        ] {
            self.gauge(family(name, help), value)?;
        }
        if let Some(lag_nanos) = cluster.lag_nanos {
            self.gauge_seconds(
                family(
                    "soloist_cluster_lag",
                    "How much later than the owner a standby has applied that record, in seconds.",
                ),
                lag_nanos,
            )?;
        }
        self.counter(
            family(
                "soloist_cluster_takeovers",
                "How often this process has become the owner: once, or not.",
            ),
            u64::from(cluster.takeover.is_some()),
        )?;
        if let Some(takeover) = &cluster.takeover {
            self.gauge_seconds(
                family(
                    "soloist_cluster_takeover_timestamp",
                    "When this process became the owner, in seconds since 1970.",
                ),
                takeover.at_nanos,
            )?;
            self.gauge_seconds(
                family(
                    "soloist_cluster_takeover_duration",
                    "Seconds from the first attempt of this node to become the owner until it was.",
                ),
                takeover.took_nanos,
            )?;
        }
        if let Some(journal) = journal {
            self.times(
                family(
                    "soloist_confirm_duration",
                    "Seconds that a confirmation took: etcd was asked whether this node still owned the store.",
                ),
                &journal.confirms,
            )?;
            self.counter(
                family(
                    "soloist_commit_retries",
                    "Commits and other changes that were sent to etcd again, because it had not answered.",
                ),
                journal.commit_retries,
            )?;
        }
        if let Some(etcd) = cluster.etcd {
            self.gauge(
                family(
                    "soloist_etcd_file",
                    "Bytes of the largest file of a member of etcd.",
                )
                .bytes(),
                etcd.file_bytes,
            )?;
            self.gauge(
                family(
                    "soloist_etcd_quota",
                    "Bytes that the file of a member of etcd may have, --etcd-quota-bytes. Beyond, etcd refuses every change.",
                )
                .bytes(),
                etcd.quota_bytes,
            )?;
        }
        Ok(())
    }
}

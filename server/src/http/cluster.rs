//! What the metrics and the page show of a node of a cluster.

use std::time::SystemTime;

use serde::Serialize;

use crate::metrics::{ClusterShown, EtcdShown, JournalSum, TakeoverShown};
use crate::role::{NodeStatus, Role, Step};

/// The numbers of a node, for the metrics. `journal` is there once it owns the store.
pub(super) fn shown(node: &NodeStatus, journal: Option<&JournalSum>) -> ClusterShown {
    let is_owner = node.role() == Role::Owner;
    let nanos = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
    ClusterShown {
        is_owner,
        sees_owner: is_owner || node.owner.is_some(),
        reaches_owner: is_owner || node.reaches_owner,
        is_ready: is_owner || node.step == Step::Following,
        epoch: node.epoch.cast_unsigned(),
        seq: node.seq.max(journal.map_or(0, |journal| journal.seq)),
        lag_nanos: (node.lag.filter(|_| !is_owner)).map(|lag| nanos(lag.as_nanos())),
        takeover: node.takeover.as_ref().map(|takeover| TakeoverShown {
            at_nanos: nanos(since_epoch(takeover.at).as_nanos()),
            took_nanos: nanos(takeover.took.as_nanos()),
        }),
        etcd: node.etcd.as_ref().map(|etcd| EtcdShown {
            file_bytes: u64::try_from(etcd.file_bytes).unwrap_or(0),
            quota_bytes: etcd.quota_bytes,
        }),
    }
}

fn since_epoch(time: SystemTime) -> std::time::Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// What the page shows of a node.
#[derive(Serialize)]
pub(super) struct Cluster {
    node: String,
    address: String,
    /// What the node does, in words.
    step: &'static str,
    is_owner: bool,
    /// Empty if none is known.
    owner: String,
    owner_address: String,
    reaches_owner: bool,
    epoch: u64,
    seq: u64,
    lag_us: Option<f64>,
    commit_retries: Option<u64>,
    takeover: Option<Takeover>,
    etcd: Option<Etcd>,
}

#[derive(Serialize)]
struct Takeover {
    unix: f64,
    why: &'static str,
    took_us: f64,
}

#[derive(Serialize)]
struct Etcd {
    version: String,
    /// In hexadecimal; empty for none.
    leader: String,
    file_bytes: u64,
    quota_bytes: u64,
}

impl Cluster {
    pub(super) fn of(node: &NodeStatus, journal: Option<&JournalSum>) -> Self {
        let numbers = shown(node, journal);
        let owner = node.owner.as_ref();
        Self {
            node: node.node.clone(),
            address: node.address.clone(),
            step: node.step.text(),
            is_owner: numbers.is_owner,
            owner: owner.map(|owner| owner.node.clone()).unwrap_or_default(),
            owner_address: owner.map(|owner| owner.address.clone()).unwrap_or_default(),
            reaches_owner: numbers.reaches_owner,
            epoch: numbers.epoch,
            seq: numbers.seq,
            lag_us: numbers.lag_nanos.map(|nanos| nanos as f64 / 1e3),
            commit_retries: journal.map(|journal| journal.commit_retries),
            takeover: node.takeover.as_ref().map(|takeover| Takeover {
                unix: since_epoch(takeover.at).as_secs_f64(),
                why: takeover.why,
                took_us: takeover.took.as_secs_f64() * 1e6,
            }),
            etcd: node.etcd.as_ref().map(|etcd| Etcd {
                version: etcd.version.clone(),
                leader: match etcd.leader {
                    0 => String::new(),
                    leader => format!("{leader:x}"),
                },
                file_bytes: u64::try_from(etcd.file_bytes).unwrap_or(0),
                quota_bytes: etcd.quota_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::role::{EtcdSeen, OwnerSeen, Takeover};

    #[test]
    fn a_standby_shows_its_lag_and_an_owner_how_it_became_one() {
        let mut node = NodeStatus {
            step: Step::Following,
            owner: Some(OwnerSeen {
                node: "a".into(),
                address: "10.0.0.1:50051".into(),
            }),
            epoch: 7,
            seq: 100,
            lag: Some(Duration::from_millis(2)),
            etcd: Some(EtcdSeen {
                version: "3.5.30".into(),
                leader: 255,
                file_bytes: 10,
                quota_bytes: 100,
            }),
            ..NodeStatus::new("b", "10.0.0.2:50051")
        };
        let standby = shown(&node, None);
        let etcd = Some(EtcdShown {
            file_bytes: 10,
            quota_bytes: 100,
        });
        assert_eq!(
            standby,
            ClusterShown {
                sees_owner: true,
                is_ready: true,
                epoch: 7,
                seq: 100,
                lag_nanos: Some(2_000_000),
                etcd,
                ..ClusterShown::default()
            }
        );
        let page = serde_json::to_value(Cluster::of(&node, None)).unwrap();
        assert_eq!(page["etcd"]["leader"], "ff");
        assert_eq!(page["lag_us"], 2000.0);

        node.step = Step::Owning;
        node.takeover = Some(Takeover {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
            why: "there was no owner",
            took: Duration::from_millis(30),
        });
        let journal = JournalSum {
            seq: 200,
            ..JournalSum::default()
        };
        let owner = shown(&node, Some(&journal));
        assert_eq!(
            owner,
            ClusterShown {
                is_owner: true,
                reaches_owner: true,
                seq: 200,
                lag_nanos: None,
                takeover: Some(TakeoverShown {
                    at_nanos: 5_000_000_000,
                    took_nanos: 30_000_000,
                }),
                ..standby
            }
        );
        node.step = Step::Connecting;
        assert!(!shown(&node, None).is_ready);
    }
}

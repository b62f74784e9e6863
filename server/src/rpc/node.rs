//! What `soloist.v1.Admin.GetNode` answers.

use soloist::v1;

use super::responses::duration;
use crate::role::{EtcdSeen, NodeStatus, Pace, Role};

fn latency(pace: Pace) -> v1::Latency {
    v1::Latency {
        count: pace.count.cast_signed(),
        p50: Some(duration(pace.p50)),
        p99: Some(duration(pace.p99)),
    }
}

/// A node, as the contract has it.
pub(super) fn wire(node: &NodeStatus) -> v1::Node {
    let owner = node.owner.as_ref();
    v1::Node {
        node: node.node.clone(),
        owner: owner.map(|owner| owner.node.clone()).unwrap_or_default(),
        role: match node.role() {
            Role::Owner => v1::node::Role::Owner.into(),
            Role::Standby => v1::node::Role::Standby.into(),
        },
        epoch: node.epoch,
        seq: node.seq.cast_signed(),
        lag: node.lag.map(duration),
        owner_address: owner.map(|owner| owner.address.clone()).unwrap_or_default(),
        reaches_owner: node.role() == Role::Owner || node.reaches_owner,
        takeover_reason: node.takeover.as_ref().map_or("", |it| it.why).into(),
        takeover_time: node.takeover.as_ref().map(|it| duration(it.took)),
        takeover_at: node.takeover.as_ref().map(|it| it.at.into()),
        commit: node.commit.map(latency),
        confirm: node.confirm.map(latency),
        commit_retries: node.commit_retries.cast_signed(),
        etcd: node.etcd.as_ref().map(etcd),
    }
}

fn etcd(seen: &EtcdSeen) -> v1::Etcd {
    v1::Etcd {
        version: seen.version.clone(),
        leader: match seen.leader {
            0 => String::new(),
            leader => format!("{leader:x}"),
        },
        file_bytes: seen.file_bytes,
        quota_bytes: i64::try_from(seen.quota_bytes).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::role::{OwnerSeen, Step, Takeover};

    #[test]
    fn everything_that_is_known_of_a_node_is_told() {
        let pace = Pace {
            count: 7,
            p50: Duration::from_micros(900),
            p99: Duration::from_millis(9),
        };
        let status = NodeStatus {
            step: Step::Owning,
            owner: Some(OwnerSeen {
                node: "b".into(),
                address: "b:2".into(),
            }),
            epoch: 5,
            seq: 9,
            takeover: Some(Takeover {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs(3),
                why: "because",
                took: Duration::from_millis(40),
            }),
            etcd: Some(EtcdSeen {
                version: "3.5.30".into(),
                leader: 0xff,
                file_bytes: 11,
                quota_bytes: 12,
            }),
            commit: Some(pace),
            confirm: Some(pace),
            commit_retries: 1,
            ..NodeStatus::new("b", "b:2")
        };
        let told = wire(&status);
        assert_eq!(
            (&*told.node, &*told.owner, &*told.owner_address),
            ("b", "b", "b:2")
        );
        assert_eq!(
            (told.role(), told.epoch, told.seq),
            (v1::node::Role::Owner, 5, 9)
        );
        assert_eq!(
            (
                &*told.takeover_reason,
                told.takeover_at.map(|at| at.seconds)
            ),
            ("because", Some(3))
        );
        assert_eq!(
            told.takeover_time,
            Some(duration(Duration::from_millis(40)))
        );
        let latency = told.commit.unwrap();
        assert_eq!((latency.count, latency.p50), (7, Some(duration(pace.p50))));
        assert_eq!((told.confirm.unwrap().count, told.commit_retries), (7, 1));
        let etcd = told.etcd.unwrap();
        assert_eq!((&*etcd.version, &*etcd.leader), ("3.5.30", "ff"));
        assert_eq!((etcd.file_bytes, etcd.quota_bytes), (11, 12));
        // Nothing that is not known looks as if it were.
        let told = wire(&NodeStatus::new("a", "a:1"));
        assert_eq!((told.role(), told.epoch), (v1::node::Role::Standby, 0));
        assert!(told.etcd.is_none() && told.commit.is_none() && told.takeover_at.is_none());
    }
}

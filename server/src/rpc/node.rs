//! What `soloist.v1.Admin.GetNode` answers.

use soloist::v1;

use super::responses::duration;
use crate::role::{NodeStatus, Pace, Role};

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
        etcd: None,
    }
}

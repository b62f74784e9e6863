//! What the owner is told of the space in etcd, and what goes on without any.

use std::time::Duration;

use soloist_etcd::sim::SimEtcd;

use super::support::{Node, cold_digest};
use crate::journal::interface::{Command, Event, Space};
use crate::machine::Value;

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn without_space_changes_wait_and_confirmations_go_on() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    owner.commit("k", 1).await;
    etcd.fill();
    // A snapshot needs space, too.
    owner.begin_snapshot();
    let ended = owner.event().await;
    assert!(matches!(ended, Event::SnapshotEnded { made: false }));
    owner.write("k", Value::Int(2));
    owner.send_batch();
    owner.rest(SECOND).await;
    assert!(
        matches!(owner.spaces[..], [Space::Full(_)]),
        "{:?}",
        owner.spaces
    );
    owner.send(Command::Confirm);
    assert!(matches!(owner.event().await, Event::Confirmed));
    owner.rest(60 * SECOND).await;
    etcd.defragment();
    etcd.disarm();
    owner.committed().await;
    owner.rest(5 * SECOND).await;
    assert!(
        matches!(owner.spaces[..], [Space::Full(_), Space::Enough { .. }]),
        "{:?}",
        owner.spaces
    );
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn there_is_space_again_without_a_commit_that_finds_it() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    etcd.fill();
    owner.begin_snapshot();
    let ended = owner.event().await;
    assert!(matches!(ended, Event::SnapshotEnded { made: false }));
    owner.rest(60 * SECOND).await;
    assert!(
        matches!(owner.spaces[..], [Space::Full(_)]),
        "{:?}",
        owner.spaces
    );
    etcd.defragment();
    etcd.disarm();
    owner.rest(5 * SECOND).await;
    assert!(
        matches!(owner.spaces[..], [Space::Full(_), Space::Enough { .. }]),
        "{:?}",
        owner.spaces
    );
}

#[tokio::test(start_paused = true)]
async fn space_is_low_before_there_is_none() {
    let etcd = SimEtcd::new(2);
    let quota = 32 << 20;
    etcd.set_quota(quota);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own_with_quota(quota).await;
    for number in 0.. {
        if matches!(owner.spaces.last(), Some(Space::Low(_))) {
            break;
        }
        owner.write_large(&format!("k{number}"), MIB / 2);
        owner.send_batch();
        owner.committed().await;
        owner.rest(5 * SECOND).await;
    }
    assert!(
        !owner
            .spaces
            .iter()
            .any(|space| matches!(space, Space::Full(_))),
        "{:?}",
        owner.spaces
    );
    // Less state, a snapshot, and a minute: what is free within the file is room enough.
    for number in 0..30 {
        owner.commit(&format!("k{number}"), 1).await;
    }
    owner.snapshot().await;
    owner.rest(120 * SECOND).await;
    assert!(
        matches!(owner.spaces.last(), Some(Space::Enough { .. })),
        "{:?}",
        owner.spaces
    );
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

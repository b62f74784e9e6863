//! Snapshots: what a node starts with, and what is removed.

use std::time::Duration;

use soloist_etcd::sim::{Faults, SimEtcd};
use soloist_etcd::{ErrorKind, Get};

use super::support::{Node, cold_digest, count, records};
use crate::journal::etcd::keys::{Generation, Keys};
use crate::journal::etcd::owned::between;
use crate::journal::interface::{Command, Event};

const SECOND: Duration = Duration::from_secs(1);

fn all_chunks() -> soloist_etcd::KeyRange {
    between(Keys::new("test").chunks_before(Generation {
        epoch: i64::MAX,
        attempt: 0,
    }))
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_with_the_snapshot_and_what_came_since() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    for number in 0..500 {
        owner.write_large(&format!("k{number}"), 10_000);
    }
    owner.send_batch();
    owner.committed().await;
    for round in 0..3 {
        for number in 0..30 {
            owner.commit(&format!("k{number}"), number).await;
        }
        owner.begin_snapshot();
        for number in 0..30 {
            owner.commit(&format!("l{round}/{number}"), number).await;
        }
        owner.rest(20 * SECOND).await;
        assert_eq!(owner.made, round + 1);
        assert_eq!(cold_digest(&etcd).await, owner.digest());
        // One snapshot at a time, of about 5 MB.
        let chunks = count(&etcd, all_chunks());
        assert!((4..=6).contains(&chunks), "{chunks}");
        assert_eq!(records(&etcd).len(), 10 + 30);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_record_stays_even_if_nothing_else_does() {
    let etcd = SimEtcd::new(2);
    let node = Node::start(&etcd, "a").await.with_history(1);
    let mut owner = node.own().await;
    for number in 0..10 {
        owner.commit("k", number).await;
    }
    owner.snapshot().await;
    owner.snapshot().await;
    assert_eq!(records(&etcd), [owner.seq]);
    owner.commit("k", 10).await;
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_given_up_leaves_nothing() {
    let etcd = SimEtcd::new(3);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    for number in 0..500 {
        owner.write_large(&format!("k{number}"), 10_000);
    }
    owner.send_batch();
    owner.committed().await;
    owner.begin_snapshot();
    // Until some of it is there.
    while count(&etcd, all_chunks()) < 2 {
        owner.rest(Duration::from_millis(1)).await;
    }
    owner.abandon_snapshot();
    owner.rest(SECOND).await;
    assert_eq!(owner.made, 0);
    owner.snapshot().await;
    assert!((4..=6).contains(&count(&etcd, all_chunks())));
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_is_compacted_a_minute_later() {
    let etcd = SimEtcd::new(4);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    for number in 0..50 {
        owner.commit("k", number).await;
    }
    let revision = etcd.revision();
    owner.rest(60 * SECOND).await;
    owner.snapshot().await;
    let look = Get {
        revision,
        ..Get::range(between(Keys::new("test").records()))
    };
    let client = etcd.client("b");
    assert_eq!(client.get(&look).await.unwrap().kvs.len(), 52);
    owner.rest(60 * SECOND).await;
    let refused = client.get(&look).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Compacted);
    owner.commit("k", 100).await;
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

/// Requests for chunks, manifests and truncation come twice, late, or not at all.
#[tokio::test(start_paused = true)]
async fn snapshots_are_whole_whatever_becomes_of_requests() {
    for seed in 0..5 {
        let etcd = SimEtcd::new(seed);
        let node = Node::start(&etcd, "a").await;
        let mut owner = node.own().await;
        etcd.set_faults("a", Faults::many());
        for number in 0..200 {
            owner.write_large(&format!("k{number}"), 10_000);
        }
        for round in 0..6 {
            owner.send_batch();
            owner.committed().await;
            owner.begin_snapshot();
            for number in 0..40 {
                owner.commit(&format!("{round}/{number}"), number).await;
                if round == 3 && number == 5 {
                    owner.abandon_snapshot();
                }
            }
            // Before what is late has come, and after it.
            assert_eq!(
                cold_digest(&etcd).await,
                owner.digest(),
                "seed {seed}, round {round}"
            );
            if round % 2 == 0 {
                owner.rest(20 * SECOND).await;
                assert_eq!(
                    cold_digest(&etcd).await,
                    owner.digest(),
                    "seed {seed}, round {round}"
                );
            }
            owner.write_large("large", 1_000 * (round + 1));
        }
        owner.send(Command::Confirm);
        assert!(matches!(owner.event().await, Event::Confirmed));
    }
}

//! What is committed is in the log once, whatever becomes of requests and answers, and nobody else adds to it.

use std::time::Duration;

use prost::Message as _;
use soloist_etcd::sim::{Faults, Reach, SimEtcd};
use soloist_etcd::{Op, Txn};
use tokio::time::sleep;

use super::support::{Node, Owner, QUOTA, cold_digest, count, follow, records, until_reason};
use crate::journal::etcd::follow::Reason;
use crate::journal::etcd::keys::Keys;
use crate::journal::etcd::messages;
use crate::journal::etcd::owned::between;
use crate::journal::interface::{Command, Event};
use crate::machine::{Read, Value};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_commit_each_record_once() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    etcd.set_faults(
        "a",
        Faults {
            lost_answers: 0.2,
            lost_requests: 0.05,
            late_requests: 0.05,
            duplicates: 0.2,
            lateness: Duration::from_millis(1)..Duration::from_millis(300),
            ..Faults::none()
        },
    );
    for number in 0..2_000 {
        owner.commit(&format!("k{}", number % 50), number).await;
    }
    assert_eq!(records(&etcd), (0..=owner.seq).collect::<Vec<_>>());
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_comes_after_truncation_is_refused() {
    let etcd = SimEtcd::new(2);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    let late = |duplicates| Faults {
        duplicates,
        lateness: 30 * SECOND..31 * SECOND,
        ..Faults::none()
    };
    etcd.set_faults("a", late(1.0));
    for number in 0..50 {
        owner.commit("k", number).await;
    }
    etcd.set_faults("a", late(0.0));
    owner.snapshot().await;
    // The history has ten changes.
    let kept: Vec<_> = (owner.seq - 9..=owner.seq).collect();
    assert_eq!(records(&etcd), kept);
    owner.rest(60 * SECOND).await;
    assert_eq!(records(&etcd), kept);
    owner.commit("k", 100).await;
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

/// Makes another node the owner, which has not begun to write.
async fn depose(etcd: &SimEtcd) {
    let keys = Keys::new("test");
    let value = messages::Owner {
        node: "b".into(),
        address: "b:1".into(),
        instance: "b-1".into(),
    };
    let put = Op::Put {
        key: keys.owner(),
        value: value.encode_to_vec().into(),
        lease: 0,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    etcd.client("b").txn(&txn).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_owner_any_more_adds_nothing_to_the_log() {
    for size in [1, 3 * MIB] {
        let etcd = SimEtcd::new(3);
        let node = Node::start(&etcd, "a").await;
        let mut owner = node.own().await;
        owner.commit("k", 1).await;
        let before = records(&etcd);
        depose(&etcd).await;
        (0..3).for_each(|part| owner.write_large(&format!("k{part}"), size / 3 + 1));
        owner.send_batch();
        let why = owner.failed().await;
        assert!(why.contains("node b at b:1"), "{why}");
        assert_eq!(records(&etcd), before);
        let parts = between(Keys::new("test").parts_before(u64::MAX));
        assert_eq!(count(&etcd, parts), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_late_over_a_takeover_is_refused() {
    let etcd = SimEtcd::new(4);
    let (a, b) = (Node::start(&etcd, "a").await, Node::start(&etcd, "b").await);
    let mut owner = a.own().await;
    owner.commit("k", 1).await;
    let mut follower = b.follower().await;
    follow(&mut follower).await;
    etcd.set_faults(
        "a",
        Faults {
            late_requests: 1.0,
            lateness: 8 * SECOND..9 * SECOND,
            ..Faults::none()
        },
    );
    owner.write("k", Value::Int(2));
    owner.send_batch();
    sleep(SECOND).await;
    let mut successor = b.take_over(&mut follower, Reason::Died, QUOTA).await;
    etcd.set_faults("a", Faults::none());
    let why = owner.failed().await;
    assert!(why.contains("node b"), "{why}");
    successor.commit("l", 1).await;
    assert_eq!(cold_digest(&etcd).await, successor.digest());
}

/// The owner commits while another node takes its place again and again, and requests come late.
#[tokio::test(start_paused = true)]
async fn what_was_committed_is_there_after_takeovers_with_faults() {
    for seed in 0..8 {
        let etcd = SimEtcd::new(seed);
        etcd.set_faults_of_all(Faults::many());
        let mut committed = Vec::new();
        for round in 0..5 {
            let name = format!("{round}");
            let node = Node::start(&etcd, &name).await;
            let mut follower = node.follower().await;
            follow(&mut follower).await;
            let mut owner = node.take_over(&mut follower, Reason::Died, QUOTA).await;
            for number in 0..40 {
                let key = format!("{round}/{number}");
                owner.commit(&key, number).await;
                committed.push(key);
                if number == 20 {
                    owner.begin_snapshot();
                }
            }
            // One is under way while the next node takes over, and may be in or not.
            owner.write("under-way", Value::Int(1));
            owner.send_batch();
            tokio::spawn(async move {
                loop {
                    if let Event::Failed(_) = owner.event().await {
                        break;
                    }
                    owner.send(Command::Confirm);
                }
            });
        }
        etcd.set_faults_of_all(Faults::none());
        let follower = Node::start(&etcd, "cold").await.follower().await;
        let machine = &follower.state.machine;
        for key in committed {
            let read = Read {
                key: key.as_str().into(),
                expect: None,
            };
            let entry = machine.read(&read).unwrap().entry;
            assert!(entry.is_some(), "seed {seed}: {key} is lost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_flight_is_whole_or_not_there() {
    let etcd = SimEtcd::new(5);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    etcd.set_faults(
        "a",
        Faults {
            lost_answers: 0.1,
            duplicates: 0.1,
            ..Faults::none()
        },
    );
    (0..31).for_each(|value| owner.write_large(&format!("k{value}"), MIB));
    owner.send_batch();
    owner.committed().await;
    assert_eq!(cold_digest(&etcd).await, owner.digest());
    // What it was put in goes with the record.
    let parts = between(Keys::new("test").parts_before(u64::MAX));
    assert_eq!(count(&etcd, parts.clone()), 32);
    for number in 0..20 {
        owner.commit("k", number).await;
    }
    owner.snapshot().await;
    assert_eq!(count(&etcd, parts), 0);
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_dies_between_parts_leaves_nothing_of_the_record() {
    let keys = Keys::new("test");
    for moment in 0..8 {
        let etcd = SimEtcd::new(6);
        let node = Node::start(&etcd, "a").await;
        let mut owner = node.own().await;
        owner.commit("k", 1).await;
        let before = owner.digest();
        (0..5).for_each(|value| owner.write_large(&format!("k{value}"), MIB));
        owner.send_batch();
        sleep(moment * Duration::from_micros(500)).await;
        owner.task.abort();
        drop(node);
        let is_whole = records(&etcd).last() == Some(&owner.seq);
        let parts = count(&etcd, between(keys.parts_before(u64::MAX)));
        let after = match is_whole {
            true => owner.digest(),
            false => before,
        };
        assert_eq!(cold_digest(&etcd).await, after, "{moment}: {parts} parts");
        // The next owner has the same number, and what was left goes with the next snapshot.
        let mut next = Node::start(&etcd, "b").await.own().await;
        next.commit("k", 2).await;
        for number in 0..20 {
            next.commit("k", number).await;
        }
        next.snapshot().await;
        assert_eq!(count(&etcd, between(keys.parts_before(u64::MAX))), 0);
        assert_eq!(cold_digest(&etcd).await, next.digest());
    }
}

#[tokio::test(start_paused = true)]
async fn an_etcd_that_was_set_back_ends_the_owner() {
    let etcd = SimEtcd::new(7);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    owner.commit("k", 1).await;
    let revision = etcd.revision();
    owner.commit("k", 2).await;
    owner.commit("k", 3).await;
    etcd.roll_back(revision);
    owner.write("k", Value::Int(4));
    owner.send_batch();
    let why = owner.failed().await;
    assert!(why.contains("etcd has lost data"), "{why}");
}

async fn confirmed(owner: &mut Owner) -> bool {
    owner.send(Command::Confirm);
    matches!(owner.event().await, Event::Confirmed)
}

#[tokio::test(start_paused = true)]
async fn who_reaches_only_a_minority_confirms_nothing() {
    let etcd = SimEtcd::new(8);
    let (a, b) = (Node::start(&etcd, "a").await, Node::start(&etcd, "b").await);
    let mut owner = a.own().await;
    let mut follower = b.follower().await;
    assert!(confirmed(&mut owner).await);
    etcd.set_reach("a", Reach::Minority);
    owner.send(Command::Confirm);
    owner.rest(3 * SECOND).await;
    // Another takes over, because nobody keeps the lease.
    let reason = until_reason(&mut follower).await;
    b.take_over(&mut follower, reason, QUOTA).await;
    owner.rest(60 * SECOND).await;
    etcd.set_reach("a", Reach::All);
    let why = owner.failed().await;
    assert!(why.contains("node b"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_is_committed_or_confirmed_and_then_all_goes_on() {
    let etcd = SimEtcd::new(9);
    let node = Node::start(&etcd, "a").await;
    let mut owner = node.own().await;
    etcd.set_quorum(false);
    owner.write("k", Value::Int(1));
    owner.send_batch();
    owner.send(Command::Confirm);
    owner.rest(10 * SECOND).await;
    etcd.set_quorum(true);
    let (first, second) = (owner.event().await, owner.event().await);
    let is_confirmed = |event: &Event| matches!(event, Event::Confirmed);
    let is_committed = |event: &Event| matches!(event, Event::Committed { .. });
    assert!(
        is_confirmed(&first) && is_committed(&second)
            || is_committed(&first) && is_confirmed(&second)
    );
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

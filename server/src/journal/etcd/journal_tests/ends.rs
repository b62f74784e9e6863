//! How an owner ends: it hands off, closes, or is gone.

use std::time::Duration;

use soloist_etcd::sim::{Faults, SimEtcd};
use tokio::time::{Instant, timeout};

use super::support::{HOUR, Node, Owner, QUOTA, cold_digest, until_reason};
use crate::journal::etcd::follow::Reason;
use crate::journal::interface::{Command, Event};

const SECOND: Duration = Duration::from_secs(1);

fn hand_off(owner: &Owner, to: Option<&str>) {
    owner.send(Command::HandOff {
        to: to.map(Into::into),
        revision: owner.machine.revision(),
        time: owner.now(),
    });
}

#[tokio::test(start_paused = true)]
async fn an_owner_hands_off_to_a_node_that_has_everything() {
    for (seed, faults) in [(1, Faults::none()), (2, Faults::many())] {
        for to in [None, Some("c")] {
            let etcd = SimEtcd::new(seed);
            let a = Node::start(&etcd, "a").await;
            let mut owner = a.own().await;
            a.register(true, 1).await;
            let b = Node::start(&etcd, "b").await;
            b.register(false, 1).await;
            let c = Node::start(&etcd, "c").await;
            c.register(true, 1).await;
            owner.commit("k", 1).await;
            let mut follower = c.follower().await;
            let revision = owner.machine.revision();
            etcd.set_faults("a", faults.clone());
            hand_off(&owner, to);
            let Event::HandedOff { owner: address } = owner.event().await else {
                panic!("it is not handed off");
            };
            assert_eq!(address, "c:1");
            assert_eq!(until_reason(&mut follower).await, Reason::HandedOff);
            let mut successor = c.take_over(&mut follower, Reason::HandedOff, QUOTA).await;
            assert_eq!(
                successor.machine.revision(),
                revision,
                "no revision is left out"
            );
            successor.commit("l", 1).await;
            assert_eq!(cold_digest(&etcd).await, successor.digest());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_cannot_hand_off_goes_on() {
    let etcd = SimEtcd::new(1);
    let a = Node::start(&etcd, "a").await;
    let mut owner = a.own().await;
    a.register(true, 1).await;
    let b = Node::start(&etcd, "b").await;
    b.register(false, 1).await;
    let c = Node::start(&etcd, "c").await;
    c.register(true, 0).await;
    for (to, expected) in [
        (None, "no other node"),
        (Some("a"), "already"),
        (Some("b"), "whole state"),
        (Some("c"), "cannot read"),
        (Some("d"), "no node d"),
    ] {
        hand_off(&owner, to);
        let Event::HandOffRefused(why) = owner.event().await else {
            panic!("{to:?} is not refused");
        };
        assert!(why.contains(expected), "{why}");
    }
    b.register(true, 1).await;
    etcd.fill();
    hand_off(&owner, None);
    let Event::HandOffRefused(why) = owner.event().await else {
        panic!("it is not refused");
    };
    assert!(why.contains("space"), "{why}");
    etcd.disarm();
    owner.commit("k", 1).await;
    assert_eq!(cold_digest(&etcd).await, owner.digest());
}

#[tokio::test(start_paused = true)]
async fn who_closes_leaves_the_store_to_whoever_comes() {
    let etcd = SimEtcd::new(1);
    let a = Node::start(&etcd, "a").await;
    let mut owner = a.own().await;
    owner.commit("k", 1).await;
    let (revision, time) = (owner.machine.revision(), owner.now());
    owner.send(Command::Close { revision, time });
    assert!(matches!(owner.event().await, Event::Closed));
    // The lease of the first goes on.
    let began = Instant::now();
    let b = Node::start(&etcd, "b").await;
    let next = b.own().await;
    assert!(began.elapsed() < 2 * SECOND);
    assert_eq!(next.machine.revision(), revision, "no revision is left out");
}

#[tokio::test(start_paused = true)]
async fn an_owner_closes_without_etcd() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    for quorum in [false, true] {
        let mut owner = node.own().await;
        let (revision, time) = (owner.machine.revision(), owner.now());
        match quorum {
            false => etcd.set_quorum(false),
            true => etcd.fill(),
        }
        owner.send(Command::Close { revision, time });
        let closed = timeout(10 * SECOND, owner.event()).await;
        assert!(matches!(closed, Ok(Event::Closed)), "{closed:?}");
        etcd.set_quorum(true);
    }
}

#[tokio::test(start_paused = true)]
async fn the_journal_ends_with_its_owner() {
    let etcd = SimEtcd::new(1);
    let node = Node::start(&etcd, "a").await;
    let owner = node.own().await;
    // It never ends by itself.
    etcd.set_quorum(false);
    owner.send(Command::Confirm);
    drop(owner.journal);
    timeout(HOUR, owner.task).await.unwrap().unwrap();
}

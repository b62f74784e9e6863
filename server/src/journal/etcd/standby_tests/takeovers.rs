//! Who becomes the owner, and with what the store goes on.

use super::support::{HOUR, TTL, World, digest, follow_for, follow_to, until_reason, won};
use std::time::Duration;

use crate::config::REVISIONS_SKIPPED;
use crate::journal::etcd::follow::Reason;
use crate::journal::etcd::takeover::Challenge;
use crate::machine::{SetLifetime, Value};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_node_creates_the_store() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut follower = a.follower().await;
    let reason = until_reason(&mut follower).await;
    assert_eq!(reason, Reason::NoOwner);
    let won = won(&mut follower, reason).await;
    assert_eq!((won.store_id.as_str(), won.position.seq), ("new", 1));
    // Nobody owned it before, so no revision is left out.
    assert_eq!(won.machine.revision(), 0);
    assert!(won.epoch > 0);
}

#[tokio::test(start_paused = true)]
async fn a_standby_goes_on_with_everything_when_the_owner_is_silent() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    owner.write("k", 1).await;
    owner.write("l", 2).await;
    let seen = follow_to(&mut standby, owner.position.seq).await;
    assert_eq!(seen.owner.unwrap().node, "a");
    // What comes while nobody looks.
    owner.write("m", 3).await;
    let (of_owner, revision) = (owner.digest(), owner.machine.revision());
    drop(a);
    assert_eq!(until_reason(&mut standby).await, Reason::NoOwner);
    assert_eq!(digest(&mut standby), of_owner);
    let won = won(&mut standby, Reason::NoOwner).await;
    assert!(won.epoch > owner.epoch);
    assert_eq!(won.machine.revision(), revision + REVISIONS_SKIPPED);
    assert_eq!(won.machine.usage().key_count, 3);
}

/// An owner that was not answered may have told a caller a revision that "no other change ever gets".
#[tokio::test(start_paused = true)]
async fn no_revision_is_assigned_twice_over_takeovers() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    owner.write("k", 1).await;
    let mut last = owner.machine.revision();
    drop(a);
    for instance in 2..5 {
        let node = world.node("b", instance).await;
        // It changes nothing, and dies.
        let owner = node.own().await;
        let revision = owner.machine.revision();
        assert!(revision >= last + REVISIONS_SKIPPED, "{last}, {revision}");
        last = revision;
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_goes_on_without_a_gap() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    owner.write("k", 1).await;
    follow_to(&mut standby, owner.position.seq).await;
    owner.hand_off(&b).await;
    assert_eq!(until_reason(&mut standby).await, Reason::HandedOff);
    let won = won(&mut standby, Reason::HandedOff).await;
    assert_eq!(won.machine.revision(), owner.machine.revision());
    assert_eq!(won.position.seq, owner.position.seq + 1);
    // Its first record begins with the closed one: a later takeover leaves a gap again.
    let c = world.node("c", 1).await;
    let revision = won.machine.revision();
    drop(b);
    let owner = c.own().await;
    assert_eq!(owner.machine.revision(), revision + REVISIONS_SKIPPED);
}

#[tokio::test(start_paused = true)]
async fn one_of_many_standbys_wins() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    let nodes = [
        world.node("b", 1).await,
        world.node("c", 1).await,
        world.node("d", 1).await,
    ];
    owner.write("k", 1).await;
    let mut followers = Vec::new();
    for node in &nodes {
        let mut follower = node.follower().await;
        follow_to(&mut follower, owner.position.seq).await;
        followers.push(follower);
    }
    let mut challenges = Vec::new();
    for mut follower in followers {
        challenges.push(tokio::spawn(async move {
            // All at once.
            let challenge = follower.challenge(Reason::Died).await.unwrap();
            let has_won = matches!(challenge, Challenge::Won(_));
            if !has_won {
                follow_for(&mut follower, 2 * TTL).await;
            }
            has_won
        }));
    }
    let mut won = 0;
    for challenge in challenges {
        won += usize::from(challenge.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test(start_paused = true)]
async fn a_later_process_of_the_owners_node_does_not_wait() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let owner = a.own().await;
    let again = world.node("a", 2).await;
    let mut follower = again.follower().await;
    assert_eq!(until_reason(&mut follower).await, Reason::Predecessor);
    assert!(won(&mut follower, Reason::Predecessor).await.epoch > owner.epoch);
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_whatever_the_clocks_show() {
    let world = World::new();
    for (name, ahead) in [("b", HOUR), ("c", Duration::ZERO)] {
        let a = world.node("a", name.as_bytes()[0].into()).await;
        let b = world.node_ahead(name, ahead).await;
        let mut owner = a.own().await;
        let mut standby = b.follower().await;
        owner.write("k", 1).await;
        follow_to(&mut standby, owner.position.seq).await;
        let ttl = SetLifetime::Ttl(20 * TTL);
        owner.apply("ttl", Value::Int(1), ttl);
        let (began, ends) = (owner.now(), owner.now() + 20 * TTL);
        tokio::join!(owner.commit(false), follow_for(&mut standby, 2 * SECOND));
        let at = tokio::time::Instant::now() - 2 * SECOND;
        drop(a);
        let reason = until_reason(&mut standby).await;
        let won = won(&mut standby, reason).await;
        let (passed, shown) = (won.at - at, won.time.since(began));
        assert!(passed > TTL / 2, "{passed:?}");
        let apart = passed.abs_diff(shown);
        assert!(
            apart < SECOND,
            "{name}: {passed:?} passed, shown are {shown:?}"
        );
        assert!(won.machine.next_due().is_some_and(|due| due <= ends));
        // The next round begins with an owner of true time, as far as the store goes.
        drop(b);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_saw_no_record_trusts_its_clock_but_never_goes_back() {
    let world = World::new();
    let a = world.node_ahead("a", HOUR).await;
    let mut owner = a.own().await;
    let recorded = owner.now();
    owner.write("k", 1).await;
    drop(a);
    let b = world.node("b", 1).await;
    let owner = b.own().await;
    assert!(owner.now() >= recorded);
    assert!(owner.now().since(recorded) < 2 * TTL);
}

#[tokio::test(start_paused = true)]
async fn sessions_live_their_whole_ttl_from_the_takeover() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    owner.open_session("s", 3 * SECOND).await;
    follow_to(&mut standby, owner.position.seq).await;
    drop(a);
    let reason = until_reason(&mut standby).await;
    let won = won(&mut standby, reason).await;
    // By the owner's time it had ended: the lease takes longer.
    assert_eq!(won.machine.usage().session_count, 1);
    let due = won.machine.next_due().unwrap();
    assert_eq!(due, won.time + 3 * SECOND);
}

/// A snapshot of the next owner must not remove them: watches go on after the revision that they have seen.
#[tokio::test(start_paused = true)]
async fn the_log_keeps_the_records_of_earlier_owners_for_the_history() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut warm = b.follower().await;
    owner.write("k", 1).await;
    follow_to(&mut warm, owner.position.seq).await;
    owner.write("k", 2).await;
    drop(a);
    let reason = until_reason(&mut warm).await;
    let by_warm = won(&mut warm, reason).await;
    assert_eq!(by_warm.recent.first(), Some(1));
    drop(b);
    let c = world.node("c", 1).await;
    let mut cold = c.follower().await;
    let reason = until_reason(&mut cold).await;
    assert_eq!(won(&mut cold, reason).await.recent.first(), Some(1));
}

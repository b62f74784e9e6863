//! What a standby has, however it got it, and what it refuses.

use std::time::Duration;

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::watch;

use super::support::{World, digest, follow_for, follow_to, until_reason, until_refused, won};
use crate::journal::etcd::follow::{Follower, Following, Reason};
use crate::journal::pages::digest_of;
use crate::machine::{SetLifetime, Value};
use crate::progress::Progress;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_node_starts_with_the_snapshot_and_the_records_after_it() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    for number in 0..20 {
        owner.write(&format!("k{number}"), number).await;
    }
    let snapshot = owner.begin_snapshot();
    owner.write("k1", 100).await;
    owner.end_snapshot(snapshot).await;
    owner.write("later", 1).await;
    let b = world.node("b", 1).await;
    let mut standby = b.follower().await;
    assert_eq!(digest(&mut standby), owner.digest());
    // It is as if it had been there all the time.
    owner.write("k2", 100).await;
    follow_to(&mut standby, owner.position.seq).await;
    assert_eq!(digest(&mut standby), owner.digest());
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_without_counting_it_again_and_again() {
    const RECORDS: u64 = 6_000;
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    for number in 0..RECORDS.cast_signed() {
        owner.write("k", number).await;
    }
    let b = world.node("b", 1).await;
    let mut standby = b.follower().await;
    assert_eq!(digest(&mut standby), owner.digest());
    let counted = world.etcd.keys_counted("b");
    // Once for how many there are, and once each.
    assert!(counted < 3 * RECORDS, "{counted}");
}

#[tokio::test(start_paused = true)]
async fn records_before_the_snapshot_fill_the_history_of_watches() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    for number in 0..20 {
        owner.write("k", number).await;
    }
    let snapshot = owner.begin_snapshot();
    // Truncation leaves ten records before the snapshot.
    let first = snapshot.0.seq - 10;
    owner.end_snapshot_keeping(snapshot, first).await;
    let b = world.node("b", 1).await;
    let standby = b.follower().await;
    let usage = standby.state.machine.usage();
    assert_eq!(usage.oldest_revision, usage.revision - 10);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_too_far_behind_loads_the_store_again() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let progress = Progress::default();
    let standby = Follower::start(b.cluster.clone(), &progress).await;
    let mut standby = standby.unwrap();
    let steps = |progress: &Progress| {
        assert_eq!(progress.look(), None, "nothing is under way any more");
        let ended = progress.ended().into_iter();
        let ended = ended.map(|look| (look.what, look.done, look.total));
        ended.collect::<Vec<_>>()
    };
    let replayed = |count| ("replaying the log".to_owned(), count, Some(count));
    // The record of the start, and the place before it.
    assert_eq!(steps(&progress), [replayed(2)]);
    owner.write("k", 1).await;
    follow_to(&mut standby, owner.position.seq).await;
    // Nobody looks meanwhile.
    for number in 0..20 {
        owner.write(&format!("k{number}"), number).await;
    }
    let snapshot = owner.begin_snapshot();
    let bytes = snapshot.0.bytes;
    owner.write("k1", 100).await;
    owner.end_snapshot(snapshot).await;
    owner.write("k2", 100).await;
    follow_to(&mut standby, owner.position.seq).await;
    assert_eq!(digest(&mut standby), owner.digest());
    let read = ("reading the snapshot".to_owned(), bytes, Some(bytes));
    assert_eq!(steps(&progress)[1..], [read, replayed(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_over_loads_what_it_missed() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    follow_to(&mut standby, owner.position.seq).await;
    owner.write("k", 1).await;
    owner.write("l", 1).await;
    let snapshot = owner.begin_snapshot();
    owner.end_snapshot(snapshot).await;
    let mut won = won(&mut standby, Reason::Died).await;
    // The revision floor is in neither.
    assert_eq!(won.machine.usage().key_count, 2);
    assert_ne!(
        digest_of(&mut won.machine, &Progress::default()),
        owner.digest()
    );
}

/// Somebody else finds out that the owner has died, and ends the following at any of its pauses. The node then challenges the owner
/// that it knows of: it must be the one that was shown, or a new owner would be challenged for the death of the last one.
#[tokio::test(start_paused = true)]
async fn another_owner_is_shown_before_the_next_pause() {
    let mut ended_with = Vec::new();
    for pauses in 1..40 {
        let world = World::new();
        let (a, b, c) = (
            world.node("a", 1).await,
            world.node("b", 1).await,
            world.node("c", 1).await,
        );
        let mut owner = a.own().await;
        let mut standby = c.follower().await;
        let (seen, mut sees) = watch::channel(Following::default());
        let ends = async {
            sees.wait_for(|seen| seen.caught_up).await.unwrap();
            let mut left = pauses;
            let is_over = poll_fn(|_| {
                left -= 1;
                match left {
                    0 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            });
            let changes = async {
                owner.hand_off(&b).await;
                std::future::pending().await
            };
            tokio::select! {
                biased;
                () = is_over => {}
                () = changes => {}
            }
        };
        tokio::select! {
            biased;
            ended = standby.follow(&seen) => panic!("{ended:?}"),
            () = ends => {}
        }
        let shown = seen.borrow().owner.clone();
        assert_eq!(shown, standby.owner, "after {pauses} pauses");
        ended_with.extend(shown.map(|owner| owner.node));
    }
    for node in ["a", "b"] {
        assert!(ended_with.iter().any(|it| it == node), "{ended_with:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_records_come_in_parts() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    follow_to(&mut standby, owner.position.seq).await;
    let text = Value::Text("t".repeat(100_000).into());
    owner.apply("k", text, SetLifetime::Unlimited);
    owner.commit_parts(30_000).await;
    owner.write("l", 1).await;
    follow_to(&mut standby, owner.position.seq).await;
    assert_eq!(digest(&mut standby), owner.digest());
    let c = world.node("c", 1).await;
    let mut cold = c.follower().await;
    assert_eq!(digest(&mut cold), owner.digest());
}

#[tokio::test(start_paused = true)]
async fn a_standby_compares_its_state_with_each_snapshot() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    owner.write("k", 1).await;
    follow_to(&mut standby, owner.position.seq).await;
    for is_busy in [true, false] {
        let snapshot = owner.begin_snapshot();
        tokio::join!(follow_for(&mut standby, SECOND), async {
            if is_busy {
                owner.write("k", 2).await;
            }
            owner.end_snapshot(snapshot).await;
        });
    }
    // One key of this node's is lost. The next snapshot tells.
    let stranger = world.node("c", 1).await.follower().await;
    let mut machine = stranger.state.machine;
    machine.keep_effects();
    std::mem::swap(&mut standby.state.machine, &mut machine);
    let delete = crate::machine::Delete {
        key: "k".into(),
        expect: None,
    };
    let revision = standby.state.machine.revision();
    standby
        .state
        .machine
        .delete(delete, None, owner.now())
        .unwrap();
    standby.state.machine.restore_revision(revision);
    let snapshot = owner.begin_snapshot();
    let (refused, ()) = tokio::join!(until_refused(&mut standby), async {
        owner.write("l", 2).await;
        owner.end_snapshot(snapshot).await;
    });
    assert!(refused.is_about_data());
    assert!(
        refused.to_string().contains("state after record"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_refuses_an_etcd_that_was_rolled_back() {
    for is_other in [false, true] {
        let world = World::new();
        let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
        let mut owner = a.own().await;
        owner.write("k", 1).await;
        let early = world.etcd.revision();
        let mut standby = b.follower().await;
        owner.write("k", 2).await;
        follow_to(&mut standby, owner.position.seq).await;
        world.etcd.roll_back(early);
        if is_other {
            // Somebody has gone on from there.
            let c = world.node("c", 1).await;
            let mut other = c.follower().await;
            let reason = Reason::Died;
            follow_to(&mut other, 2).await;
            c.owner(won(&mut other, reason).await)
                .write("other", 1)
                .await;
        }
        let refused = until_refused(&mut standby).await;
        assert!(refused.is_about_data());
        assert!(refused.to_string().contains("rolled back"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_chunk_or_record_is_found() {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    owner.write("k", 1).await;
    owner.write("l", 1).await;
    owner.truncate(2).await;
    let b = world.node("b", 1).await;
    let refused = b.try_follower().await.unwrap_err();
    assert!(refused.to_string().contains("has no record 1"), "{refused}");
    let (mut manifest, _) = owner.begin_snapshot();
    manifest.attempt += 1;
    owner.end_snapshot((manifest, Vec::new())).await;
    let refused = b.try_follower().await.unwrap_err();
    assert!(refused.to_string().contains("chunks"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_break_of_the_watch_loses_nothing() {
    let world = World::new();
    let (a, b) = (world.node("a", 1).await, world.node("b", 1).await);
    let mut owner = a.own().await;
    let mut standby = b.follower().await;
    for number in 0..10 {
        tokio::join!(follow_for(&mut standby, 3 * SECOND), async {
            owner.write("k", number).await;
            world.etcd.break_watches("b");
            owner.write("l", number).await;
        });
        assert_eq!(digest(&mut standby), owner.digest());
    }
    drop(a);
    until_reason(&mut standby).await;
}

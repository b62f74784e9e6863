//! Locks and elections of the library: one holder at a time, in the order of asking, and what becomes of a lost one.

mod contention;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use soloist_client::{Batch, Client, Code, Condition, Lock, Reason, Write};
use tokio::sync::mpsc;

use crate::proxy::Proxy;
use crate::support::TestServer;

/// So long that nothing ends by itself in these tests.
const LONG: Duration = Duration::from_secs(3600);

/// Waits until a lock has as many places taken.
async fn places(client: &Client, name: &str, count: usize) {
    let prefix = format!("{name}/");
    while client
        .list(&prefix)
        .keys_only()
        .await
        .unwrap()
        .entries
        .len()
        != count
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn holders_follow_each_other_in_the_order_in_which_they_asked() {
    let server = TestServer::start();
    let client = server.client().await;
    let first = client.lock("l").ttl(LONG).await.unwrap();
    let (turn, newest) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicI64::new(first.token())),
    );
    let mut waiting = Vec::new();
    for number in 0..12 {
        let (client, turn, newest) = (client.clone(), turn.clone(), newest.clone());
        waiting.push(tokio::spawn(async move {
            let lock = client.lock("l").ttl(LONG).await.unwrap();
            assert_eq!(turn.fetch_add(1, Ordering::SeqCst), number);
            assert!(newest.swap(lock.token(), Ordering::SeqCst) < lock.token());
            // Nobody else gets in meanwhile.
            let guarded = Batch::new()
                .op(lock.guard())
                .op(Write::new("held", lock.token()));
            client.batch(guarded).await.unwrap();
            assert_eq!(turn.load(Ordering::SeqCst), number + 1);
            assert!(lock.is_held());
            match number % 2 {
                0 => lock.release().await.unwrap(),
                _ => drop(lock),
            }
        }));
        places(&server.client().await, "l", number + 2).await;
    }
    assert_eq!(turn.load(Ordering::SeqCst), 0);
    first.release().await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    places(&client, "l", 0).await;
}

/// Waits in the background for a lock with so many holders, and tells of it.
fn ask(client: &Client, holders: NonZeroUsize, number: usize, held: &mpsc::Sender<(usize, Lock)>) {
    let (client, held) = (client.clone(), held.clone());
    tokio::spawn(async move {
        let lock = client.lock("l").ttl(LONG).holders(holders);
        held.send((number, lock.await.unwrap())).await.unwrap();
    });
}

#[tokio::test]
async fn a_lock_may_have_several_holders() {
    let server = TestServer::start();
    let client = server.client().await;
    let (telling, mut told) = mpsc::channel(9);
    for number in 0..8 {
        ask(&client, NonZeroUsize::new(3).unwrap(), number, &telling);
        places(&client, "l", number + 1).await;
    }
    let mut held = std::collections::VecDeque::new();
    for number in 0..3 {
        let (who, lock) = told.recv().await.unwrap();
        assert_eq!(who, number);
        held.push_back(lock);
    }
    // Whichever of them goes, the next one comes: released, dropped, or with a session that was ended.
    for number in 3..8 {
        assert!(told.try_recv().is_err(), "there are three already");
        match number % 3 {
            0 => held.remove(1).unwrap().release().await.unwrap(),
            1 => drop(held.pop_front()),
            _ => {
                let sessions = client.list_sessions().await.unwrap().sessions;
                let lock = held.back().unwrap();
                let session = sessions
                    .iter()
                    .find(|session| lock.key().ends_with(&session.id));
                client.close_session(session.unwrap()).await.unwrap();
                held.pop_back();
            }
        }
        let (who, lock) = told.recv().await.unwrap();
        assert_eq!(who, number);
        client.batch(Batch::new().op(lock.guard())).await.unwrap();
        held.push_back(lock);
    }
    // Somebody who wants it alone waits for all of them.
    ask(&client, NonZeroUsize::MIN, 8, &telling);
    places(&client, "l", 4).await;
    while let Some(lock) = held.pop_back() {
        assert!(told.try_recv().is_err(), "it is not alone yet");
        lock.release().await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap().0, 8);
}

#[tokio::test]
async fn whoever_gives_up_waiting_leaves_the_line() {
    let server = TestServer::start();
    let client = server.client().await;
    let lock = client.lock("l").ttl(LONG).await.unwrap();
    let impatient = tokio::time::timeout(Duration::from_millis(50), client.lock("l").ttl(LONG));
    impatient.await.unwrap_err();
    // Its session is closed in the background.
    places(&client, "l", 1).await;
    lock.release().await.unwrap();
    client
        .lock("l")
        .ttl(LONG)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lock_whose_session_ends_is_lost_and_guards_nothing_any_more() {
    let server = TestServer::start();
    let client = server.client().await;
    // It is renewed, and its loss noticed, after a third of its ttl.
    let ttl = Duration::from_secs(1);
    let lock = client
        .lock("l")
        .ttl(ttl)
        .value("first")
        .session_prefix("a-")
        .await
        .unwrap();
    let sessions = client.list_sessions().await.unwrap().sessions;
    let session = sessions
        .iter()
        .find(|session| session.id.starts_with("a-"))
        .unwrap();
    assert!(lock.key().ends_with(&session.id));
    client.close_session(session).await.unwrap();
    let next = client.lock("l").ttl(LONG).await.unwrap();
    assert!(next.token() > lock.token());
    let guarded = Batch::new().op(lock.guard()).op(Write::new("held", 1));
    let refused = client.batch(guarded).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::ExpectationFailed));
    assert_eq!(lock.lost().await.reason(), Some(Reason::SessionNotFound));
    assert!(!lock.is_held());
    let late = lock.release().await.unwrap_err();
    assert_eq!(late.reason(), Some(Reason::SessionNotFound));
    assert!(next.is_held());
}

#[tokio::test]
async fn a_place_that_somebody_deletes_is_an_error() {
    let server = TestServer::start();
    let client = server.client().await;
    let lock = client.lock("l").ttl(LONG).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.lock("l").ttl(LONG).await }
    });
    places(&client, "l", 2).await;
    let page = client.list("l/").await.unwrap();
    let place = page.entries.iter().find(|listed| listed.key != lock.key());
    client.delete(&place.unwrap().key).await.unwrap();
    lock.release().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("deleted"), "{error}");
}

#[tokio::test]
async fn locks_whose_names_begin_alike_are_different_locks() {
    let server = TestServer::start();
    let client = server.client().await;
    let inner = client.lock("a/b").ttl(LONG).await.unwrap();
    let outer = client.lock("a").ttl(LONG).await.unwrap();
    assert!(inner.is_held() && outer.is_held());
    let error = client
        .lock("a")
        .ttl(Duration::from_millis(1))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_leader_says_who_it_is_until_it_resigns() {
    let server = TestServer::start();
    let client = server.client().await;
    assert_eq!(client.leader("e").await.unwrap(), None);
    let anna = client.elect("e", "anna").ttl(LONG).await.unwrap();
    let ben = tokio::spawn({
        let client = client.clone();
        async move { client.elect("e", "ben").ttl(LONG).await.unwrap() }
    });
    places(&client, "e", 2).await;
    let leader = client.leader("e").await.unwrap().unwrap();
    assert_eq!((leader.value, leader.term), ("anna".into(), anna.term()));
    let revision = anna.proclaim("anna, on port 2").await.unwrap();
    let written = client
        .read(anna.key())
        .expect(Condition::Revision(revision))
        .await
        .unwrap();
    assert_eq!(written.value(), Some(&"anna, on port 2".into()));
    assert!(anna.is_leading());
    anna.resign().await.unwrap();
    let ben = ben.await.unwrap();
    let leader = client.leader("e").await.unwrap().unwrap();
    assert_eq!((leader.value, leader.term), ("ben".into(), ben.term()));
}

#[tokio::test]
async fn an_observer_is_told_of_each_leader_also_after_breaks() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let observer = proxy.client().await;
    let client = server.client().await;
    let mut leaders = observer.observe("e");
    assert_eq!(leaders.next().await.unwrap(), None);
    let anna = client.elect("e", "anna").ttl(LONG).await.unwrap();
    // A name may be the beginning of another.
    let other = client.elect("e/part", "other").ttl(LONG).await.unwrap();
    let leader = leaders.next().await.unwrap().unwrap();
    assert_eq!((leader.value, leader.term), ("anna".into(), anna.term()));
    proxy.cut(Some(&server));
    anna.proclaim("anna, on port 2").await.unwrap();
    let leader = leaders.next().await.unwrap().unwrap();
    assert_eq!(leader.value, "anna, on port 2".into());
    let ben = tokio::spawn({
        let client = client.clone();
        async move { client.elect("e", "ben").ttl(LONG).await.unwrap() }
    });
    places(&client, "e", 3).await;
    anna.resign().await.unwrap();
    let ben = ben.await.unwrap();
    let leader = leaders.next().await.unwrap().unwrap();
    assert_eq!((leader.value, leader.term), ("ben".into(), ben.term()));
    ben.resign().await.unwrap();
    assert_eq!(leaders.next().await.unwrap(), None);
    other.resign().await.unwrap();
}

#[tokio::test]
async fn an_observer_without_the_key_of_an_election_is_refused() {
    let server = TestServer::start();
    let client = server.client().await;
    let error = client.observe("a\nb").next().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

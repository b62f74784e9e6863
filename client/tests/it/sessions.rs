//! Sessions: keys that end with them, takeovers, and renewals in the background.

use std::time::Duration;

use soloist_client::{Cause, Code, Condition, Outcome, Reason};

use crate::proxy::Proxy;
use crate::support::{TestServer, next_events};

/// The shortest ttl that a server grants.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn keys_end_with_their_session() {
    let server = TestServer::start();
    let client = server.client().await;
    let session = client.open_session(LONG).id("worker").await.unwrap();
    assert_eq!((session.id.as_str(), session.ttl), ("worker", LONG));
    assert_eq!((session.key_count, session.replayed), (0, false));

    client.write("lock", "me").session(&session).await.unwrap();
    client.add("count", 1).session(&session).await.unwrap();
    client.write("mine", 1).await.unwrap();
    let entry = client.read("lock").await.unwrap().entry.unwrap();
    assert_eq!(entry.session.as_deref(), Some("worker"));
    let held = Condition::Session("worker".into());
    client.read("lock").expect(held.clone()).await.unwrap();
    let free = client.read("mine").expect(held).await.unwrap_err();
    assert_eq!(free.reason(), Some(Reason::ExpectationFailed));

    let mut watch = client.watch_prefix("").await.unwrap();
    let closed = client.close_session(&session).await.unwrap();
    assert_eq!(closed.deleted_count, 2);
    let ended = next_events(&mut watch, 2).await;
    for event in &ended {
        assert_eq!((event.cause, &event.entry), (Cause::SessionEnded, &None));
        assert_eq!(event.revision, closed.revision);
    }
    assert!(client.read("mine").await.unwrap().entry.is_some());
    let again = client.close_session(&session).await.unwrap_err();
    assert_eq!(again.reason(), Some(Reason::SessionNotFound));
    let late = client.write("lock", "me").session(&session).await;
    assert_eq!(late.unwrap_err().reason(), Some(Reason::SessionNotFound));
}

#[tokio::test]
async fn a_session_ends_without_renewals() {
    let server = TestServer::start();
    let client = server.client().await;
    let session = client.open_session(SHORT).await.unwrap();
    assert!(!session.id.is_empty());
    let mut watch = client.watch_key("lock").await.unwrap();
    client.write("lock", 1).session(&session).await.unwrap();
    let [_, ended] = &next_events(&mut watch, 2).await[..] else {
        panic!("two events");
    };
    assert_eq!(ended.cause, Cause::SessionEnded);
    let late = client.renew_session(&session).await.unwrap_err();
    assert_eq!(late.code(), Code::NotFound);
}

#[tokio::test]
async fn a_session_that_was_taken_over_is_fenced_off() {
    let server = TestServer::start();
    let client = server.client().await;
    let first = client.open_session(SHORT).id("worker").await.unwrap();
    client.write("lock", "first").session(&first).await.unwrap();
    let keep_alive = client.keep_alive(&first).await.unwrap();

    let living = client.open_session(LONG).id("worker").await.unwrap_err();
    assert_eq!(living.code(), Code::AlreadyExists);
    assert_eq!(living.reason(), Some(Reason::SessionExists));
    let second = client.open_session(LONG).id("worker").take_over();
    let second = second.await.unwrap();
    assert!(second.create_revision > first.create_revision);
    assert_eq!(client.read("lock").await.unwrap().entry, None);

    let write = client.write("lock", "late").session(&first);
    let write = write.await.unwrap_err();
    let renew = client.renew_session(&first).await.unwrap_err();
    let close = client.close_session(&first).await.unwrap_err();
    for error in [write, renew, close] {
        assert_eq!(error.code(), Code::Aborted);
        assert_eq!(error.reason(), Some(Reason::SessionTakenOver));
        assert!(!error.is_retryable());
    }
    let lost = keep_alive.lost().await;
    assert_eq!(lost.reason(), Some(Reason::SessionTakenOver));
    assert!(!keep_alive.is_alive());
    client.renew_session(&second).await.unwrap();
}

#[tokio::test]
async fn sessions_are_listed() {
    let server = TestServer::start();
    let client = server.client().await;
    for id in ["b", "a", "c"] {
        client.open_session(LONG).id(id).await.unwrap();
    }
    let first = client.list_sessions().page_size(2).await.unwrap();
    let token = first.next_page_token.unwrap();
    let second = client.list_sessions().page_token(token).await.unwrap();
    assert_eq!(second.next_page_token, None);
    let sessions = first.sessions.iter().chain(&second.sessions);
    assert!(sessions.map(|session| &session.id).eq(["a", "b", "c"]));
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_is_kept_alive() {
    let server = TestServer::start();
    let client = server.client().await;
    let session = client.open_session(SHORT).await.unwrap();
    let keep_alive = client.keep_alive(&session).await.unwrap();
    client.write("lock", 1).session(&session).await.unwrap();

    // The end of another key shows that more than the ttl of the session has passed.
    let mut watch = client.watch_prefix("").await.unwrap();
    let later = Duration::from_millis(1_500);
    client.write("timer", 1).ttl(later).await.unwrap();
    let [_, ended] = &next_events(&mut watch, 2).await[..] else {
        panic!("two events");
    };
    assert_eq!((ended.key.as_str(), ended.cause), ("timer", Cause::Expired));
    assert!(keep_alive.is_alive());
    assert_eq!(keep_alive.session().id, session.id);
    assert_eq!(keep_alive.close().await.unwrap().deleted_count, 1);
}

#[tokio::test]
async fn a_dropped_keep_alive_stops_the_renewals() {
    let server = TestServer::start();
    let client = server.client().await;
    let session = client.open_session(SHORT).await.unwrap();
    let mut watch = client.watch_key("lock").await.unwrap();
    client.write("lock", 1).session(&session).await.unwrap();
    drop(client.keep_alive(&session).await.unwrap());
    assert_eq!(
        next_events(&mut watch, 2).await[1].cause,
        Cause::SessionEnded
    );
}

#[tokio::test]
async fn a_session_is_lost_in_time_while_the_server_is_out_of_reach() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let direct = server.client().await;
    let mut watch = direct.watch_key("lock").await.unwrap();

    let client = proxy.client().await;
    let session = client.open_session(SHORT).await.unwrap();
    client.write("lock", 1).session(&session).await.unwrap();
    let keep_alive = client.keep_alive(&session).await.unwrap();
    // The client cannot hear of the end of its session, and has to give up in time by itself.
    proxy.cut(None);
    let lost = keep_alive.lost().await;
    assert_eq!(lost.code(), Code::DeadlineExceeded);
    assert_eq!(lost.outcome(), Outcome::Unknown);
    assert!(!keep_alive.is_alive());
    assert!(keep_alive.alive_until() <= std::time::Instant::now());
    // A second call returns the same error.
    assert_eq!(keep_alive.lost().await.message(), lost.message());
    assert_eq!(
        next_events(&mut watch, 2).await[1].cause,
        Cause::SessionEnded
    );
}

#[tokio::test]
async fn an_ended_session_cannot_be_kept_alive() {
    let server = TestServer::start();
    let client = server.client().await;
    let session = client.open_session(LONG).await.unwrap();
    client.close_session(&session).await.unwrap();
    let error = client.keep_alive(&session).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::SessionNotFound));
}

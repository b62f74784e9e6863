//! Additions, deletions, batches, lists and lifetimes.

use std::time::Duration;

use soloist_client::{
    Add, Batch, Cause, Code, Delete, OpReply, Outcome, Read, Reason, Value, Write,
};

use crate::support::{TestServer, next_events};

#[tokio::test]
async fn counters_need_no_loop() {
    let server = TestServer::start();
    let client = server.client().await;
    assert_eq!(client.add("hits", 2).await.unwrap().value, 2);
    let full = client.add("hits", 5).max(4).await.unwrap_err();
    assert_eq!(full.code(), Code::OutOfRange);
    assert_eq!(full.reason(), Some(Reason::BoundReached));
    assert_eq!(full.outcome(), Outcome::NotApplied);
    let stopped = client.add("hits", 5).max(4).saturate().await.unwrap();
    assert_eq!((stopped.value, stopped.applied), (4, 2));
}

#[tokio::test]
async fn a_deletion_returns_what_was_stored() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("k", "v").await.unwrap();
    let deleted = client.delete("k").await.unwrap();
    assert_eq!(deleted.previous.unwrap().value, Value::from("v"));
    assert_eq!(client.delete("k").await.unwrap().previous, None);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let server = TestServer::start();
    let client = server.client().await;
    let transfer = || {
        Batch::new()
            .op(Add::new("from", -5).min(0))
            .op(Add::new("to", 5))
            .op(Read::new("from"))
            .op(Delete::new("missing"))
    };
    let refused = client.batch(transfer()).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::BoundReached));
    assert_eq!(refused.metadata("op"), Some("0"));
    client.write("from", 5).await.unwrap();
    let done = client.batch(transfer()).await.unwrap();
    assert_eq!(done.revision, 2);
    let [
        OpReply::Add(from),
        OpReply::Add(to),
        OpReply::Read(read),
        OpReply::Delete(deleted),
    ] = &done.results[..]
    else {
        panic!("{:?}", done.results);
    };
    assert_eq!((from.value, to.value), (0, 5));
    assert_eq!(read.value(), Some(&0.into()));
    assert_eq!(deleted.previous, None);
}

#[tokio::test]
async fn a_page_token_continues_a_list() {
    let server = TestServer::start();
    let client = server.client().await;
    let batch: Batch = (0..5)
        .map(|n| Write::new(format!("jobs/{n}"), n).into())
        .collect();
    client.batch(batch).await.unwrap();
    let mut keys = Vec::new();
    let mut token = Some(String::new());
    while let Some(page_token) = token {
        let page = client
            .list("jobs/")
            .page_size(2)
            .page_token(page_token)
            .await
            .unwrap();
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        token = page.next_page_token;
    }
    assert_eq!(keys, ["jobs/0", "jobs/1", "jobs/2", "jobs/3", "jobs/4"]);
    let page = client.list("").keys_only().await.unwrap();
    assert!(page.entries.iter().all(|entry| entry.entry.value.is_none()));
}

#[tokio::test]
async fn a_key_expires_after_its_ttl() {
    let server = TestServer::start();
    let client = server.client().await;
    let mut watch = client.watch_prefix("").await.unwrap();
    let short = Duration::from_millis(10);
    client.write("a", 1).ttl(short).await.unwrap();
    client.add("b", 1).ttl(short).await.unwrap();
    let received = next_events(&mut watch, 4).await;
    let ended = received
        .iter()
        .filter(|event| event.cause == Cause::Expired);
    assert_eq!(ended.count(), 2);
    assert_eq!(client.read("a").await.unwrap().entry, None);
}

#[tokio::test]
async fn a_lifetime_is_kept_changed_and_removed() {
    let server = TestServer::start();
    let client = server.client().await;
    let long = Duration::from_secs(3_600);
    let expire_time = async || client.read("k").await.unwrap().entry.unwrap().expire_time;

    client.write("k", 1).ttl(long).await.unwrap();
    let first = expire_time().await.unwrap();
    client.write("k", 2).keep_lifetime().await.unwrap();
    assert_eq!(expire_time().await, Some(first));
    // An addition leaves the lifetime of an existing key as it is.
    client.add("k", 1).ttl(long * 2).await.unwrap();
    assert_eq!(expire_time().await, Some(first));

    client.touch("k").ttl(long * 2).await.unwrap();
    assert!(expire_time().await.unwrap() >= first + long);
    client.touch("k").await.unwrap();
    assert_eq!(expire_time().await, None);
    assert_eq!(client.read("k").await.unwrap().value(), Some(&3.into()));
    client.write("k", 1).ttl(long).await.unwrap();
    client.write("k", 1).await.unwrap();
    assert_eq!(expire_time().await, None);

    let missing = client.touch("gone").ttl(long).await.unwrap_err();
    assert_eq!(missing.reason(), Some(Reason::KeyNotFound));
    for ttl in [Duration::ZERO, Duration::MAX] {
        let error = client.write("k", 1).ttl(ttl).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::BadLifetime));
    }
}

#[tokio::test]
async fn a_prefix_is_deleted_slice_by_slice() {
    let server = TestServer::start();
    let client = server.client().await;
    for n in 0..25 {
        client.write(format!("test/{n:02}"), n).await.unwrap();
    }
    client.write("other", 1).await.unwrap();
    let mut watch = client.watch_prefix("").await.unwrap();

    let mut deleted = Vec::new();
    let mut next = client.delete_prefix("test/").limit(10).await.unwrap();
    loop {
        deleted.push(next.deleted_count);
        let Some(token) = next.next_page_token else {
            break;
        };
        let more = client.delete_prefix("test/").limit(10).page_token(token);
        next = more.await.unwrap();
    }
    assert_eq!(deleted, [10, 10, 5]);
    let events = next_events(&mut watch, 25).await;
    assert!(events.iter().all(|event| event.cause == Cause::Deleted));

    let whole = client.delete_prefix("").await.unwrap_err();
    assert_eq!(whole.reason(), Some(Reason::BadPage));
    let whole = client.delete_prefix("").every_key().await.unwrap();
    assert_eq!((whole.deleted_count, whole.kept_count), (1, 0));
}

//! Additions, deletions, batches and lists.

use soloist_client::{Add, Batch, Code, Delete, OpReply, Outcome, Read, Reason, Value, Write};

use crate::support::TestServer;

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
async fn what_is_deleted_comes_back() {
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
async fn lists_go_on_where_they_stopped() {
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
    assert!(page.entries.iter().all(|entry| entry.value.is_none()));
}

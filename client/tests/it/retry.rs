//! Request ids and retries: lost replies, and servers that are away for a while.

use std::future::IntoFuture;
use std::time::Duration;

use soloist_client::{
    Add, Batch, Client, Code, Condition, Delete, Frame, OpReply, Outcome, Reason, Retry, Write,
};
use soloist_server::config::Config;

use crate::proxy::Proxy;
use crate::support::{TestServer, next_events};

/// Makes a call whose first reply is lost after the call was applied. Returns what the call returns in the end.
async fn with_lost_reply<R: Send + 'static>(
    server: &TestServer,
    call: impl AsyncFnOnce(&Client) -> R,
) -> R {
    let direct = server.client().await;
    let proxy = Proxy::to(server).await;
    let client = proxy.client().await;
    client.info().await.unwrap();
    let mut watch = direct.watch_prefix("").await.unwrap();

    proxy.silence();
    let (reply, ()) = tokio::join!(call(&client), async {
        next_events(&mut watch, 1).await;
        proxy.cut(Some(server));
    });
    reply
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_is_applied_once() {
    let server = TestServer::start();
    let retry = Retry::default();
    let added = with_lost_reply(&server, async |client| {
        client.add("hits", 1).retry(retry).await.unwrap()
    })
    .await;
    assert_eq!((added.value, added.revision, added.replayed), (1, 1, true));

    let written = with_lost_reply(&server, async |client| {
        let write = client.write("lock", 1).expect(Condition::Missing);
        write.retry(retry).await.unwrap()
    })
    .await;
    assert!(written.replayed);
    assert_eq!(written.revision, written.create_revision);

    let deleted = with_lost_reply(&server, async |client| {
        client.delete("lock").retry(retry).await.unwrap()
    })
    .await;
    assert!(deleted.replayed);
    assert_eq!(deleted.previous.unwrap().value, 1.into());

    let done = with_lost_reply(&server, async |client| {
        let batch = Batch::new()
            .op(Add::new("hits", 1))
            .op(Delete::new("missing"));
        client.batch(batch).retry(retry).await.unwrap()
    })
    .await;
    assert!(done.replayed);
    let client = server.client().await;
    assert_eq!(client.read("hits").await.unwrap().value(), Some(&2.into()));
}

#[tokio::test]
async fn the_same_request_id_resolves_an_unknown_outcome() {
    let server = TestServer::start();
    let id = "a92e7c1b";
    let error = with_lost_reply(&server, async |client| {
        client.add("hits", 1).request_id(id).await.unwrap_err()
    })
    .await;
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(!error.is_retryable());

    let client = server.client().await;
    let again = client.add("hits", 1).request_id(id).await.unwrap();
    assert_eq!((again.value, again.replayed), (1, true));
    let other = client.add("hits", 2).request_id(id).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert_eq!(other.reason(), Some(Reason::RequestIdReused));
}

#[tokio::test]
async fn a_session_is_opened_and_closed_once_per_request_id() {
    let server = TestServer::start();
    let ttl = Duration::from_secs(60);
    let client = server.client().await;
    let open = || client.open_session(ttl).id("worker").request_id("id");
    let opened = open().await.unwrap();
    let again = open().await.unwrap();
    assert_eq!(again.create_revision, opened.create_revision);
    assert!(again.replayed && !opened.replayed);
    let close = || client.close_session(&opened).request_id("other");
    assert!(!close().await.unwrap().replayed);
    assert!(close().await.unwrap().replayed);
}

#[tokio::test]
async fn a_retry_finds_a_server_that_comes_back() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let client = Client::builder(proxy.address())
        .retry(Retry::default())
        .connect()
        .await
        .unwrap();
    proxy.cut(None);
    let (written, ()) = tokio::join!(client.write("k", 1).into_future(), async {
        proxy.wait_for_refusal().await;
        proxy.cut(Some(&server));
    });
    assert_eq!(written.unwrap().revision, 1);

    // The setting of the call overrides that of the client.
    proxy.cut(None);
    let error = client.read("k").retry(None).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!error.message().contains("attempts"), "{error}");
}

#[tokio::test]
async fn an_overloaded_server_is_retried_until_it_has_room() {
    let mut config = Config::default();
    config.limits.request_id_count = 1;
    config.limits.request_id_window = Duration::from_secs(1);
    let server = TestServer::with(config);
    let client = server.client().await;
    client.write("k", 1).request_id("first").await.unwrap();

    let error = client.write("k", 2).request_id("second").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Overloaded));
    assert!(error.is_retryable() && error.retry_delay().is_some());
    let write = client.write("k", 2).request_id("second");
    let written = write.retry(Retry::default()).await.unwrap();
    assert_eq!((written.revision, written.replayed), (2, false));
}

#[tokio::test]
async fn a_lasting_refusal_is_not_retried() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("k", 1).await.unwrap();
    let write = client.write("k", 2).expect(Condition::Missing);
    let error = write.retry(Retry::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::KeyExists));
    assert!(!error.message().contains("attempts"), "{error}");
}

#[tokio::test]
async fn the_timeout_of_a_call_bounds_all_attempts() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let client = proxy.client().await;
    proxy.cut(None);
    let timeout = Duration::from_millis(200);
    let start = std::time::Instant::now();
    let read = client.read("k").timeout(timeout).retry(Retry::default());
    let error = read.await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.message().contains("attempts)"), "{error}");
    assert!(start.elapsed() < timeout + Duration::from_secs(1));
}

#[tokio::test]
async fn frames_and_their_operations_have_request_ids() {
    let server = TestServer::start();
    let mut pipeline = server.client().await.pipeline().await.unwrap();
    let frame = || Frame::new().op(Add::new("hits", 1));
    pipeline.send(frame().atomic().request_id("id")).unwrap();
    pipeline.send(frame().atomic().request_id("id")).unwrap();
    pipeline.send(frame().request_id("id")).unwrap();
    let first = pipeline.recv().await.unwrap().unwrap();
    let second = pipeline.recv().await.unwrap().unwrap();
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.revision, second.revision);
    let third = pipeline.recv().await.unwrap().unwrap();
    let error = third.results.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::BadRequestId));

    // In a frame that is not atomic, each operation has a request id of its own.
    let write = || Write::new("k", 1).request_id("another");
    pipeline.send(Frame::new().op(write()).op(write())).unwrap();
    let reply = pipeline.recv().await.unwrap().unwrap();
    let results = reply.results.unwrap();
    let replayed = results.iter().map(|result| match result {
        Ok(OpReply::Write(written)) => written.replayed,
        other => panic!("{other:?}"),
    });
    assert!(replayed.eq([false, true]));
}

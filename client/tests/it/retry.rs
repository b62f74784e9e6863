//! Request ids and retries: answers that are lost, servers that are away for a while.

use std::future::IntoFuture;
use std::time::Duration;

use soloist_client::{
    Add, Batch, Client, Code, Condition, Delete, Frame, OpReply, Outcome, Reason, Retry, Write,
};
use soloist_server::config::Config;

use crate::proxy::Proxy;
use crate::support::{TestServer, events};

/// Makes a call whose first answer is lost after it was applied, and returns what the retry is answered.
async fn with_lost_answer<R: Send + 'static>(
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
        events(&mut watch, 1).await;
        proxy.cut(Some(server));
    });
    reply
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_applied_once() {
    let server = TestServer::start();
    let retry = Retry::default();
    let added = with_lost_answer(&server, async |client| {
        client.add("hits", 1).retry(retry).await.unwrap()
    })
    .await;
    assert_eq!((added.value, added.revision, added.replayed), (1, 1, true));

    let written = with_lost_answer(&server, async |client| {
        let write = client.write("lock", 1).expect(Condition::Missing);
        write.retry(retry).await.unwrap()
    })
    .await;
    assert!(written.replayed);
    assert_eq!(written.revision, written.create_revision);

    let deleted = with_lost_answer(&server, async |client| {
        client.delete("lock").retry(retry).await.unwrap()
    })
    .await;
    assert!(deleted.replayed);
    assert_eq!(deleted.previous.unwrap().value, 1.into());

    let done = with_lost_answer(&server, async |client| {
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
async fn without_a_retry_the_outcome_is_unknown_and_the_id_finds_it_out() {
    let server = TestServer::start();
    let id = "a92e7c1b";
    let error = with_lost_answer(&server, async |client| {
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
async fn a_session_whose_opening_is_not_heard_of_is_opened_once() {
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
async fn a_server_that_comes_back_is_found() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let client = Client::builder(proxy.address())
        .retry(Retry::default())
        .connect()
        .await
        .unwrap();
    proxy.cut(None);
    let (written, ()) = tokio::join!(client.write("k", 1).into_future(), async {
        proxy.refused().await;
        proxy.cut(Some(&server));
    });
    assert_eq!(written.unwrap().revision, 1);

    // The call's own word counts.
    proxy.cut(None);
    let error = client.read("k").retry(None).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!error.message().contains("attempts"), "{error}");
}

#[tokio::test]
async fn an_overloaded_server_is_tried_again_until_it_has_room() {
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
async fn what_would_be_refused_again_is_not_tried_again() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("k", 1).await.unwrap();
    let write = client.write("k", 2).expect(Condition::Missing);
    let error = write.retry(Retry::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::KeyExists));
    assert!(!error.message().contains("attempts"), "{error}");
}

#[tokio::test]
async fn attempts_end_with_the_timeout_of_the_call() {
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
async fn a_frame_has_an_id_too() {
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

    // Where each operation stands alone, each has an id of its own.
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

//! Watches: the changes that they receive, where they start, and how they resume after a break.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use soloist_client::{
    Batch, Cause, Code, Delete, Error, Reason, Retry, Value, Watch, WatchMessage, Write,
};
use soloist_server::config::Config;

use crate::proxy::Proxy;
use crate::support::{TestServer, next_events};

#[tokio::test]
async fn every_change_is_received_in_order() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("k/1", 1).await.unwrap();
    let mut watch = client.watch_prefix("k/").previous().await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!((first.events.len(), first.revision), (0, Some(1)));
    assert!(!first.caught_up);

    client.write("k/1", 2).await.unwrap();
    client.write("other", 1).await.unwrap();
    client
        .write("k/2", 3)
        .ttl(Duration::from_millis(5))
        .await
        .unwrap();
    let received = next_events(&mut watch, 3).await;
    let causes: Vec<_> = received
        .iter()
        .map(|event| (event.key.as_str(), event.cause))
        .collect();
    assert_eq!(
        causes,
        [
            ("k/1", Cause::Written),
            ("k/2", Cause::Written),
            ("k/2", Cause::Expired)
        ]
    );
    let before = |n: usize| {
        received[n]
            .previous
            .as_ref()
            .map(|entry| entry.value.clone())
    };
    assert_eq!(
        (received[0].value(), before(0)),
        (Some(&2.into()), Some(1.into()))
    );
    assert_eq!((received[1].value(), before(1)), (Some(&3.into()), None));
    assert!(received[1].entry.as_ref().unwrap().expire_time.is_some());
    assert_eq!((received[2].value(), before(2)), (None, Some(3.into())));
    assert_eq!(watch.revision(), Some(received[2].revision));

    client.delete("k/1").await.unwrap();
    assert_eq!(next_events(&mut watch, 1).await[0].cause, Cause::Deleted);
}

#[tokio::test]
async fn all_changes_of_one_revision_come_in_one_message() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("a", 1).await.unwrap();
    let mut watch = client.watch_prefix("").after_revision(1).await.unwrap();
    let batch = Batch::new()
        .op(Write::new("b", 1))
        .op(Write::new("c", 1))
        .op(Delete::new("a"));
    let done = client.batch(batch).await.unwrap();
    let message = next_message_with_events(&mut watch).await;
    assert_eq!(message.revision, Some(done.revision));
    let keys = message.events.iter().map(|event| event.key.as_str());
    assert_eq!(keys.collect::<BTreeSet<_>>(), ["a", "b", "c"].into());
}

async fn next_message_with_events(watch: &mut Watch) -> WatchMessage {
    loop {
        let message = watch.next().await.unwrap().unwrap();
        if !message.events.is_empty() {
            return message;
        }
    }
}

#[tokio::test]
async fn initial_entries_come_before_new_changes() {
    let server = TestServer::start();
    let client = server.client().await;
    for key in ["c", "a", "b"] {
        client.write(key, key).await.unwrap();
    }
    let mut watch = client.watch_prefix("").initial().await.unwrap();
    client.write("a", "later").await.unwrap();

    let mut keys = Vec::new();
    loop {
        let message = watch.next().await.unwrap().unwrap();
        assert!(
            message
                .events
                .iter()
                .all(|event| event.cause == Cause::Initial)
        );
        keys.extend(message.events.into_iter().map(|event| event.key));
        if message.caught_up {
            assert_eq!(message.revision, Some(3));
            break;
        }
        assert_eq!(message.revision, None);
    }
    assert_eq!(keys, ["a", "b", "c"]);
    let live = next_message_with_events(&mut watch).await;
    assert_eq!((live.revision, live.caught_up), (Some(4), false));
    assert_eq!(live.events[0].value(), Some(&"later".into()));
}

#[tokio::test]
async fn a_watch_resumes_after_a_revision() {
    let server = TestServer::start();
    let client = server.client().await;
    for number in 1..=5 {
        client.write("k", number).await.unwrap();
    }
    let mut watch = client.watch_key("k").after_revision(2).await.unwrap();
    let received = next_events(&mut watch, 3).await;
    let values: Vec<_> = received
        .iter()
        .map(|event| event.value().unwrap().clone())
        .collect();
    assert_eq!(values, [3, 4, 5].map(Value::Int));

    let store_id = client.info().await.unwrap().store_id;
    let same = client.watch_key("k").after_revision(2).store_id(store_id);
    assert_eq!(
        next_events(&mut same.await.unwrap(), 1).await[0].revision,
        3
    );

    let elsewhere = client.watch_key("k").after_revision(2).store_id("another");
    assert_eq!(
        ending(elsewhere.await).await,
        (Code::OutOfRange, Some(Reason::StoreChanged))
    );
    let future = client.watch_key("k").after_revision(99).await;
    assert_eq!(
        ending(future).await,
        (Code::OutOfRange, Some(Reason::RevisionUnknown))
    );
    let both = client.watch_key("k").after_revision(1).initial().await;
    assert_eq!(
        ending(both).await,
        (Code::InvalidArgument, Some(Reason::BadWatch))
    );
}

/// The error that ends a watch, while it is being opened or later.
async fn ending(watch: Result<Watch, Error>) -> (Code, Option<Reason>) {
    let error = match watch {
        Err(error) => error,
        Ok(mut watch) => loop {
            if let Err(error) = watch.next().await {
                assert!(watch.next().await.unwrap().is_none());
                break error;
            }
        },
    };
    (error.code(), error.reason())
}

#[tokio::test]
async fn a_watch_cannot_resume_before_the_oldest_change_kept() {
    let mut config = Config::default();
    config.limits.watch_ring_events = 2;
    let server = TestServer::with(config);
    let client = server.client().await;
    for number in 1..=9 {
        client.write("k", number).await.unwrap();
    }
    let watch = client
        .watch_key("k")
        .after_revision(1)
        .resume(Retry::default());
    assert_eq!(
        ending(watch.await).await,
        (Code::OutOfRange, Some(Reason::RevisionCompacted))
    );
}

#[tokio::test]
async fn progress_is_reported_while_nothing_changes() {
    let server = TestServer::start();
    let client = server.client().await;
    let mut watch = client
        .watch_key("k")
        .progress_interval(Duration::from_millis(100))
        .await
        .unwrap();
    watch.next().await.unwrap();
    let written = client.write("other", 1).await.unwrap();
    let progress = watch.next().await.unwrap().unwrap();
    assert!(progress.events.is_empty());
    assert_eq!(progress.revision, Some(written.revision));
}

#[tokio::test]
async fn a_resumed_watch_receives_every_change_once() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let writer = server.client().await;
    let watched = proxy.client().await;
    let mut watch = watched
        .watch_key("k")
        .initial()
        .resume(Retry::default())
        .await
        .unwrap();
    let mut caught_up = 0;
    for number in 0..30 {
        match number % 10 {
            3 => proxy.cut(Some(&server)),
            6 => {
                proxy.silence();
                writer.write("other", number).await.unwrap();
                proxy.cut(Some(&server));
            }
            _ => {}
        }
        writer.write("k", number).await.unwrap();
        loop {
            let message = watch.next().await.unwrap().unwrap();
            caught_up += u32::from(message.caught_up);
            if let [event] = &message.events[..] {
                assert_eq!(event.value(), Some(&Value::Int(number)));
                break;
            }
            assert!(message.events.is_empty());
        }
    }
    assert_eq!(caught_up, 1);
}

#[tokio::test]
async fn a_resumed_watch_waits_for_its_server_to_come_back() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let watched = proxy.client().await;
    let watch = watched.watch_key("k").resume(Retry::default()).await;
    let mut watch = watch.unwrap();
    watch.next().await.unwrap();
    proxy.cut(None);
    let written = server.client().await.write("k", 1).await.unwrap();
    let (message, ()) = tokio::join!(watch.next(), async {
        proxy.wait_for_refusal().await;
        proxy.cut(Some(&server));
    });
    let message = message.unwrap().unwrap();
    assert_eq!(message.events[0].revision, written.revision);
}

#[tokio::test]
async fn a_watch_is_a_stream() {
    let server = TestServer::start();
    let client = server.client().await;
    for number in 1..=3 {
        client.write("k", number).await.unwrap();
    }
    let watch = client.watch_key("k").after_revision(0).await.unwrap();
    let values: Vec<_> = watch
        .flat_map(|message| stream::iter(message.unwrap().events))
        .map(|event| event.value().cloned())
        .take(3)
        .collect()
        .await;
    assert_eq!(values, [1, 2, 3].map(|number| Some(Value::Int(number))));
}

#[tokio::test]
async fn unread_watches_hold_nobody_up() {
    let server = TestServer::start();
    let client = server.client().await;
    let mut watches = Vec::new();
    for _ in 0..8 {
        watches.push(client.watch_key("k").await.unwrap());
    }
    let large = "v".repeat(500_000);
    for number in 0..6 {
        let written = client.write("k", large.as_str()).await.unwrap();
        assert_eq!(written.revision, number + 1);
    }
    for watch in &mut watches {
        assert_eq!(next_events(watch, 6).await.len(), 6);
    }
}

#[tokio::test]
async fn a_watch_does_not_resume_on_another_store() {
    let (before, after) = (TestServer::start(), TestServer::start());
    let proxy = Proxy::to(&before).await;
    let watched = proxy.client().await;
    for server in [&before, &after] {
        server.client().await.write("k", 1).await.unwrap();
    }
    let watch = watched.watch_key("k").resume(Retry::default()).await;
    let mut watch = watch.unwrap();
    watch.next().await.unwrap();
    proxy.cut(Some(&after));
    assert_eq!(
        ending(Ok(watch)).await,
        (Code::OutOfRange, Some(Reason::StoreChanged))
    );
}

#[tokio::test]
async fn a_break_ends_a_watch_that_does_not_resume() {
    let server = TestServer::start();
    let proxy = Proxy::to(&server).await;
    let watched = proxy.client().await;
    let mut watch = watched.watch_key("k").await.unwrap();
    watch.next().await.unwrap();
    proxy.cut(Some(&server));
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.is_retryable());

    let mut watch = server.client().await.watch_key("k").await.unwrap();
    watch.next().await.unwrap();
    server.drain();
    assert_eq!(
        ending(Ok(watch)).await,
        (Code::Unavailable, Some(Reason::Draining))
    );
}

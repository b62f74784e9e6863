//! Watches: their messages, and what happens to watches that are slow, too many, or open when the server drains.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::json::{Caller, Includes, has, refused};
use crate::support::TestServer;

type Message = Result<Value, Status>;

/// The next message. Panics if none comes for a long time, or the watch has ended.
async fn next(watch: &mut (impl Stream<Item = Message> + Unpin)) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next());
    next.await
        .expect("a message should have come by now")
        .expect("the watch has not ended")
}

#[track_caller]
fn assert_has(message: &Value, expected: &Value) {
    assert!(has(message, expected), "{message:#} lacks {expected:#}");
}

async fn write(caller: &Caller, key: &str, more: Value) {
    let request = crate::json::with(&json!({"key": key, "value": {"int": 1}}), more);
    caller.call("State/Write", &request).await.unwrap();
}

#[tokio::test]
async fn a_watch_without_a_start_begins_now() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    write(&caller, "a/0", json!({})).await;
    let request = json!({"prefix": "a/", "previous": true});
    let mut watch = caller.stream("State/Watch", &request).await.unwrap();
    // The first message comes at once, and says after which revision all changes will be sent.
    assert_eq!(next(&mut watch).await.unwrap(), json!({"revision": "1"}));
    write(&caller, "b", json!({})).await;
    write(&caller, "a/0", json!({"value": {"text": "x"}})).await;
    let batch = json!({"ops": [
        {"write": {"key": "a/2", "value": {"int": 2}}},
        {"write": {"key": "c", "value": {"int": 2}}},
        {"delete": {"key": "a/0"}},
        {"add": {"key": "a/2", "delta": 1}},
        // Created and deleted in one batch: no other call sees the key, but the batch takes a revision and sends an event.
        {"add": {"key": "a/3", "delta": 1}},
        {"delete": {"key": "a/3"}},
    ]});
    caller.call("State/Batch", &batch).await.unwrap();
    let mut events = Vec::new();
    while events.len() < 4 {
        let message = next(&mut watch).await.unwrap();
        let of_message = message["events"].as_array().cloned().unwrap_or_default();
        events.extend(of_message);
    }
    let expected = json!([
        {"cause": "WRITTEN", "entry": {"key": "a/0", "revision": "3", "value": {"text": "x"}}, "previous": {"value": {"int": "1"}, "key": "a/0"}},
        // One event for each key of a batch: from the entry before the batch to the one after it, with the last cause.
        {"cause": "DELETED", "entry": {"key": "a/0", "revision": "4", "value": null}, "previous": {"value": {"text": "x"}}},
        {"cause": "WRITTEN", "entry": {"key": "a/2", "value": {"int": "3"}, "createRevision": "4"}, "previous": null},
        {"cause": "DELETED", "entry": {"key": "a/3", "revision": "4"}, "previous": null},
    ]);
    assert_has(&json!(events), &expected);
}

#[tokio::test]
async fn an_initial_watch_sends_entries_and_then_changes() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    for key in ["b", "a", "c"] {
        write(&caller, key, json!({})).await;
    }
    let request = json!({"prefix": "", "initial": true});
    let mut watch = caller.stream("State/Watch", &request).await.unwrap();
    let initial = next(&mut watch).await.unwrap();
    let event = |key: &str, cause: &str| json!({"cause": cause, "entry": {"key": key}});
    let expected = json!({"revision": null, "events": [event("a", "INITIAL"), event("b", "INITIAL"), event("c", "INITIAL")]});
    assert_has(&initial, &expected);
    let caught_up = json!({"revision": "3", "caughtUp": true});
    assert_eq!(next(&mut watch).await.unwrap(), caught_up);
    write(&caller, "a", json!({})).await;
    let expected = json!({"revision": "4", "events": [event("a", "WRITTEN")], "caughtUp": null});
    assert_has(&next(&mut watch).await.unwrap(), &expected);
}

#[tokio::test]
async fn a_watch_resumes_after_a_revision() {
    let server = TestServer::with(|config| config.limits.watch_ring_events = 16);
    let caller = Caller::of(&server).await;
    for _ in 0..3 {
        write(&caller, "k", json!({})).await;
    }
    let mut watch = caller
        .stream("State/Watch", &json!({"key": "k", "after_revision": 1}))
        .await
        .unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), json!({"revision": "1"}));
    let revisions = |message: &Value| -> Vec<String> {
        let events = message["events"].as_array().cloned().unwrap_or_default();
        let revision = |event: &Value| event["entry"]["revision"].as_str().unwrap().to_owned();
        events.iter().map(revision).collect()
    };
    // The message with the last change of the past says that the watch has caught up.
    let past = next(&mut watch).await.unwrap();
    assert_eq!(
        (revisions(&past), &past["caughtUp"]),
        (vec!["2".into(), "3".into()], &json!(true))
    );

    let info = caller.call("Admin/GetInfo", &json!({})).await.unwrap();
    let store_id = info["storeId"].as_str().unwrap().to_owned();
    for _ in 0..40 {
        write(&caller, "k", json!({})).await;
    }
    let info = caller.call("Admin/GetInfo", &json!({})).await.unwrap();
    let oldest: i64 = info["oldestRevision"].as_str().unwrap().parse().unwrap();
    assert!((43 - 16..43).contains(&oldest), "{oldest}");
    let ask = |more| crate::json::with(&json!({"prefix": ""}), more);
    let gone = json!({"oldest_revision": oldest.to_string(), "actual": "0"});
    let of_store = json!({"after_revision": oldest, "store_id": store_id});
    for (request, expected) in [
        (
            ask(json!({"after_revision": 0})),
            refused(Code::OutOfRange, "REVISION_COMPACTED", gone),
        ),
        (
            ask(json!({"after_revision": 44})),
            refused(
                Code::OutOfRange,
                "REVISION_UNKNOWN",
                json!({"limit": "43", "actual": "44"}),
            ),
        ),
        (
            ask(json!({"store_id": "x"})),
            refused(
                Code::OutOfRange,
                "STORE_CHANGED",
                json!({"expected": "x", "actual": store_id}),
            ),
        ),
        (
            ask(of_store),
            Includes(json!({"revision": oldest.to_string()})),
        ),
    ] {
        caller.check("State/Watch", request, expected).await;
    }
}

#[tokio::test]
async fn a_quiet_watch_reports_progress() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    let request = json!({"key": "quiet", "progress_interval": "0.1s"});
    let mut watch = caller.stream("State/Watch", &request).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), json!({}));
    write(&caller, "other", json!({})).await;
    // The watched key does not change, and yet the client learns the revision of the store.
    while next(&mut watch).await.unwrap() != json!({"revision": "1"}) {}
    assert_eq!(next(&mut watch).await.unwrap(), json!({"revision": "1"}));
}

#[tokio::test]
async fn changes_made_by_time_are_sent_with_their_cause() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    let machine = json!({"machine": {"name": "job", "key_prefix": "job/", "initial": "running", "states": {
        "running": {"next": ["done"], "timeout": "0.02s", "timeout_next": "failed"}, "done": {}, "failed": {}}}});
    caller
        .call("Machines/DefineMachine", &machine)
        .await
        .unwrap();
    let mut watch = caller
        .stream("State/Watch", &json!({"prefix": ""}))
        .await
        .unwrap();
    next(&mut watch).await.unwrap();
    let open = json!({"id": "s", "ttl": "1s"});
    caller.call("Sessions/OpenSession", &open).await.unwrap();
    write(&caller, "mine", json!({"session": "s"})).await;
    write(&caller, "short", json!({"ttl": "0.03s"})).await;
    write(&caller, "job/1", json!({})).await;
    let mut causes = Vec::new();
    while causes.len() < 6 {
        let message = next(&mut watch).await.unwrap();
        for event in message["events"].as_array().unwrap() {
            causes.push(format!(
                "{} {} {}",
                event["cause"].as_str().unwrap(),
                event["entry"]["key"].as_str().unwrap(),
                event["entry"]["state"].as_str().unwrap_or_default()
            ));
        }
    }
    // The session ends last, because nobody renews it.
    assert_eq!(causes.pop().unwrap(), "SESSION_ENDED mine ");
    causes.sort();
    let expected = [
        "EXPIRED short ",
        "TIMED_OUT job/1 failed",
        "WRITTEN job/1 running",
        "WRITTEN mine ",
        "WRITTEN short ",
    ];
    assert_eq!(causes, expected);
}

#[tokio::test]
async fn a_slow_watch_ends_and_slows_nobody_down() {
    let server = TestServer::with(|config| {
        config.limits.watch_ring_events = 100;
        config.limits.watch_ring_bytes = 8 << 20;
    });
    let caller = Caller::of(&server).await;
    let mut watch = caller
        .stream("State/Watch", &json!({"key": "k"}))
        .await
        .unwrap();
    // The client reads nothing, while more changes than the ring and the buffers on the way can hold.
    let value = "x".repeat(50_000);
    for _ in 0..400 {
        write(&caller, "k", json!({"value": {"text": value}})).await;
    }
    let end = loop {
        match next(&mut watch).await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::OutOfRange);
    let details = end.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "REVISION_COMPACTED");
    // The revision at which the watch fell behind depends on those buffers.
    let revision = |name: &str| info.metadata[name].parse::<i64>().unwrap();
    assert!(revision("actual") < revision("oldest_revision"), "{info:?}");
}

#[tokio::test]
async fn a_draining_server_ends_watches() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    let mut watch = caller
        .stream("State/Watch", &json!({"prefix": ""}))
        .await
        .unwrap();
    next(&mut watch).await.unwrap();
    server.drain();
    let end = next(&mut watch).await.unwrap_err();
    crate::support::assert_refused(&end, Code::Unavailable, "DRAINING", &[]);
    drop((watch, caller));
    server.stopped().await;
}

#[tokio::test]
async fn watches_over_the_limit_are_refused() {
    let server = TestServer::with(|config| config.limits.max_watches = 2);
    let request = json!({"prefix": ""});
    let (caller, other) = (Caller::of(&server).await, Caller::of(&server).await);
    let open = async || caller.stream("State/Watch", &request).await;
    let first = open().await.unwrap();
    // The last one is for another connection.
    let Err(share) = open().await else {
        panic!("one connection took all watches")
    };
    assert!(share.message().contains("of one connection"), "{share:?}");
    let watches = (first, other.stream("State/Watch", &request).await.unwrap());
    let Err(full) = open().await else {
        panic!("a third watch was opened")
    };
    crate::support::assert_refused(
        &full,
        Code::ResourceExhausted,
        "OVERLOADED",
        &[("limit", "2")],
    );
    assert!(full.metadata().contains_key("grpc-retry-pushback-ms"));
    // Dropped watches make room, once the server has noticed.
    drop(watches);
    while open().await.is_err() {}
}

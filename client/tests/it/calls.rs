//! Calls that read and write: values, conditions, errors, deadlines.

use std::time::Duration;

use soloist::v1;
use soloist_client::{Client, Code, Condition, Outcome, Reason, Retry, Value};
use tokio::net::TcpListener;

use crate::support::TestServer;

#[tokio::test]
async fn a_read_returns_what_was_written() {
    let server = TestServer::start();
    let client = server.client().await;

    let missing = client.read("a").await.unwrap();
    assert_eq!((missing.value(), missing.revision), (None, 0));

    let values = [
        Value::from(42),
        Value::from("text"),
        Value::from(vec![0, 255]),
        Value::from(""),
    ];
    for (value, revision) in values.into_iter().zip(1..) {
        let written = client.write("a", value.clone()).await.unwrap();
        assert_eq!((written.revision, written.create_revision), (revision, 1));
        assert_eq!(written.previous, None);
        let read = client.read("a").await.unwrap();
        assert_eq!(read.value(), Some(&value));
        let entry = read.entry.unwrap();
        assert_eq!((entry.revision, entry.create_revision), (revision, 1));
    }

    let written = client.write("a", 1).return_previous().await.unwrap();
    let previous = written.previous.unwrap();
    assert_eq!((previous.value, previous.revision), (Value::from(""), 4));
}

#[tokio::test]
async fn conditions_hold_or_nothing_changes() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("there", 1).await.unwrap();

    let refusals = [
        (
            "there",
            Condition::Missing,
            Code::AlreadyExists,
            Reason::KeyExists,
        ),
        (
            "gone",
            Condition::Exists,
            Code::NotFound,
            Reason::KeyNotFound,
        ),
        (
            "there",
            Condition::Revision(9),
            Code::Aborted,
            Reason::ExpectationFailed,
        ),
        (
            "there",
            Condition::CreateRevision(9),
            Code::Aborted,
            Reason::ExpectationFailed,
        ),
        (
            "there",
            Condition::Value("1".into()),
            Code::Aborted,
            Reason::ExpectationFailed,
        ),
        (
            "there",
            Condition::Revision(-1),
            Code::InvalidArgument,
            Reason::BadCondition,
        ),
    ];
    for (key, condition, code, reason) in refusals {
        let write = client.write(key, 2).expect(condition.clone()).await;
        let read = client.read(key).expect(condition.clone()).await;
        for error in [write.unwrap_err(), read.unwrap_err()] {
            assert_eq!(
                (error.code(), error.reason()),
                (code, Some(reason)),
                "{error}"
            );
            assert_eq!(error.outcome(), Outcome::NotApplied);
            assert!(!error.is_retryable(), "{error}");
        }
    }
    assert_eq!(client.info().await.unwrap().revision, 1);

    for (key, condition) in [
        ("there", Condition::Exists),
        ("there", Condition::Revision(1)),
        ("there", Condition::CreateRevision(1)),
        ("there", Condition::Value(1.into())),
        ("gone", Condition::Missing),
        ("gone", Condition::Revision(0)),
    ] {
        client.read(key).expect(condition).await.unwrap();
    }
    let written = client.write("there", 2).expect(Condition::Value(1.into()));
    assert_eq!(written.await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_refusal_names_limit_and_actual() {
    let server = TestServer::start();
    let client = server.client().await;
    let error = client.write("k".repeat(1_025), 1).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::BadKey));
    assert_eq!(error.metadata("limit"), Some("1024"));
    assert_eq!(error.metadata("actual"), Some("1025"));
    assert_eq!(error.metadata("field"), Some("key"));
}

#[tokio::test]
async fn info_returns_the_limits() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("a", 1).await.unwrap();
    let info = client.info().await.unwrap();
    assert_eq!((info.revision, info.key_count), (1, 1));
    assert_eq!(info.limits.unwrap().max_frames_in_flight, 256);
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let server = TestServer::start();
    let client = server.client().await;
    let calls = (0..500).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let key = number.to_string();
            client.write(&key, number).await.unwrap();
            client.read(&key).await.unwrap().value().cloned()
        })
    });
    for (call, number) in calls.collect::<Vec<_>>().into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), Some(Value::Int(number)));
    }
}

#[tokio::test]
async fn a_silent_server_leads_to_deadline_exceeded() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(silent.local_addr().unwrap().to_string())
        .await
        .unwrap();
    let short = Duration::from_millis(50);
    let read = client.read("a").timeout(short).await.unwrap_err();
    let write = client.write("a", 1).timeout(short).await.unwrap_err();
    assert_eq!(read.code(), Code::DeadlineExceeded);
    assert_eq!(write.code(), Code::DeadlineExceeded);
    // The server said nothing about either outcome, but a read changes nothing.
    assert_eq!(
        (read.outcome(), read.is_retryable()),
        (Outcome::NotApplied, true)
    );
    assert_eq!(
        (write.outcome(), write.is_retryable()),
        (Outcome::Unknown, false)
    );
}

#[tokio::test]
async fn an_unreachable_server_is_named_by_its_address() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = Client::connect(&address).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.message().contains(&address), "{error}");
    assert!(error.message().contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_during_a_shutdown_are_unavailable() {
    let server = TestServer::start();
    let client = server.client().await;
    let callers: Vec<_> = (0..50)
        .map(|number: i64| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    let failed = match number % 2 {
                        0 => client.read("k").await.err(),
                        _ => client.write("k", number).await.err(),
                    };
                    if let Some(error) = failed {
                        return error;
                    }
                }
            })
        })
        .collect();
    client.write("begun", 1).await.unwrap();
    server.drain();
    for (caller, number) in callers.into_iter().zip(0..) {
        let error = caller.await.unwrap();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(number % 2 == 1 || error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn unlimited_timeouts_are_accepted() {
    let server = TestServer::start();
    let client = server.client().await;
    client.read("k").timeout(Duration::MAX).await.unwrap();
    let pipeline = client.pipeline().frames_in_flight(usize::MAX).await;
    pipeline.unwrap();
}

#[tokio::test]
async fn calls_in_the_messages_of_the_wire_have_the_retries_of_the_client() {
    let server = TestServer::start();
    let client = Client::builder(server.address())
        .retry(Retry::default())
        .connect()
        .await
        .unwrap();
    let request = v1::AddRequest {
        key: "a".into(),
        delta: 2,
        ..v1::AddRequest::default()
    };
    let added: v1::AddResponse = client.call(request.clone()).await.unwrap();
    assert_eq!((added.value, added.revision), (2, 1));
    // What makes the retry safe.
    let info = client.info().await.unwrap();
    assert_eq!(info.request_id_count, 1);
    let without = client.call(request).retry(None).await.unwrap();
    assert_eq!(without.value, 4);
    assert_eq!(client.info().await.unwrap().request_id_count, 1);
    let bad = client.call(v1::ReadRequest::default()).await.unwrap_err();
    assert_eq!(bad.reason(), Some(Reason::BadKey));
}

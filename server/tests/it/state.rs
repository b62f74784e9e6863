//! Read, Write and GetInfo: their responses and refusals.

use std::time::Duration;

use soloist::v1::condition::Test;
use soloist::v1::{self, GetInfoRequest, ReadResponse, WriteRequest, WriteResponse};
use tonic::Code;

use crate::support::{TestServer, assert_refused, expect, int, read, text, write};

#[tokio::test]
async fn reading_a_missing_key_is_not_an_error() {
    let server = TestServer::start();
    let answer = server.state().await.read(read("1")).await.unwrap();
    assert_eq!(answer.into_inner(), ReadResponse::default());
}

#[tokio::test]
async fn a_read_shows_the_last_write() {
    let server = TestServer::start();
    let mut client = server.state().await;
    for (revision, value) in (1..).zip([
        int(i64::MIN),
        text("Grüße"),
        text(""),
        v1::Value {
            kind: Some(v1::value::Kind::Bytes(vec![0, 255])),
        },
    ]) {
        let written = client.write(write("k", value.clone())).await.unwrap();
        assert_eq!(
            written.into_inner(),
            WriteResponse {
                revision,
                create_revision: 1,
                ..Default::default()
            }
        );
        let answer = client.read(read("k")).await.unwrap().into_inner();
        assert_eq!(
            answer,
            ReadResponse {
                entry: Some(v1::Entry {
                    key: String::new(),
                    value: Some(value),
                    revision,
                    create_revision: 1,
                    ..Default::default()
                }),
                revision,
            }
        );
    }
}

#[tokio::test]
async fn a_write_returns_the_previous_entry_if_asked_to() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client.write(write("k", int(1))).await.unwrap();
    let request = WriteRequest {
        return_previous: true,
        ..write("k", int(2))
    };
    let previous = client.write(request).await.unwrap().into_inner().previous;
    assert_eq!(previous.unwrap().value, Some(int(1)));
}

#[tokio::test]
async fn conditions_that_do_not_hold_are_refused() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client
        .write(write("k", text("say \"hi\"\n")))
        .await
        .unwrap();
    let aborted = (Code::Aborted, "EXPECTATION_FAILED");
    for (key, test, (code, reason), metadata) in [
        (
            "k",
            Test::Exists(false),
            (Code::AlreadyExists, "KEY_EXISTS"),
            &[("revision", "1")][..],
        ),
        (
            "m",
            Test::Exists(true),
            (Code::NotFound, "KEY_NOT_FOUND"),
            &[],
        ),
        (
            "k",
            Test::Revision(7),
            aborted,
            &[("test", "revision"), ("expected", "7"), ("actual", "1")],
        ),
        (
            "m",
            Test::Revision(7),
            aborted,
            &[("test", "revision"), ("expected", "7"), ("actual", "")],
        ),
        (
            "k",
            Test::CreateRevision(0),
            aborted,
            &[
                ("test", "create_revision"),
                ("expected", "0"),
                ("actual", "1"),
            ],
        ),
        (
            "k",
            Test::Value(int(5)),
            aborted,
            &[
                ("test", "value"),
                ("expected", r#"{"int":"5"}"#),
                ("actual", r#"{"text":"say \"hi\"\u000a"}"#),
            ],
        ),
    ] {
        let request = WriteRequest {
            expect: expect(test.clone()),
            ..write(key, int(0))
        };
        let refused = client.write(request).await.unwrap_err();
        let details = assert_refused(&refused, code, reason, metadata);
        match code {
            Code::Aborted => assert_eq!(
                details.precondition_failure().unwrap().violations[0].subject,
                key
            ),
            _ => assert_eq!(details.resource_info().unwrap().resource_name, key),
        }
        let request = v1::ReadRequest {
            expect: expect(test),
            ..read(key)
        };
        let refused = client.read(request).await.unwrap_err();
        assert_refused(&refused, code, reason, metadata);
    }
    let info = server.admin().await.get_info(GetInfoRequest {}).await;
    assert_eq!(
        info.unwrap().into_inner().revision,
        1,
        "nothing was applied"
    );
}

#[tokio::test]
async fn long_values_are_cut_in_errors() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client
        .write(write("k", text("é".repeat(1000))))
        .await
        .unwrap();
    let request = WriteRequest {
        expect: expect(Test::Value(int(5))),
        ..write("k", int(0))
    };
    let refused = client.write(request).await.unwrap_err();
    use tonic_types::StatusExt as _;
    let details = refused.get_error_details();
    let actual = &details.error_info().unwrap().metadata["actual"];
    assert!(actual.len() <= 256 && actual.ends_with('…'), "{actual}");
}

#[tokio::test]
async fn bad_arguments_are_refused() {
    let server = TestServer::with(|config| config.limits.max_value_bytes = 10);
    let mut client = server.state().await;
    let nothing = Some(v1::Condition { test: None });
    let kindless = v1::Value { kind: None };
    for (request, reason, metadata) in [
        (
            write("", int(1)),
            "BAD_KEY",
            &[("field", "key"), ("limit", "1"), ("actual", "0")][..],
        ),
        (
            write("k".repeat(1025), int(1)),
            "BAD_KEY",
            &[("field", "key"), ("limit", "1024"), ("actual", "1025")],
        ),
        (write("$k", int(1)), "BAD_KEY", &[("field", "key")]),
        (write("a\u{7}b", int(1)), "BAD_KEY", &[("field", "key")]),
        (write("a\u{85}b", int(1)), "BAD_KEY", &[("field", "key")]),
        (
            WriteRequest {
                value: None,
                ..write("k", int(1))
            },
            "VALUE_MISSING",
            &[("field", "value")],
        ),
        (
            write("k", kindless.clone()),
            "VALUE_MISSING",
            &[("field", "value")],
        ),
        (
            write("k", text("12345678901")),
            "VALUE_TOO_LARGE",
            &[("field", "value.text"), ("limit", "10"), ("actual", "11")],
        ),
        (
            WriteRequest {
                expect: nothing,
                ..write("k", int(1))
            },
            "BAD_CONDITION",
            &[("field", "expect")],
        ),
        (
            WriteRequest {
                expect: expect(Test::Revision(-1)),
                ..write("k", int(1))
            },
            "BAD_CONDITION",
            &[("field", "expect.revision")],
        ),
        (
            WriteRequest {
                expect: expect(Test::Value(kindless)),
                ..write("k", int(1))
            },
            "VALUE_MISSING",
            &[("field", "expect.value")],
        ),
    ] {
        let refused = client.write(request).await.unwrap_err();
        let details = assert_refused(&refused, Code::InvalidArgument, reason, metadata);
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, metadata[0].1);
        assert!(
            refused.message().starts_with(metadata[0].1),
            "{}",
            refused.message()
        );
    }
    // Sizes at the limit are accepted.
    client
        .write(write("k".repeat(1024), text("1234567890")))
        .await
        .unwrap();
    let refused = client.read(read("")).await.unwrap_err();
    let bound = [("field", "key"), ("limit", "1"), ("actual", "0")];
    assert_refused(&refused, Code::InvalidArgument, "BAD_KEY", &bound);
}

#[tokio::test]
async fn a_full_store_refuses_new_keys_only() {
    let server = TestServer::with(|config| config.limits.max_store_bytes = 100);
    let mut client = server.state().await;
    client.write(write("a", int(1))).await.unwrap();
    let refused = client.write(write("b", int(1))).await.unwrap_err();
    let details = assert_refused(
        &refused,
        Code::ResourceExhausted,
        "STORE_FULL",
        &[("limit", "100"), ("actual", "146")],
    );
    assert!(details.retry_info().is_none());
    client.write(write("a", int(2))).await.unwrap();
    client.read(read("b")).await.unwrap();
}

#[tokio::test]
async fn many_clients_compare_and_set_one_key() {
    const CLIENTS: i64 = 16;
    const EACH: i64 = 25;
    let server = TestServer::start();
    server
        .state()
        .await
        .write(write("n", int(0)))
        .await
        .unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = server.state().await;
        clients.spawn(async move {
            let mut revisions = Vec::new();
            while revisions.len() < EACH as usize {
                let entry = client
                    .read(read("n"))
                    .await
                    .unwrap()
                    .into_inner()
                    .entry
                    .unwrap();
                let Some(v1::value::Kind::Int(n)) = entry.value.unwrap().kind else {
                    panic!("the value of n must be an int");
                };
                let request = WriteRequest {
                    expect: expect(Test::Revision(entry.revision)),
                    ..write("n", int(n + 1))
                };
                match client.write(request).await {
                    Ok(written) => revisions.push(written.into_inner().revision),
                    Err(refused) => assert_eq!(refused.code(), Code::Aborted),
                }
            }
            revisions
        });
    }
    let mut revisions = clients.join_all().await.concat();
    revisions.sort_unstable();
    // The first write took revision 1, and each later one the next.
    assert!(revisions.into_iter().eq(2..=CLIENTS * EACH + 1));
    let entry = server
        .state()
        .await
        .read(read("n"))
        .await
        .unwrap()
        .into_inner()
        .entry;
    assert_eq!(
        entry.unwrap().value,
        Some(int(CLIENTS * EACH)),
        "no update lost"
    );
}

#[tokio::test]
async fn get_info_reports_the_store_and_its_limits() {
    let server = TestServer::with(|config| {
        config.limits.max_key_bytes = 77;
        config.transport.max_streams = 78;
        config.transport.max_connections = 79;
        config.transport.max_header_bytes = 8_000;
        config.limits.max_deadline = Duration::from_millis(1500);
        config.limits.max_client_bytes = 80 << 20;
        config.transport.idle_timeout = Duration::from_secs(81);
        config.transport.unread_timeout = Duration::from_secs(82);
    });
    server
        .state()
        .await
        .write(write("key", text("value")))
        .await
        .unwrap();
    let mut admin = server.admin().await;
    let info = admin
        .get_info(GetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.revision, info.key_count, info.used_bytes),
        (1, 1, 3 + 5 + 64)
    );
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.store_id.len(), 32);
    let limits = info.limits.unwrap();
    assert_eq!(limits.max_key_bytes, 77);
    assert_eq!(
        (
            limits.max_streams,
            limits.max_connections,
            limits.max_header_bytes
        ),
        (78, 79, 8_000)
    );
    let deadline = limits.max_deadline.unwrap();
    assert_eq!((deadline.seconds, deadline.nanos), (1, 500_000_000));
    assert_eq!(limits.max_client_bytes, 80 << 20);
    assert_eq!(limits.idle_timeout.unwrap().seconds, 81);
    assert_eq!(limits.unread_timeout.unwrap().seconds, 82);
    assert_eq!(info.panic_count, 0);
    assert!(
        info.cpu_time
            .is_some_and(|time| time.seconds > 0 || time.nanos > 0)
    );

    let first = info.store_id;
    let other = TestServer::start();
    let info = other
        .admin()
        .await
        .get_info(GetInfoRequest {})
        .await
        .unwrap();
    assert_ne!(
        info.into_inner().store_id,
        first,
        "every start makes a new store"
    );
}

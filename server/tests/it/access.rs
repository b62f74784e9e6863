//! The access file: who is let in, and who may do what. Over real sockets.

mod access_file;
mod replacements;

use std::fs;

pub(crate) use access_file::AccessFile;
use access_file::{Bearer, State};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use soloist::v1::{self, PipelineRequest, PipelineResponse};
use soloist_server::access::Token;
use soloist_server::config::Reflection;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt as _;

use crate::json::Caller;
use crate::process::command;
use crate::support::{
    TestServer, assert_refused, assert_rpc_refused, atomic, frame, int, read, read_op, write,
    write_op,
};

/// Sends frames, and returns the answers.
async fn frames(
    client: &mut State,
    frames: impl IntoIterator<Item = PipelineRequest>,
) -> Vec<PipelineResponse> {
    let frames: Vec<_> = frames.into_iter().collect();
    let answers = client.pipeline(stream::iter(frames)).await.unwrap();
    answers
        .into_inner()
        .map(|answer| answer.unwrap())
        .collect()
        .await
}

fn machine(name: &str, prefix: &str) -> Value {
    json!({"name": name, "key_prefix": prefix, "initial": "a", "states": {"a": {}}})
}

/// A call of every method, with good arguments, which needs a right.
fn every_call() -> Vec<(&'static str, Value)> {
    vec![
        ("State/Read", json!({"key": "k"})),
        ("State/Write", json!({"key": "k", "value": {"int": "1"}})),
        ("State/Add", json!({"key": "k", "delta": "1"})),
        ("State/Transition", json!({"key": "k", "to": "a"})),
        ("State/Delete", json!({"key": "k"})),
        ("State/DeletePrefix", json!({"prefix": "k"})),
        ("State/Batch", json!({"ops": [{"read": {"key": "k"}}]})),
        ("State/List", json!({"prefix": "k"})),
        ("State/Watch", json!({"key": "k"})),
        ("State/Pipeline", json!({"ops": [{"read": {"key": "k"}}]})),
        (
            "Machines/DefineMachine",
            json!({"machine": machine("m", "k/")}),
        ),
        ("Machines/GetMachine", json!({"name": "m"})),
        ("Machines/ListMachines", json!({})),
        ("Machines/DeleteMachine", json!({"name": "m"})),
        ("Sessions/OpenSession", json!({"id": "s", "ttl": "10s"})),
        (
            "Sessions/RenewSession",
            json!({"id": "s", "create_revision": "1"}),
        ),
        (
            "Sessions/CloseSession",
            json!({"id": "s", "create_revision": "1"}),
        ),
        ("Sessions/ListSessions", json!({})),
        ("Admin/GetInfo", json!({})),
        ("Admin/GetNode", json!({})),
        ("Admin/Backup", json!({})),
    ]
}

/// An operation of every kind, and the right that it needs.
fn every_operation() -> [(&'static str, v1::Op); 5] {
    use v1::op::Op;
    let key = || "k".to_owned();
    [
        ("read", Op::Read(read("k"))),
        ("write", Op::Write(write("k", int(1)))),
        (
            "write",
            Op::Add(v1::AddRequest {
                key: key(),
                delta: 1,
                ..v1::AddRequest::default()
            }),
        ),
        (
            "write",
            Op::Transition(v1::TransitionRequest {
                key: key(),
                to: "a".into(),
                ..v1::TransitionRequest::default()
            }),
        ),
        (
            "write",
            Op::Delete(v1::DeleteRequest {
                key: key(),
                ..v1::DeleteRequest::default()
            }),
        ),
    ]
    .map(|(verb, op)| (verb, v1::Op { op: Some(op) }))
}

#[tokio::test]
async fn every_method_asks_who_calls_and_whether_it_may() {
    let file = AccessFile::new(&[("nobody", ""), ("admin", "admin = true")]);
    let server = file.server(|_| ());
    let anonymous = Caller::of(&server).await;
    let calls = every_call();
    let mut methods = anonymous.methods();
    let mut called: Vec<_> = calls.iter().map(|(name, _)| (*name).to_owned()).collect();
    methods.sort();
    called.sort();
    assert_eq!(called, methods, "every method of the contract is called");

    let nobody = file.json(&server, "nobody").await;
    let stranger = anonymous.showing(&format!("Bearer {}", Token::random().secret()));
    let basic = anonymous.showing("Basic bm9ib2R5OnNlY3JldA==");
    for (name, request) in &calls {
        let refused = anonymous.call(name, request).await.unwrap_err();
        assert_refused(&refused, Code::Unauthenticated, "CREDENTIALS_MISSING", &[]);
        for unknown in [&stranger, &basic] {
            let refused = unknown.call(name, request).await.unwrap_err();
            assert_refused(&refused, Code::Unauthenticated, "CREDENTIALS_UNKNOWN", &[]);
        }
        if *name == "State/Pipeline" {
            // The stream opens, and each of its frames is refused.
            let mut client = file.state(&server, "nobody").await;
            let all = [frame([read_op("k")]), atomic([read_op("k")])];
            for answer in frames(&mut client, all).await {
                let denied = denied("nobody", "read", "key", "k", Some("0"));
                assert_rpc_refused(
                    &answer.error.unwrap(),
                    Code::PermissionDenied,
                    "NOT_PERMITTED",
                    &denied,
                );
            }
            continue;
        }
        let refused = nobody.call(name, request).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Code::PermissionDenied,
            "{name}: {refused:?}"
        );
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["identity"].as_str()),
            ("NOT_PERMITTED", "nobody")
        );
    }
    // Each operation by itself, in a Batch and in both kinds of frame.
    let mut client = file.state(&server, "nobody").await;
    for (verb, operation) in every_operation() {
        let denied = denied("nobody", verb, "key", "k", Some("0"));
        let batch = v1::BatchRequest {
            ops: vec![operation.clone()],
            ..v1::BatchRequest::default()
        };
        let refused = client.batch(batch).await.unwrap_err();
        assert_refused(&refused, Code::PermissionDenied, "NOT_PERMITTED", &denied);
        let in_a_second = PipelineRequest {
            timeout: Some(prost_types::Duration {
                seconds: 1,
                nanos: 0,
            }),
            ..frame([operation.clone()])
        };
        let all = [
            frame([operation.clone()]),
            in_a_second,
            atomic([operation.clone()]),
        ];
        let answers = frames(&mut client, all).await;
        assert_eq!(answers.len(), 3);
        for answer in answers {
            let error = answer.error.unwrap();
            assert_rpc_refused(&error, Code::PermissionDenied, "NOT_PERMITTED", &denied);
        }
    }
    // Nothing of it reached the state.
    let info = file
        .json(&server, "admin")
        .await
        .call("Admin/GetInfo", &json!({}))
        .await
        .unwrap();
    assert_eq!(info.get("revision"), None, "{info}");
}

/// The metadata of NOT_PERMITTED.
fn denied<'a>(
    identity: &'a str,
    verb: &'a str,
    kind: &'a str,
    target: &'a str,
    op: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let mut metadata = vec![("identity", identity), ("verb", verb), (kind, target)];
    metadata.extend(op.map(|op| ("op", op)));
    metadata
}

#[tokio::test]
async fn rights_end_where_their_prefixes_end() {
    let file = AccessFile::new(&[
        (
            "me",
            "read = ['a/*', 'one']\nwrite = ['a/*']\nsessions = ['me-*']\ndefine = ['a/*']",
        ),
        ("admin", "admin = true"),
    ]);
    let server = file.server(|_| ());
    let me = file.json(&server, "me").await;
    let value = json!({"int": "1"});
    for (name, request, verb, kind, target) in [
        ("State/Read", json!({"key": "a"}), "read", "key", "a"),
        ("State/Read", json!({"key": "one/"}), "read", "key", "one/"),
        (
            "State/Write",
            json!({"key": "a", "value": value}),
            "write",
            "key",
            "a",
        ),
        (
            "State/Write",
            json!({"key": "one", "value": value}),
            "write",
            "key",
            "one",
        ),
        (
            "State/Write",
            json!({"key": "a/x", "value": value, "session": "you-1"}),
            "sessions",
            "session",
            "you-1",
        ),
        (
            "State/Add",
            json!({"key": "a/x", "delta": "1", "session": "me"}),
            "sessions",
            "session",
            "me",
        ),
        (
            "State/DeletePrefix",
            json!({"prefix": "a"}),
            "write",
            "prefix",
            "a",
        ),
        (
            "State/DeletePrefix",
            json!({"every_key": true}),
            "write",
            "prefix",
            "",
        ),
        ("State/List", json!({"prefix": "a"}), "read", "prefix", "a"),
        ("State/List", json!({}), "read", "prefix", ""),
        // A right to one key is none to the keys that begin with it.
        (
            "State/List",
            json!({"prefix": "one"}),
            "read",
            "prefix",
            "one",
        ),
        ("State/Watch", json!({"prefix": "a"}), "read", "prefix", "a"),
        ("State/Watch", json!({"key": "b"}), "read", "key", "b"),
        (
            "Machines/DefineMachine",
            json!({"machine": machine("m", "a")}),
            "define",
            "prefix",
            "a",
        ),
        ("Machines/ListMachines", json!({}), "read", "prefix", ""),
        (
            "Sessions/OpenSession",
            json!({"id": "you", "ttl": "9s"}),
            "sessions",
            "session",
            "you",
        ),
        (
            "Sessions/OpenSession",
            json!({"id": "you", "ttl": "9s", "take_over": true}),
            "sessions",
            "session",
            "you",
        ),
        (
            "Sessions/CloseSession",
            json!({"id": "you", "create_revision": "1"}),
            "sessions",
            "session",
            "you",
        ),
    ] {
        let refused = me.call(name, &request).await.unwrap_err();
        let metadata = denied("me", verb, kind, target, None);
        assert_refused(&refused, Code::PermissionDenied, "NOT_PERMITTED", &metadata);
    }
    for name in ["Admin/Backup", "Sessions/ListSessions"] {
        let refused = me.call(name, &json!({})).await.unwrap_err();
        let metadata = [("identity", "me"), ("verb", "admin")];
        assert_refused(&refused, Code::PermissionDenied, "NOT_PERMITTED", &metadata);
    }
    for (name, request) in [
        ("Sessions/OpenSession", json!({"id": "me-1", "ttl": "9s"})),
        (
            "State/Write",
            json!({"key": "a/x", "value": value, "session": "me-1"}),
        ),
        ("State/Read", json!({"key": "a/x"})),
        ("State/Read", json!({"key": "one"})),
        ("State/List", json!({"prefix": "a/"})),
        ("State/List", json!({"prefix": "a/x"})),
        ("State/Watch", json!({"prefix": "a/"})),
        ("State/Watch", json!({"key": "one"})),
        (
            "Sessions/CloseSession",
            json!({"id": "me-1", "create_revision": "1"}),
        ),
        ("State/DeletePrefix", json!({"prefix": "a/"})),
        (
            "Machines/DefineMachine",
            json!({"machine": machine("m", "a/m/")}),
        ),
        ("Machines/GetMachine", json!({"name": "m"})),
        ("Machines/DeleteMachine", json!({"name": "m"})),
        ("Admin/GetInfo", json!({})),
    ] {
        let called = me.call(name, &request).await;
        assert!(called.is_ok(), "{name} {request}: {called:?}");
    }
    let admin = file.json(&server, "admin").await;
    admin.call("Admin/Backup", &json!({})).await.unwrap();
    admin
        .call("Sessions/ListSessions", &json!({}))
        .await
        .unwrap();
    // Whoever may copy everything need not be able to change anything.
    admin
        .call("State/Read", &json!({"key": "a/x"}))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn arguments_are_checked_before_rights() {
    let file = AccessFile::new(&[("nobody", "")]);
    let server = file.server(|_| ());
    let nobody = file.json(&server, "nobody").await;
    let refused = nobody.call("State/Read", &json!({})).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_operation_outside_refuses_its_whole_frame_and_no_other() {
    let file = AccessFile::new(&[("me", "read = ['a/*']\nwrite = ['a/*']")]);
    let server = file.server(|_| ());
    let me = file.json(&server, "me").await;
    let put = |key: &str| json!({"write": {"key": key, "value": {"int": "1"}}});
    let ops = [put("a/batch"), put("b"), put("a/other")];
    let refused = me
        .call("State/Batch", &json!({"ops": ops}))
        .await
        .unwrap_err();
    let metadata = denied("me", "write", "key", "b", Some("1"));
    assert_refused(&refused, Code::PermissionDenied, "NOT_PERMITTED", &metadata);

    let put = |key: &str| write_op(write(key, int(1)));
    let mut client = file.state(&server, "me").await;
    let answers = frames(
        &mut client,
        [
            frame([put("a/1")]),
            frame([put("a/no"), put("b")]),
            frame([put("a/2"), read_op("a/1")]),
            atomic([put("a/no"), put("b")]),
            atomic([put("a/3")]),
            frame([put("a/4")]),
        ],
    )
    .await;
    for (index, answer) in answers.iter().enumerate() {
        match (index, &answer.error) {
            (1 | 3, Some(error)) => {
                assert_rpc_refused(error, Code::PermissionDenied, "NOT_PERMITTED", &metadata);
            }
            (_, error) => assert!(
                error.is_none() && !answer.results.is_empty(),
                "{index}: {answer:?}"
            ),
        }
    }
    let list = me
        .call("State/List", &json!({"prefix": "a/"}))
        .await
        .unwrap();
    let keys: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["key"].clone())
        .collect();
    assert_eq!(keys, ["a/1", "a/2", "a/3", "a/4"]);
}

#[tokio::test]
async fn request_ids_are_of_an_identity() {
    let file = AccessFile::new(&[("a", "write = ['*']\nread = ['*']"), ("b", "write = ['*']")]);
    let server = file.server(|_| ());
    let (a, b) = (file.json(&server, "a").await, file.json(&server, "b").await);
    let request = json!({"key": "k", "delta": "1", "request_id": "once"});
    let batch = json!({"request_id": "once-2", "ops": [{"add": {"key": "k", "delta": "1"}}]});
    for (name, request) in [("State/Add", &request), ("State/Batch", &batch)] {
        for caller in [&a, &b] {
            let first = caller.call(name, request).await.unwrap();
            assert_eq!(first.get("replayed"), None, "{first}");
            let again = caller.call(name, request).await.unwrap();
            assert_eq!(again["replayed"], true, "{again}");
        }
    }
    let read = a.call("State/Read", &json!({"key": "k"})).await.unwrap();
    assert_eq!(read["entry"]["value"]["int"], "4", "{read}");
    let other = json!({"key": "other", "delta": "1", "request_id": "once"});
    let refused = a.call("State/Add", &other).await.unwrap_err();
    assert!(
        refused.message().contains("request_id \"once\" was used"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_machine_outside_the_right_is_not_replaced_or_deleted_by_its_name() {
    let file = AccessFile::new(&[
        ("a", "define = ['a/*']"),
        ("b", "define = ['b/*']"),
        ("all", "define = ['*']"),
    ]);
    let server = file.server(|_| ());
    let a = file.json(&server, "a").await;
    let b = file.json(&server, "b").await;
    let define = |prefix: &str| json!({"machine": machine("m", prefix)});
    let ours = json!({"machine": machine("m", "a/"), "expect": {"exists": false}});
    a.call("Machines/DefineMachine", &ours).await.unwrap();
    let again = a.call("Machines/DefineMachine", &ours).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    for (name, request) in [
        ("Machines/DefineMachine", define("b/")),
        (
            "Machines/DefineMachine",
            json!({"machine": machine("m", "b/"), "expect": {"exists": true}}),
        ),
        ("Machines/DeleteMachine", json!({"name": "m"})),
    ] {
        let refused = b.call(name, &request).await.unwrap_err();
        let metadata = denied("b", "define", "prefix", "a/", None);
        assert_refused(&refused, Code::PermissionDenied, "NOT_PERMITTED", &metadata);
    }
    let refused = b
        .call("Machines/GetMachine", &json!({"name": "m"}))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Conditions hold as without an access file.
    let exists = json!({"machine": machine("none", "b/"), "expect": {"exists": true}});
    let refused = b.call("Machines/DefineMachine", &exists).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let stale = json!({"machine": machine("m", "a/2/"), "expect": {"revision": "77"}});
    let refused = a.call("Machines/DefineMachine", &stale).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    a.call("Machines/DefineMachine", &define("a/3/"))
        .await
        .unwrap();
    let all = file.json(&server, "all").await;
    all.call("Machines/DefineMachine", &define("b/"))
        .await
        .unwrap();
    b.call("Machines/DeleteMachine", &json!({"name": "m"}))
        .await
        .unwrap();
}

#[tokio::test]
async fn health_is_open_and_reflection_is_as_the_flag_says() {
    let file = AccessFile::new(&[("me", "")]);
    for (policy, anonymous, identified) in [
        (None, Code::Unauthenticated, Code::Ok),
        (
            Some(Reflection::Identified),
            Code::Unauthenticated,
            Code::Ok,
        ),
        (Some(Reflection::Open), Code::Ok, Code::Ok),
        (
            Some(Reflection::Off),
            Code::Unauthenticated,
            Code::Unimplemented,
        ),
    ] {
        let server = file.server(|config| config.access.reflection = policy);
        let channel = server.channel().await;
        let mut health = HealthClient::new(channel.clone());
        health.check(HealthCheckRequest::default()).await.unwrap();
        let ask = || stream::iter([ServerReflectionRequest::default()]);
        let code =
            |called: Result<_, Status>| called.map_or_else(|status| status.code(), |_| Code::Ok);
        let mut reflection = ServerReflectionClient::new(channel.clone());
        let called = reflection.server_reflection_info(ask()).await;
        assert_eq!(code(called.map(drop)), anonymous, "{policy:?}");
        let bearer = Bearer(file.bearer("me"));
        let mut reflection = ServerReflectionClient::with_interceptor(channel, bearer);
        let called = reflection.server_reflection_info(ask()).await;
        assert_eq!(code(called.map(drop)), identified, "{policy:?}");
    }
    let server = TestServer::with(|config| config.access.reflection = Some(Reflection::Off));
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let called = reflection
        .server_reflection_info(stream::iter([ServerReflectionRequest::default()]))
        .await;
    assert_eq!(called.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_binary_makes_tokens_that_its_access_file_takes() {
    let printed = command(&["token", "billing"]).output().await.unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let [token, hash, ..] = *lines else {
        panic!("{printed}");
    };
    assert!(token.starts_with("slst_") && token.len() == 48, "{printed}");
    assert!(hash.starts_with("sha256:") && hash.len() == 71, "{printed}");
    let file = AccessFile::new(&[]);
    let text = format!(
        "[identities.billing]\ntokens = ['{hash}']\nroles = ['r']\n[roles.r]\nread = ['*']\n"
    );
    fs::write(file.path(), text).unwrap();
    let server = file.server(|_| ());
    let billing = Caller::of(&server)
        .await
        .showing(&format!("Bearer {token}"));
    billing
        .call("State/Read", &json!({"key": "k"}))
        .await
        .unwrap();
}

#[tokio::test]
async fn calls_of_several_callers_share_a_connection() {
    let file = AccessFile::new(&[("a", "write = ['a']"), ("b", "write = ['b']")]);
    let server = file.server(|_| ());
    let anonymous = Caller::of(&server).await;
    let (a, b) = (
        anonymous.showing(&file.bearer("a")),
        anonymous.showing(&file.bearer("b")),
    );
    let put = |key: &str| json!({"key": key, "value": {"int": "1"}});
    for _ in 0..3 {
        a.call("State/Write", &put("a")).await.unwrap();
        b.call("State/Write", &put("b")).await.unwrap();
        a.call("State/Write", &put("b")).await.unwrap_err();
        b.call("State/Write", &put("a")).await.unwrap_err();
        anonymous.call("State/Write", &put("a")).await.unwrap_err();
    }
    // The scheme's capitals do not matter.
    let lower = anonymous.showing(&file.bearer("a").replace("Bearer", "bearer"));
    lower.call("State/Write", &put("a")).await.unwrap();
}

//! The contract case by case: what is asked in JSON, what comes back, and that a refusal leaves no trace.

mod arguments;

use serde_json::{Value, json};
use tonic::Code;

use crate::json::{Answer, Caller, Exactly, Expected, refused, with};
use crate::support::TestServer;

type Step = (&'static str, Value, Expected);

async fn run(steps: impl IntoIterator<Item = Step>) -> Caller {
    let server = TestServer::with(|config| {
        config.limits.max_sessions = 2;
        config.limits.max_machines = 2;
        config.limits.max_states = 4;
        config.limits.request_id_count = 8;
    });
    run_on(&server, steps).await
}

async fn run_on(server: &TestServer, steps: impl IntoIterator<Item = Step>) -> Caller {
    let caller = Caller::of(server).await;
    for (name, request, expected) in steps {
        caller.check(name, request, expected).await;
    }
    caller
}

fn invalid(reason: &'static str, metadata: Value) -> Expected {
    refused(Code::InvalidArgument, reason, metadata)
}

fn precondition(reason: &'static str, metadata: Value) -> Expected {
    refused(Code::FailedPrecondition, reason, metadata)
}

/// The protocol of a connection.
fn conn() -> Value {
    json!({"name": "conn", "key_prefix": "conn/", "initial": "idle", "states": {
        "idle": {"next": ["inflight", "closing"]},
        "inflight": {"next": ["idle", "closing"]},
        "closing": {},
    }})
}

fn defined(machine: Value) -> Step {
    (
        "Machines/DefineMachine",
        json!({"machine": machine}),
        Answer(json!({})),
    )
}

#[tokio::test]
async fn lifetimes_and_kept_values() {
    let key = |more| with(&json!({"key": "k"}), more);
    let one = || json!({"value": {"int": "1"}});
    run([
        (
            "State/Write",
            key(json!({"keep_value": true, "ttl": "9s"})),
            refused(Code::NotFound, "KEY_NOT_FOUND", json!({})),
        ),
        (
            "State/Write",
            key(json!({"value": {"int": 1}, "ttl": "100s"})),
            Exactly(json!({"revision": "1", "createRevision": "1"})),
        ),
        // Kept with the value; taken away by a Write that does not say so; kept again there is none.
        (
            "State/Write",
            key(json!({"value": {"int": 2}, "keep_lifetime": true, "return_previous": true})),
            Answer(json!({"previous": one()})),
        ),
        (
            "State/Read",
            key(json!({"expect": {"session": ""}})),
            Answer(json!({"entry": {"value": {"int": "2"}, "session": null}})),
        ),
        (
            "State/Write",
            key(json!({"value": {"int": 1}})),
            Answer(json!({"revision": "3"})),
        ),
        (
            "State/Read",
            key(json!({})),
            Answer(json!({"entry": {"expireTime": null}})),
        ),
        (
            "State/Write",
            key(json!({"keep_value": true, "ttl": "100s"})),
            Answer(json!({"revision": "4", "createRevision": "1"})),
        ),
        // 41: not kept is not set.
        (
            "State/Write",
            key(json!({"value": {"int": 1}, "keep_lifetime": false})),
            Answer(json!({"revision": "5"})),
        ),
        (
            "State/Read",
            key(json!({})),
            Answer(json!({"entry": {"expireTime": null, "value": {"int": "1"}}})),
        ),
        // 4: a session is not looked at where the key exists.
        (
            "State/Add",
            key(json!({"delta": 1, "session": "none"})),
            Answer(json!({"value": "2"})),
        ),
        (
            "State/Add",
            json!({"key": "new", "delta": 1, "session": "none"}),
            refused(Code::NotFound, "SESSION_NOT_FOUND", json!({})),
        ),
        // 42.
        (
            "State/Write",
            json!({"key": "new", "value": {"int": 1}, "keep_lifetime": true}),
            Answer(json!({"revision": "7"})),
        ),
        // 24: nothing added is no change, but creates.
        (
            "State/Add",
            json!({"key": "new", "delta": 0}),
            Answer(json!({"revision": "7"})),
        ),
        (
            "State/Add",
            json!({"key": "zero", "ttl": "100s"}),
            Answer(json!({"revision": "8", "createRevision": "8", "value": null})),
        ),
        // 39: of nothing.
        (
            "State/Read",
            json!({"key": "gone", "expect": {"session": ""}}),
            refused(
                Code::Aborted,
                "EXPECTATION_FAILED",
                json!({"test": "session", "expected": "", "actual": ""}),
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn machines_guard_their_keys() {
    let key = |more| with(&json!({"key": "conn/1"}), more);
    let refusal = |from: &str, to: &str, allowed: &str| {
        precondition(
            "TRANSITION_REFUSED",
            json!({"machine": "conn", "from": from, "to": to, "allowed": allowed}),
        )
    };
    run([
        ("State/Transition", key(json!({"to": "idle"})), refused(Code::NotFound, "KEY_NOT_FOUND", json!({}))),
        defined(conn()),
        // 18: a missing key under no machine.
        ("State/Transition", json!({"key": "x", "to": "idle"}), refused(Code::NotFound, "KEY_NOT_FOUND", json!({}))),
        ("State/Write", json!({"key": "x", "value": {"int": 1}}), Answer(json!({}))),
        ("State/Transition", json!({"key": "x", "to": "idle"}), precondition("NO_MACHINE", json!({}))),
        ("State/Write", key(json!({"value": {"text": "a"}, "expect": {"exists": false}})), Answer(json!({"revision": "3"}))),
        ("State/Read", key(json!({})), Answer(json!({"entry": {"machine": "conn", "state": "idle", "stateExpireTime": null}}))),
        // A Write keeps the state; a self-move only if listed.
        ("State/Transition", key(json!({"to": "idle"})), refusal("idle", "idle", "closing,inflight")),
        ("State/Transition", key(json!({"to": "nowhere"})), refusal("idle", "nowhere", "closing,inflight")),
        ("State/Transition", key(json!({"to": "inflight", "value": {"int": 7}})), Exactly(json!({"revision": "4", "createRevision": "3", "from": "idle"}))),
        ("State/Write", key(json!({"value": {"int": 8}, "expect": {"state": "inflight"}})), Answer(json!({"revision": "5"}))),
        ("State/Read", key(json!({"expect": {"state": "idle"}})), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": "inflight"}))),
        // 2: on a missing key, and on one without a machine.
        ("State/Read", json!({"key": "conn/2", "expect": {"state": "idle"}}), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": ""}))),
        ("State/Read", json!({"key": "x", "expect": {"state": "idle"}}), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": ""}))),
        ("State/Delete", key(json!({})), precondition("STATE_NOT_FINAL", json!({"machine": "conn", "state": "inflight", "allowed": "closing,idle"}))),
        // The machine's rule comes after `expect`, and before type, bounds and space.
        ("State/Delete", key(json!({"expect": {"revision": 1}})), refused(Code::Aborted, "EXPECTATION_FAILED", json!({"test": "revision", "expected": "1", "actual": "5"}))),
        // In a batch: nobody goes around it there either, and `op` tells which.
        ("State/Batch", json!({"ops": [{"transition": {"key": "conn/1", "to": "idle"}}, {"delete": {"key": "conn/1"}}]}),
            precondition("STATE_NOT_FINAL", json!({"machine": "conn", "state": "idle", "allowed": "closing,inflight", "op": "1"}))),
        ("State/Batch", json!({"ops": [{"transition": {"key": "conn/1", "to": "closing"}}, {"delete": {"key": "conn/1"}}, {"add": {"key": "conn/1", "delta": 3}}]}),
            Answer(json!({"revision": "6", "results": [{"transition": {"from": "inflight", "revision": "6"}}, {"delete": {}}, {"add": {"value": "3", "createRevision": "6"}}]}))),
        // Born anew, it starts anew.
        ("State/Read", key(json!({})), Answer(json!({"entry": {"state": "idle"}}))),
        ("State/Transition", key(json!({"to": "closing"})), Answer(json!({}))),
        ("State/Transition", key(json!({"to": "idle"})), refusal("closing", "idle", "")),
        ("State/Delete", key(json!({})), Answer(json!({"previous": {"state": "closing"}}))),
    ])
    .await;
}

#[tokio::test]
async fn machines_are_defined_with_care() {
    let define = |more: Value| json!({"machine": with(&conn(), more)});
    let write = |key: &str| json!({"key": key, "value": {"int": 1}});
    let stranded = |state: &str, example: &str| {
        precondition(
            "ENTRIES_IN_STATE",
            json!({"count": "1", "example": example, "state": state}),
        )
    };
    let taken = |machine: &str, prefix: &str| {
        precondition(
            "PREFIX_TAKEN",
            json!({"machine": machine, "key_prefix": prefix}),
        )
    };
    let only = |state: &str| json!({"initial": state, "states": {state: {}}});
    run([
        // 84: over keys that are there.
        ("State/Write", write("conn/0"), Answer(json!({}))),
        ("Machines/DefineMachine", define(json!({})), stranded("", "conn/0")),
        ("State/Delete", json!({"key": "conn/0"}), Answer(json!({}))),
        // 15, 90.
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"exists": true}})), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        ("Machines/DefineMachine", with(&define(json!({"revision": 77})), json!({"validate_only": true})), Answer(json!({"name": "conn", "revision": null}))),
        ("Machines/GetMachine", json!({"name": "conn"}), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"revision": 0}})), Answer(json!({"revision": "3"}))),
        // 32: the same again.
        ("Machines/DefineMachine", define(json!({})), Answer(json!({"revision": "3"}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"exists": false}})), refused(Code::AlreadyExists, "MACHINE_EXISTS", json!({"revision": "3"}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"revision": 2}})), refused(Code::Aborted, "EXPECTATION_FAILED", json!({"test": "revision", "expected": "2", "actual": "3"}))),
        // Prefixes.
        ("Machines/DefineMachine", define(json!({"name": "other"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", define(json!({"name": "other", "key_prefix": "conn/a/"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", define(json!({"name": "other", "key_prefix": "co"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", with(&define(json!({"name": "other", "key_prefix": "conn0"})), json!({"validate_only": true})), Answer(json!({}))),
        // 85, 86: with keys in it.
        ("State/Write", write("conn/1"), Answer(json!({}))),
        ("Machines/DefineMachine", define(only("closing")), stranded("idle", "conn/1")),
        ("Machines/DefineMachine", define(json!({"key_prefix": "c/"})), stranded("idle", "conn/1")),
        ("Machines/DeleteMachine", json!({"name": "conn"}), stranded("idle", "conn/1")),
        ("Machines/DefineMachine", define(json!({"initial": "inflight"})), Answer(json!({"revision": "5"}))),
        ("State/Write", write("conn/2"), Answer(json!({}))),
        ("State/Read", json!({"key": "conn/1"}), Answer(json!({"entry": {"state": "idle"}}))),
        ("State/Read", json!({"key": "conn/2"}), Answer(json!({"entry": {"state": "inflight"}}))),
        // A state that leads nowhere from `initial` may stay while a key is in it.
        ("Machines/DefineMachine", define(json!({"initial": "inflight", "states": {"inflight": {"next": ["closing"]}, "idle": {"next": ["closing"]}, "closing": {}}})), Answer(json!({"revision": "7"}))),
        ("State/Transition", json!({"key": "conn/1", "to": "closing"}), Answer(json!({}))),
        ("State/Transition", json!({"key": "conn/2", "to": "closing"}), Answer(json!({}))),
        ("Machines/DeleteMachine", json!({"name": "conn"}), Exactly(json!({}))),
        ("State/Read", json!({"key": "conn/1"}), Answer(json!({"entry": {"machine": null, "state": null, "revision": "8"}}))),
        ("Machines/DeleteMachine", json!({"name": "conn"}), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        // As many as there may be.
        defined(json!({"name": "b", "key_prefix": "b/", "initial": "x", "states": {"x": {}}})),
        defined(json!({"name": "a", "key_prefix": "a/", "initial": "x", "states": {"x": {}}})),
        ("Machines/DefineMachine", define(json!({"key_prefix": "c/"})), refused(Code::ResourceExhausted, "STORE_FULL", json!({"limit": "2", "actual": "2"}))),
        ("Machines/ListMachines", json!({"page_size": 1}), Answer(json!({"machines": [{"name": "a"}], "nextPageToken": "YQ"}))),
        ("Machines/ListMachines", json!({"page_token": "YQ"}), Answer(json!({"machines": [{"name": "b"}], "nextPageToken": null}))),
    ])
    .await;
}

#[tokio::test]
async fn sessions_are_fenced() {
    let life = |create_revision: i64| json!({"id": "s", "create_revision": create_revision});
    let open = |more: Value| with(&json!({"id": "s", "ttl": "60s"}), more);
    let write = |key: &str, more: Value| {
        with(
            &json!({"key": key, "value": {"int": 1}, "session": "s"}),
            more,
        )
    };
    let gone = || refused(Code::NotFound, "SESSION_NOT_FOUND", json!({}));
    let taken = |expected: &str, actual: &str| {
        refused(
            Code::Aborted,
            "SESSION_TAKEN_OVER",
            json!({"expected": expected, "actual": actual}),
        )
    };
    run([
        // 3: after `expect`.
        (
            "State/Write",
            write("k", json!({"expect": {"exists": true}})),
            refused(Code::NotFound, "KEY_NOT_FOUND", json!({})),
        ),
        ("State/Write", write("k", json!({})), gone()),
        ("Sessions/RenewSession", life(1), gone()),
        (
            "Sessions/OpenSession",
            open(json!({})),
            Answer(json!({"id": "s", "ttl": "60s", "createRevision": "1", "keyCount": null})),
        ),
        // 16.
        (
            "Sessions/OpenSession",
            open(json!({})),
            refused(
                Code::AlreadyExists,
                "SESSION_EXISTS",
                json!({"create_revision": "1"}),
            ),
        ),
        (
            "State/Write",
            write("k", json!({"session_create_revision": 1})),
            Answer(json!({"revision": "2"})),
        ),
        (
            "State/Add",
            json!({"key": "n", "delta": 1, "session": "s"}),
            Answer(json!({"revision": "3"})),
        ),
        (
            "State/Read",
            json!({"key": "n", "expect": {"session": "s"}}),
            Answer(json!({"entry": {"session": "s"}})),
        ),
        (
            "State/Read",
            json!({"key": "n", "expect": {"session": ""}}),
            refused(
                Code::Aborted,
                "EXPECTATION_FAILED",
                json!({"test": "session", "expected": "", "actual": "s"}),
            ),
        ),
        // 31: renewing takes no revision.
        (
            "Sessions/RenewSession",
            life(1),
            Answer(json!({"createRevision": "1", "keyCount": "2"})),
        ),
        (
            "Sessions/OpenSession",
            open(json!({"take_over": true, "ttl": "30s"})),
            Answer(json!({"createRevision": "5", "ttl": "30s"})),
        ),
        ("State/List", json!({}), Exactly(json!({"revision": "5"}))),
        // 17, 92, 95: the earlier life is fenced off.
        ("Sessions/RenewSession", life(1), taken("1", "5")),
        ("Sessions/CloseSession", life(1), taken("1", "5")),
        (
            "State/Write",
            write("k", json!({"session_create_revision": 1})),
            taken("1", "5"),
        ),
        (
            "State/Write",
            write("k", json!({"session_create_revision": 5})),
            Answer(json!({"revision": "6"})),
        ),
        (
            "Sessions/CloseSession",
            life(5),
            Exactly(json!({"deletedCount": "1", "revision": "7"})),
        ),
        (
            "State/Read",
            json!({"key": "k"}),
            Exactly(json!({"revision": "7"})),
        ),
        ("Sessions/CloseSession", life(5), gone()),
        // As many as there may be, with a name of the server's.
        (
            "Sessions/OpenSession",
            json!({"ttl": "60s"}),
            Answer(json!({"createRevision": "8"})),
        ),
        (
            "Sessions/OpenSession",
            open(json!({})),
            Answer(json!({"createRevision": "9"})),
        ),
        (
            "Sessions/OpenSession",
            json!({"id": "t", "ttl": "60s"}),
            refused(
                Code::ResourceExhausted,
                "STORE_FULL",
                json!({"limit": "2", "actual": "2"}),
            ),
        ),
        (
            "Sessions/OpenSession",
            open(json!({"take_over": true})),
            Answer(json!({"createRevision": "11"})),
        ),
    ])
    .await;
}

#[tokio::test]
async fn requests_are_answered_once() {
    let write = |id: &str, more: Value| {
        with(
            &json!({"key": "k", "value": {"int": 1}, "request_id": id}),
            more,
        )
    };
    let reused = || invalid("REQUEST_ID_REUSED", json!({"field": "request_id"}));
    let ops = || json!([{"add": {"key": "n", "delta": 1}}, {"read": {"key": "k"}}]);
    let batch = |id: &str| json!({"ops": ops(), "request_id": id});
    let first = json!({"revision": "1", "createRevision": "1"});
    let added =
        json!({"add": {"revision": "3", "createRevision": "3", "value": "1", "applied": "1"}});
    let caller = run([
        ("State/Write", write("a", json!({"expect": {"exists": false}})), Exactly(first.clone())),
        // Before `expect`, which does not hold any more.
        ("State/Write", write("a", json!({"expect": {"exists": false}})), Exactly(with(&first, json!({"replayed": true})))),
        ("State/Write", write("a", json!({})), reused()),
        ("State/Add", json!({"key": "k", "delta": 1, "request_id": "a"}), reused()),
        // What was refused is not remembered.
        ("State/Write", write("b", json!({"expect": {"exists": false}})), refused(Code::AlreadyExists, "KEY_EXISTS", json!({"revision": "1"}))),
        ("State/Delete", json!({"key": "k", "request_id": "b"}), Answer(json!({"revision": "2", "previous": {"value": {"int": "1"}}}))),
        ("State/Delete", json!({"key": "k", "request_id": "b"}), Answer(json!({"revision": "2", "replayed": true, "previous": {"value": {"int": "1"}}}))),
        // 60: a batch; its results say nothing of the replay.
        ("State/Batch", batch("c"), Answer(json!({"revision": "3", "results": [added.clone(), {"read": {}}]}))),
        ("State/Batch", batch("c"), Exactly(json!({"revision": "3", "replayed": true, "results": [added, {"read": {"revision": "3"}}]}))),
        ("State/Batch", json!({"ops": [{"read": {"key": "k"}}], "request_id": "c"}), reused()),
        // 35: nothing to delete is remembered too.
        ("State/Delete", json!({"key": "none", "request_id": "d"}), Exactly(json!({"revision": "3"}))),
        ("State/Write", json!({"key": "none", "value": {"int": 1}}), Answer(json!({}))),
        ("State/Delete", json!({"key": "none", "request_id": "d"}), Exactly(json!({"revision": "3", "replayed": true}))),
        // 64: sessions.
        ("Sessions/OpenSession", json!({"ttl": "60s", "request_id": "e"}), Answer(json!({"createRevision": "5", "replayed": null}))),
        ("Sessions/OpenSession", json!({"ttl": "60s", "request_id": "e"}), Answer(json!({"createRevision": "5", "replayed": true}))),
        ("Sessions/OpenSession", json!({"id": "s", "ttl": "60s", "request_id": "f"}), Answer(json!({"createRevision": "6"}))),
        ("Sessions/CloseSession", json!({"id": "s", "create_revision": 6, "request_id": "g"}), Answer(json!({"revision": "7"}))),
        ("Sessions/CloseSession", json!({"id": "s", "create_revision": 6, "request_id": "g"}), Exactly(json!({"revision": "7", "replayed": true}))),
        ("State/Add", json!({"key": "n", "delta": 1, "request_id": "h"}), Answer(json!({"value": "2"}))),
        // 63: there are eight now, and none is forgotten early.
        ("State/Write", write("i", json!({})), refused(Code::ResourceExhausted, "OVERLOADED", json!({"limit": "8"}))),
        ("State/Add", json!({"key": "n", "delta": 1, "request_id": "h"}), Answer(json!({"value": "2", "replayed": true}))),
        ("State/Write", write("", json!({})), Answer(json!({"revision": "9"}))),
    ])
    .await;
    let info = caller.call("Admin/GetInfo", &json!({})).await.unwrap();
    assert_eq!(info["requestIdCount"], "8");
}

#[tokio::test]
async fn duplicates_at_the_same_time_are_done_once() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    let request = json!({"key": "n", "delta": 1, "request_id": "same"});
    let answers =
        futures_util::future::join_all((0..100).map(|_| caller.call("State/Add", &request))).await;
    let replayed = answers
        .into_iter()
        .map(Result::unwrap)
        .filter(|answer| {
            assert_eq!(answer["value"], "1");
            answer["replayed"] == true
        })
        .count();
    assert_eq!(replayed, 99);
}

#[tokio::test]
async fn a_forgotten_request_is_a_new_one() {
    let server = TestServer::with(|config| {
        config.limits.request_id_window = std::time::Duration::from_millis(1);
    });
    let caller = Caller::of(&server).await;
    let add = json!({"key": "n", "delta": 1, "request_id": "a"});
    // Forgotten after the window at the latest when the owner says so.
    caller.call("State/Add", &add).await.unwrap();
    loop {
        let info = caller.call("Admin/GetInfo", &json!({})).await.unwrap();
        if info.get("requestIdCount").is_none() {
            break;
        }
    }
    let answer = caller.call("State/Add", &add).await.unwrap();
    assert_eq!(answer["value"], "2");
}

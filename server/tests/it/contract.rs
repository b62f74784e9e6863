//! The contract case by case: a request in JSON, its response or refusal, and that a refusal changes nothing.

mod arguments;

use serde_json::{Value, json};
use tonic::Code;

use crate::json::{Caller, Exactly, Expected, Includes, refused, with};
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

/// A machine for connections.
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
        Includes(json!({})),
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
        // keep_lifetime keeps the ttl. A Write without it takes the ttl away.
        (
            "State/Write",
            key(json!({"value": {"int": 2}, "keep_lifetime": true, "return_previous": true})),
            Includes(json!({"previous": one()})),
        ),
        (
            "State/Read",
            key(json!({"expect": {"session": ""}})),
            Includes(json!({"entry": {"value": {"int": "2"}, "session": null}})),
        ),
        (
            "State/Write",
            key(json!({"value": {"int": 1}})),
            Includes(json!({"revision": "3"})),
        ),
        (
            "State/Read",
            key(json!({})),
            Includes(json!({"entry": {"expireTime": null}})),
        ),
        (
            "State/Write",
            key(json!({"keep_value": true, "ttl": "100s"})),
            Includes(json!({"revision": "4", "createRevision": "1"})),
        ),
        // keep_lifetime: false means the same as no lifetime.
        (
            "State/Write",
            key(json!({"value": {"int": 1}, "keep_lifetime": false})),
            Includes(json!({"revision": "5"})),
        ),
        (
            "State/Read",
            key(json!({})),
            Includes(json!({"entry": {"expireTime": null, "value": {"int": "1"}}})),
        ),
        // Add uses its session only if it creates the key; otherwise the session need not exist.
        (
            "State/Add",
            key(json!({"delta": 1, "session": "none"})),
            Includes(json!({"value": "2"})),
        ),
        (
            "State/Add",
            json!({"key": "new", "delta": 1, "session": "none"}),
            refused(Code::NotFound, "SESSION_NOT_FOUND", json!({})),
        ),
        // keep_lifetime on a new key gives it no lifetime.
        (
            "State/Write",
            json!({"key": "new", "value": {"int": 1}, "keep_lifetime": true}),
            Includes(json!({"revision": "7"})),
        ),
        // Add of 0 is not a change, but creates a missing key.
        (
            "State/Add",
            json!({"key": "new", "delta": 0}),
            Includes(json!({"revision": "7"})),
        ),
        (
            "State/Add",
            json!({"key": "zero", "ttl": "100s"}),
            Includes(json!({"revision": "8", "createRevision": "8", "value": null})),
        ),
        // The condition session: "" does not hold for a missing key.
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
        // A missing key that is under no machine.
        ("State/Transition", json!({"key": "x", "to": "idle"}), refused(Code::NotFound, "KEY_NOT_FOUND", json!({}))),
        ("State/Write", json!({"key": "x", "value": {"int": 1}}), Includes(json!({}))),
        ("State/Transition", json!({"key": "x", "to": "idle"}), precondition("NO_MACHINE", json!({}))),
        ("State/Write", key(json!({"value": {"text": "a"}, "expect": {"exists": false}})), Includes(json!({"revision": "3"}))),
        ("State/Read", key(json!({})), Includes(json!({"entry": {"machine": "conn", "state": "idle", "stateExpireTime": null}}))),
        // A Write keeps the state. A move to the same state is refused unless the machine lists it.
        ("State/Transition", key(json!({"to": "idle"})), refusal("idle", "idle", "closing,inflight")),
        ("State/Transition", key(json!({"to": "nowhere"})), refusal("idle", "nowhere", "closing,inflight")),
        ("State/Transition", key(json!({"to": "inflight", "value": {"int": 7}})), Exactly(json!({"revision": "4", "createRevision": "3", "from": "idle"}))),
        ("State/Write", key(json!({"value": {"int": 8}, "expect": {"state": "inflight"}})), Includes(json!({"revision": "5"}))),
        ("State/Read", key(json!({"expect": {"state": "idle"}})), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": "inflight"}))),
        // expect.state does not hold for a missing key, nor for a key without a machine.
        ("State/Read", json!({"key": "conn/2", "expect": {"state": "idle"}}), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": ""}))),
        ("State/Read", json!({"key": "x", "expect": {"state": "idle"}}), precondition("STATE_MISMATCH", json!({"expected": "idle", "actual": ""}))),
        ("State/Delete", key(json!({})), precondition("STATE_NOT_FINAL", json!({"machine": "conn", "state": "inflight", "allowed": "closing,idle"}))),
        // `expect` is checked before the machine's rule.
        ("State/Delete", key(json!({"expect": {"revision": 1}})), refused(Code::Aborted, "EXPECTATION_FAILED", json!({"test": "revision", "expected": "1", "actual": "5"}))),
        // The rule holds in a batch too, and `op` is the index of the refused operation.
        ("State/Batch", json!({"ops": [{"transition": {"key": "conn/1", "to": "idle"}}, {"delete": {"key": "conn/1"}}]}),
            precondition("STATE_NOT_FINAL", json!({"machine": "conn", "state": "idle", "allowed": "closing,inflight", "op": "1"}))),
        ("State/Batch", json!({"ops": [{"transition": {"key": "conn/1", "to": "closing"}}, {"delete": {"key": "conn/1"}}, {"add": {"key": "conn/1", "delta": 3}}]}),
            Includes(json!({"revision": "6", "results": [{"transition": {"from": "inflight", "revision": "6"}}, {"delete": {}}, {"add": {"value": "3", "createRevision": "6"}}]}))),
        // A key that is deleted and created again starts in the initial state.
        ("State/Read", key(json!({})), Includes(json!({"entry": {"state": "idle"}}))),
        ("State/Transition", key(json!({"to": "closing"})), Includes(json!({}))),
        ("State/Transition", key(json!({"to": "idle"})), refusal("closing", "idle", "")),
        ("State/Delete", key(json!({})), Includes(json!({"previous": {"state": "closing"}}))),
    ])
    .await;
}

#[tokio::test]
async fn machines_are_defined_changed_and_deleted() {
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
        // A machine cannot be defined over existing keys.
        ("State/Write", write("conn/0"), Includes(json!({}))),
        ("Machines/DefineMachine", define(json!({})), stranded("", "conn/0")),
        ("State/Delete", json!({"key": "conn/0"}), Includes(json!({}))),
        // Conditions on the machine; the revision in a request is ignored, and validate_only changes nothing.
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"exists": true}})), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        ("Machines/DefineMachine", with(&define(json!({"revision": 77})), json!({"validate_only": true})), Includes(json!({"name": "conn", "revision": null}))),
        ("Machines/GetMachine", json!({"name": "conn"}), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"revision": 0}})), Includes(json!({"revision": "3"}))),
        // Defining the same machine again changes nothing.
        ("Machines/DefineMachine", define(json!({})), Includes(json!({"revision": "3"}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"exists": false}})), refused(Code::AlreadyExists, "MACHINE_EXISTS", json!({"revision": "3"}))),
        ("Machines/DefineMachine", with(&define(json!({})), json!({"expect": {"revision": 2}})), refused(Code::Aborted, "EXPECTATION_FAILED", json!({"test": "revision", "expected": "2", "actual": "3"}))),
        // Prefixes of machines must not overlap.
        ("Machines/DefineMachine", define(json!({"name": "other"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", define(json!({"name": "other", "key_prefix": "conn/a/"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", define(json!({"name": "other", "key_prefix": "co"})), taken("conn", "conn/")),
        ("Machines/DefineMachine", with(&define(json!({"name": "other", "key_prefix": "conn0"})), json!({"validate_only": true})), Includes(json!({}))),
        // A machine with keys: states that keys are in and the prefix must stay, the initial state may change.
        ("State/Write", write("conn/1"), Includes(json!({}))),
        ("Machines/DefineMachine", define(only("closing")), stranded("idle", "conn/1")),
        ("Machines/DefineMachine", define(json!({"key_prefix": "c/"})), stranded("idle", "conn/1")),
        ("Machines/DeleteMachine", json!({"name": "conn"}), stranded("idle", "conn/1")),
        ("Machines/DefineMachine", define(json!({"initial": "inflight"})), Includes(json!({"revision": "5"}))),
        ("State/Write", write("conn/2"), Includes(json!({}))),
        ("State/Read", json!({"key": "conn/1"}), Includes(json!({"entry": {"state": "idle"}}))),
        ("State/Read", json!({"key": "conn/2"}), Includes(json!({"entry": {"state": "inflight"}}))),
        // A state that cannot be reached from `initial` may stay while a key is in it.
        ("Machines/DefineMachine", define(json!({"initial": "inflight", "states": {"inflight": {"next": ["closing"]}, "idle": {"next": ["closing"]}, "closing": {}}})), Includes(json!({"revision": "7"}))),
        ("State/Transition", json!({"key": "conn/1", "to": "closing"}), Includes(json!({}))),
        ("State/Transition", json!({"key": "conn/2", "to": "closing"}), Includes(json!({}))),
        ("Machines/DeleteMachine", json!({"name": "conn"}), Exactly(json!({}))),
        ("State/Read", json!({"key": "conn/1"}), Includes(json!({"entry": {"machine": null, "state": null, "revision": "8"}}))),
        ("Machines/DeleteMachine", json!({"name": "conn"}), refused(Code::NotFound, "MACHINE_NOT_FOUND", json!({}))),
        // As many machines as the limit allows.
        defined(json!({"name": "b", "key_prefix": "b/", "initial": "x", "states": {"x": {}}})),
        defined(json!({"name": "a", "key_prefix": "a/", "initial": "x", "states": {"x": {}}})),
        ("Machines/DefineMachine", define(json!({"key_prefix": "c/"})), refused(Code::ResourceExhausted, "STORE_FULL", json!({"limit": "2", "actual": "2"}))),
        ("Machines/ListMachines", json!({"page_size": 1}), Includes(json!({"machines": [{"name": "a"}], "nextPageToken": "YQ"}))),
        ("Machines/ListMachines", json!({"page_token": "YQ"}), Includes(json!({"machines": [{"name": "b"}], "nextPageToken": null}))),
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
        // `expect` is checked before the session.
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
            Includes(json!({"id": "s", "ttl": "60s", "createRevision": "1", "keyCount": null})),
        ),
        // A living session is not opened again without take_over.
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
            Includes(json!({"revision": "2"})),
        ),
        (
            "State/Add",
            json!({"key": "n", "delta": 1, "session": "s"}),
            Includes(json!({"revision": "3"})),
        ),
        (
            "State/Read",
            json!({"key": "n", "expect": {"session": "s"}}),
            Includes(json!({"entry": {"session": "s"}})),
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
        // Renewing a session takes no revision.
        (
            "Sessions/RenewSession",
            life(1),
            Includes(json!({"createRevision": "1", "keyCount": "2"})),
        ),
        (
            "Sessions/OpenSession",
            open(json!({"take_over": true, "ttl": "30s"})),
            Includes(json!({"createRevision": "5", "ttl": "30s"})),
        ),
        ("State/List", json!({}), Exactly(json!({"revision": "5"}))),
        // Calls that mean the session before the take-over are refused.
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
            Includes(json!({"revision": "6"})),
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
        // As many sessions as the limit allows. The server names the first one.
        (
            "Sessions/OpenSession",
            json!({"ttl": "60s"}),
            Includes(json!({"createRevision": "8"})),
        ),
        (
            "Sessions/OpenSession",
            open(json!({})),
            Includes(json!({"createRevision": "9"})),
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
            Includes(json!({"createRevision": "11"})),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_repeated_request_id_is_answered_as_before() {
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
        // A replay is recognised before `expect` is checked, which would not hold any more.
        ("State/Write", write("a", json!({"expect": {"exists": false}})), Exactly(with(&first, json!({"replayed": true})))),
        ("State/Write", write("a", json!({})), reused()),
        ("State/Add", json!({"key": "k", "delta": 1, "request_id": "a"}), reused()),
        // The id of a refused request is not remembered.
        ("State/Write", write("b", json!({"expect": {"exists": false}})), refused(Code::AlreadyExists, "KEY_EXISTS", json!({"revision": "1"}))),
        ("State/Delete", json!({"key": "k", "request_id": "b"}), Includes(json!({"revision": "2", "previous": {"value": {"int": "1"}}}))),
        ("State/Delete", json!({"key": "k", "request_id": "b"}), Includes(json!({"revision": "2", "replayed": true, "previous": {"value": {"int": "1"}}}))),
        // A batch that is a replay says so; the results in it do not.
        ("State/Batch", batch("c"), Includes(json!({"revision": "3", "results": [added.clone(), {"read": {}}]}))),
        ("State/Batch", batch("c"), Exactly(json!({"revision": "3", "replayed": true, "results": [added, {"read": {"revision": "3"}}]}))),
        ("State/Batch", json!({"ops": [{"read": {"key": "k"}}], "request_id": "c"}), reused()),
        // A Delete that found no key is remembered too.
        ("State/Delete", json!({"key": "none", "request_id": "d"}), Exactly(json!({"revision": "3"}))),
        ("State/Write", json!({"key": "none", "value": {"int": 1}}), Includes(json!({}))),
        ("State/Delete", json!({"key": "none", "request_id": "d"}), Exactly(json!({"revision": "3", "replayed": true}))),
        // Sessions have request ids too.
        ("Sessions/OpenSession", json!({"ttl": "60s", "request_id": "e"}), Includes(json!({"createRevision": "5", "replayed": null}))),
        ("Sessions/OpenSession", json!({"ttl": "60s", "request_id": "e"}), Includes(json!({"createRevision": "5", "replayed": true}))),
        ("Sessions/OpenSession", json!({"id": "s", "ttl": "60s", "request_id": "f"}), Includes(json!({"createRevision": "6"}))),
        ("Sessions/CloseSession", json!({"id": "s", "create_revision": 6, "request_id": "g"}), Includes(json!({"revision": "7"}))),
        ("Sessions/CloseSession", json!({"id": "s", "create_revision": 6, "request_id": "g"}), Exactly(json!({"revision": "7", "replayed": true}))),
        ("State/Add", json!({"key": "n", "delta": 1, "request_id": "h"}), Includes(json!({"value": "2"}))),
        // Eight ids are remembered, which is the limit. New ids are refused, and no id is forgotten early.
        ("State/Write", write("i", json!({})), refused(Code::ResourceExhausted, "OVERLOADED", json!({"limit": "8"}))),
        ("State/Add", json!({"key": "n", "delta": 1, "request_id": "h"}), Includes(json!({"value": "2", "replayed": true}))),
        ("State/Write", write("", json!({})), Includes(json!({"revision": "9"}))),
    ])
    .await;
    let info = caller.call("Admin/GetInfo", &json!({})).await.unwrap();
    assert_eq!(info["requestIdCount"], "8");
}

#[tokio::test]
async fn concurrent_duplicates_are_applied_once() {
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
async fn a_forgotten_request_id_is_a_new_one() {
    let server = TestServer::with(|config| {
        config.limits.request_id_window = std::time::Duration::from_millis(1);
    });
    let caller = Caller::of(&server).await;
    let add = json!({"key": "n", "delta": 1, "request_id": "a"});
    // The id is forgotten when the owner no longer counts it.
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

//! Bad arguments, each refused with the path of its field.

use super::*;

#[tokio::test]
async fn bad_arguments_are_refused() {
    let write = |more| with(&json!({"key": "k", "value": {"int": 1}}), more);
    let machine = |more| json!({"machine": with(&conn(), more)});
    let from_1ms = "from 0.001s to 315360000s";
    let field = |field: &str| json!({ "field": field });
    let ranged = |field: &str, limit: &str, actual: &str| json!({"field": field, "limit": limit, "actual": actual});
    let long = "x".repeat(129);
    let rows: Vec<(&'static str, Value, &'static str, Value)> = vec![
        // Lifetimes.
        (
            "State/Write",
            write(json!({"keep_value": true})),
            "BAD_LIFETIME",
            field("keep_value"),
        ),
        (
            "State/Write",
            json!({"key": "k", "keep_value": true, "keep_lifetime": true}),
            "BAD_LIFETIME",
            field("keep_value"),
        ),
        (
            "State/Write",
            write(json!({"session": ""})),
            "BAD_LIFETIME",
            ranged("session", "1", "0"),
        ),
        (
            "State/Write",
            write(json!({"ttl": "0s"})),
            "BAD_LIFETIME",
            ranged("ttl", from_1ms, "0s"),
        ),
        (
            "State/Write",
            write(json!({"ttl": "0.000999s"})),
            "BAD_LIFETIME",
            ranged("ttl", from_1ms, "0.000999s"),
        ),
        (
            "State/Write",
            write(json!({"ttl": "-1s"})),
            "BAD_LIFETIME",
            ranged("ttl", from_1ms, "-1s"),
        ),
        (
            "State/Write",
            write(json!({"ttl": "315360001s"})),
            "BAD_LIFETIME",
            ranged("ttl", from_1ms, "315360001s"),
        ),
        (
            "State/Write",
            write(json!({"session_create_revision": 1})),
            "BAD_LIFETIME",
            field("session_create_revision"),
        ),
        (
            "State/Write",
            write(json!({"session": "s", "session_create_revision": -1})),
            "BAD_LIFETIME",
            ranged("session_create_revision", "1 or more, or unset", "-1"),
        ),
        (
            "State/Add",
            json!({"key": "k", "delta": 1, "ttl": "0s"}),
            "BAD_LIFETIME",
            ranged("ttl", from_1ms, "0s"),
        ),
        // Conditions.
        (
            "State/Write",
            write(json!({"expect": {}})),
            "BAD_CONDITION",
            field("expect"),
        ),
        (
            "State/Write",
            write(json!({"expect": {"value": {}}})),
            "VALUE_MISSING",
            field("expect.value"),
        ),
        (
            "State/Write",
            write(json!({"expect": {"state": ""}})),
            "BAD_CONDITION",
            ranged("expect.state", "1", "0"),
        ),
        (
            "State/Write",
            write(json!({"expect": {"session": long}})),
            "BAD_CONDITION",
            ranged("expect.session", "128", "129"),
        ),
        // Transitions.
        (
            "State/Transition",
            json!({"key": "k", "to": ""}),
            "BAD_MACHINE",
            ranged("to", "1", "0"),
        ),
        (
            "State/Transition",
            json!({"key": "k", "to": "a", "value": {}}),
            "VALUE_MISSING",
            field("value"),
        ),
        (
            "State/Transition",
            json!({"key": "$k", "to": "a"}),
            "BAD_KEY",
            field("key"),
        ),
        // Request ids.
        (
            "State/Write",
            write(json!({"request_id": long})),
            "BAD_REQUEST_ID",
            ranged("request_id", "128", "129"),
        ),
        (
            "State/Delete",
            json!({"key": "k", "request_id": "a\nb"}),
            "BAD_REQUEST_ID",
            field("request_id"),
        ),
        (
            "State/Batch",
            json!({"ops": [{"write": write(json!({"request_id": "r"}))}]}),
            "BAD_REQUEST_ID",
            json!({"field": "ops[0].write.request_id", "op": "0"}),
        ),
        (
            "State/Batch",
            json!({"ops": [{"transition": {"key": "k", "to": "\u{7}"}}]}),
            "BAD_MACHINE",
            json!({"field": "ops[0].transition.to", "op": "0"}),
        ),
        // Deletions by prefix.
        ("State/DeletePrefix", json!({}), "BAD_PAGE", field("prefix")),
        (
            "State/DeletePrefix",
            json!({"prefix": "a", "limit": -1}),
            "BAD_PAGE",
            json!({"field": "limit", "actual": "-1"}),
        ),
        (
            "State/DeletePrefix",
            json!({"prefix": "a", "page_token": "x"}),
            "BAD_PAGE",
            field("page_token"),
        ),
        // Watches.
        ("State/Watch", json!({}), "BAD_WATCH", field("target")),
        (
            "State/Watch",
            json!({"key": ""}),
            "BAD_KEY",
            ranged("key", "1", "0"),
        ),
        (
            "State/Watch",
            json!({"prefix": "$"}),
            "BAD_WATCH",
            field("prefix"),
        ),
        (
            "State/Watch",
            json!({"prefix": "", "initial": true, "after_revision": 0}),
            "BAD_WATCH",
            field("initial"),
        ),
        (
            "State/Watch",
            json!({"prefix": "", "after_revision": -1}),
            "BAD_WATCH",
            ranged("after_revision", "0 or more", "-1"),
        ),
        (
            "State/Watch",
            json!({"prefix": "", "progress_interval": "0.099s"}),
            "BAD_WATCH",
            ranged("progress_interval", "from 0.100s to 3600s", "0.099s"),
        ),
        // Machines.
        (
            "Machines/DefineMachine",
            json!({}),
            "BAD_MACHINE",
            field("machine"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"name": ""})),
            "BAD_MACHINE",
            ranged("machine.name", "1", "0"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"key_prefix": ""})),
            "BAD_MACHINE",
            field("machine.key_prefix"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"key_prefix": "$a"})),
            "BAD_MACHINE",
            field("machine.key_prefix"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {}})),
            "BAD_MACHINE",
            field("machine.states"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}}})),
            "BAD_MACHINE",
            ranged("machine.states", "4", "5"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"": {}}})),
            "BAD_MACHINE",
            ranged("machine.states[\"\"]", "1", "0"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"initial": "busy"})),
            "BAD_MACHINE",
            json!({"field": "machine.initial", "actual": "busy"}),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"next": ["gone"]}}})),
            "BAD_MACHINE",
            json!({"field": "machine.states[\"idle\"].next", "actual": "gone"}),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"next": ["idle", "idle"]}}})),
            "BAD_MACHINE",
            json!({"field": "machine.states[\"idle\"].next[1]", "actual": "idle"}),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"timeout": "1s"}}})),
            "BAD_MACHINE",
            field("machine.states[\"idle\"].timeout"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {
                "idle": {"next": ["a"]},
                "a": {"timeout": "0.001s", "timeout_next": "b"},
                "b": {"timeout": "0.001s", "timeout_next": "a"},
            }})),
            "BAD_MACHINE",
            ranged("machine.states[\"a\"].timeout", "10s or more", "0.002s"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"timeout": "9.999s", "timeout_next": "idle"}}})),
            "BAD_MACHINE",
            ranged("machine.states[\"idle\"].timeout", "10s or more", "9.999s"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"timeout_next": "idle"}}})),
            "BAD_MACHINE",
            field("machine.states[\"idle\"].timeout_next"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {"timeout": "0s", "timeout_next": "idle"}}})),
            "BAD_MACHINE",
            ranged("machine.states[\"idle\"].timeout", from_1ms, "0s"),
        ),
        (
            "Machines/DefineMachine",
            machine(json!({"states": {"idle": {}, "lost": {}}})),
            "BAD_MACHINE",
            field("machine.states[\"lost\"]"),
        ),
        (
            "Machines/DefineMachine",
            with(&machine(json!({})), json!({"expect": {"state": "idle"}})),
            "BAD_CONDITION",
            field("expect"),
        ),
        (
            "Machines/GetMachine",
            json!({}),
            "BAD_MACHINE",
            ranged("name", "1", "0"),
        ),
        (
            "Machines/ListMachines",
            json!({"page_size": -1}),
            "BAD_PAGE",
            json!({"field": "page_size", "actual": "-1"}),
        ),
        (
            "Machines/DeleteMachine",
            json!({"name": "$m"}),
            "BAD_MACHINE",
            field("name"),
        ),
        // Sessions.
        (
            "Sessions/OpenSession",
            json!({"id": "s"}),
            "BAD_LIFETIME",
            ranged("ttl", "from 1s to 86400s", "missing"),
        ),
        (
            "Sessions/OpenSession",
            json!({"id": "s", "ttl": "0.9s"}),
            "BAD_LIFETIME",
            ranged("ttl", "from 1s to 86400s", "0.900s"),
        ),
        (
            "Sessions/OpenSession",
            json!({"id": "s", "ttl": "86401s"}),
            "BAD_LIFETIME",
            ranged("ttl", "from 1s to 86400s", "86401s"),
        ),
        (
            "Sessions/OpenSession",
            json!({"id": long, "ttl": "1s"}),
            "BAD_SESSION",
            ranged("id", "128", "129"),
        ),
        (
            "Sessions/RenewSession",
            json!({"id": "s"}),
            "BAD_SESSION",
            ranged(
                "create_revision",
                "1 or more: the create_revision that OpenSession returned",
                "0",
            ),
        ),
        (
            "Sessions/RenewSession",
            json!({"create_revision": 1}),
            "BAD_SESSION",
            ranged("id", "1", "0"),
        ),
        (
            "Sessions/CloseSession",
            json!({"id": "s", "create_revision": -1}),
            "BAD_SESSION",
            ranged(
                "create_revision",
                "1 or more: the create_revision that OpenSession returned",
                "-1",
            ),
        ),
        (
            "Sessions/ListSessions",
            json!({"page_token": "?"}),
            "BAD_PAGE",
            field("page_token"),
        ),
    ];
    run(rows
        .into_iter()
        .map(|(name, request, reason, metadata)| (name, request, invalid(reason, metadata))))
    .await;
}

//! `inspect`: lines of JSON.

use serde_json::{Value, json};
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::{
    self, AddRequest, DefineMachineRequest, DeleteRequest, OpenSessionRequest, WriteRequest,
    write_request::Lifetime,
};

use super::{Durable, output};
use crate::support::{int, text, write};

/// Runs `inspect` on a directory, and returns its lines.
async fn lines(data: &str, args: &[&str]) -> Vec<Value> {
    let (code, out, error) = output(&[&["inspect", "--data-dir", data], args].concat()).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let lines = out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// A server that was killed after it did one thing of each kind.
async fn killed_after_everything() -> Durable {
    let mut server = Durable::start(&[]).await;
    let mut state = server.state().await;
    state.write(write("n", int(1 << 60))).await.unwrap();
    let bytes = v1::Value {
        kind: Some(v1::value::Kind::Bytes(vec![0, 255])),
    };
    state.write(write("b", bytes)).await.unwrap();
    let long = text("x".repeat(100_000));
    state.write(write("long", long)).await.unwrap();
    let ttl = Some(prost_types::Duration {
        seconds: 600,
        nanos: 500_000_000,
    });
    let open = OpenSessionRequest {
        id: "s".into(),
        ttl,
        ..OpenSessionRequest::default()
    };
    let mut sessions = SessionsClient::new(server.channel().await);
    sessions.open_session(open).await.unwrap();
    let of_session = WriteRequest {
        lifetime: Some(Lifetime::Session("s".into())),
        ..write("lock", text("me"))
    };
    state.write(of_session).await.unwrap();
    let machine = v1::Machine {
        name: "m".into(),
        key_prefix: "m/".into(),
        initial: "new".into(),
        states: [("new".into(), v1::machine::State::default())].into(),
        ..v1::Machine::default()
    };
    let define = DefineMachineRequest {
        machine: Some(machine),
        ..DefineMachineRequest::default()
    };
    let mut machines = MachinesClient::new(server.channel().await);
    machines.define_machine(define).await.unwrap();
    let add = AddRequest {
        key: "n".into(),
        delta: 1,
        request_id: "once".into(),
        ..AddRequest::default()
    };
    state.add(add).await.unwrap();
    let delete = DeleteRequest {
        key: "b".into(),
        ..DeleteRequest::default()
    };
    state.delete(delete).await.unwrap();
    server.process.child.kill().await.unwrap();
    server
}

#[tokio::test]
async fn the_log_is_lines_of_json() {
    let server = killed_after_everything().await;
    let records = lines(server.path(), &["--log"]).await;
    let is_text = |value: &Value| value.as_str().unwrap().parse::<u64>().is_ok();
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["record"], (n + 1).to_string());
        assert_eq!(record["epoch"], "1");
        assert!(is_text(&record["revision"]), "{record}");
        let time = record["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    let mut effects = Vec::new();
    for record in records {
        effects.extend(record["effects"].as_array().unwrap().clone());
    }
    let expected = [
        json!({"changed": {"cause": "WRITTEN", "entry": {
            "key": "n", "value": {"int": "1152921504606846976"}, "revision": "1", "createRevision": "1",
        }}}),
        json!({"changed": {"cause": "WRITTEN", "entry": {
            "key": "b", "value": {"bytes": "AP8="}, "revision": "2", "createRevision": "2",
        }}}),
        json!({"changed": {"cause": "WRITTEN", "entry": {
            "key": "long", "value": {"text": "x".repeat(100_000)}, "revision": "3", "createRevision": "3",
        }}}),
        json!({"sessionOpened": {"id": "s", "ttl": "600.500s", "createRevision": "4"}}),
        json!({"changed": {"cause": "WRITTEN", "entry": {
            "key": "lock", "value": {"text": "me"}, "session": "s", "revision": "5", "createRevision": "5",
        }}}),
        json!({"machineDefined": {
            "name": "m", "keyPrefix": "m/", "initial": "new", "states": {"new": {}}, "revision": "6",
        }}),
        json!({"changed": {"cause": "WRITTEN", "entry": {
            "key": "n", "value": {"int": "1152921504606846977"}, "revision": "7", "createRevision": "1",
        }}}),
        json!({"requestApplied": {"requestId": "once", "answer": {"add": {
            "value": "1152921504606846977", "applied": "1", "revision": "7", "createRevision": "1",
        }}}}),
        json!({"changed": {"cause": "DELETED", "entry": {"key": "b", "revision": "8"}}}),
    ];
    for effect in &mut effects {
        if let Some(applied) = effect.get_mut("requestApplied") {
            let applied = applied.as_object_mut().unwrap();
            let time = applied.remove("time").unwrap();
            assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        }
    }
    assert_eq!(effects, expected);

    let of_n = lines(server.path(), &["--log", "--prefix", "n"]).await;
    let keys = of_n
        .iter()
        .map(|of| &of["effects"][0]["changed"]["entry"]["key"]);
    assert_eq!(keys.collect::<Vec<_>>(), ["n", "n"]);
    assert_eq!(of_n[1]["effects"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_state_is_lines_of_json() {
    let server = killed_after_everything().await;
    let items = lines(server.path(), &[]).await;
    let kinds = items.iter().map(|item| item.as_object().unwrap().keys());
    let kinds: Vec<_> = kinds.flatten().collect();
    assert_eq!(kinds, ["machine", "session", "entry", "entry", "entry"]);
    assert_eq!(items[1]["session"]["ttl"], "600.500s");
    assert_eq!(items[2]["entry"]["key"], "lock");
    let of_n = json!({"entry": {
        "key": "n", "value": {"int": "1152921504606846977"}, "revision": "7", "createRevision": "1",
    }});
    assert_eq!(items[4], of_n);
    let only_n = lines(server.path(), &["--prefix", "n"]).await;
    assert_eq!(only_n, [of_n]);
}

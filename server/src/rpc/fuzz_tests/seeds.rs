//! Messages that mutation begins with: one with every field for each request.

use prost::Message;
use prost_types::Duration;
use soloist::v1;
use v1::{condition, op, value, write_request};

fn condition(test: condition::Test) -> Option<v1::Condition> {
    Some(v1::Condition { test: Some(test) })
}

fn value(kind: value::Kind) -> Option<v1::Value> {
    Some(v1::Value { kind: Some(kind) })
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 5 }
}

pub(super) fn read() -> v1::ReadRequest {
    v1::ReadRequest {
        key: "a".into(),
        expect: condition(condition::Test::Exists(true)),
    }
}

pub(super) fn write() -> v1::WriteRequest {
    v1::WriteRequest {
        key: "b".into(),
        expect: condition(condition::Test::Value(v1::Value {
            kind: Some(value::Kind::Int(-7)),
        })),
        request_id: "id".into(),
        value: value(value::Kind::Text("text".into())),
        keep_value: false,
        lifetime: Some(write_request::Lifetime::Ttl(seconds(60))),
        return_previous: true,
        session_create_revision: 0,
    }
}

pub(super) fn add() -> v1::AddRequest {
    v1::AddRequest {
        key: "n".into(),
        expect: condition(condition::Test::Revision(3)),
        request_id: "id".into(),
        delta: -5,
        min: Some(-10),
        max: Some(10),
        saturate: true,
        lifetime: Some(v1::add_request::Lifetime::Session("s".into())),
        session_create_revision: 4,
    }
}

pub(super) fn transition() -> v1::TransitionRequest {
    v1::TransitionRequest {
        key: "m/1".into(),
        expect: condition(condition::Test::State("idle".into())),
        request_id: "id".into(),
        to: "busy".into(),
        value: value(value::Kind::Bytes(vec![1, 2, 255])),
    }
}

pub(super) fn delete() -> v1::DeleteRequest {
    v1::DeleteRequest {
        key: "d".into(),
        expect: condition(condition::Test::Session("s".into())),
        request_id: "id".into(),
    }
}

/// One operation of each kind, with every field and with the common ones.
pub(super) fn operations() -> Vec<v1::Op> {
    let simple = [
        op::Op::Read(v1::ReadRequest {
            expect: None,
            ..read()
        }),
        op::Op::Write(v1::WriteRequest {
            key: "b".into(),
            value: value(value::Kind::Int(-1)),
            ..v1::WriteRequest::default()
        }),
        op::Op::Add(v1::AddRequest {
            key: "n".into(),
            delta: 1,
            ..v1::AddRequest::default()
        }),
        op::Op::Transition(v1::TransitionRequest {
            key: "m/1".into(),
            to: "busy".into(),
            ..v1::TransitionRequest::default()
        }),
        op::Op::Delete(v1::DeleteRequest {
            key: "d".into(),
            ..v1::DeleteRequest::default()
        }),
    ];
    let whole = [
        op::Op::Read(read()),
        op::Op::Write(write()),
        op::Op::Add(add()),
        op::Op::Transition(transition()),
        op::Op::Delete(delete()),
    ];
    let ops = simple.into_iter().chain(whole);
    ops.map(|op| v1::Op { op: Some(op) }).collect()
}

/// Frames: of each operation alone, of the common ones together, of all, atomic and not.
pub(super) fn frames() -> Vec<v1::PipelineRequest> {
    let operations = operations();
    let sets = [operations[..5].to_vec(), operations.clone()];
    let alone = operations.into_iter().map(|op| vec![op]);
    let whole = sets.into_iter().chain(alone);
    whole
        .flat_map(|ops| {
            [false, true].map(|atomic| v1::PipelineRequest {
                ops: ops.clone(),
                atomic,
                request_id: if atomic {
                    "frame".into()
                } else {
                    String::new()
                },
                timeout: atomic.then(|| seconds(1)),
            })
        })
        .collect()
}

pub(super) fn define_machine() -> v1::DefineMachineRequest {
    let state = |next: &[&str], timeout: Option<&str>| v1::machine::State {
        next: next.iter().map(|name| (*name).into()).collect(),
        timeout: timeout.map(|_| seconds(20)),
        timeout_next: timeout.unwrap_or_default().into(),
    };
    v1::DefineMachineRequest {
        machine: Some(v1::Machine {
            name: "machine".into(),
            key_prefix: "m/".into(),
            initial: "idle".into(),
            states: [
                ("idle".to_owned(), state(&["busy"], None)),
                ("busy".to_owned(), state(&["idle", "done"], Some("idle"))),
                ("done".to_owned(), state(&[], Some("idle"))),
            ]
            .into(),
            revision: 0,
        }),
        expect: condition(condition::Test::Exists(false)),
        validate_only: true,
    }
}

/// A message behind the byte that selects its type.
pub(super) fn selected(selector: usize, message: &impl Message) -> Vec<u8> {
    let mut input = vec![u8::try_from(selector).unwrap()];
    input.extend(message.encode_to_vec());
    input
}

/// Words of names, keys and limits.
pub(super) const WORDS: [&[u8]; 8] = [
    b"a/b",
    b"\xff",
    b"\xc3\xa9",
    b"\n",
    b"\0",
    b"idle",
    b"YQ",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
];

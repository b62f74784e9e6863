//! The size of messages.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;

use super::watch_response;
use crate::machine::{
    DefineMachine, Machine, Name, OnExisting, OpenSession, Operation, Purpose, Revision,
    SetLifetime, State, StateMachine, StoreLimits, Time, Value, WatchFrom, WatchShows, WatchTarget,
    Write, WriteOptions,
};

/// A state with a session and a machine, whose names are as long as they may be. The machine covers all keys.
fn with_long_names(session: &Name) -> StateMachine {
    let mut machine = StateMachine::new(StoreLimits {
        store_bytes: u64::MAX,
        sessions: 1,
        machines: 1,
        request_id_window: Duration::from_secs(1),
        request_ids: 0,
        request_id_bytes: 0,
        ring_changes: usize::MAX,
        ring_bytes: usize::MAX,
    });
    let state = Name::from("t".repeat(128));
    let define = DefineMachine {
        machine: Machine {
            name: Name::from("m".repeat(128)),
            key_prefix: "0".into(),
            initial: state.clone(),
            states: BTreeMap::from([(state, State::default())]),
            revision: 0,
        },
        expect: None,
        purpose: Purpose::Define,
    };
    machine.define_machine(define).unwrap();
    let open = OpenSession {
        id: session.clone(),
        ttl: Duration::from_secs(60),
        on_existing: OnExisting::Refuse,
    };
    machine.open_session(open, None, Time::MIN).unwrap();
    machine
}

/// Writes 1,024 keys of 1,024 bytes with values of 850, as many as an atomic frame may have. Returns the revision.
fn write_all(machine: &mut StateMachine, session: &Name) -> Revision {
    let write = |index| {
        Operation::Write(Write {
            key: format!("{index:01024}").into(),
            value: Some(Value::Text("x".repeat(850).into())),
            options: Some(Box::new(WriteOptions {
                lifetime: SetLifetime::Session {
                    id: session.clone(),
                    create_revision: None,
                },
                ..WriteOptions::default()
            })),
        })
    };
    let operations: Vec<_> = (0..1_024).map(write).collect();
    // What `arguments/frame.rs` counts against max_batch_bytes, 2 MiB: keys and values.
    let counted: usize = operations.iter().map(Operation::byte_len).sum();
    assert!(counted <= 2 << 20, "the frame has {counted} bytes");
    let outcome = machine.apply_all(operations, None, usize::MAX, Time::MIN);
    outcome.unwrap().revision
}

#[test]
fn a_message_with_previous_stays_below_what_clients_take() {
    let session = Name::from("s".repeat(128));
    let mut machine = with_long_names(&session);
    let before = write_all(&mut machine, &session);
    write_all(&mut machine, &session);
    let target = WatchTarget::Prefix(String::new());
    let from = WatchFrom::After(before);
    let watch = machine.watch(target, from, WatchShows::BeforeAndAfter);
    let batch = machine.next_batch(&mut watch.unwrap(), 1 << 20, Revision::MAX);
    let batch = batch.unwrap();
    let counted = batch.bytes;
    let response = watch_response(batch);
    for event in &response.events {
        assert!(event.previous.is_some() != event.previous_left_out);
    }
    let bytes = response.encoded_len();
    assert!(
        bytes <= 4 << 20,
        "counted {counted}, message has {bytes} bytes"
    );
}

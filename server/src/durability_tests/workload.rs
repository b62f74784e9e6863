//! Random calls of every kind that changes the state.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::machine::{
    Add, DefineMachine, Delete, DeleteMachine, DeletePrefix, Fingerprint, Key, KeysLeft, Machine,
    Name, OnExisting, OpenSession, Operation, Purpose, RequestId, SessionLife, SetLifetime, State,
    StateMachine, Time, Transition, Value, Write, WriteOptions,
};

/// A reproducible sequence of random calls.
#[derive(Debug)]
pub(super) struct Workload {
    rng: StdRng,
    /// Makes request ids unique.
    requests: u64,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            requests: 0,
        }
    }

    /// A random number of at most `max`.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        self.rng.random_range(0..=max)
    }

    fn key(&mut self) -> Key {
        let prefix = ["a", "b", "m/"].choose(&mut self.rng).unwrap();
        format!("{prefix}{}", self.rng.random_range(0..6)).into()
    }

    /// A new request id for about every third call.
    fn request(&mut self) -> Option<RequestId> {
        self.rng.random_bool(0.3).then(|| {
            self.requests += 1;
            RequestId {
                id: format!("{}-{}", self.rng.random::<u64>(), self.requests).into(),
                fingerprint: Fingerprint(self.rng.random()),
            }
        })
    }

    fn value(&mut self) -> Value {
        match self.rng.random_range(0..10) {
            0..5 => Value::Int(self.rng.random()),
            5..8 => Value::Text("t".repeat(self.rng.random_range(0..40)).into()),
            _ => {
                let len = self.rng.random_range(0..3_000);
                Value::Bytes(vec![self.rng.random(); len].into())
            }
        }
    }

    fn operation(&mut self) -> Operation {
        let key = self.key();
        match self.rng.random_range(0..10) {
            0..5 => {
                let lifetime = match self.rng.random_range(0..4) {
                    0 => SetLifetime::Ttl(Duration::from_millis(self.rng.random_range(1..30))),
                    1 => SetLifetime::Session {
                        id: "s".into(),
                        create_revision: None,
                    },
                    _ => SetLifetime::Unlimited,
                };
                Operation::Write(Write {
                    key,
                    value: Some(self.value()),
                    options: Some(Box::new(WriteOptions {
                        lifetime,
                        ..WriteOptions::default()
                    })),
                })
            }
            5..7 => Operation::Add(Add {
                key,
                delta: 1,
                options: None,
            }),
            7 => Operation::Transition(Transition {
                key,
                to: ["busy", "idle", "done"]
                    .choose(&mut self.rng)
                    .map(|to| Name::from(*to))
                    .unwrap(),
                options: None,
            }),
            _ => Operation::Delete(Delete { key, expect: None }),
        }
    }

    /// Makes one call. The state machine may refuse it.
    pub(super) fn call(&mut self, machine: &mut StateMachine, now: Time) {
        machine.advance(now, usize::MAX);
        let request = self.request();
        let request = request.as_ref();
        match self.rng.random_range(0..20) {
            0 => {
                let open = OpenSession {
                    id: "s".into(),
                    ttl: Duration::from_secs(1_000),
                    on_existing: OnExisting::TakeOver,
                };
                let _ = machine.open_session(open, request, now);
            }
            1 => {
                let sessions = machine.list_sessions(None, 1).items;
                if let Some(session) = sessions.first() {
                    let life = SessionLife {
                        id: session.id.clone(),
                        create_revision: session.create_revision,
                    };
                    let _ = machine.close_session(&life, request, now);
                }
            }
            2 => {
                let _ = machine.define_machine(define(self.rng.random()));
            }
            3 => {
                let _ = machine.delete_machine(&DeleteMachine {
                    revision: None,
                    name: Name::from("m"),
                    keys: match self.rng.random() {
                        true => KeysLeft::InAnyState,
                        false => KeysLeft::InFinalStates,
                    },
                });
            }
            4 => {
                let delete = DeletePrefix {
                    prefix: ["a", "b", "m/", ""]
                        .choose(&mut self.rng)
                        .unwrap()
                        .to_string(),
                    after: self.rng.random_bool(0.3).then(|| "a2".into()),
                    limit: self.rng.random_range(1..8),
                };
                let _ = machine.delete_prefix(&delete, request, now);
            }
            5..9 => {
                let count = self.rng.random_range(1..5);
                let operations = (0..count).map(|_| self.operation()).collect();
                let _ = machine.apply_all(operations, request, usize::MAX, now);
            }
            _ => {
                let request_id = request.map(|request| (0, request.clone()));
                let operations = vec![self.operation()];
                let request_ids: Vec<_> = request_id.into_iter().collect();
                machine.apply_each(operations, &request_ids, usize::MAX, now);
            }
        }
    }
}

/// A machine for the keys under `m/`, with or without a timeout in state `busy`.
fn define(timeout: bool) -> DefineMachine {
    let state = |next: &[&str]| State {
        next: next.iter().map(|next| Name::from(*next)).collect(),
        timeout: None,
    };
    let mut states: std::collections::BTreeMap<Name, State> = [
        ("idle".into(), state(&["busy", "done"])),
        ("busy".into(), state(&["idle", "done"])),
        ("done".into(), state(&[])),
    ]
    .into();
    if timeout && let Some(busy) = states.get_mut("busy") {
        busy.timeout = Some(crate::machine::Timeout {
            after: Duration::from_millis(5),
            next: "done".into(),
        });
    }
    DefineMachine {
        machine: Machine {
            name: "m".into(),
            key_prefix: "m/".into(),
            initial: "idle".into(),
            states,
            revision: 0,
        },
        expect: None,
        purpose: Purpose::Define,
    }
}

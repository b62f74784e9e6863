//! Compares the decoder and encoder written by hand with the generated messages.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use soloist::v1;

use super::*;
use crate::config::Limits;
use crate::machine::{
    AddOutcome, AllOutcome, Attached, Cause, DeleteOutcome, EachOutcome, Entry, KeyState, Lifetime,
    Outcome, ReadOutcome, Rejection, Time, TransitionOutcome, Value, WriteOutcome,
};
use crate::rpc::body::response::Encode as _;
use crate::rpc::responses::op_result;
use crate::rpc::status::Refusal;

const LIMITS: Limits = Limits {
    max_key_bytes: 4,
    max_value_bytes: 8,
    max_batch_ops: 5,
    max_batch_bytes: 20,
    ..Limits::DEFAULT
};

/// The frame, if the decoder written by hand takes it.
fn common(message: &[u8]) -> Option<Frame> {
    let count = checked_count(message, &LIMITS).ok()?;
    common_frame(message, count, &LIMITS)
}

fn value() -> impl Strategy<Value = v1::Value> {
    use v1::value::Kind;
    option::weighted(
        0.9,
        prop_oneof![
            any::<i64>().prop_map(Kind::Int),
            ".{0,3}".prop_map(Kind::Text),
            vec(any::<u8>(), 0..10).prop_map(Kind::Bytes),
        ],
    )
    .prop_map(|kind| v1::Value { kind })
}

fn condition() -> impl Strategy<Value = Option<v1::Condition>> {
    let test = option::of(any::<i64>().prop_map(v1::condition::Test::Revision));
    option::weighted(0.1, test.prop_map(|test| v1::Condition { test }))
}

fn op() -> impl Strategy<Value = v1::Op> {
    let key = || prop_oneof![3 => "[a-z]{1,3}", 1 => any::<String>()];
    let read = (key(), condition())
        .prop_map(|(key, expect)| v1::op::Op::Read(v1::ReadRequest { key, expect }));
    let id = || prop_oneof![9 => Just(String::new()), 1 => any::<String>()];
    let ttl = || {
        option::weighted(
            0.1,
            (-1..2i64).prop_map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        )
    };
    let write = (
        (key(), condition(), id()),
        option::weighted(0.9, value()),
        (any::<bool>(), prop::bool::weighted(0.1), ttl()),
    )
        .prop_map(
            |((key, expect, request_id), value, (return_previous, keep_value, ttl))| {
                v1::op::Op::Write(v1::WriteRequest {
                    key,
                    expect,
                    request_id,
                    value,
                    keep_value,
                    lifetime: ttl.map(v1::write_request::Lifetime::Ttl),
                    return_previous,
                    session_create_revision: 0,
                })
            },
        );
    let add = (
        (key(), condition(), id()),
        any::<i64>(),
        option::of(any::<i64>()),
        (any::<bool>(), ttl()),
    )
        .prop_map(|((key, expect, request_id), delta, min, (saturate, ttl))| {
            v1::op::Op::Add(v1::AddRequest {
                key,
                expect,
                request_id,
                delta,
                min,
                max: None,
                saturate,
                lifetime: ttl.map(v1::add_request::Lifetime::Ttl),
                session_create_revision: 0,
            })
        });
    let transition = (
        (key(), condition(), id()),
        key(),
        option::weighted(0.1, value()),
    )
        .prop_map(|((key, expect, request_id), to, value)| {
            v1::op::Op::Transition(v1::TransitionRequest {
                key,
                expect,
                request_id,
                to,
                value,
            })
        });
    let delete = (key(), condition(), id()).prop_map(|(key, expect, request_id)| {
        v1::op::Op::Delete(v1::DeleteRequest {
            key,
            expect,
            request_id,
        })
    });
    option::weighted(0.95, prop_oneof![read, write, add, transition, delete])
        .prop_map(|op| v1::Op { op })
}

fn request() -> impl Strategy<Value = v1::PipelineRequest> {
    let timeout = option::weighted(
        0.1,
        (-2..5i64).prop_map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
    );
    let request_id = prop_oneof![9 => Just(""), 1 => Just("id"), 1 => Just("\n")];
    (vec(op(), 0..7), any::<bool>(), request_id, timeout).prop_map(
        |(ops, atomic, request_id, timeout)| v1::PipelineRequest {
            ops,
            atomic,
            request_id: request_id.into(),
            timeout,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        ".{0,200}".prop_map(|text| Value::Text(text.into())),
        vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    let time = || any::<u32>().prop_map(|s| Time::since_epoch(Duration::from_secs(s.into())));
    let lifetime = prop_oneof![
        time().prop_map(|ends| Lifetime::Ttl {
            ttl: Duration::ZERO,
            ends
        }),
        ".{1,9}".prop_map(|id| Lifetime::Session {
            id: id.into(),
            create_revision: 1
        }),
    ];
    let key_state =
        (".{1,9}", ".{1,9}", option::of(time())).prop_map(|(machine, state, timeout_at)| {
            KeyState {
                machine: machine.into(),
                state: state.into(),
                since: Time::MIN,
                timeout_at,
            }
        });
    let attached =
        (option::of(lifetime), option::of(key_state)).prop_map(|(lifetime, key_state)| {
            Arc::new(Attached {
                lifetime,
                key_state,
            })
        });
    (
        value,
        1..i64::MAX,
        1..i64::MAX,
        option::weighted(0.3, attached),
    )
        .prop_map(|(value, revision, create_revision, attached)| Entry {
            value,
            revision,
            create_revision,
            attached,
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let previous = || option::of(entry().prop_map(Box::new));
    let read = (option::of(entry()), 0..i64::MAX)
        .prop_map(|(entry, revision)| Outcome::Read(ReadOutcome { entry, revision }));
    let write = (previous(), 1..i64::MAX, 1..i64::MAX, any::<bool>()).prop_map(
        |(previous, revision, create_revision, replayed)| {
            Outcome::Write(WriteOutcome {
                revision,
                create_revision,
                previous,
                replayed,
            })
        },
    );
    let add = ([any::<i64>(); 4], any::<bool>()).prop_map(
        |([revision, create_revision, value, applied], replayed)| {
            Outcome::Add(AddOutcome {
                revision,
                create_revision,
                value,
                applied,
                replayed,
            })
        },
    );
    let transition = (1..i64::MAX, 1..i64::MAX, ".{1,9}", any::<bool>()).prop_map(
        |(revision, create_revision, from, replayed)| {
            Outcome::Transition(TransitionOutcome {
                revision,
                create_revision,
                from: from.into(),
                replayed,
            })
        },
    );
    let delete =
        (previous(), 0..i64::MAX, any::<bool>()).prop_map(|(previous, revision, replayed)| {
            Outcome::Delete(DeleteOutcome {
                revision,
                previous,
                replayed,
            })
        });
    prop_oneof![read, write, add, transition, delete]
}

#[test]
fn the_common_frame_is_decoded_by_hand() {
    let frame = v1::PipelineRequest {
        ops: vec![
            v1::Op {
                op: Some(v1::op::Op::Read(v1::ReadRequest {
                    key: "a".into(),
                    expect: None,
                })),
            },
            v1::Op {
                op: Some(v1::op::Op::Write(v1::WriteRequest {
                    key: "b".into(),
                    value: Some(v1::Value {
                        kind: Some(v1::value::Kind::Int(-1)),
                    }),
                    ..v1::WriteRequest::default()
                })),
            },
            v1::Op {
                op: Some(v1::op::Op::Transition(v1::TransitionRequest {
                    key: "c".into(),
                    to: "done".into(),
                    ..v1::TransitionRequest::default()
                })),
            },
        ],
        ..v1::PipelineRequest::default()
    };
    assert!(common(&frame.encode_to_vec()).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_common_frame_is_decoded_as_the_generated_messages_decode_it(request in request()) {
        let message = request.encode_to_vec();
        let any = any_frame(&message, &LIMITS).unwrap();
        if let Some(common) = common(&message) {
            prop_assert_eq!(Ok(common), any);
        }
    }

    #[test]
    fn a_damaged_frame_is_decoded_as_the_generated_messages_decode_it(
        request in request(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut message = request.encode_to_vec();
        if !message.is_empty() {
            for (at, byte) in flips {
                let at = at.index(message.len());
                message[at] = byte;
            }
            if let Some(cut) = cut {
                message.truncate(cut.index(message.len()));
            }
        }
        if let Some(common) = common(&message) {
            prop_assert_eq!(Ok(Ok(common)), any_frame(&message, &LIMITS));
        }
    }

    #[test]
    fn answers_are_encoded_as_the_generated_messages_encode_them(
        outcomes in vec(outcome(), 0..6),
        (refused, replayed) in any::<(bool, bool)>(),
        revision in 0..i64::MAX,
    ) {
        let mut expected = v1::PipelineResponse {
            results: outcomes.iter().cloned().map(op_result).collect(),
            error: None,
            revision,
            replayed,
        };
        let all = AllOutcome { outcomes: outcomes.clone(), revision, answer_bytes: 0, replayed };
        prop_assert_eq!(encoded(FrameAnswer::All(all)), expected.encode_to_vec());

        expected.replayed = false;

        let mut results: Vec<_> = outcomes.into_iter().map(Ok).collect();
        if refused {
            let rejection = Rejection { subject: "k".into(), cause: Cause::KeyNotFound };
            let error = Refusal::from(rejection.clone()).into_rpc_status();
            results.push(Err(Box::new(rejection)));
            expected.results.push(v1::OpResult {
                result: Some(v1::op_result::Result::Error(error)),
            });
        }
        let each = EachOutcome { results, revision, answer_bytes: 0 };
        prop_assert_eq!(encoded(FrameAnswer::Each(each)), expected.encode_to_vec());
    }
}

/// Also behind fields that the fast counting does not understand.
#[test]
fn operations_are_counted_before_they_are_decoded() {
    // Field 1 with a tag of two bytes, as protobuf allows; or an unknown field 16; or an unknown fixed64.
    for front in [
        [0x8a, 0x00, 0x00].as_slice(),
        &[0x80, 0x01, 0x00],
        &[0x79, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut message = front.to_vec();
        message.extend([0x0a, 0x00].repeat(2_000_000));
        assert!(checked_count(&message, &LIMITS).is_err(), "{front:x?}");
    }
}

fn encoded(answer: FrameAnswer) -> Vec<u8> {
    let mut buf = Vec::new();
    answer.encode(&mut buf);
    buf
}

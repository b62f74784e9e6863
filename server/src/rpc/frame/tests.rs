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
    AddOutcome, AllOutcome, Applying, Attached, Cause, DeleteOutcome, EachOutcome, Entry, EntryRef,
    Fingerprint, KeyState, Lifetime, Operation, Outcome, PlainAnswers, PlainFrames, ReadOutcome,
    Rejection, RequestId, SetLifetime, StateMachine, Time, TransitionOutcome, Value, Write,
    WriteOptions, WriteOutcome, WriteShows,
};
use crate::rpc::body::response::Put as _;
use crate::rpc::responses::op_result;
use crate::rpc::status::Refusal;

const LIMITS: Limits = Limits {
    max_key_bytes: 4,
    max_value_bytes: 8,
    max_batch_ops: 5,
    max_batch_bytes: 20,
    ..Limits::DEFAULT
};

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
    assert!(whole_common_frame(&frame.encode_to_vec(), &LIMITS).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_common_frame_is_decoded_as_the_generated_messages_decode_it(request in request()) {
        let message = request.encode_to_vec();
        let any = any_frame(&message, &LIMITS).unwrap();
        if let Some(common) = whole_common_frame(&message, &LIMITS) {
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
        if let Some(common) = whole_common_frame(&message, &LIMITS) {
            prop_assert_eq!(Ok(Ok(common)), any_frame(&message, &LIMITS));
        }
    }

    #[test]
    fn answers_are_encoded_as_the_generated_messages_encode_them(
        outcomes in vec(outcome(), 0..6),
        refused in vec(any::<prop::sample::Index>(), 0..3),
        replayed in any::<bool>(),
        (revision, last) in (0..i64::MAX, prop_oneof![Just(0), 0..i64::MAX]),
        frames in 1..4usize,
    ) {
        let mut expected = v1::PipelineResponse {
            results: outcomes.iter().cloned().map(op_result).collect(),
            error: None,
            revision,
            replayed,
        };
        let all = AllOutcome { outcomes: outcomes.clone(), revision, answer_bytes: 0, replayed };
        prop_assert_eq!(messages(FrameAnswer::All(all)), [expected.encode_to_vec()]);

        expected.replayed = false;

        let mut results: Vec<_> = outcomes.into_iter().map(Ok).collect();
        for at in refused {
            let rejection = Rejection { subject: "k".into(), cause: Cause::KeyNotFound };
            let error = Refusal::from(rejection.clone()).into_rpc_status();
            let at = at.index(results.len() + 1);
            results.insert(at, Err(Box::new(rejection)));
            expected.results.insert(at, v1::OpResult {
                result: Some(v1::op_result::Result::Error(error)),
            });
        }
        let mut answers = Answers::default();
        for _ in 0..frames {
            answers.begin_frame();
            for result in results.clone() {
                match result {
                    Ok(Outcome::Read(read)) if read.entry.as_ref().is_none_or(|entry| entry.attached.is_none()) => {
                        answers.read(read.entry.as_ref().map(EntryRef::from), read.revision);
                    }
                    other => answers.operation(other),
                }
            }
            answers.end_frame(revision, 0);
        }
        let mut last = last;
        if revision < last {
            raise(&mut expected, last);
        }
        let mut pieces = answers.finish(&mut last);
        prop_assert_eq!(last, expected.revision);
        let mut sent = Vec::new();
        while !pieces.is_empty() {
            let (piece, count) = pieces.next();
            let piece = messages(FrameAnswer::Each(piece));
            prop_assert_eq!(piece.len(), count);
            sent.extend(piece);
        }
        prop_assert_eq!(sent, vec![expected.encode_to_vec(); frames]);
    }
}

/// Operations of plain frames: their kind, their key, and a value or number.
fn plain_frames() -> impl Strategy<Value = Vec<Vec<(u8, String, Value)>>> {
    let value = prop_oneof![
        3 => any::<i64>().prop_map(Value::Int),
        1 => "[xé]{0,200}".prop_map(|text| Value::Text(text.into())),
        1 => (1_000..2_000usize).prop_map(|len| Value::Text("x".repeat(len).into())),
        1 => vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    vec(vec((0u8..7, "[abc]", value), 1..9), 1..6)
}

fn add_plain(frames: &mut PlainFrames, (kind, key, value): (u8, String, Value)) {
    let int = match &value {
        Value::Int(int) => *int,
        _ => 1,
    };
    let ttl = SetLifetime::Ttl(Duration::from_secs(1));
    match kind {
        0 | 1 => frames.read(&key),
        2 => match &value {
            Value::Int(int) => frames.write_int(&key, *int),
            Value::Text(text) => frames.write_text(&key, text),
            Value::Bytes(bytes) => frames.write_bytes(&key, bytes),
        },
        3 => frames.add(&key, int % 10),
        4 => frames.transition(&key, "done"),
        5 => frames.delete(&key),
        _ => {
            let options = WriteOptions {
                lifetime: ttl,
                shows: WriteShows::Previous,
                ..WriteOptions::default()
            };
            let write = Operation::Write(Write {
                key: key.as_str().into(),
                value: Some(value),
                options: Some(Box::new(options)),
            });
            let id = RequestId {
                id: key.as_str().into(),
                fingerprint: Fingerprint(1),
            };
            frames.operation(write, (int % 2 == 0).then_some(id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the machine does for plain frames is encoded as the lists of the same outcomes are by the generated messages.
    #[test]
    fn results_are_encoded_as_they_are_made(
        plain in plain_frames(),
        answer_bytes_max in prop_oneof![Just(usize::MAX), 0..500usize],
    ) {
        let machine = || StateMachine::new(LIMITS.store_limits());
        let mut frames = PlainFrames::default();
        for operations in plain {
            for operation in operations {
                add_plain(&mut frames, operation);
            }
            frames.end_frame();
        }
        let mut lists = Vec::<EachOutcome>::new();
        let mut answers = Answers::default();
        apply(&mut machine(), frames.clone(), answer_bytes_max, &mut lists);
        apply(&mut machine(), frames, answer_bytes_max, &mut answers);
        let expected: Vec<_> = lists.into_iter().map(|list| {
            let results = list.results.into_iter().map(|result| match result {
                Ok(outcome) => op_result(outcome),
                Err(rejection) => v1::OpResult {
                    result: Some(v1::op_result::Result::Error(
                        Refusal::from(*rejection).into_rpc_status(),
                    )),
                },
            });
            v1::PipelineResponse {
                results: results.collect(),
                revision: list.revision,
                ..v1::PipelineResponse::default()
            }
        }).map(without_details).collect();
        let (encoded, count) = answers.finish(&mut 0).next();
        prop_assert_eq!(count, expected.len());
        let encoded = messages(FrameAnswer::Each(encoded)).into_iter();
        let encoded = encoded.map(|answer| {
            without_details(v1::PipelineResponse::decode(&answer[..]).unwrap())
        });
        prop_assert_eq!(encoded.collect::<Vec<_>>(), expected);
    }
}

/// The same answer without the details of errors, which have maps: their order is any.
fn without_details(mut answer: v1::PipelineResponse) -> v1::PipelineResponse {
    for result in &mut answer.results {
        if let Some(v1::op_result::Result::Error(error)) = &mut result.result {
            error.details.clear();
        }
    }
    answer
}

fn apply(
    machine: &mut StateMachine,
    mut frames: PlainFrames,
    answer_bytes_max: usize,
    answers: &mut impl PlainAnswers,
) {
    let mut applying = Applying::new(&mut frames, Time::MIN, None);
    while machine
        .apply_plain(&mut applying, answer_bytes_max, answers)
        .is_some()
    {}
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

/// The messages that are put for an answer, behind others, without their prefixes.
fn messages(answer: FrameAnswer) -> Vec<Vec<u8>> {
    let mut buf = vec![0, 0, 0, 0, 0];
    answer.put(&mut buf);
    let mut rest = &buf[5..];
    let mut messages = Vec::new();
    while let Some((prefix, behind)) = rest.split_at_checked(5) {
        let len = u32::from_be_bytes(*prefix[1..].first_chunk().unwrap());
        let (message, behind) = behind.split_at(len as usize);
        messages.push(message.to_vec());
        rest = behind;
    }
    messages
}

/// Names another revision in an answer, and in all of its results.
fn raise(answer: &mut v1::PipelineResponse, revision: i64) {
    use v1::op_result::Result;
    answer.revision = revision;
    for result in &mut answer.results {
        *match result.result.as_mut().unwrap() {
            Result::Read(it) => &mut it.revision,
            Result::Write(it) => &mut it.revision,
            Result::Add(it) => &mut it.revision,
            Result::Transition(it) => &mut it.revision,
            Result::Delete(it) => &mut it.revision,
            Result::Error(_) => continue,
        } = revision;
    }
}

#[test]
fn long_answers_are_handed_out_in_pieces_of_whole_messages() {
    let text = |len: usize| Entry {
        value: Value::Text("x".repeat(len).into()),
        revision: 1,
        create_revision: 1,
        attached: None,
    };
    let lens = [10, 40_000, 10_000, 10_000, 10_000, 10_000, 10];
    let mut answers = Answers::default();
    for len in lens {
        answers.begin_frame();
        answers.read(Some((&text(len)).into()), 1);
        answers.end_frame(1, len);
    }
    let mut pieces = answers.finish(&mut 0);
    let mut counts = Vec::new();
    let mut sent = 0;
    while !pieces.is_empty() {
        let (piece, count) = pieces.next();
        assert_eq!(messages(FrameAnswer::Each(piece)).len(), count);
        counts.push(count);
        sent += count;
    }
    assert_eq!((counts, sent), (vec![1, 1, 3, 2], lens.len()));
}

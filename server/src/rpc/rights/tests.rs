use proptest::prelude::*;
use prost::Message as _;
use soloist::v1;
use tonic_types::StatusExt as _;

use super::*;
use crate::access::{Access, Credential, Token, TokenHash};
use crate::config::Limits;
use crate::machine::{
    AddOptions, Delete, Fingerprint, Key, Transition, TransitionOptions, Value, WriteOptions,
};
use crate::rpc::frame;

/// An operation as the naive model sees it: its kind, its key, and the session that it attaches the key to.
type Plain = (u8, String, Option<String>);

fn operation((kind, key, session): &Plain) -> Operation {
    let key: Key = key.as_str().into();
    let lifetime = session
        .as_ref()
        .map_or(SetLifetime::Keep, |id| SetLifetime::Session {
            id: id.as_str().into(),
            create_revision: None,
        });
    match kind {
        0 => Operation::Read(Read { key, expect: None }),
        1 => Operation::Write(Write {
            key,
            value: Some(Value::Int(1)),
            options: Some(Box::new(WriteOptions {
                lifetime,
                ..WriteOptions::default()
            })),
        }),
        2 => Operation::Add(Add {
            key,
            delta: 1,
            options: Some(Box::new(AddOptions {
                lifetime,
                ..AddOptions::default()
            })),
        }),
        3 => Operation::Transition(Transition {
            key,
            to: "s".into(),
            options: Some(Box::new(TransitionOptions::default())),
        }),
        _ => Operation::Delete(Delete { key, expect: None }),
    }
}

/// Adds a frame of these operations, and of a Read with the request id, if there is one.
fn add(
    frames: &mut PlainFrames,
    operations: Vec<Operation>,
    request_id: Option<RequestId>,
) -> Result<(), Refusal> {
    for operation in operations {
        frames.operation(operation, None);
    }
    if request_id.is_some() {
        frames.operation(operation(&(0, "k".into(), None)), request_id);
    }
    frames.end_frame();
    Ok(())
}

fn covers(patterns: &[String], name: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.split_once('*') {
            Some((prefix, _)) => name.starts_with(prefix),
            None => pattern == name,
        })
}

fn rights(lists: &[(&str, &Vec<String>)]) -> Rights<'static> {
    let token = Token::random();
    let mut text = format!(
        "[identities.me]\ntokens = ['{}']\nroles = ['r']\n[roles.r]\n",
        token.hash()
    );
    for (list, patterns) in lists {
        text += &format!("{list} = {patterns:?}\n");
    }
    let access = Access::parse(&text).unwrap();
    let hash = TokenHash::of(token.secret().as_bytes());
    let identity = access.identify(&Credential::Token(hash)).cloned();
    Rights::of(identity.map(Cow::Owned))
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab/]{1,3}|[ab/]{0,3}\\*", 0..4)
}

/// The index of the operation that was refused.
fn index(refused: Refusal) -> usize {
    let details = refused.into_status().get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    metadata["op"].parse().unwrap()
}

proptest! {
    /// Unary calls, Batch and both kinds of frame are checked by the same functions as these frames.
    #[test]
    fn frames_are_permitted_as_a_naive_model_says(
        read in patterns(),
        write in patterns(),
        sessions in patterns(),
        plain in prop::collection::vec((0u8..5, "[ab/]{1,4}", prop::option::of("[ab]{1,3}")), 1..6),
    ) {
        let rights = rights(&[("read", &read), ("write", &write), ("sessions", &sessions)]);
        let denied = plain.iter().position(|(kind, key, session)| match kind {
            0 => !covers(&read, key),
            1 | 2 => {
                let attaches = session.as_ref().is_none_or(|id| covers(&sessions, id));
                !covers(&write, key) || !attaches
            }
            _ => !covers(&write, key),
        });
        let operations: Vec<_> = plain.iter().map(operation).collect();
        let all = rights.all(operations.clone(), None);
        prop_assert_eq!(all.err().map(index), denied);
        let mut frames = PermittedFrames::default();
        let each = frames.append(&Ok(rights), |frames, _| add(frames, operations.clone(), None));
        prop_assert_eq!(frames.frame_count(), usize::from(denied.is_none()));
        prop_assert_eq!(each.err().map(index), denied);
        let everybody = Rights::of(None);
        prop_assert!(everybody.all(operations, None).is_ok());
    }

    /// The keys of common frames are checked while they are decoded. What is to be logged changes nothing.
    #[test]
    fn frames_from_the_wire_are_permitted_as_a_naive_model_says(
        (read, write, audit) in (patterns(), patterns(), patterns()),
        plain in prop::collection::vec((0u8..5, "[ab/]{1,4}", prop::option::weighted(0.1, "[ab]{1,3}")), 1..6),
    ) {
        let every = vec!["*".to_owned()];
        let lists = [("read", &read), ("write", &write), ("audit", &audit), ("sessions", &every)];
        let rights = Ok(rights(&lists));
        let denied = plain.iter().position(|(kind, key, _)| match kind {
            0 => !covers(&read, key),
            _ => !covers(&write, key),
        });
        let message = v1::PipelineRequest {
            ops: plain.iter().map(on_the_wire).collect(),
            ..v1::PipelineRequest::default()
        };
        let message = message.encode_to_vec();
        let mut frames = PermittedFrames::default();
        let mut seen = 0;
        let added = frames.append(&rights, |frames, keys| {
            let decoded = frame::decode(&message, &Limits::DEFAULT, frames, keys);
            seen = keys.permitted;
            decoded.unwrap().map(drop).map_err(Refusal::from)
        });
        prop_assert_eq!(added.err().map(index), denied);
        prop_assert_eq!(frames.frame_count(), usize::from(denied.is_none()));
        // Otherwise the operations were looked at again.
        let is_common = plain.iter().all(|(kind, _, session)| session.is_none() || !matches!(kind, 1 | 2));
        if is_common && denied.is_none() && audit.is_empty() {
            prop_assert_eq!(seen, plain.len());
        }
    }
}

/// The operation on the wire. Without a session it is a common one.
fn on_the_wire((kind, key, session): &Plain) -> v1::Op {
    use v1::op::Op;
    use v1::{add_request, write_request};
    let (key, session) = (key.clone(), session.clone());
    let op = match kind {
        0 => Op::Read(v1::ReadRequest {
            key,
            ..v1::ReadRequest::default()
        }),
        1 => Op::Write(v1::WriteRequest {
            key,
            value: Some(v1::Value {
                kind: Some(v1::value::Kind::Int(1)),
            }),
            lifetime: session.map(write_request::Lifetime::Session),
            ..v1::WriteRequest::default()
        }),
        2 => Op::Add(v1::AddRequest {
            key,
            delta: 1,
            lifetime: session.map(add_request::Lifetime::Session),
            ..v1::AddRequest::default()
        }),
        3 => Op::Transition(v1::TransitionRequest {
            key,
            to: "s".into(),
            ..v1::TransitionRequest::default()
        }),
        _ => Op::Delete(v1::DeleteRequest {
            key,
            ..v1::DeleteRequest::default()
        }),
    };
    v1::Op { op: Some(op) }
}

#[test]
fn request_ids_of_two_identities_are_never_the_same() {
    let id = |id: &str| RequestId {
        id: id.into(),
        fingerprint: Fingerprint(1),
    };
    let rights = rights(&[("read", &vec!["*".into()])]);
    let own = rights.own(Some(Box::new(id("x")))).unwrap();
    assert_eq!(own.id.as_str(), "me\nx");
    let rights = Ok(rights);
    let mut frames = PermittedFrames::default();
    for _ in 0..2 {
        let added = frames.append(&rights, |frames, _| add(frames, Vec::new(), Some(id("x"))));
        assert!(added.is_ok());
    }
    // Each only once.
    let own = *own;
    assert_eq!(frames.into_inner().request_ids(), [own.clone(), own]);
    assert_eq!(
        Rights::of(None)
            .own(Some(Box::new(id("x"))))
            .unwrap()
            .id
            .as_str(),
        "x"
    );
}

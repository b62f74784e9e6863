//! Bytes that an earlier server wrote, with format 1, are still read and still written.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::to_nanos;
use super::{Header, KeyedEntry, LogRecord, Page, SnapshotMeta, StoreMeta, Trailer, encode_with};
use crate::machine::{
    AddOutcome, AllOutcome, AppliedRequest, Attached, Change, ChangeCause, CloseOutcome,
    DeleteOutcome, DeletePrefixOutcome, Effect, Entry, Fingerprint, Keeps, KeyState, Lifetime,
    Machine, Name, OpenOutcome, OpenedSession, Outcome, ReadOutcome, RequestId, SavedOutcome,
    Session, State, Time, Timeout, TransitionOutcome, Value, WriteOutcome,
};

const RECORD: &[u8] = include_bytes!("format_1/record.bin");
const META: &[u8] = include_bytes!("format_1/meta.bin");
const PAGE: &[u8] = include_bytes!("format_1/page.bin");

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::since_epoch(Duration::new(1_700_000_000 + seconds, 7))
}

fn entry(value: Value, lifetime: Option<Lifetime>, key_state: Option<KeyState>) -> Entry {
    Entry {
        value,
        revision: 300,
        create_revision: 2,
        attached: (lifetime.is_some() || key_state.is_some()).then(|| {
            Arc::new(Attached {
                lifetime,
                key_state,
            })
        }),
    }
}

/// Entries with each kind of value, of lifetime and of machine state.
fn entries() -> [Entry; 4] {
    let ttl = Lifetime::Ttl {
        ttl: 90 * SECOND,
        ends: at(90),
    };
    let session = Lifetime::Session {
        id: "holder".into(),
        create_revision: 5,
    };
    let key_state = |timeout_at| KeyState {
        machine: "job".into(),
        state: "busy".into(),
        since: at(3),
        timeout_at,
    };
    [
        entry(Value::Int(-1), None, None),
        entry(Value::Text("täxt".into()), Some(ttl), None),
        entry(
            Value::Bytes([0, 255, 1][..].into()),
            Some(session),
            Some(key_state(None)),
        ),
        entry(Value::Int(0), None, Some(key_state(Some(at(9))))),
    ]
}

fn machine() -> Machine {
    let next = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect();
    Machine {
        name: "job".into(),
        key_prefix: "jobs/".into(),
        initial: "idle".into(),
        states: [
            (
                "busy".into(),
                State {
                    next: next(&["done", "idle"]),
                    timeout: Some(Timeout {
                        after: 30 * SECOND,
                        next: "idle".into(),
                    }),
                },
            ),
            ("done".into(), State::default()),
            (
                "idle".into(),
                State {
                    next: next(&["busy"]),
                    timeout: None,
                },
            ),
        ]
        .into(),
        revision: 4,
    }
}

fn session() -> OpenedSession {
    OpenedSession {
        id: "holder".into(),
        ttl: 60 * SECOND,
        create_revision: 5,
    }
}

/// A request of each kind, with its saved outcome.
fn applied_requests() -> Vec<AppliedRequest> {
    let [int, text, ..] = entries();
    let replayed = false;
    let outcomes = vec![
        Outcome::Read(ReadOutcome {
            entry: Some(int),
            revision: 301,
        }),
        Outcome::Write(WriteOutcome {
            revision: 302,
            create_revision: 302,
            previous: None,
            replayed,
        }),
        Outcome::Add(AddOutcome {
            revision: 303,
            create_revision: 3,
            value: -7,
            applied: 5,
            replayed,
        }),
        Outcome::Transition(TransitionOutcome {
            revision: 304,
            create_revision: 4,
            from: "idle".into(),
            replayed,
        }),
        Outcome::Delete(DeleteOutcome {
            revision: 305,
            previous: Some(Box::new(text)),
            replayed,
        }),
    ];
    let opened = |taken_over| {
        SavedOutcome::Opened(OpenOutcome {
            session: Session {
                id: "holder".into(),
                ttl: 60 * SECOND,
                ends: at(60),
                create_revision: 5,
                key_count: 0,
            },
            taken_over,
            replayed,
        })
    };
    let one = outcomes.iter().skip(1).cloned().map(SavedOutcome::One);
    let saved = one.chain([
        SavedOutcome::All(AllOutcome {
            outcomes: outcomes.clone(),
            revision: 305,
            answer_bytes: 12,
            replayed,
        }),
        opened(None),
        opened(Some(1)),
        SavedOutcome::Closed(CloseOutcome {
            key_count: 3,
            revision: 310,
            create_revision: 5,
            replayed,
        }),
    ]);
    let applied = |(number, outcome)| AppliedRequest {
        at: at(number),
        request_id: RequestId {
            id: format!("request-{number}").into(),
            fingerprint: Fingerprint(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        },
        outcome,
    };
    (1..).zip(saved).map(applied).collect()
}

/// An effect of each kind.
fn effects() -> Vec<Effect> {
    let [int, text, bytes, in_state] = entries();
    let changes = [
        (ChangeCause::Written, Some(int)),
        (ChangeCause::Transitioned, Some(in_state)),
        (ChangeCause::Deleted, None),
        (ChangeCause::Expired, None),
        (ChangeCause::SessionEnded, None),
        (ChangeCause::TimedOut, Some(bytes)),
        (ChangeCause::Written, Some(text)),
    ];
    let changed = |(number, (cause, entry))| {
        Effect::Changed(Change {
            key: format!("key-{number}").into(),
            revision: 300,
            cause,
            entry,
            previous: None,
            keeps: Keeps::NoPrevious,
        })
    };
    let changes = (1..).zip(changes).map(changed);
    let others = [
        Effect::SessionOpened(session()),
        Effect::SessionEnded {
            id: "holder".into(),
            revision: 311,
        },
        Effect::MachineDefined(machine()),
        Effect::MachineDeleted {
            name: "job".into(),
            revision: 312,
        },
    ];
    let answered = applied_requests().into_iter().map(Effect::RequestApplied);
    changes.chain(others).chain(answered).collect()
}

fn record() -> LogRecord {
    LogRecord {
        format: 1,
        epoch: 2,
        seq: 128,
        revision: 312,
        time: to_nanos(at(12)),
        previous_crc: 0xfedc_ba98,
        effects: effects().iter().map(Into::into).collect(),
        ..LogRecord::default()
    }
}

fn meta() -> StoreMeta {
    let snapshot = |slot, seq| SnapshotMeta {
        slot,
        seq,
        revision: seq.cast_signed() + 100,
        digest: Bytes::from_static(&[7; 32]),
    };
    StoreMeta {
        format: 1,
        store_id: "store".into(),
        epoch: 2,
        closed: true,
        used_revision: 1 << 40,
        time: to_nanos(at(13)),
        snapshots: vec![snapshot(1, 50), snapshot(0, 100)],
        durability: "interval=10".into(),
        directory_id: Bytes::new(),
        began_with_copy: false,
    }
}

fn page() -> Page {
    let keys = ["a", "b", "c", "d"];
    let entries = entries();
    Page {
        header: Some(Header {
            format: 1,
            store_id: "store".into(),
            revision: 300,
            time: to_nanos(at(1)),
            seq: 100,
            record_crc: 0x89ab_cdef,
            version: "0.1.0".into(),
            directory_id: Bytes::new(),
        }),
        machines: vec![(&machine()).into()],
        sessions: vec![(&session()).into()],
        entries: keys
            .iter()
            .zip(&entries)
            .map(|(key, entry)| KeyedEntry::of(&(*key).into(), entry))
            .collect(),
        applied_requests: applied_requests().iter().map(Into::into).collect(),
        trailer: Some(Trailer {
            key_count: 4,
            digest: Bytes::from_static(&[9; 32]),
        }),
    }
}

/// `message` is written as `bytes`, and these are read as `message`.
#[track_caller]
fn is_stored_as<M: Message + Default + PartialEq + Debug>(message: &M, bytes: &[u8]) {
    assert_eq!(M::decode(bytes).unwrap(), *message);
    assert_eq!(message.encode_to_vec(), bytes);
}

#[test]
fn a_record_of_format_1_is_read_and_written() {
    is_stored_as(&record(), RECORD);
    let read = LogRecord::decode(RECORD).unwrap().into_effects().unwrap();
    assert_eq!(read, effects());
}

#[test]
fn a_record_encoded_with_effects_is_the_same_as_its_message() {
    let message = LogRecord {
        closed: true,
        snapshot_before: true,
        ..record()
    };
    let before = |record: &LogRecord| LogRecord {
        effects: Vec::new(),
        ..record.clone()
    };
    assert_eq!(encode_with(&before(&record()), &effects()), RECORD);
    let encoded = encode_with(&before(&message), &effects());
    assert_eq!(encoded, message.encode_to_vec());
    // What a message leaves out, and what it does not.
    let [_, text, ..] = entries();
    let edges = [
        (Value::Int(0), 0),
        (Value::Int(i64::MIN), -1),
        (Value::Text("".into()), i64::MAX),
        (Value::Bytes([][..].into()), 128),
        (Value::Bytes(vec![7; 100_000].into()), 1),
    ];
    for (value, revision) in edges {
        let entry = Entry {
            value,
            revision,
            create_revision: revision,
            ..text.clone()
        };
        let change = Effect::Changed(Change {
            key: "".into(),
            revision,
            cause: ChangeCause::Written,
            entry: Some(entry),
            previous: None,
            keeps: Keeps::NoPrevious,
        });
        let message = LogRecord {
            effects: vec![(&change).into()],
            ..LogRecord::default()
        };
        let encoded = encode_with(&LogRecord::default(), &[change]);
        assert_eq!(encoded, message.encode_to_vec());
    }
}

#[test]
fn a_meta_record_of_format_1_is_read_and_written() {
    is_stored_as(&meta(), META);
}

#[test]
fn a_page_of_format_1_is_read_and_written() {
    is_stored_as(&page(), PAGE);
    let page = Page::decode(PAGE).unwrap();
    let machines: Vec<Machine> = page.machines.into_iter().map(Into::into).collect();
    assert_eq!(machines, [machine()]);
    let sessions: Vec<OpenedSession> = page.sessions.into_iter().map(Into::into).collect();
    assert_eq!(sessions, [session()]);
    let read = page.entries.into_iter().map(KeyedEntry::into_domain);
    let read: Vec<Entry> = read.map(|read| read.unwrap().1).collect();
    assert_eq!(read, entries());
    let read = page
        .applied_requests
        .into_iter()
        .map(AppliedRequest::try_from);
    let read: Vec<AppliedRequest> = read.map(Result::unwrap).collect();
    assert_eq!(read, applied_requests());
}

/// Kinds of outcomes that were added to format 1: fields were added, and none has changed.
#[test]
fn later_kinds_of_outcomes_are_read_as_they_were_written() {
    for more_after in [None, Some("k".into())] {
        let applied = AppliedRequest {
            at: at(1),
            request_id: RequestId {
                id: "request".into(),
                fingerprint: Fingerprint(7),
            },
            outcome: SavedOutcome::DeletedPrefix(DeletePrefixOutcome {
                deleted_count: 3,
                kept_count: 2,
                more_after,
                revision: 9,
                replayed: false,
            }),
        };
        let encoded = super::messages::AppliedRequest::from(&applied).encode_to_vec();
        let decoded = super::messages::AppliedRequest::decode(&*encoded).unwrap();
        assert_eq!(AppliedRequest::try_from(decoded).unwrap(), applied);
    }
}

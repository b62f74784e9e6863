//! Tests of the conversion to a history of the checker: an epoch of a right server is linearizable, and each fault put into it
//! by hand is found.

use std::collections::BTreeMap;

use soloist_verify::{
    Action, Actual, Entry, Expectation, Initial, MessageKind, Observed, Outcome, Refusal, Value,
    Watch, WatchUpdate,
};

use super::call::{Call, Step};
use super::epoch::{Epoch, FinalRead};
use super::keys::{counter, keys};
use super::revisions::Revisions;

/// The time of the restart after the epoch, at which calls of unknown outcome end.
const RESTART: u64 = 1_000;

fn entry(value: i64, revision: i64) -> Option<Entry> {
    Some(Entry {
        value: Value::Int(value),
        revision,
        state: None,
    })
}

fn done(revision: i64) -> Outcome {
    let observed = Observed::NotReported;
    Outcome::Done { revision, observed }
}

fn shows(entry: Option<Entry>, revision: i64) -> Outcome {
    let observed = Observed::Entry(entry);
    Outcome::Done { revision, observed }
}

fn sum(sum: i64, revision: i64) -> Outcome {
    let observed = Observed::Sum(sum);
    Outcome::Done { revision, observed }
}

fn refused(actual: i64) -> Outcome {
    Outcome::Refused(Refusal::Expectation(Actual::Revision(actual)))
}

const UNKNOWN: Outcome = Outcome::Unknown;
const NOT_DONE: Outcome = Outcome::NotDone;

/// What a step asks for: an action, and the revision that it expects.
type Asked = (Action, Option<i64>);

fn read() -> Asked {
    (Action::Read, None)
}

fn write(value: i64) -> Asked {
    (Action::Write(Value::Int(value)), None)
}

fn write_if(revision: i64, value: i64) -> Asked {
    (Action::Write(Value::Int(value)), Some(revision))
}

fn add(delta: i64) -> Asked {
    (Action::Add(delta), None)
}

fn delete() -> Asked {
    (Action::Delete, None)
}

/// A message of this client, from `start` on. It ends soon, or at the restart if its outcome is unknown.
fn call(start: u64, client: u32, kind: MessageKind, steps: &[(&str, Asked, Outcome)]) -> Call {
    let is_unknown = steps.iter().any(|(_, _, outcome)| *outcome == UNKNOWN);
    let step = |(key, (action, expect), _): &(&str, Asked, Outcome)| Step {
        key: (*key).to_owned(),
        action: *action,
        expect: expect.map(Expectation::Revision),
        request_id: String::new(),
    };
    Call {
        message: start,
        client,
        kind,
        steps: steps.iter().map(step).collect(),
        request_id: String::new(),
        timeout: None,
        start,
        end: if is_unknown { RESTART } else { start + 5 },
        outcomes: steps.iter().map(|(_, _, outcome)| *outcome).collect(),
        replayed: false,
        swept: None,
        named_revision: None,
    }
}

fn unary(start: u64, client: u32, key: &str, asked: Asked, outcome: Outcome) -> Call {
    call(start, client, MessageKind::Call, &[(key, asked, outcome)])
}

/// The updates of a watch, from "revision key value" or "revision key gone" for an event, and "revision" for progress.
fn updates(text: &str) -> Vec<(u64, WatchUpdate)> {
    let update = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let revision = words[0].parse().unwrap();
        let Some(key) = words.get(1) else {
            return (RESTART, WatchUpdate::Progress { revision });
        };
        let key = keys().position(|name| name == **key).unwrap() as u32;
        let value = words[2].parse().ok();
        let event = WatchUpdate::Event {
            key,
            revision,
            entry: value.and_then(|value| entry(value, revision)),
        };
        (RESTART, event)
    };
    text.split(';').map(update).collect()
}

const TOLD: &str =
    "4 shared/0 100; 5 shared/0 101; 5; 6 counter/10 2; 7 shared/1 110; 8 pair/a 3; 8 pair/b 3;
    9 shared/1 gone; 10 shared/2 120; 11 counter/02 4; 11";

/// An epoch as a right server can make it. It begins with `shared/0` at 5, and the store at revision 3.
fn epoch() -> Epoch {
    use MessageKind::{AtomicFrame, Batch, Frame};
    let before = keys().map(|key| {
        let entry = (key == "shared/0").then_some(entry(5, 3)).flatten();
        (key, Initial { entry, revision: 3 })
    });
    let mut calls = vec![
        unary(10, 0, "shared/0", write(100), done(4)),
        unary(20, 1, "shared/0", read(), shows(entry(100, 4), 4)),
        unary(30, 0, "shared/0", write_if(4, 101), done(5)),
        unary(40, 1, "shared/0", write_if(4, 102), refused(5)),
        call(
            50,
            10,
            Frame,
            &[
                ("counter/10", add(2), sum(2, 6)),
                ("shared/1", write(110), done(7)),
            ],
        ),
        call(
            60,
            11,
            Batch,
            &[("pair/a", add(3), sum(3, 8)), ("pair/b", add(3), sum(3, 8))],
        ),
        call(
            70,
            10,
            AtomicFrame,
            &[
                ("shared/4", write(140), NOT_DONE),
                ("shared/5", write_if(2, 150), refused(0)),
            ],
        ),
        unary(80, 0, "shared/1", delete(), shows(entry(110, 7), 9)),
        // The first of these was done, the second was not.
        unary(90, 3, "shared/2", write(120), UNKNOWN),
        unary(90, 4, "shared/3", write(130), UNKNOWN),
        unary(100, 1, "shared/2", read(), shows(entry(120, 10), 10)),
        // Sent again after the restart: the first was done, as the answer says, and the second is done now.
        Call {
            end: RESTART,
            ..unary(110, 2, &counter(2), add(4), sum(4, 11))
        },
        Call {
            end: RESTART,
            ..unary(110, 5, &counter(5), add(5), NOT_DONE)
        },
    ];
    for (call, number) in calls.iter_mut().zip(1..) {
        call.message = number;
    }
    let after = BTreeMap::from([
        ("shared/0", entry(101, 5)),
        ("shared/2", entry(120, 10)),
        ("counter/02", entry(4, 11)),
        ("counter/10", entry(2, 6)),
        ("pair/a", entry(3, 8)),
        ("pair/b", entry(3, 8)),
    ]);
    let reads = (RESTART + 1..).zip(keys()).map(|(start, key)| FinalRead {
        read: Initial {
            entry: after.get(&*key).copied().flatten(),
            revision: 11,
        },
        key,
        start,
        end: start,
    });
    Epoch {
        before: before.collect(),
        calls,
        reads: reads.collect(),
        watch: Watch {
            keys: (0..).take(keys().count()).collect(),
            after: 3,
            updates: updates(TOLD),
        },
    }
}

impl Epoch {
    fn call(&mut self, start: u64) -> &mut Call {
        self.calls.iter_mut().find(|it| it.start == start).unwrap()
    }

    /// Sets what the final Read of a key shows.
    fn finds(&mut self, key: &str, entry: Option<Entry>) {
        let read = self.reads.iter_mut().find(|it| it.key == key);
        read.unwrap().read.entry = entry;
    }

    /// The same with a new revision of the store in the end.
    fn ends_at(&mut self, revision: i64) {
        for read in &mut self.reads {
            read.read.revision = revision;
        }
    }

    /// Changes what the watch was told.
    fn told(&mut self, from: &str, to: &str) {
        assert!(TOLD.contains(from), "{from}");
        self.watch.updates = updates(&TOLD.replace(from, to));
    }

    /// The watch is no evidence.
    fn unwatched(&mut self) {
        self.watch.updates.clear();
    }
}

#[test]
fn an_epoch_of_a_right_server_is_linearizable() {
    let epoch = epoch();
    epoch.check_history().unwrap();
    epoch.check_last_changes().unwrap();
    let mut revisions = Revisions::default();
    revisions.claim_all(&epoch.calls).unwrap();
    revisions.check_events(&epoch.calls, &epoch.watch).unwrap();
    let mut unwatched = epoch;
    unwatched.unwatched();
    unwatched.check_history().unwrap();
}

/// What may happen to calls of unknown outcome is no fault.
#[test]
fn an_unknown_outcome_may_be_either() {
    let mut both = epoch();
    both.finds("shared/3", entry(130, 12));
    both.ends_at(12);
    both.told("4; 11", "4; 12 shared/3 130; 12");
    both.check_history().unwrap();

    let mut neither = epoch();
    neither.calls.retain(|call| call.start != 100);
    neither.finds("shared/2", None);
    neither.told("10 shared/2 120; ", "");
    neither.check_history().unwrap();
}

type Fault = (&'static str, fn(&mut Epoch));

/// Faults in the answers, or in what is there after the restart.
const FAULTS: &[Fault] = &[
    ("an acknowledged write is missing in the record", |it| {
        it.calls.retain(|call| call.start != 10);
    }),
    ("an acknowledged write is lost", |it| {
        it.finds("shared/0", entry(100, 4));
    }),
    ("all acknowledged writes of a key are lost", |it| {
        it.finds("shared/0", entry(5, 3));
    }),
    ("an acknowledged key is lost", |it| {
        it.finds("shared/0", None);
    }),
    ("an acknowledged Delete is lost", |it| {
        it.finds("shared/1", entry(110, 7));
    }),
    ("a value with another revision", |it| {
        it.finds("shared/0", entry(101, 6));
    }),
    ("another value with the right revision", |it| {
        it.finds("shared/0", entry(7, 5));
    }),
    ("two results are swapped", |it| {
        let first = it.call(10).outcomes[0];
        let second = std::mem::replace(&mut it.call(30).outcomes[0], first);
        it.call(10).outcomes[0] = second;
    }),
    ("the results of one message are swapped", |it| {
        it.call(50).outcomes = vec![sum(2, 7), done(6)];
    }),
    ("a replayed request was applied twice", |it| {
        it.finds("counter/02", entry(8, 12));
        it.ends_at(12);
    }),
    (
        "a request done again after the restart was done before",
        |it| {
            it.finds("counter/05", entry(5, 12));
            it.ends_at(12);
        },
    ),
    ("a wrong sum", |it| it.call(50).outcomes[0] = sum(3, 6)),
    ("an Add applied twice", |it| {
        it.finds("counter/10", entry(4, 6));
    }),
    ("one revision for two messages", |it| {
        it.call(30).outcomes[0] = done(4);
        it.finds("shared/0", entry(101, 4));
    }),
    ("one revision for two operations of a frame", |it| {
        it.call(50).outcomes[1] = done(6);
        it.call(80).outcomes[0] = shows(entry(110, 6), 9);
    }),
    ("half a Batch is lost", |it| it.finds("pair/b", None)),
    ("a Batch with two revisions", |it| {
        it.call(60).outcomes[1] = sum(3, 7);
        it.finds("pair/b", entry(3, 7));
    }),
    ("a stale Read", |it| {
        it.call(20).outcomes[0] = shows(entry(5, 3), 4);
    }),
    ("a Read of a value that nobody wrote", |it| {
        it.call(20).outcomes[0] = shows(entry(99, 4), 4);
    }),
    ("a Read before the write", |it| {
        let read = it.call(20);
        (read.start, read.end) = (1, 2);
        it.calls.sort_by_key(|call| call.start);
    }),
    ("a refusal without reason", |it| {
        it.call(40).outcomes[0] = refused(4);
    }),
    ("a refusal that names a revision that never was", |it| {
        it.call(40).outcomes[0] = refused(6);
    }),
    ("a lost update: both of two compare-and-sets", |it| {
        it.call(40).outcomes[0] = done(6);
        it.finds("shared/0", entry(102, 6));
    }),
    ("a message that was refused was done in part", |it| {
        it.finds("shared/4", entry(140, 12));
        it.ends_at(12);
    }),
    ("the store falls back in the end", |it| it.ends_at(8)),
    ("a revision from before the epoch", |it| {
        it.call(10).outcomes[0] = done(3);
        it.call(20).outcomes[0] = shows(entry(100, 3), 4);
    }),
    ("an unknown write was seen, and is gone", |it| {
        it.finds("shared/2", None);
    }),
    ("an unknown write is there with another value", |it| {
        it.finds("shared/3", entry(131, 12));
        it.ends_at(12);
    }),
    ("a stream that overtakes itself", |it| {
        let client = it.call(50).client;
        it.calls.retain(|call| call.start != 80);
        it.calls.push(Call {
            end: 56,
            ..call(
                52,
                client,
                MessageKind::Frame,
                &[("shared/1", write(111), done(6))],
            )
        });
        it.call(50).outcomes[0] = NOT_DONE;
        it.finds("counter/10", None);
        it.finds("shared/1", entry(110, 7));
    }),
];

#[test]
fn each_fault_is_found_in_the_history() {
    for (title, put_in) in FAULTS {
        let mut epoch = epoch();
        put_in(&mut epoch);
        // By the answers and the final Reads alone.
        epoch.unwatched();
        let found = epoch.check_history();
        assert!(found.is_err(), "{title} is not found");
    }
}

/// What was not done before the restart must not be done later.
#[test]
fn a_call_that_is_done_after_the_restart_is_found_in_the_next_epoch() {
    let first = epoch();
    let mut reads = first.reads.clone();
    for read in &mut reads {
        (read.start, read.end) = (read.start + RESTART, read.end + RESTART);
    }
    let mut next = Epoch {
        before: first.after(),
        calls: Vec::new(),
        reads,
        watch: Watch {
            after: 11,
            updates: updates("11"),
            ..first.watch
        },
    };
    next.check_history().unwrap();
    next.finds("shared/3", entry(130, 12));
    next.check_history().unwrap_err();
}

#[test]
fn each_fault_of_the_watch_is_found() {
    for (title, from, to) in [
        ("an event is missing", "9 shared/1 gone; ", ""),
        ("the last event is missing", "11 counter/02 4; ", ""),
        ("half a Batch is missing", "8 pair/b 3;", ""),
        (
            "an event comes twice",
            "6 counter/10 2",
            "6 counter/10 2; 6 counter/10 2",
        ),
        (
            "an old event comes again",
            "7 shared/1 110",
            "4 shared/0 100; 7 shared/1 110",
        ),
        (
            "events out of order",
            "6 counter/10 2; 7 shared/1 110",
            "7 shared/1 110; 6 counter/10 2",
        ),
        (
            "an event after its progress",
            "5 shared/0 101; 5",
            "5; 5 shared/0 101",
        ),
        (
            "an event beyond its progress",
            "5 shared/0 101; 5",
            "5 shared/0 101; 4",
        ),
        ("progress that goes back", "4; 11", "4; 11; 10"),
        ("another value", "5 shared/0 101", "5 shared/0 102"),
        ("another key", "7 shared/1 110", "7 shared/2 110"),
        (
            "a deleted key that is shown",
            "9 shared/1 gone",
            "9 shared/1 110",
        ),
        (
            "a refused write",
            "6 counter/10",
            "6 shared/0 102; 6 counter/10",
        ),
        (
            "a write that was not done",
            "6 counter/10",
            "6 shared/4 140; 6 counter/10",
        ),
        (
            "a change that nobody asked for",
            "4; 11",
            "4; 12 shared/6 160; 12",
        ),
        (
            "an unknown write done twice",
            "4; 11",
            "4; 12 shared/3 130; 13 shared/3 130; 13",
        ),
        (
            "an unknown write with the revision of another",
            "4; 11",
            "4; 11 shared/3 130; 11",
        ),
    ] {
        let mut epoch = epoch();
        epoch.told(from, to);
        let found = epoch.check_history();
        assert!(found.is_err(), "{title} is not found");
    }
}

#[test]
fn lost_changes_are_found_before_the_history_is_checked() {
    let mut lost = epoch();
    lost.finds("shared/0", entry(100, 4));
    let what = lost.check_last_changes().unwrap_err();
    assert!(what.contains("was answered"), "{what}");
    let mut half = epoch();
    half.finds("pair/b", entry(4, 9));
    half.check_last_changes().unwrap_err();
}

#[test]
fn counters_are_sums_and_leave_nothing_unknown() {
    epoch().check_counters().unwrap();
    let mut twice = epoch();
    twice.finds("counter/02", entry(8, 12));
    twice.check_counters().unwrap_err();
    let mut unknown = epoch();
    unknown.call(50).outcomes[0] = UNKNOWN;
    unknown.check_counters().unwrap_err();
}

/// An error with an unknown outcome that names a revision: no other message may have it, now or later.
#[test]
fn a_named_revision_belongs_to_one_message() {
    let mut named = epoch();
    let unknown = named.calls.iter_mut().filter(|call| call.is_unknown());
    unknown.for_each(|call| call.named_revision = Some(10));
    // Two of them, and the watch tells of the first.
    assert!(Revisions::default().claim_all(&named.calls).is_err());
    let second = named.calls.iter_mut().rfind(|call| call.is_unknown());
    second.unwrap().named_revision = Some(12);
    let mut revisions = Revisions::default();
    revisions.claim_all(&named.calls).unwrap();
    revisions.check_events(&named.calls, &named.watch).unwrap();

    // The second was lost with the kill. Its revision is given to a change of the next epoch that is answered...
    let mut later = unary(2_000, 0, "shared/7", write(170), done(12));
    assert!(revisions.claim_all(std::slice::from_ref(&later)).is_err());
    // ... or to one of unknown outcome that the watch tells of.
    later.outcomes = vec![UNKNOWN];
    let mut watch = named.watch.clone();
    watch.updates = updates("12 shared/7 170; 12");
    let told = revisions.check_events(std::slice::from_ref(&later), &watch);
    assert!(told.is_err());
}

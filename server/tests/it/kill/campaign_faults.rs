//! Tests of what a campaign adds to a history: backups and DeletePrefix. An epoch of a right server passes, and each fault put
//! into it by hand is found.

use std::collections::BTreeMap;

use soloist_verify::{
    Action, Entry, Initial, MessageKind, Observed, Outcome, Value, Watch, WatchUpdate,
};

use super::call::{Call, Step};
use super::epoch::{Epoch, FinalRead};
use super::keys::{keys, swept};

fn entry(value: i64, revision: i64) -> Option<Entry> {
    Some(Entry {
        value: Value::Int(value),
        revision,
        state: None,
    })
}

fn done(revision: i64, observed: Observed) -> Outcome {
    Outcome::Done { revision, observed }
}

/// A message that takes place between `start` and `start + 5`.
fn call(start: u64, kind: MessageKind, steps: Vec<(String, Action, Outcome)>) -> Call {
    let step = |(key, action, _): &(String, Action, Outcome)| Step {
        key: key.clone(),
        action: *action,
        expect: None,
        request_id: String::new(),
    };
    Call {
        message: start,
        client: start as u32,
        kind,
        steps: steps.iter().map(step).collect(),
        request_id: String::new(),
        timeout: None,
        start,
        end: start + 5,
        outcomes: steps.into_iter().map(|(_, _, outcome)| outcome).collect(),
        replayed: false,
        swept: None,
        named_revision: None,
    }
}

fn write(start: u64, key: &str, value: i64, revision: i64) -> Call {
    let action = Action::Write(Value::Int(value));
    let outcome = done(revision, Observed::NotReported);
    call(
        start,
        MessageKind::Call,
        vec![(key.into(), action, outcome)],
    )
}

/// Two keys are written, and one of them deleted with the other keys of its prefix. Meanwhile a backup is made, as of the
/// revision before that.
fn epoch(in_backup: &[(&str, Option<Entry>)]) -> Epoch {
    let shown = |key: String| {
        let found = in_backup.iter().find(|(name, _)| *name == key);
        let entry = found.and_then(|(_, entry)| *entry);
        (key, Action::Read, done(2, Observed::Entry(entry)))
    };
    let deleted = done(3, Observed::NotReported);
    let sweep = (0..4).map(|index| (swept(index), Action::Delete, deleted));
    let calls = vec![
        write(10, "swept/1", 100, 1),
        write(20, "shared/0", 101, 2),
        Call {
            end: 60,
            ..call(30, MessageKind::Batch, keys().map(shown).collect())
        },
        Call {
            swept: Some(1),
            ..call(40, MessageKind::Batch, sweep.collect())
        },
    ];
    let read = |key: String| FinalRead {
        read: Initial {
            entry: (key == "shared/0").then_some(entry(101, 2)).flatten(),
            revision: 3,
        },
        key,
        start: 100,
        end: 101,
    };
    let number = |name: &str| keys().position(|it| it == name).unwrap() as u32;
    let told = |key: &str, revision, entry| {
        let key = number(key);
        let event = WatchUpdate::Event {
            key,
            revision,
            entry,
        };
        (90, event)
    };
    Epoch {
        before: BTreeMap::new(),
        calls,
        reads: keys().map(read).collect(),
        watch: Watch {
            keys: (0..keys().count() as u32).collect(),
            after: 0,
            updates: vec![
                told("swept/1", 1, entry(100, 1)),
                told("shared/0", 2, entry(101, 2)),
                told("swept/1", 3, None),
                (90, WatchUpdate::Progress { revision: 3 }),
            ],
        },
    }
}

fn check(mut epoch: Epoch) -> Result<(), String> {
    epoch.resolve_sweeps()?;
    epoch.check_last_changes()?;
    epoch.check_history()
}

#[test]
fn a_backup_shows_the_store_as_of_its_revision() {
    let right = [("swept/1", entry(100, 1)), ("shared/0", entry(101, 2))];
    check(epoch(&right)).unwrap();
    for (title, shown) in [
        ("a change is missing", &[right[0]][..]),
        ("a deletion came too early", &[right[1]]),
        ("another value", &[right[0], ("shared/0", entry(102, 2))]),
        ("another revision", &[right[0], ("shared/0", entry(101, 1))]),
        (
            "a key that nobody wrote",
            &[right[0], right[1], ("shared/1", entry(5, 2))],
        ),
    ] {
        let found = check(epoch(shown));
        assert!(found.is_err(), "{title} is not found");
    }
}

#[test]
fn a_delete_prefix_deletes_what_it_says() {
    let right = [("swept/1", entry(100, 1)), ("shared/0", entry(101, 2))];
    let mut counted_wrong = epoch(&right);
    counted_wrong.calls[3].swept = Some(2);
    check(counted_wrong).unwrap_err();
    let mut left = epoch(&right);
    let key = |it: &&mut FinalRead| it.key == "swept/1";
    left.reads.iter_mut().find(key).unwrap().read.entry = entry(100, 1);
    check(left).unwrap_err();
}

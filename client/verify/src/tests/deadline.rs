//! A check whose deadline passes is undecided.

use std::cell::Cell;
use std::time::Duration;

use crate::tests::large::{self, Shape};
use crate::{
    Action, Deadline, History, Key, Limits, Options, Outcome, PackedOperation, Report, StopReason,
    ValueSearch, Verdict, check,
};

/// Checks values only, with a clock that advances by a millisecond at each look. The deadline passes after this many looks.
fn report_within(history: &History, looks: u64) -> Report {
    let looked = Cell::new(0);
    let clock = || {
        looked.set(looked.get() + 1);
        Duration::from_millis(looked.get())
    };
    let options = Options {
        value_search: ValueSearch::Only,
        limits: Limits {
            deadline: Deadline::new(&clock, Duration::from_millis(looks)),
            ..Limits::default()
        },
        shrink_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    check(history, options).unwrap()
}

fn some_history() -> History {
    let shape = Shape {
        operations: 3_000,
        clients: 100,
        keys: 5,
        unknown: 40,
    };
    large::history(&shape, 11)
}

#[test]
fn a_check_is_undecided_after_its_deadline() {
    let history = some_history();
    assert_eq!(
        report_within(&history, 1_000_000).verdict,
        Verdict::Linearizable
    );
    // It is not linearizable before all keys have been searched.
    for looks in [1, 2, 5, 9] {
        let Verdict::Undecided(keys) = report_within(&history, looks).verdict else {
            panic!("decided within {looks} looks at the clock");
        };
        for key in &keys {
            assert_eq!(key.reason, StopReason::Time);
            assert!(key.operations > 400 && key.unknown > 0, "{key:?}");
        }
    }
    // With no time at all, every key is undecided.
    let Verdict::Undecided(keys) = report_within(&history, 0).verdict else {
        panic!("decided in no time");
    };
    assert_eq!(keys.len(), 5);
}

#[test]
fn a_key_that_uses_up_its_time_leaves_the_others_their_share() {
    let mut history = some_history();
    // One more key, the last, is wrong: a Read of a value that nobody wrote.
    let number = history.keys.len() as u32;
    history
        .keys
        .push(Key::new("wrong", history.keys[0].initial));
    let mut read = (history.operations.iter())
        .map(|it| it.unpack())
        .find(|it| it.action == Action::Read && it.entry().is_some() && it.key == 0)
        .unwrap();
    assert!(matches!(read.outcome, Outcome::Done { .. }));
    (read.key, read.client) = (number, 1_000);
    history.operations.push(PackedOperation::from(&read));
    history.operations.sort_by_key(PackedOperation::order);
    let Verdict::NotLinearizable(violations) = report_within(&history, 12).verdict else {
        panic!("the wrong key was not found");
    };
    assert_eq!(violations[0].key.as_deref(), Some("wrong"));
}

/// Whoever waits for the verdict need not wait for the proof.
#[test]
fn a_violation_is_known_before_its_proof_is_small() {
    let mut history = some_history();
    let wrong = history.operations.iter().position(|it| {
        let it = it.unpack();
        it.action == Action::Read && it.entry().is_some()
    });
    let place = wrong.unwrap();
    let mut read = history.operations[place].unpack();
    let Outcome::Done { revision, .. } = read.outcome else {
        panic!("{read:?}");
    };
    read.outcome = Outcome::Done {
        revision,
        observed: crate::Observed::Entry(Some(crate::Entry {
            value: crate::Value::text("nobody wrote this"),
            revision: 1,
            state: None,
        })),
    };
    history.operations[place] = PackedOperation::from(&read);
    // A clock that stands still, and that counts who looks at it.
    let looked = Cell::new(0);
    let clock = || {
        looked.set(looked.get() + 1);
        Duration::ZERO
    };
    let options = Options {
        value_search: ValueSearch::Only,
        limits: Limits {
            deadline: Deadline::new(&clock, Duration::from_secs(1)),
            ..Limits::default()
        },
        shrink_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let judged = crate::judge(&history, options).unwrap();
    let violations: Vec<String> = judged.violations().collect();
    assert!(violations[0].starts_with("key "), "{violations:?}");
    let before = looked.get();
    let report = judged.prove();
    assert!(looked.get() > before, "the proof was made small before");
    let Verdict::NotLinearizable(proven) = report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(proven.len(), violations.len());
    assert!(proven[0].evidence.operations.len() < 20);
}

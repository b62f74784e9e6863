//! The smallest part of a history that still shows a violation.
//!
//! Taking operations away must not make one: a Read of a value whose Write was taken away looks wrong and is not. So
//! operations go only by steps after which the rest is wrong only if the whole was:
//!
//! - What came before a moment at which there was one explanation only goes, and what the key was then is written down.
//! - What left the key as it was goes: it says something of the others, and nothing depends on it.
//! - A change goes if the rest is still wrong with that change as one of unknown outcome, which may have been done at any
//!   later time or not at all; and only if nothing that is left shows what it made.
//!
//! After Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002), in halves, quarters and so on
//! to single operations, until none can go.

use crate::history::{Found, History, Key, Told};
use crate::judge::{Wrong, judge};
use crate::operation::{
    Action, Actual, Expectation, NEVER, Operation, Outcome, Refusal, Seen, Value,
};
use crate::options::{BlackBox, Checks, Effort};
use crate::packed::Record;
use crate::verdict::{Kind, Violation};

/// Configurations of one of many searches of small histories, in bytes and in all.
const BYTES: usize = 4 << 20;
const CONFIGURATIONS: u64 = 100_000;

/// Larger histories are not made smaller one by one: that would take the square of their length.
const OPERATIONS: usize = 20_000;

/// Makes the evidence for what is wrong.
pub(super) fn violation(history: &History, wrong: &Wrong, checks: Checks<'_>) -> Violation {
    let evidence = match wrong.kind {
        Kind::Watch => of_watch(history, wrong, checks),
        Kind::Revisions => of_store(history, wrong, checks),
        Kind::Messages => of_messages(history, wrong, checks),
        Kind::Values | Kind::KeyRevisions => of_key(history, wrong, checks),
    };
    Violation {
        kind: wrong.kind,
        key: wrong.key.map(|key| history.keys[key as usize].name.clone()),
        what: wrong.what.clone(),
        evidence,
    }
}

/// A history of these operations alone.
fn part(history: &History, places: &[usize], found: impl Fn(u32) -> Option<Found>) -> History {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    let mut keys: Vec<u32> = places
        .iter()
        .map(|it| history.operations[*it].key())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let operations = places.iter().map(|place| {
        let mut operation = history.operations[*place].operation();
        let number = keys
            .binary_search(&operation.key)
            .expect("it is one of them");
        operation.key = number as u32;
        Record::from(&operation)
    });
    History {
        settings: history.settings.clone(),
        operations: operations.collect(),
        keys: (keys.iter())
            .map(|key| Key {
                found: found(*key),
                ..history.keys[*key as usize].clone()
            })
            .collect(),
        machines: history.machines.clone(),
        watches: Vec::new(),
    }
}

fn is_wrong(history: &History, checks: Checks<'_>) -> bool {
    // What is too much to find out is not shown to be wrong.
    if checks.effort.patience.is_over() {
        return false;
    }
    let effort = Effort {
        bytes: BYTES,
        in_all: CONFIGURATIONS,
        ..checks.effort
    };
    let black_box = match checks.black_box {
        BlackBox::Only => BlackBox::Only,
        _ => BlackBox::WhereWrong,
    };
    let checks = Checks {
        black_box,
        effort,
        ..checks
    };
    !judge(history, checks).wrong.is_empty()
}

/// The answers that contradict each other do so whatever the keys were before.
fn of_store(history: &History, wrong: &Wrong, checks: Checks<'_>) -> History {
    let some = part(history, &wrong.places, |_| None);
    match is_wrong(&some, checks) {
        true => some,
        false => history.clone(),
    }
}

/// All of the keys that cannot agree. Not made smaller: a message of which a part is gone says something else.
fn of_messages(history: &History, wrong: &Wrong, checks: Checks<'_>) -> History {
    let found_before = |key: u32| history.keys[key as usize].found;
    let some = part(history, &wrong.places, found_before);
    match is_wrong(&some, checks) {
        true => some,
        false => history.clone(),
    }
}

fn of_watch(history: &History, wrong: &Wrong, checks: Checks<'_>) -> History {
    let Some(watch) = wrong.watch.and_then(|watch| history.watches.get(watch)) else {
        return history.clone();
    };
    let all = History {
        watches: vec![watch.clone()],
        ..history.clone()
    };
    let Some(key) = wrong.key else {
        return all;
    };
    // Of that key alone: each of its events has its operation, and the rest of the stream tells how far it came.
    let of_key = |place: &usize| history.operations[*place].key() == key;
    let places: Vec<usize> = (0..history.operations.len()).filter(of_key).collect();
    let mut part = part(history, &places, |key| history.keys[key as usize].found);
    if places.is_empty() {
        part.keys = vec![history.keys[key as usize].clone()];
    }
    let mut watch = watch.clone();
    watch.keys.retain(|it| *it == key);
    watch.keys.iter_mut().for_each(|it| *it = 0);
    watch.told.retain_mut(|(_, told)| match told {
        Told::Progress { .. } => true,
        Told::Event { key: of, .. } => {
            let is = *of == key;
            *of = 0;
            is
        }
    });
    // Of steps without news the last is enough.
    let mut kept: Vec<(u64, Told)> = Vec::new();
    for it in watch.told {
        let is_step = |it: &(u64, Told)| matches!(it.1, Told::Progress { .. });
        match kept.last_mut() {
            Some(last) if is_step(last) && is_step(&it) => *last = it,
            _ => kept.push(it),
        }
    }
    watch.told = kept;
    part.watches = vec![watch];
    // The order of events of several keys cannot be told from one.
    match is_wrong(&part, checks) {
        true => part,
        false => all,
    }
}

fn of_key(history: &History, wrong: &Wrong, checks: Checks<'_>) -> History {
    let found_before = |key: u32| history.keys[key as usize].found;
    if let Some(window) = &wrong.window {
        let some = part(history, &window.places, |_| Some(window.found));
        let some = until(&some, wrong.until);
        if is_wrong(&some, checks) {
            return smallest(some, checks);
        }
    }
    let some = part(history, &wrong.places, found_before);
    let ended = until(&some, wrong.until);
    if is_wrong(&ended, checks) {
        return smallest(ended, checks);
    }
    // What came later says when something was done. Not made smaller: the rest may be wrong for another reason.
    if is_wrong(&some, checks) {
        return some;
    }
    // It takes what was answered of other keys. Of those, nothing is said but the revisions.
    let (start, end) = span(history, &wrong.places);
    let near = |place: &usize| {
        let record = &history.operations[*place];
        Some(record.key()) != wrong.key && record.end() >= start && record.start() <= end
    };
    let others = (0..history.operations.len()).filter(near);
    let places: Vec<usize> = wrong.places.iter().copied().chain(others).collect();
    let some = part(history, &places, |key| match Some(key) == wrong.key {
        true => found_before(key),
        false => None,
    });
    // Not made smaller: without some of these the rest may be wrong for another reason.
    match is_wrong(&some, checks) {
        true => some,
        false => history.clone(),
    }
}

/// What was known at this time: of what had not ended, that it may be done.
fn until(history: &History, time: u64) -> History {
    let known = history
        .operations
        .iter()
        .map(Record::operation)
        .filter_map(|it| match it.end > time && it.outcome != Outcome::Unknown {
            true if it.is_observation() => None,
            true => Some(weakened(&it)),
            false => Some(it),
        });
    History {
        operations: known.map(|it| Record::from(&it)).collect(),
        ..history.clone()
    }
}

fn span(history: &History, places: &[usize]) -> (u64, u64) {
    let records = || places.iter().map(|place| &history.operations[*place]);
    let start = records().map(Record::start).min().unwrap_or(0);
    (start, records().map(Record::start).max().unwrap_or(0))
}

/// Takes away all that can be.
fn smallest(history: History, checks: Checks<'_>) -> History {
    if history.operations.len() > OPERATIONS {
        return history;
    }
    let mut kept: Vec<Operation> = history.operations.iter().map(Record::operation).collect();
    let mut gone: Vec<Operation> = Vec::new();
    let with = |kept: &[Operation], gone: &[Operation]| {
        let mut operations: Vec<Record> = kept.iter().chain(gone).map(Record::from).collect();
        operations.sort_by_key(Record::order);
        History {
            operations,
            ..history.clone()
        }
    };
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let before = kept.len();
        let mut from = 0;
        while from < kept.len() {
            let to = (from + chunk).min(kept.len());
            // Within a chunk, what may go at all.
            let mut rest = Vec::with_capacity(kept.len());
            let mut out = gone.clone();
            for (index, it) in kept.iter().enumerate() {
                match (from..to).contains(&index) {
                    true if it.is_observation() => {}
                    true if !is_shown(it, &kept) => out.push(weakened(it)),
                    _ => rest.push(*it),
                }
            }
            if rest.len() < kept.len()
                && is_wrong(&with(&rest, &out), checks)
                && is_wrong(&with(&rest, &[]), checks)
            {
                from += rest.len() - (kept.len() - (to - from)).min(rest.len());
                (kept, gone) = (rest, out);
            } else {
                from = to;
            }
        }
        match chunk {
            1 if kept.len() == before => break,
            1 => {}
            _ => chunk = chunk.div_ceil(2),
        }
    }
    let smallest = with(&kept, &[]);
    let places: Vec<usize> = (0..kept.len()).collect();
    // Without the keys of which nothing is left.
    part(&smallest, &places, |key| smallest.keys[key as usize].found)
}

/// Whether something that is left shows what this change made, or builds on it.
fn is_shown(change: &Operation, kept: &[Operation]) -> bool {
    let value = match (change.action, change.outcome) {
        (
            Action::Write(value)
            | Action::Transition {
                value: Some(value), ..
            },
            _,
        ) => Some(value),
        (
            _,
            Outcome::Done {
                seen: Seen::Sum(sum),
                ..
            },
        ) => Some(Value::Int(sum)),
        _ => None,
    };
    let revision = change.revision();
    let others = || {
        kept.iter()
            .filter(|it| it.key == change.key && *it != change)
    };
    let shows = |it: &Operation| {
        let entry = it.entry();
        let shows_value = |shown: Value| Some(shown) == value;
        let shows_revision = |shown: i64| Some(shown) == revision;
        entry.is_some_and(|entry| shows_value(entry.value) || shows_revision(entry.revision))
            || match it.outcome {
                Outcome::Refused(Refusal::Expectation(Actual::Revision(actual))) => {
                    shows_revision(actual)
                }
                Outcome::Refused(Refusal::Expectation(Actual::Value(Some(actual)))) => {
                    shows_value(actual)
                }
                _ => false,
            }
            || match it.expect {
                Some(Expectation::Revision(expected)) => shows_revision(expected),
                Some(Expectation::Value(expected)) => shows_value(expected),
                _ => false,
            }
    };
    // An Add or a Transition builds on the change before it.
    let builds = |it: &&Operation| {
        matches!(it.action, Action::Add(_) | Action::Transition { .. }) && it.is_change()
    };
    let next = (others().filter(|it| it.is_change() && it.revision() > revision))
        .min_by_key(|it| it.revision());
    others().any(shows) || (revision.is_some() && next.as_ref().is_some_and(builds))
}

/// The same operation, had nobody heard of it again.
fn weakened(operation: &Operation) -> Operation {
    Operation {
        outcome: Outcome::Unknown,
        end: NEVER,
        ..*operation
    }
}

//! Shrinks the evidence of a violation: the smallest part of a history that still shows it.
//!
//! Removing operations must not create a violation: a Read of a value whose Write was removed looks wrong and is not. So
//! operations are removed only in steps after which the rest is wrong only if the whole was:
//!
//! - Everything before a moment with one explanation only goes, and what the key was then becomes its initial state.
//! - An operation that left the key as it was goes: nothing depends on it.
//! - A change goes if the rest is still wrong with that change as one of unknown outcome, which may have happened at any
//!   later time or never; and only if nothing that is left shows what it made.
//!
//! After Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002): in halves, quarters and so on to
//! single operations, until none can go.

use crate::history::{History, Initial, Key, Watch, WatchUpdate};
use crate::judge::{Finding, judge};
use crate::operation::{
    Action, Actual, Expectation, NEVER, NO_REVISION, Observed, Operation, Outcome, Refusal, Value,
};
use crate::options::{Limits, Observer, Options, ValueSearch};
use crate::packed::PackedOperation;
use crate::verdict::{Violation, ViolationKind};

/// Limits for each of the many checks of small histories.
const CONFIGURATION_BYTES: usize = 4 << 20;
const CONFIGURATIONS: u64 = 100_000;

/// Larger histories are not shrunk operation by operation: that takes the square of their length.
const OPERATIONS_MAX: usize = 20_000;

/// Makes a violation of a finding, with the evidence shrunk.
pub(crate) fn violation(history: &History, finding: &Finding, options: Options<'_>) -> Violation {
    let evidence = match finding.kind {
        ViolationKind::Watch => of_watch(history, finding, options),
        ViolationKind::Revisions => of_store(history, finding, options),
        ViolationKind::Messages => of_messages(history, finding, options),
        ViolationKind::Values | ViolationKind::KeyRevisions => of_key(history, finding, options),
    };
    Violation {
        kind: finding.kind,
        key: (finding.key).map(|key| history.keys[key as usize].name.clone()),
        description: finding.description.clone(),
        evidence,
    }
}

/// A history of the operations at these places and of their keys, and of no watches.
fn part(history: &History, indices: &[usize], initial: impl Fn(u32) -> Option<Initial>) -> History {
    let mut indices = indices.to_vec();
    indices.sort_unstable();
    indices.dedup();
    let mut keys: Vec<u32> = indices
        .iter()
        .map(|index| history.operations[*index].key())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let operations = indices.iter().map(|index| {
        let mut operation = history.operations[*index].unpack();
        let place = keys.binary_search(&operation.key);
        operation.key = place.expect("all keys of the operations are there") as u32;
        PackedOperation::from(&operation)
    });
    History {
        settings: history.settings.clone(),
        operations: operations.collect(),
        keys: (keys.iter())
            .map(|key| Key {
                initial: initial(*key),
                ..history.keys[*key as usize].clone()
            })
            .collect(),
        machines: history.machines.clone(),
        watches: Vec::new(),
    }
}

fn is_wrong(history: &History, options: Options<'_>) -> bool {
    // A history that cannot be checked in time is not shown to be wrong.
    if options.limits.deadline.has_passed() {
        return false;
    }
    let limits = Limits {
        configuration_bytes: CONFIGURATION_BYTES,
        configurations: CONFIGURATIONS,
        ..options.limits
    };
    let value_search = match options.value_search {
        ValueSearch::Only => ValueSearch::Only,
        ValueSearch::OnViolation | ValueSearch::Always => ValueSearch::OnViolation,
    };
    let options = Options {
        value_search,
        limits,
        observer: Observer::NONE,
        ..options
    };
    !judge(history, options).findings.is_empty()
}

/// Answers that contradict each other do so whatever the keys were before.
fn of_store(history: &History, finding: &Finding, options: Options<'_>) -> History {
    let some = part(history, &finding.indices, |_| None);
    match is_wrong(&some, options) {
        true => some,
        false => history.clone(),
    }
}

/// All operations on the keys that cannot be explained together. They are not shrunk: a message that lost an operation says
/// something else.
fn of_messages(history: &History, finding: &Finding, options: Options<'_>) -> History {
    let initial = |key: u32| history.keys[key as usize].initial;
    let some = part(history, &finding.indices, initial);
    match is_wrong(&some, options) {
        true => some,
        false => history.clone(),
    }
}

fn of_watch(history: &History, finding: &Finding, options: Options<'_>) -> History {
    let Some(watch) = finding.watch.and_then(|watch| history.watches.get(watch)) else {
        return history.clone();
    };
    let all = History {
        watches: vec![watch.clone()],
        ..history.clone()
    };
    let Some(key) = finding.key else {
        return all;
    };
    // The operations on this key explain its events, and the progress says how far the watch has come. Operations that
    // contradict an event may be on other keys.
    let is_needed =
        |index: &usize| history.operations[*index].key() == key || finding.indices.contains(index);
    let indices: Vec<usize> = (0..history.operations.len()).filter(is_needed).collect();
    let mut part = part(history, &indices, |key| history.keys[key as usize].initial);
    let name = &history.keys[key as usize].name;
    let place = part.keys.iter().position(|it| it.name == *name);
    let place = place.unwrap_or_else(|| {
        part.keys.push(history.keys[key as usize].clone());
        part.keys.len() - 1
    });
    part.watches = vec![watch_of_key(watch, key, place as u32)];
    // If the events of other keys are evidence too, all stay.
    match is_wrong(&part, options) {
        true => part,
        false => all,
    }
}

/// What a watch was told of one key, which gets another place. Of progress without events in between, the last is enough.
fn watch_of_key(watch: &Watch, key: u32, place: u32) -> Watch {
    let is_progress = |update: &WatchUpdate| matches!(update, WatchUpdate::Progress { .. });
    let mut updates: Vec<(u64, WatchUpdate)> = Vec::new();
    for (time, update) in &watch.updates {
        let update = match *update {
            WatchUpdate::Event { key: of, .. } if of != key => continue,
            WatchUpdate::Event {
                revision, entry, ..
            } => WatchUpdate::Event {
                key: place,
                revision,
                entry,
            },
            progress @ WatchUpdate::Progress { .. } => progress,
        };
        match updates.last_mut() {
            Some(last) if is_progress(&last.1) && is_progress(&update) => *last = (*time, update),
            _ => updates.push((*time, update)),
        }
    }
    Watch {
        keys: match watch.keys.contains(&key) {
            true => vec![place],
            false => Vec::new(),
        },
        after: watch.after,
        updates,
    }
}

fn of_key(history: &History, finding: &Finding, options: Options<'_>) -> History {
    let initial = |key: u32| history.keys[key as usize].initial;
    if let Some(window) = &finding.window {
        let some = part(history, &window.indices, |_| Some(window.initial));
        let some = until(&some, finding.until);
        if is_wrong(&some, options) {
            return shrunk(some, options);
        }
    }
    let some = part(history, &finding.indices, initial);
    let ended = until(&some, finding.until);
    if is_wrong(&ended, options) {
        return shrunk(ended, options);
    }
    // It takes later answers, which say when something happened. They are not shrunk: the rest may be wrong for another
    // reason.
    if is_wrong(&some, options) {
        return some;
    }
    // It takes the revisions in the answers of other keys. They are not shrunk either.
    let (start, end) = span(history, &finding.indices);
    let is_near = |index: &usize| {
        let operation = &history.operations[*index];
        let is_other = Some(operation.key()) != finding.key;
        is_other && operation.end() >= start && operation.start() <= end
    };
    let others = (0..history.operations.len()).filter(is_near);
    let indices: Vec<usize> = finding.indices.iter().copied().chain(others).collect();
    let some = part(history, &indices, |key| match Some(key) == finding.key {
        true => initial(key),
        false => None,
    });
    match is_wrong(&some, options) {
        true => some,
        false => history.clone(),
    }
}

/// What was known at this time: an operation that had not ended may have happened.
fn until(history: &History, time: u64) -> History {
    let operations = history.operations.iter().map(PackedOperation::unpack);
    let known = operations.filter_map(|it| match it.end > time && it.outcome != Outcome::Unknown {
        true if it.is_read_only() => None,
        true => Some(as_unknown(&it)),
        false => Some(it),
    });
    History {
        operations: known.map(|it| PackedOperation::from(&it)).collect(),
        ..history.clone()
    }
}

/// The times of the first and the last start.
fn span(history: &History, indices: &[usize]) -> (u64, u64) {
    let starts = || (indices.iter()).map(|index| history.operations[*index].start());
    (starts().min().unwrap_or(0), starts().max().unwrap_or(0))
}

/// Removes every operation that can go.
fn shrunk(history: History, options: Options<'_>) -> History {
    if history.operations.len() > OPERATIONS_MAX {
        return history;
    }
    let mut kept: Vec<Operation> = (history.operations.iter())
        .map(PackedOperation::unpack)
        .collect();
    let mut removed: Vec<Operation> = Vec::new();
    let of = |kept: &[Operation], removed: &[Operation]| {
        let operations = kept.iter().chain(removed).map(PackedOperation::from);
        let mut operations: Vec<PackedOperation> = operations.collect();
        operations.sort_by_key(PackedOperation::order);
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
            let (rest, out) = without_chunk(&kept, &removed, from..to);
            if rest.len() < kept.len()
                && is_wrong(&of(&rest, &out), options)
                && is_wrong(&of(&rest, &[]), options)
            {
                from += rest.len() - (kept.len() - (to - from)).min(rest.len());
                (kept, removed) = (rest, out);
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
    let shrunk = of(&kept, &[]);
    let indices: Vec<usize> = (0..kept.len()).collect();
    // Without the keys that lost all of their operations.
    part(&shrunk, &indices, |key| shrunk.keys[key as usize].initial)
}

/// What is kept without the operations of a chunk that may go; and what was removed so far, changes as ones of unknown
/// outcome.
fn without_chunk(
    kept: &[Operation],
    removed: &[Operation],
    chunk: std::ops::Range<usize>,
) -> (Vec<Operation>, Vec<Operation>) {
    let mut rest = Vec::with_capacity(kept.len());
    let mut removed = removed.to_vec();
    for (index, it) in kept.iter().enumerate() {
        match chunk.contains(&index) {
            true if it.is_read_only() => {}
            true if !is_shown(it, kept) => removed.push(as_unknown(it)),
            _ => rest.push(*it),
        }
    }
    (rest, removed)
}

/// Whether another operation that is kept shows what this change made, or builds on it.
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
                observed: Observed::Sum(sum),
                ..
            },
        ) => Some(Value::Int(sum)),
        _ => None,
    };
    let revision = change.revision().filter(|it| *it != NO_REVISION);
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

/// The same operation as if its client had never heard of it again.
fn as_unknown(operation: &Operation) -> Operation {
    Operation {
        outcome: Outcome::Unknown,
        end: NEVER,
        ..*operation
    }
}

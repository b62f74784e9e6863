//! Changes come back as they were, and the history stays within its limits.

use std::sync::Arc;

use super::chunk::MARK_EVERY;
use super::*;
use crate::machine::{Attached, ChangeCause, Entry, Value};

fn entry(value: Value, revision: Revision) -> Entry {
    Entry {
        value,
        revision,
        create_revision: 1,
        attached: None,
    }
}

fn change(key: &str, revision: Revision) -> Change {
    Change {
        key: key.into(),
        revision,
        cause: ChangeCause::Written,
        entry: Some(entry(Value::Int(revision), revision)),
        previous: Some(entry(Value::Int(-revision), revision - 1)),
        keeps: Keeps::Previous,
    }
}

fn record(history: &mut ChangeHistory, change: &Change) {
    history.record(change.into());
}

fn batch(history: &mut ChangeHistory, changes: &[Change]) {
    history.begin_batch();
    for change in changes {
        record(history, change);
    }
    history.end_batch();
}

fn keys(history: &ChangeHistory, after: Revision) -> String {
    let keys = history.after(after);
    keys.map(|change| change.key().to_owned()).collect()
}

#[test]
fn changes_come_back_as_they_were() {
    let long = "x".repeat(300);
    let values = [
        Value::Int(0),
        Value::Int(i64::MIN),
        Value::Text("".into()),
        Value::Text("é".into()),
        Value::Text(long.as_str().into()),
        Value::Bytes(b"\0\xff".as_slice().into()),
    ];
    let causes = [
        ChangeCause::Written,
        ChangeCause::Transitioned,
        ChangeCause::Deleted,
        ChangeCause::Expired,
        ChangeCause::SessionEnded,
        ChangeCause::TimedOut,
    ];
    let mut changes = Vec::new();
    for value in &values {
        for cause in causes {
            for (after, before) in [(true, true), (true, false), (false, true), (false, false)] {
                let revision = (changes.len() as i64 + 1) << 9;
                let entry = |revision| entry(value.clone(), revision);
                let mut change = Change {
                    key: long.get(..changes.len()).unwrap_or("k").into(),
                    revision,
                    cause,
                    entry: after.then(|| entry(revision)),
                    previous: before.then(|| entry(7)),
                    keeps: Keeps::Previous,
                };
                if cause == ChangeCause::TimedOut
                    && let Some(entry) = &mut change.entry
                {
                    entry.attached = Some(Arc::new(Attached::default()));
                }
                changes.push(change);
            }
        }
    }
    let mut history = ChangeHistory::new(usize::MAX, usize::MAX);
    for change in &changes {
        record(&mut history, change);
    }
    let kept: Vec<_> = history.after(0).map(|change| change.change()).collect();
    assert_eq!(kept, changes);
    let (_, later) = changes.split_at(50);
    let kept: Vec<_> = history
        .after(50 << 9)
        .map(|change| change.change())
        .collect();
    assert_eq!(kept, later);
}

#[test]
fn it_goes_on_after_any_revision() {
    let mut history = ChangeHistory::new(1 << 12, 1 << 20);
    let mut expected = Vec::new();
    for revision in 1..400 {
        // One change alone, or several of one revision: now and then more than lie between two marks.
        let count = match revision % 50 {
            7 => 3 * MARK_EVERY,
            n => (n % 7 == 0).into(),
        };
        let changes: Vec<_> = (0..count)
            .map(|n| change(&format!("{n:03}"), revision))
            .collect();
        if changes.is_empty() {
            record(&mut history, &change("k", revision));
            expected.push(revision);
        } else {
            batch(&mut history, &changes);
            expected.extend(changes.iter().map(|change| change.revision));
        }
    }
    assert!(history.chunks.len() > 1, "{}", history.chunks.len());
    for after in 0..400 {
        let kept: Vec<_> = history
            .after(after)
            .map(|change| change.revision())
            .collect();
        let from = expected.partition_point(|revision| *revision <= after);
        assert_eq!(kept, expected[from..], "after {after}");
        for chunk in &history.chunks {
            let before = |change: &StoredChange<'_>| change.revision() <= after;
            let in_vain = chunk.since_mark_before(after).take_while(before);
            // Only changes of one revision can be more.
            let in_vain = in_vain.filter(|change| change.revision() < after).count();
            assert!(in_vain <= MARK_EVERY, "{in_vain} after {after}");
        }
    }
}

#[test]
fn a_revision_goes_whole() {
    let mut history = ChangeHistory::new(3, usize::MAX);
    for (revision, changed) in [(1, "a"), (2, "bc"), (5, "d"), (6, "e")] {
        let changes: Vec<_> = changed
            .chars()
            .map(|key| change(&key.to_string(), revision))
            .collect();
        batch(&mut history, &changes);
    }
    // Of the five changes, the three latest would split revision 2.
    assert_eq!((history.oldest(), keys(&history, 2)), (2, "de".into()));
    assert_eq!(keys(&history, 5), "e");
    assert_eq!(keys(&history, 6), "");
}

#[test]
fn what_is_kept_is_bounded() {
    for (changes_max, bytes_max) in [(160, usize::MAX), (usize::MAX, 4_000), (1, 4_000)] {
        let mut history = ChangeHistory::new(changes_max, bytes_max);
        for revision in 1..=5_000 {
            let mut change = change("key", revision);
            if revision % 7 == 0 {
                // A change that is kept whole.
                change.entry = Some(entry(Value::Text("x".repeat(260).into()), revision));
            }
            record(&mut history, &change);
            let (count, bytes) = history.chunks.iter().fold((0, 0), |(count, bytes), chunk| {
                (count + chunk.count, bytes + chunk.bytes())
            });
            assert_eq!((history.count, history.bytes), (count, bytes));
            assert!(count <= changes_max && bytes <= bytes_max);
            assert_eq!(history.after(history.oldest()).count(), count);
            // Once full, the history stays nearly full.
            if revision > 1_000 && changes_max > 1 {
                assert!(
                    count >= 150.min(changes_max) || bytes >= 3_000,
                    "{count}, {bytes}"
                );
            }
        }
    }
}

#[test]
fn a_large_batch_leaves_out_what_was_before() {
    let mut history = ChangeHistory::new(usize::MAX, 1_000);
    let large = |key: &str, revision| Change {
        previous: Some(entry(Value::Text("x".repeat(600).into()), 1)),
        ..change(key, revision)
    };
    batch(&mut history, &[large("a", 2)]);
    for change in history.after(0) {
        let Change {
            previous, keeps, ..
        } = change.change();
        assert_eq!((previous, keeps), (None, Keeps::NoPrevious));
    }
    assert_eq!(keys(&history, 0), "a");
}

#[test]
fn changes_of_one_key_are_joined() {
    let mut history = ChangeHistory::new(9, usize::MAX);
    let deleted = Change {
        cause: ChangeCause::Deleted,
        entry: None,
        ..change("b", 1)
    };
    batch(
        &mut history,
        &[change("b", 1), change("a", 1), deleted.clone()],
    );
    let kept: Vec<_> = history.after(0).map(|change| change.change()).collect();
    assert_eq!(kept, [change("a", 1), deleted]);
}

#[test]
fn what_a_batch_changed_can_be_taken_back() {
    let mut history = ChangeHistory::new(9, usize::MAX);
    history.begin_batch();
    record(&mut history, &change("a", 1));
    assert_eq!(history.abort_batch(), [change("a", 1)]);
    record(&mut history, &change("b", 1));
    assert_eq!(keys(&history, 0), "b");
}

//! Unknown outcomes that somebody saw.

use std::collections::{BTreeMap, HashMap};

use crate::history::{History, Told};
use crate::key::key_history;
use crate::model::Bounds;
use crate::operation::{Operation, Outcome};

/// An unknown outcome that somebody saw: its revision, if it was told, and when it was known.
pub(crate) type Decided = HashMap<usize, (Option<i64>, u64)>;

/// Decides the unknown outcomes that somebody saw; of an atomic message all parts together.
pub(crate) fn decide(
    history: &History,
    by_key: &BTreeMap<u32, Vec<usize>>,
    raw: &dyn Fn(usize) -> Operation,
) -> Decided {
    let mut unknown_of: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for place in 0..history.operations.len() {
        let operation = raw(place);
        if operation.outcome == Outcome::Unknown {
            unknown_of
                .entry(operation.message_id())
                .or_default()
                .push(place);
        }
    }
    let mut decided = Decided::new();
    if unknown_of.is_empty() {
        return decided;
    }
    let mut told: HashMap<u32, Vec<_>> = HashMap::new();
    for (time, it) in history.watches.iter().flat_map(|watch| &watch.told) {
        if let Told::Event {
            key,
            entry: Some(entry),
            ..
        } = it
        {
            told.entry(*key)
                .or_default()
                .push((entry.value, entry.revision, *time));
        }
    }
    for (key, places) in by_key {
        let none = vec![Bounds::NONE; places.len()];
        let key_history = key_history(history, *key, places.clone(), none, raw);
        for (place, revision, time) in key_history.resolve(told.get(key).map_or(&[], |it| it)) {
            decided.insert(place, (revision, time));
            let operation = raw(place);
            if operation.travel.is_atomic() {
                for other in &unknown_of[&operation.message_id()] {
                    decided.entry(*other).or_insert((revision, time));
                }
            }
        }
    }
    decided
}

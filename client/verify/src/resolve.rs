//! Resolves unknown outcomes: an answer or a watch that shows what an operation wrote proves that it was done.

use std::collections::{BTreeMap, HashMap};

use crate::history::{History, WatchUpdate};
use crate::key::{Proof, Shown, key_history};
use crate::model::Bounds;
use crate::operation::{Observed, Operation, Outcome};

/// The unknown outcomes that are proven done, by their places in the history.
pub(crate) struct Resolved(HashMap<usize, Proof>);

impl Resolved {
    /// Resolves what can be resolved; of an atomic message all operations together. `by_key` has the places of each key's
    /// operations.
    pub(crate) fn new(history: &History, by_key: &BTreeMap<u32, Vec<usize>>) -> Self {
        let unpack = |index: usize| history.operations[index].unpack();
        let mut unknown_of: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
        for (index, operation) in history.operations.iter().enumerate() {
            let operation = operation.unpack();
            if operation.outcome == Outcome::Unknown {
                let same = unknown_of.entry(operation.message_id()).or_default();
                same.push(index);
            }
        }
        let mut resolved = HashMap::new();
        if unknown_of.is_empty() {
            return Self(resolved);
        }
        let watched = shown_to_watches(history);
        for (key, indices) in by_key {
            let bounds = vec![Bounds::NONE; indices.len()];
            let key_history = key_history(history, *key, indices.clone(), bounds, &unpack);
            let watched = watched.get(key).map_or(&[][..], |it| it);
            for (index, proof) in key_history.proven_writes(watched) {
                resolved.insert(index, proof);
                let operation = unpack(index);
                if operation.message_kind.is_atomic() {
                    for other in &unknown_of[&operation.message_id()] {
                        resolved.entry(*other).or_insert(proof);
                    }
                }
            }
        }
        Self(resolved)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The operation at this place of the history, with what is proven of its outcome.
    pub(crate) fn apply(&self, index: usize, mut operation: Operation) -> Operation {
        let Some(proof) = self.0.get(&index) else {
            return operation;
        };
        operation.end = operation.end.min(proof.time).max(operation.start);
        if let Some(revision) = proof.revision {
            operation.outcome = Outcome::Done {
                revision,
                observed: Observed::NotReported,
            };
        }
        operation
    }
}

/// The values that watches were shown, by key.
fn shown_to_watches(history: &History) -> HashMap<u32, Vec<Shown>> {
    let mut shown: HashMap<u32, Vec<Shown>> = HashMap::new();
    for (time, update) in history.watches.iter().flat_map(|watch| &watch.updates) {
        if let WatchUpdate::Event {
            key,
            entry: Some(entry),
            ..
        } = update
        {
            shown.entry(*key).or_default().push(Shown {
                value: entry.value,
                revision: Some(entry.revision),
                time: *time,
            });
        }
    }
    shown
}

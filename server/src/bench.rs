//! Private parts of the server that `benches/` measures.

use std::ops::Bound;

use crate::config::Limits;
use crate::machine::{
    Applying, Entry, Key, PlainAnswers as _, PlainFrames, Revision, StateMachine, Time, Tree,
};
use crate::rpc::{KeyCheck, frame};

/// Decodes and checks a frame, as a Pipeline does. Returns its number of operations; `None` if it is invalid.
#[must_use]
pub fn decode_frame(message: &[u8], limits: &Limits) -> Option<usize> {
    let mut frames = PlainFrames::default();
    frame::decode(message, limits, &mut frames, &mut KeyCheck::of_nobody())
        .ok()?
        .ok()?;
    Some(frames.operation_count())
}

/// Applies a plain frame, and returns the answer with its prefix, as a Pipeline sends it.
#[must_use]
pub fn apply_frame(
    machine: &mut StateMachine,
    mut frames: PlainFrames,
    answer_bytes_max: usize,
    now: Time,
) -> Vec<u8> {
    let mut answers = frame::Answers::default();
    answers.reserve(1, frames.operation_count());
    let mut applying = Applying::new(&mut frames, now, None);
    machine.apply_plain(&mut applying, answer_bytes_max, &mut answers);
    answers.finish(&mut 0).next().0
}

/// The machine's map from keys to entries.
#[derive(Debug)]
pub struct Map(Tree);

impl Default for Map {
    fn default() -> Self {
        Self(Tree::new())
    }
}

impl Map {
    /// Returns the revision of an entry, without copying the entry.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Revision> {
        let entry = self.0.get(key.as_str())?;
        Some(entry.revision)
    }

    /// Adds or replaces an entry.
    pub fn insert(&mut self, key: &Key, entry: Entry) {
        self.0.insert(key, entry);
    }

    /// Removes an entry, if it exists.
    pub fn remove(&mut self, key: &Key) {
        self.0.remove(self.0.cursor(key.as_str()));
    }

    /// Sums the bytes of the values of `count` entries, in the order of keys from `key`.
    #[must_use]
    pub fn bytes_from(&self, key: &Key, count: usize) -> usize {
        let range = self.0.range(Bound::Included(key.as_str()));
        range
            .take(count)
            .map(|(_, entry)| entry.value.byte_len())
            .sum()
    }
}

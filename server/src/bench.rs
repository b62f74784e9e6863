//! What `benches/` measures and nobody else can see.

use std::ops::Bound;

use crate::config::Limits;
use crate::machine::{EachOutcome, Entry, Key, Revision, Tree};
use crate::rpc::body::response::Encode as _;
use crate::rpc::frame;

/// Decodes and checks a frame as a pipeline does. Returns how many operations it has.
#[must_use]
pub fn decode_frame(message: &[u8], limits: &Limits) -> Option<usize> {
    let frame = frame::decode(message, limits).ok()?.ok()?;
    Some(frame.operations.len())
}

/// Encodes an answer as a pipeline does.
pub fn encode_frame(answer: EachOutcome, buf: &mut Vec<u8>) {
    frame::FrameAnswer::Each(answer).encode(buf);
}

/// Entries by their keys, as the machine has them.
#[derive(Debug)]
pub struct Map(Tree);

impl Default for Map {
    fn default() -> Self {
        Self(Tree::new())
    }
}

impl Map {
    /// Looks at an entry where it is.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Revision> {
        let entry = self.0.get(key.as_str())?;
        Some(entry.revision)
    }

    /// Puts an entry in the place of the one that is there, if any.
    pub fn insert(&mut self, key: &Key, entry: Entry) {
        self.0.insert(key, entry);
    }

    /// Takes an entry away, if it is there.
    pub fn remove(&mut self, key: &Key) {
        self.0.remove(self.0.cursor(key.as_str()));
    }

    /// Goes through entries in the order of their keys, and counts the bytes of values.
    #[must_use]
    pub fn bytes_from(&self, key: &Key, count: usize) -> usize {
        let range = self.0.range(Bound::Included(key.as_str()));
        range
            .take(count)
            .map(|(_, entry)| entry.value.byte_len())
            .sum()
    }
}

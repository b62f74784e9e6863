//! A node of the tree above the leaves: separator keys in order, each with a child. It keeps a head of each key (`head.rs`).

use std::cmp::Ordering;

use super::head::{common_len, head, touch};
use crate::machine::value::Key;

/// Most keys of a leaf, and of a node that is not the root.
pub(super) const FANOUT: usize = 64;

/// A child with at most this many keys is merged with a neighbour, if both together have at most [`MERGED_MAX`].
pub(super) const UNDERFULL: usize = FANOUT / 4;
const MERGED_MAX: usize = FANOUT * 3 / 4;

/// What is below a node.
pub(super) trait Child {
    /// How many keys it has.
    fn len(&self) -> usize;

    /// Takes over everything that the child after this one has.
    fn merge(&mut self, right: Self);
}

/// Keys in order, each with an item: a child.
pub(super) struct Node<T> {
    /// All keys have at least this many bytes in common at their beginning.
    prefix_len: usize,
    /// The next four bytes of each key.
    heads: Vec<u32>,
    keys: Vec<Key>,
    /// The item of each key.
    items: Vec<T>,
}

impl<T> Node<T> {
    pub(super) const fn new() -> Self {
        Self {
            prefix_len: 0,
            heads: Vec::new(),
            keys: Vec::new(),
            items: Vec::new(),
        }
    }

    /// An empty node with room for all the keys that it may have.
    fn with_room() -> Self {
        Self {
            prefix_len: 0,
            heads: Vec::with_capacity(FANOUT),
            keys: Vec::with_capacity(FANOUT),
            items: Vec::with_capacity(FANOUT),
        }
    }

    /// How many children there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    #[inline]
    pub(super) fn item_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }

    /// The index of a key, or as an error the index at which it would be inserted.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(first) = self.keys.first() else {
            return Err(0);
        };
        let first = first.as_str().as_bytes();
        if !key.starts_with(&first[..self.prefix_len]) {
            return Err(if key < first { 0 } else { self.len() });
        }
        let head = head_behind(key, self.prefix_len);
        let mut at = match self.heads.len() {
            // Counting has no branches. A binary search has six, each predicted only half of the time.
            ..=FANOUT => self.heads.iter().filter(|other| **other < head).count(),
            _ => self.heads.partition_point(|other| *other < head),
        };
        if self.heads.get(at) != Some(&head) {
            return Err(at);
        }
        // Mostly one key has this head, and mostly it is the key that is looked for.
        match self.keys[at].as_str().as_bytes().cmp(key) {
            Ordering::Equal => return Ok(at),
            Ordering::Greater => return Err(at),
            Ordering::Less => at += 1,
        }
        let same = self.heads[at..].partition_point(|other| *other == head);
        let found =
            self.keys[at..at + same].binary_search_by(|other| other.as_str().as_bytes().cmp(key));
        found
            .map(|behind| at + behind)
            .map_err(|behind| at + behind)
    }

    /// The index of the child that a key belongs to: under the last separator that is not greater; the first child if all
    /// are.
    #[inline]
    pub(super) fn child_for(&self, key: &[u8]) -> usize {
        if self.len() == 1 {
            return 0;
        }
        match self.find(key) {
            Ok(at) => at,
            Err(behind) => behind.saturating_sub(1),
        }
    }

    /// Reads a few bytes of each line of the processor's caches that a search for a key will look at first.
    #[inline]
    pub(super) fn touch(&self) -> u32 {
        let first = self.keys.first().map_or(0, |key| key.as_str().len());
        touch(&self.heads) ^ first as u32
    }

    /// Inserts a key at the index where [`find`](Self::find) says.
    pub(super) fn insert(&mut self, at: usize, key: Key, item: T) {
        let has_prefix = self.keys.first().is_some_and(|first| {
            let prefix = &first.as_str().as_bytes()[..self.prefix_len];
            key.as_str().as_bytes().starts_with(prefix)
        });
        self.heads
            .insert(at, head_behind(key.as_str().as_bytes(), self.prefix_len));
        self.keys.insert(at, key);
        self.items.insert(at, item);
        if !has_prefix {
            self.rebuild_heads();
        }
    }

    /// Inserts a key into a node that may be full. A full node is split: returns the node that has to follow it.
    pub(super) fn insert_or_split(&mut self, at: usize, key: Key, item: T) -> Option<Self> {
        if self.len() < FANOUT {
            self.insert(at, key, item);
            return None;
        }
        // Keys that come in order leave full nodes behind them, not half-full ones.
        let half = if at == FANOUT { FANOUT } else { FANOUT / 2 };
        let mut behind = Self::with_room();
        behind.keys.extend(self.keys.drain(half..));
        behind.items.extend(self.items.drain(half..));
        self.rebuild_heads();
        behind.rebuild_heads();
        match at.checked_sub(half) {
            Some(at) => behind.insert(at, key, item),
            None => self.insert(at, key, item),
        }
        Some(behind)
    }

    /// Removes a key, and returns its item. The common prefix may have become longer: it is still right.
    pub(super) fn remove(&mut self, at: usize) -> T {
        self.heads.remove(at);
        self.keys.remove(at);
        self.items.remove(at)
    }

    /// Replaces the first separator by another that is not greater than any key of the first child.
    pub(super) fn set_first_key(&mut self, key: Key) {
        self.keys[0] = key;
        self.rebuild_heads();
    }

    /// Finds the common prefix of all keys, and the head of each behind it.
    fn rebuild_heads(&mut self) {
        let (first, last) = (self.keys.first(), self.keys.last());
        let [first, last] = [first, last].map(|key| key.map_or("", Key::as_str).as_bytes());
        // The keys are in order: the common prefix of the first and the last is that of all.
        let prefix_len = common_len(first, last);
        self.prefix_len = prefix_len;
        self.heads.clear();
        let heads = self
            .keys
            .iter()
            .map(|key| head_behind(key.as_str().as_bytes(), prefix_len));
        self.heads.extend(heads);
    }
}

impl<T: Child> Node<T> {
    /// Called after something was removed from the child at `at`. Merges the child with a neighbour if both have few keys, and
    /// removes it if it is empty and not the only one. Of two neighbours that are merged, `take_separator` is given the right
    /// one and the separator key that it stood under.
    pub(super) fn merge_if_few(&mut self, at: usize, take_separator: impl Fn(&mut T, Key)) {
        let len = self.items[at].len();
        if len > UNDERFULL {
            return;
        }
        for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if let [child, next, ..] = &self.items[left..]
                && child.len() + next.len() <= MERGED_MAX
            {
                let key = self.keys[left + 1].clone();
                let mut next = self.remove(left + 1);
                take_separator(&mut next, key);
                self.items[left].merge(next);
                return;
            }
        }
        if len == 0 && self.len() > 1 {
            self.remove(at);
        }
    }
}

impl<T> Child for Node<T> {
    fn len(&self) -> usize {
        Node::len(self)
    }

    fn merge(&mut self, mut right: Self) {
        self.keys.append(&mut right.keys);
        self.items.append(&mut right.items);
        self.rebuild_heads();
    }
}

/// The head of a key whose first `prefix_len` bytes are those of all keys.
#[inline]
fn head_behind(key: &[u8], prefix_len: usize) -> u32 {
    head(key.get(prefix_len..).unwrap_or_default())
}

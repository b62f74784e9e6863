//! A node of the tree: keys in order, with what is kept under each.
//!
//! Keys lie far apart in memory, and few of them are in a cache. So the next four bytes behind what all keys of a node begin with
//! are kept together, and keys themselves are looked at only where these are equal: mostly one. Source: the "poor man's normalized
//! keys" of G. Graefe and P. Larson, "B-tree indexes and CPU caches", ICDE 2001.

use std::cmp::Ordering;

use crate::machine::value::Key;

/// Most keys of a node, but for the root. Half of them are moved to make room for one: 1.4 KiB.
pub(super) const FANOUT: usize = 64;

/// Neighbours are joined when one has no more than this, and both are few enough together.
pub(super) const FEW: usize = FANOUT / 4;
const JOINED_MAX: usize = FANOUT * 3 / 4;

pub(super) struct Node<T> {
    /// So many bytes are the same in all keys, at least.
    shared: usize,
    /// The next bytes of each.
    heads: Vec<u32>,
    keys: Vec<Key>,
    items: Vec<T>,
}

impl<T> Node<T> {
    pub(super) const fn new() -> Self {
        Self {
            shared: 0,
            heads: Vec::new(),
            keys: Vec::new(),
            items: Vec::new(),
        }
    }

    /// One with room for as many as there may be.
    fn with_room() -> Self {
        Self {
            shared: 0,
            heads: Vec::with_capacity(FANOUT),
            keys: Vec::with_capacity(FANOUT),
            items: Vec::with_capacity(FANOUT),
        }
    }

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

    /// Where a key is, or where it would have to be inserted.
    #[inline]
    pub(super) fn find(&self, key: &str) -> Result<usize, usize> {
        let Some(first) = self.keys.first() else {
            return Err(0);
        };
        let shared = &first.as_str().as_bytes()[..self.shared];
        if !key.as_bytes().starts_with(shared) {
            return Err(if key < first.as_str() { 0 } else { self.len() });
        }
        let head = head(key, self.shared);
        let mut at = match self.heads.len() {
            // Without branches that would be foreseen half of the time.
            ..=FANOUT => self.heads.iter().filter(|other| **other < head).count(),
            _ => self.heads.partition_point(|other| *other < head),
        };
        if self.heads.get(at) != Some(&head) {
            return Err(at);
        }
        // Mostly there is one with this head, and mostly it is looked for.
        match self.keys[at].as_str().cmp(key) {
            Ordering::Equal => return Ok(at),
            Ordering::Greater => return Err(at),
            Ordering::Less => at += 1,
        }
        let same = self.heads[at..].partition_point(|other| *other == head);
        let found = self.keys[at..at + same].binary_search_by(|other| other.as_str().cmp(key));
        found
            .map(|behind| at + behind)
            .map_err(|behind| at + behind)
    }

    /// Under which of the keys another belongs, where each stands for all up to the next: the last that is not behind it; or the
    /// first.
    #[inline]
    pub(super) fn child(&self, key: &str) -> usize {
        if self.len() == 1 {
            return 0;
        }
        match self.find(key) {
            Ok(at) => at,
            Err(behind) => behind.saturating_sub(1),
        }
    }

    /// Inserts a key where it has to be.
    pub(super) fn insert(&mut self, at: usize, key: Key, item: T) {
        let shares = self.keys.first().is_some_and(|first| {
            let shared = &first.as_str().as_bytes()[..self.shared];
            key.as_str().as_bytes().starts_with(shared)
        });
        self.heads.insert(at, head(key.as_str(), self.shared));
        self.keys.insert(at, key);
        self.items.insert(at, item);
        if !shares {
            self.look_anew();
        }
    }

    /// The same for a node that may be full: then it is divided, and what is to follow it is given back.
    pub(super) fn insert_or_divide(&mut self, at: usize, key: Key, item: T) -> Option<Self> {
        if self.len() < FANOUT {
            self.insert(at, key, item);
            return None;
        }
        // Keys that come in order leave full nodes behind.
        let half = if at == FANOUT { FANOUT } else { FANOUT / 2 };
        let mut behind = Self::with_room();
        behind.keys.extend(self.keys.drain(half..));
        behind.items.extend(self.items.drain(half..));
        self.look_anew();
        behind.look_anew();
        match at.checked_sub(half) {
            Some(at) => behind.insert(at, key, item),
            None => self.insert(at, key, item),
        }
        Some(behind)
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.heads.remove(at);
        self.keys.remove(at);
        self.items.remove(at)
    }

    /// Names the first by another key: still behind none of what is under it.
    pub(super) fn rename_first(&mut self, key: Key) {
        self.keys[0] = key;
        self.look_anew();
    }

    /// Whether two neighbours have few keys together.
    pub(super) fn fits(&self, right: &Self) -> bool {
        self.len() + right.len() <= JOINED_MAX
    }

    pub(super) fn append(&mut self, mut right: Self) {
        self.keys.append(&mut right.keys);
        self.items.append(&mut right.items);
        self.look_anew();
    }

    /// Looks what is the same in all keys, and what follows it.
    fn look_anew(&mut self) {
        let (first, last) = (self.keys.first(), self.keys.last());
        let [first, last] = [first, last].map(|key| key.map_or("", Key::as_str).bytes());
        // They are in order: what the first and the last share, all do.
        let shared = first.zip(last).take_while(|(a, b)| a == b).count();
        self.shared = shared;
        self.heads.clear();
        let heads = self.keys.iter().map(|key| head(key.as_str(), shared));
        self.heads.extend(heads);
    }
}

/// Four bytes of a key, so that they are in the order of the keys. What is too short comes first.
#[inline]
fn head(key: &str, from: usize) -> u32 {
    let rest = key.as_bytes().get(from..).unwrap_or_default();
    if let Some(head) = rest.first_chunk() {
        return u32::from_be_bytes(*head);
    }
    let mut head = [0; 4];
    head[..rest.len()].copy_from_slice(rest);
    u32::from_be_bytes(head)
}

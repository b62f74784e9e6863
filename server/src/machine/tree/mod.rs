//! The tree: all entries, in the order of their keys.
//!
//! A B+ tree of exactly three levels: the root has branches, a branch has leaves, and a leaf has keys, each with its entry.
//! The standard library's `BTreeMap` has nodes of up to eleven keys, which stay half empty after keys that came in order. With
//! millions of keys it is eight levels deep, and each look-up goes to as many places that are in no cache. Here a branch has
//! up to 64 leaves (`node.rs`; the root has as many as there are branches), and a leaf up to 64 keys (`leaf.rs`). A key takes
//! 8 bytes of its leaf, and its record (`record.rs`).
//!
//! Source: R. Bayer and E. McCreight, "Organization and maintenance of large ordered indices", Acta Informatica 1, 1972. That
//! nodes are merged only when few keys are left is common practice.

mod entry;
mod head;
mod leaf;
mod node;
mod record;
#[cfg(test)]
mod tests;
mod warm;

use std::fmt;
use std::ops::Bound;

use super::value::{Entry, Key};
pub use entry::{EntryRef, ValueRef};
use leaf::Leaf;
use node::Node;

/// A map from keys to entries.
pub(crate) struct Tree {
    /// There is always a branch, and every branch has a leaf. Each child stands under a separator key: the child has no
    /// smaller key, and all children before it have only smaller keys. The first child takes the smallest keys, whatever its
    /// separator.
    root: Node<Branch>,
    /// How many keys there are.
    len: usize,
}

type Branch = Node<Box<Leaf>>;

/// Where a key is in the tree, or where it would be inserted. Valid until the tree is changed: so an operation that reads
/// an entry and then replaces it looks for the key once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// The index of the branch in the root.
    branch: usize,
    /// The index of the leaf in the branch.
    leaf: usize,
    /// The index of the key in the leaf.
    at: usize,
    /// Whether the key exists.
    exists: bool,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let first = || Key::from("");
        let (mut root, mut branch) = (Node::new(), Node::new());
        branch.insert(0, first(), Box::default());
        root.insert(0, first(), branch);
        Self { root, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The leaf that a key belongs to, after its indices: of the branch in the root, and of the leaf in the branch.
    #[inline]
    fn leaf(&self, key: &[u8]) -> (usize, usize, &Leaf) {
        let branch = self.root.child_for(key);
        let leaves = &self.root.items()[branch];
        let leaf = leaves.child_for(key);
        (branch, leaf, &leaves.items()[leaf])
    }

    /// Finds a key, or where it would be inserted.
    #[inline]
    pub(crate) fn cursor(&self, key: &str) -> Cursor {
        let key = key.as_bytes();
        let (branch, leaf, keys) = self.leaf(key);
        let found = keys.find(key);
        let (Ok(at) | Err(at)) = found;
        Cursor {
            branch,
            leaf,
            at,
            exists: found.is_ok(),
        }
    }

    /// The entry at a cursor, if its key exists.
    #[inline]
    pub(super) fn at(&self, cursor: Cursor) -> Option<EntryRef<'_>> {
        let leaf = &self.root.items()[cursor.branch].items()[cursor.leaf];
        cursor.exists.then(|| leaf.entry(cursor.at))
    }

    /// The entry of a key.
    #[inline(always)]
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Option<EntryRef<'_>> {
        let key = key.as_ref();
        // Not by a cursor: that would go through the levels a second time.
        let (_, _, leaf) = self.leaf(key);
        leaf.get(key)
    }

    /// Inserts or replaces the entry of `key`, which `cursor` points to.
    #[inline]
    pub(super) fn put(&mut self, cursor: Cursor, key: &Key, entry: Entry) {
        let leaf = self.root.item_mut(cursor.branch).item_mut(cursor.leaf);
        if cursor.exists {
            leaf.set(cursor.at, entry);
        } else {
            self.create(cursor, key, entry);
        }
    }

    /// Inserts a key that does not exist. Splits nodes that are full.
    fn create(&mut self, cursor: Cursor, key: &Key, entry: Entry) {
        self.len += 1;
        let branch = self.root.item_mut(cursor.branch);
        let leaf = branch.item_mut(cursor.leaf);
        let Some(behind) = leaf.insert_or_split(cursor.at, key, entry) else {
            return;
        };
        let (first, separator) = (leaf.key(0), behind.key(0));
        if cursor.leaf == 0 {
            // The separator of a first child may have nothing in common with the other keys, and would spoil the common prefix.
            branch.set_first_key(first);
        }
        let Some(behind) = branch.insert_or_split(cursor.leaf + 1, separator, behind) else {
            return;
        };
        let (first, separator) = (branch.keys()[0].clone(), behind.keys()[0].clone());
        if cursor.branch == 0 {
            self.root.set_first_key(first);
        }
        self.root.insert(cursor.branch + 1, separator, behind);
    }

    /// Inserts or replaces the entry of a key for which there is no cursor.
    pub(crate) fn insert(&mut self, key: &Key, entry: Entry) {
        self.put(self.cursor(key.as_str()), key, entry);
    }

    /// Removes the key at a cursor, if it exists. Merges nodes that have few keys left.
    pub(crate) fn remove(&mut self, cursor: Cursor) {
        if !cursor.exists {
            return;
        }
        self.len -= 1;
        let branch = self.root.item_mut(cursor.branch);
        branch.item_mut(cursor.leaf).remove(cursor.at);
        let leaves = branch.len();
        branch.merge_if_few(cursor.leaf, |_, _| {});
        if branch.len() < leaves {
            // When two branches become one, the first leaf of the second has to stand under the second's separator: its own may
            // be greater, and the leaf may have keys between the two.
            self.root.merge_if_few(cursor.branch, Node::set_first_key);
        }
    }

    /// Entries in the order of their keys, from `from` on.
    pub(crate) fn range(&self, from: Bound<&str>) -> impl Iterator<Item = (Key, EntryRef<'_>)> {
        let (key, excluded) = match from {
            Bound::Included(key) => (key, false),
            Bound::Excluded(key) => (key, true),
            Bound::Unbounded => ("", false),
        };
        let cursor = self.cursor(key);
        let at = cursor.at + usize::from(cursor.exists && excluded);
        let (branch, branches) = behind(&self.root, cursor.branch);
        let (leaf, leaves) = behind(branch, cursor.leaf);
        let leaves = leaves.iter().chain(branches.iter().flat_map(Node::items));
        let others = leaves.flat_map(|leaf| leaf.entries_from(0));
        leaf.entries_from(at).chain(others)
    }

    /// The greatest key.
    pub(super) fn last_key(&self) -> Option<Key> {
        let mut leaves = self.root.items().iter().flat_map(Node::items).rev();
        leaves.find_map(|leaf| leaf.last_key())
    }
}

/// A child, and the children after it.
fn behind<T>(node: &Node<T>, at: usize) -> (&T, &[T]) {
    let children = node.items()[at..].split_first();
    children.expect("a cursor points to a child of each level")
}

/// Shows the entries, and not how they are stored: equal trees look equal.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.range(Bound::Unbounded);
        f.debug_map()
            .entries(all.map(|(key, entry)| (key, entry.to_entry())))
            .finish()
    }
}

//! The tree: all entries, in the order of their keys.
//!
//! A B+ tree of exactly three levels: the root has branches, a branch has leaves, and a leaf has keys, each with its stored
//! entry. The standard library's `BTreeMap` has nodes of up to eleven keys, which stay half empty after keys that came in
//! order. With millions of keys it is eight levels deep, and a key with its entry takes 72 bytes of a node. Here a node has
//! up to 64 keys (`node.rs`; the root has as many as there are branches). A key takes 24 bytes of a node, its head 4 more,
//! and its stored entry 16 (`stored_entry.rs`).
//!
//! Source: R. Bayer and E. McCreight, "Organization and maintenance of large ordered indices", Acta Informatica 1, 1972. That
//! nodes are merged only when few keys are left is common practice.

mod entry;
mod node;
mod stored_entry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Bound;

use super::value::{Entry, Key};
pub(super) use entry::{EntryRef, ValueRef};
use node::{Node, UNDERFULL};
use stored_entry::StoredEntry;

/// A map from keys to entries.
pub(crate) struct Tree {
    /// There is always a branch, and every branch has a leaf. Each child stands under a separator key: the child has no
    /// smaller key, and all children before it have only smaller keys. The first child takes the smallest keys, whatever its
    /// separator.
    root: Node<Branch>,
    /// How many keys there are.
    len: usize,
}

type Branch = Node<Leaf>;
type Leaf = Node<StoredEntry>;

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
        branch.insert(0, first(), Node::new());
        root.insert(0, first(), branch);
        Self { root, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The leaf that a key belongs to, after its indices: of the branch in the root, and of the leaf in the branch.
    #[inline]
    fn leaf(&self, key: &str) -> (usize, usize, &Leaf) {
        let branch = self.root.child_for(key);
        let leaves = &self.root.items()[branch];
        let leaf = leaves.child_for(key);
        (branch, leaf, &leaves.items()[leaf])
    }

    /// Finds a key, or where it would be inserted.
    #[inline]
    pub(crate) fn cursor(&self, key: &str) -> Cursor {
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
        cursor.exists.then(|| leaf.items()[cursor.at].entry())
    }

    /// The entry of a key.
    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<EntryRef<'_>> {
        // Not by a cursor: that would go through the levels a second time.
        let (_, _, leaf) = self.leaf(key);
        let at = leaf.find(key).ok()?;
        Some(leaf.items()[at].entry())
    }

    /// Inserts or replaces the entry of `key`, which `cursor` points to.
    #[inline]
    pub(super) fn put(&mut self, cursor: Cursor, key: &Key, entry: Entry) {
        let leaf = self.root.item_mut(cursor.branch).item_mut(cursor.leaf);
        if cursor.exists {
            leaf.item_mut(cursor.at).set(entry);
        } else {
            self.create(cursor, key.clone(), StoredEntry::new(entry));
        }
    }

    /// Inserts a key that does not exist. Splits nodes that are full.
    fn create(&mut self, cursor: Cursor, key: Key, stored: StoredEntry) {
        self.len += 1;
        let branch = self.root.item_mut(cursor.branch);
        let Some(leaf) = insert_into_child(branch, cursor.leaf, cursor.at, key, stored) else {
            return;
        };
        let first = leaf.keys()[0].clone();
        let Some(branch) =
            insert_into_child(&mut self.root, cursor.branch, cursor.leaf + 1, first, leaf)
        else {
            return;
        };
        let first = branch.keys()[0].clone();
        self.root.insert(cursor.branch + 1, first, branch);
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
        merge_if_few(branch, cursor.leaf, |_, _| {});
        if branch.len() < leaves {
            // When two branches become one, the first leaf of the second has to stand under the second's separator: its own may
            // be greater, and the leaf may have keys between the two.
            merge_if_few(&mut self.root, cursor.branch, Node::set_first_key);
        }
    }

    /// Entries in the order of their keys, from `from` on.
    pub(crate) fn range(&self, from: Bound<&str>) -> impl Iterator<Item = (&Key, EntryRef<'_>)> {
        let (key, excluded) = match from {
            Bound::Included(key) => (key, false),
            Bound::Excluded(key) => (key, true),
            Bound::Unbounded => ("", false),
        };
        let cursor = self.cursor(key);
        let at = cursor.at + usize::from(cursor.exists && excluded);
        let (branch, branches) = behind(&self.root, cursor.branch);
        let (leaf, leaves) = behind(branch, cursor.leaf);
        let first = leaf.keys()[at..].iter().zip(&leaf.items()[at..]);
        let leaves = leaves.iter().chain(branches.iter().flat_map(Node::items));
        let others = leaves.flat_map(|leaf| leaf.keys().iter().zip(leaf.items()));
        first
            .chain(others)
            .map(|(key, stored)| (key, stored.entry()))
    }

    /// The greatest key.
    pub(super) fn last_key(&self) -> Option<&Key> {
        let mut leaves = self.root.items().iter().flat_map(Node::items).rev();
        leaves.find_map(|leaf| leaf.keys().last())
    }
}

/// A child, and the children after it.
fn behind<T>(node: &Node<T>, at: usize) -> (&T, &[T]) {
    let children = node.items()[at..].split_first();
    children.expect("a cursor points to a child of each level")
}

/// Inserts an item into a child node. If the child was full, it is split: returns the node that has to follow it.
fn insert_into_child<T>(
    parent: &mut Node<Node<T>>,
    child: usize,
    at: usize,
    key: Key,
    item: T,
) -> Option<Node<T>> {
    let node = parent.item_mut(child);
    let behind = node.insert_or_split(at, key, item)?;
    if child == 0 {
        // The separator of a first child may have nothing in common with the other keys, and would spoil the common prefix.
        let first = node.keys()[0].clone();
        parent.set_first_key(first);
    }
    Some(behind)
}

/// Called after an item was removed from the child at `at`. Merges the child with a neighbour if both have few items, and
/// removes it if it is empty and not the only one. Of two neighbours that are merged, `take_separator` is given the right
/// one and the separator key that it stood under.
fn merge_if_few<T>(
    parent: &mut Node<Node<T>>,
    at: usize,
    take_separator: impl Fn(&mut Node<T>, Key),
) {
    let len = parent.items()[at].len();
    if len > UNDERFULL {
        return;
    }
    for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        if let [child, next, ..] = &parent.items()[left..]
            && child.can_merge_with(next)
        {
            let key = parent.keys()[left + 1].clone();
            let mut next = parent.remove(left + 1);
            take_separator(&mut next, key);
            parent.item_mut(left).merge(next);
            return;
        }
    }
    if len == 0 && parent.len() > 1 {
        parent.remove(at);
    }
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

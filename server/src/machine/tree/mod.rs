//! What is stored: entries by their keys, in order.
//!
//! A tree of three levels: the root has branches, branches have leaves, and leaves have keys, each with a stored of its entry. The
//! standard library's tree has nodes of up to eleven keys, which are half empty after keys that came in order; with millions of keys it
//! is eight nodes deep, and what is in a node takes 72 bytes. Here a node has up to 64 keys (`node.rs`), and of a key there are 24
//! bytes, 4 of them again, and 16 that lead to a stored (`stored_entry.rs`).
//!
//! Source: R. Bayer and E. McCreight, "Organization and maintenance of large ordered indices", Acta Informatica 1, 1972. That nodes
//! are joined only when few keys are left is common practice.

mod entry;
mod node;
mod stored_entry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Bound;

use super::value::{Entry, Key};
pub(super) use entry::{EntryRef, ValueRef};
use node::{FEW, Node};
use stored_entry::StoredEntry;

pub(crate) struct Tree {
    /// Never without a branch, and no branch is without a leaf. Each is under a key that none of its own is in front of, and all in
    /// front of it are. (Nothing is in front of the first, whatever its key.)
    root: Node<Branch>,
    len: usize,
}

type Branch = Node<Leaf>;
type Leaf = Node<StoredEntry>;

/// The place of a key, until something changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    branch: usize,
    leaf: usize,
    at: usize,
    taken: bool,
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

    /// The leaf that a key belongs to, and where it is.
    #[inline]
    fn leaf(&self, key: &str) -> (usize, usize, &Leaf) {
        let branch = self.root.child(key);
        let leaves = &self.root.items()[branch];
        let leaf = leaves.child(key);
        (branch, leaf, &leaves.items()[leaf])
    }

    /// Where a key is, or would be.
    #[inline]
    pub(crate) fn cursor(&self, key: &str) -> Cursor {
        let (branch, leaf, keys) = self.leaf(key);
        let found = keys.find(key);
        let (Ok(at) | Err(at)) = found;
        Cursor {
            branch,
            leaf,
            at,
            taken: found.is_ok(),
        }
    }

    /// What is in a slot.
    #[inline]
    pub(super) fn at(&self, cursor: Cursor) -> Option<EntryRef<'_>> {
        let leaf = &self.root.items()[cursor.branch].items()[cursor.leaf];
        cursor.taken.then(|| leaf.items()[cursor.at].entry())
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<EntryRef<'_>> {
        // Not by its slot, which would be gone through once more.
        let (_, _, leaf) = self.leaf(key);
        let at = leaf.find(key).ok()?;
        Some(leaf.items()[at].entry())
    }

    /// Puts an entry into the slot of its key.
    #[inline]
    pub(super) fn put(&mut self, cursor: Cursor, key: &Key, entry: Entry) {
        let leaf = self.root.item_mut(cursor.branch).item_mut(cursor.leaf);
        if cursor.taken {
            leaf.item_mut(cursor.at).set(entry);
        } else {
            self.create(cursor, key.clone(), StoredEntry::new(entry));
        }
    }

    fn create(&mut self, cursor: Cursor, key: Key, stored: StoredEntry) {
        self.len += 1;
        let branch = self.root.item_mut(cursor.branch);
        let Some(leaf) = divided(branch, cursor.leaf, cursor.at, key, stored) else {
            return;
        };
        let first = leaf.keys()[0].clone();
        let Some(branch) = divided(&mut self.root, cursor.branch, cursor.leaf + 1, first, leaf)
        else {
            return;
        };
        let first = branch.keys()[0].clone();
        self.root.insert(cursor.branch + 1, first, branch);
    }

    /// The same where the slot is not known.
    pub(crate) fn insert(&mut self, key: &Key, entry: Entry) {
        self.put(self.cursor(key.as_str()), key, entry);
    }

    /// Takes away what is in a slot, if anything is.
    pub(crate) fn take(&mut self, cursor: Cursor) {
        if !cursor.taken {
            return;
        }
        self.len -= 1;
        let branch = self.root.item_mut(cursor.branch);
        branch.item_mut(cursor.leaf).remove(cursor.at);
        let leaves = branch.len();
        join(branch, cursor.leaf, |_, _| {});
        if branch.len() < leaves {
            // A branch's first leaf is behind the key of the branch itself, and keys may have come in between.
            join(&mut self.root, cursor.branch, Node::rename_first);
        }
    }

    /// Entries in the order of their keys.
    pub(crate) fn range(&self, from: Bound<&str>) -> impl Iterator<Item = (&Key, EntryRef<'_>)> {
        let (key, excluded) = match from {
            Bound::Included(key) => (key, false),
            Bound::Excluded(key) => (key, true),
            Bound::Unbounded => ("", false),
        };
        let cursor = self.cursor(key);
        let at = cursor.at + usize::from(cursor.taken && excluded);
        let (branch, branches) = behind(&self.root, cursor.branch);
        let (leaf, leaves) = behind(branch, cursor.leaf);
        let first = leaf.keys()[at..].iter().zip(&leaf.items()[at..]);
        let leaves = leaves.iter().chain(branches.iter().flat_map(Node::items));
        let others = leaves.flat_map(|leaf| leaf.keys().iter().zip(leaf.items()));
        first
            .chain(others)
            .map(|(key, stored)| (key, stored.entry()))
    }

    /// The last key.
    pub(super) fn last_key(&self) -> Option<&Key> {
        let mut leaves = self.root.items().iter().flat_map(Node::items).rev();
        leaves.find_map(|leaf| leaf.keys().last())
    }
}

/// A child, and those behind it.
fn behind<T>(node: &Node<T>, at: usize) -> (&T, &[T]) {
    let children = node.items()[at..].split_first();
    children.expect("a cursor has a key_state in each level")
}

/// Inserts something into a child. Gives back what is to follow it, if it was full.
fn divided<T>(
    parent: &mut Node<Node<T>>,
    child: usize,
    at: usize,
    key: Key,
    item: T,
) -> Option<Node<T>> {
    let node = parent.item_mut(child);
    let behind = node.insert_or_divide(at, key, item)?;
    if child == 0 {
        // It may be under a key that has nothing in common with others, like the very first.
        let first = node.keys()[0].clone();
        parent.rename_first(first);
    }
    Some(behind)
}

/// Something was taken out of the child at this place. Joins that with a neighbour if both have few, and takes it away if it is empty
/// and not the only one. `named` tells a child that is joined to the one in front by which key it was found.
fn join<T>(parent: &mut Node<Node<T>>, at: usize, named: impl Fn(&mut Node<T>, Key)) {
    let len = parent.items()[at].len();
    if len > FEW {
        return;
    }
    for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        if let [child, next, ..] = &parent.items()[left..]
            && child.fits(next)
        {
            let key = parent.keys()[left + 1].clone();
            let mut next = parent.remove(left + 1);
            named(&mut next, key);
            parent.item_mut(left).append(next);
            return;
        }
    }
    if len == 0 && parent.len() > 1 {
        parent.remove(at);
    }
}

/// What it holds, and not how.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.range(Bound::Unbounded);
        f.debug_map()
            .entries(all.map(|(key, entry)| (key, entry.to_entry())))
            .finish()
    }
}

//! Brings what look-ups will need into the processor's caches, for many keys at a time.
//!
//! With millions of keys, a leaf and a record are in no cache, and a look-up waits for the memory several times in a row. But a
//! processor waits for many places at once, if it knows them. So the keys of a frame go down the tree side by side: first all
//! of them find their leaf, then all of them read of it, then all of them read of their record. The look-ups that follow find
//! everything in a cache.

use std::hint::black_box;

use super::Tree;
use super::leaf::Leaf;

/// From so many keys on. Fewer are in the caches anyway.
const KEYS_MIN: usize = 100_000;

/// How many keys go side by side: more than a processor waits for at once.
const KEYS_AT_ONCE: usize = 32;

/// Fewer keys are not worth going down the tree twice.
const KEYS_FEW: usize = 4;

impl Tree {
    /// Prepares look-ups of these keys, if there are many in the tree. It changes nothing but how long they take.
    #[inline]
    pub(in crate::machine) fn warm<'k>(&self, keys: impl Iterator<Item = &'k str>) {
        if self.len >= KEYS_MIN {
            self.warm_now(keys);
        }
    }

    pub(super) fn warm_now<'k>(&self, mut keys: impl Iterator<Item = &'k str>) {
        loop {
            let mut few: [&str; KEYS_AT_ONCE] = [""; KEYS_AT_ONCE];
            let mut count = 0;
            for (place, key) in few.iter_mut().zip(keys.by_ref()) {
                *place = key;
                count += 1;
            }
            if count >= KEYS_FEW {
                self.warm_few(&few[..count]);
            }
            if count < KEYS_AT_ONCE {
                return;
            }
        }
    }

    /// Each step is a short loop, so that the processor sees many of its rounds at once.
    fn warm_few(&self, keys: &[&str]) {
        let branches = self.root.items();
        let mut branch_of = [&branches[0]; KEYS_AT_ONCE];
        let mut leaf_of: [&Leaf; KEYS_AT_ONCE] = [&branches[0].items()[0]; KEYS_AT_ONCE];
        let mut at = [0; KEYS_AT_ONCE];
        let mut read = 0;
        for (branch, key) in branch_of.iter_mut().zip(keys) {
            *branch = &branches[self.root.child_for(key.as_bytes())];
        }
        for branch in &branch_of[..keys.len()] {
            read ^= branch.touch();
        }
        for ((at, branch), key) in at.iter_mut().zip(branch_of).zip(keys) {
            *at = branch.child_for(key.as_bytes());
        }
        for ((leaf, branch), at) in leaf_of.iter_mut().zip(branch_of).zip(&at[..keys.len()]) {
            *leaf = &branch.items()[*at];
        }
        for leaf in &leaf_of[..keys.len()] {
            read ^= leaf.touch();
        }
        for ((at, leaf), key) in at.iter_mut().zip(leaf_of).zip(keys) {
            *at = leaf.find_head(key.as_bytes());
        }
        for (at, leaf) in at.iter_mut().zip(&leaf_of[..keys.len()]) {
            *at = leaf.start_of(*at);
        }
        for (at, leaf) in at.iter().zip(&leaf_of[..keys.len()]) {
            read ^= u32::from(leaf.touch_byte(*at));
        }
        black_box(read);
    }
}

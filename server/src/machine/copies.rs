//! The copies that are being made, and the entries that are preserved for them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tree::EntryRef;
use super::value::{Entry, Key};
use crate::mutants::mutant;

/// Names one copy that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(pub(super) u64);

/// All copies that are being made.
#[derive(Debug, Default)]
pub(super) struct Copies {
    copies: Vec<OngoingCopy>,
}

/// One copy, and how far it has come: first all keys, then the remembered requests.
#[derive(Debug)]
pub(super) struct OngoingCopy {
    id: CopyId,
    pub(super) keys: KeyProgress,
    /// The remembered requests that are still to be copied, as [`RequestIds`](super::request_ids::RequestIds) numbers them.
    pub(super) requests: Range<u64>,
    /// Most bytes of preserved entries.
    pub(super) bytes_max: usize,
}

/// How far a copy has come with the keys.
#[derive(Debug)]
pub(super) enum KeyProgress {
    /// Keys are being copied in order.
    Copying {
        /// The last key that was copied.
        after: Option<Key>,
        /// Keys greater than `after` that changed since the copy began, with the entries that they had then.
        preserved: BTreeMap<Key, Option<Entry>>,
        /// About how many bytes the preserved entries take.
        bytes: usize,
    },
    /// All keys are copied.
    Done,
    /// The copy cannot go on: more than `bytes_max` bytes of entries would have to be preserved.
    Overrun,
}

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Begins a copy, for which at most `bytes_max` bytes of entries may be preserved.
    pub(super) fn begin(&mut self, id: CopyId, requests: Range<u64>, bytes_max: usize) {
        self.copies.push(OngoingCopy {
            id,
            keys: KeyProgress::Copying {
                after: None,
                preserved: BTreeMap::new(),
                bytes: 0,
            },
            requests,
            bytes_max,
        });
    }

    pub(super) fn get_mut(&mut self, id: CopyId) -> Option<&mut OngoingCopy> {
        self.copies.iter_mut().find(|copy| copy.id == id)
    }

    pub(super) fn end(&mut self, id: CopyId) {
        self.copies.retain(|copy| copy.id != id);
    }

    /// A key is about to change: preserves its entry for each copy that has not come to it yet.
    pub(super) fn preserve(&mut self, key: &Key, previous: Option<EntryRef<'_>>) {
        for copy in &mut self.copies {
            if mutant("snapshot-of-no-moment") {
                continue;
            }
            copy.preserve(key, previous);
        }
    }
}

impl OngoingCopy {
    /// Puts the entry aside as it was when the copy began, because it changes before the copy reaches its key.
    fn preserve(&mut self, key: &Key, previous: Option<EntryRef<'_>>) {
        let KeyProgress::Copying {
            after,
            preserved,
            bytes,
        } = &mut self.keys
        else {
            return;
        };
        let is_copied = after.as_ref().is_some_and(|after| key <= after);
        if is_copied || preserved.contains_key(key) {
            return;
        }
        *bytes += size_of::<(Key, Entry)>()
            + key.as_str().len()
            + previous.map_or(0, |entry| entry.value.byte_len());
        preserved.insert(key.clone(), previous.map(EntryRef::to_entry));
        if *bytes > self.bytes_max {
            self.keys = KeyProgress::Overrun;
        }
    }
}

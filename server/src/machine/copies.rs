//! The copies that are being made, and what is put aside for them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tree::EntryRef;
use super::value::{Entry, Key};
use crate::mutants::mutant;

/// Names a copy that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(pub(super) u64);

/// All copies that are being made.
#[derive(Debug, Default)]
pub(super) struct Copies {
    copying: Vec<Copying>,
}

#[derive(Debug)]
pub(super) struct Copying {
    id: CopyId,
    pub(super) keys: Keys,
    /// The answered requests that are still to be copied, by how many were ever remembered before them.
    pub(super) requests: Range<u64>,
    pub(super) bytes_max: usize,
}

#[derive(Debug)]
pub(super) enum Keys {
    /// They are being copied.
    Going {
        /// The last that was copied.
        after: Option<Key>,
        /// What has changed ahead: as it was.
        changed: BTreeMap<Key, Option<Entry>>,
        /// Bytes of that.
        bytes: usize,
    },
    Done,
    /// Too much has changed ahead.
    Overrun,
}

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.copying.is_empty()
    }

    /// Begins a copy. `bytes_max` bytes may be put aside for it.
    pub(super) fn begin(&mut self, id: CopyId, requests: Range<u64>, bytes_max: usize) {
        self.copying.push(Copying {
            id,
            keys: Keys::Going {
                after: None,
                changed: BTreeMap::new(),
                bytes: 0,
            },
            requests,
            bytes_max,
        });
    }

    pub(super) fn get_mut(&mut self, id: CopyId) -> Option<&mut Copying> {
        self.copying.iter_mut().find(|copying| copying.id == id)
    }

    pub(super) fn end(&mut self, id: CopyId) {
        self.copying.retain(|copying| copying.id != id);
    }

    /// A key changes from what it was.
    pub(super) fn changes(&mut self, key: &Key, previous: Option<EntryRef<'_>>) {
        for copying in &mut self.copying {
            if mutant("snapshot-of-no-moment") {
                continue;
            }
            copying.changes(key, previous);
        }
    }
}

impl Copying {
    fn changes(&mut self, key: &Key, previous: Option<EntryRef<'_>>) {
        let Keys::Going {
            after,
            changed,
            bytes,
        } = &mut self.keys
        else {
            return;
        };
        let behind = after.as_ref().is_some_and(|after| key <= after);
        if behind || changed.contains_key(key) {
            return;
        }
        *bytes += size_of::<(Key, Entry)>()
            + key.as_str().len()
            + previous.map_or(0, |entry| entry.value.byte_len());
        changed.insert(key.clone(), previous.map(EntryRef::to_entry));
        if *bytes > self.bytes_max {
            self.keys = Keys::Overrun;
        }
    }
}

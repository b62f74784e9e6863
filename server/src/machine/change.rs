//! Changes of keys, as watches, copies and the log are told of them.

use super::tree::EntryRef;
use super::value::{Entry, Key, Revision};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The store revision of the change.
    pub revision: Revision,
    /// Why the key changed.
    pub cause: ChangeCause,
    /// The entry after the change; `None` if the key is gone.
    pub entry: Option<Entry>,
    /// The entry before the change; `None` if the key did not exist, or the entry is not kept.
    pub previous: Option<Entry>,
    /// Whether the entry before the change is kept.
    pub keeps: Keeps,
}

/// A change whose entries are borrowed from where they are kept, so that nothing is copied yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeRef<'a> {
    pub(super) key: &'a Key,
    pub(super) revision: Revision,
    pub(super) cause: ChangeCause,
    pub(super) entry: Option<EntryRef<'a>>,
    pub(super) previous: Option<EntryRef<'a>>,
}

impl ChangeRef<'_> {
    pub(super) fn to_change(self) -> Change {
        Change {
            key: self.key.clone(),
            revision: self.revision,
            cause: self.cause,
            entry: self.entry.map(EntryRef::to_entry),
            previous: self.previous.map(EntryRef::to_entry),
            keeps: Keeps::Previous,
        }
    }
}

impl<'a> From<&'a Change> for ChangeRef<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            key: &change.key,
            revision: change.revision,
            cause: change.cause,
            entry: change.entry.as_ref().map(EntryRef::from),
            previous: change.previous.as_ref().map(EntryRef::from),
        }
    }
}

/// Whether a change has the entry as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It has.
    Previous,
    /// It has not: the changes of that revision were too large, or are from before the snapshot that the state was made
    /// from. Whether there was an entry before is not known then.
    NoPrevious,
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeCause {
    /// A Write or an Add set it.
    Written,
    /// A Transition moved it to another state.
    Transitioned,
    /// A Delete removed it.
    Deleted,
    /// Its ttl ended.
    Expired,
    /// Its session ended.
    SessionEnded,
    /// The timeout of its state moved it to another state.
    TimedOut,
}

impl Change {
    /// Bytes of the key and of the values before and after.
    pub(super) fn byte_len(&self) -> usize {
        let value =
            |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.value.byte_len());
        self.key.as_str().len() + value(&self.entry) + value(&self.previous)
    }
}

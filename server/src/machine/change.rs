//! A change of one key.

use super::tree::EntryRef;
use super::value::{Entry, Key, Revision};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The store revision of the change.
    pub revision: Revision,
    /// Why.
    pub cause: ChangeCause,
    /// The entry after it; none if the key is gone.
    pub entry: Option<Entry>,
    /// The entry before it; none if there was none, or it is not kept.
    pub previous: Option<Entry>,
    /// Whether it is kept.
    pub keeps: Keeps,
}

/// A change, of entries where they are kept.
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

/// Whether a change is kept with the entry as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is.
    Previous,
    /// It was too large.
    NoPrevious,
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeCause {
    /// By a Write or an Add.
    Written,
    /// By a Transition.
    Transitioned,
    /// By a Delete.
    Deleted,
    /// Its ttl ended.
    Expired,
    /// Its session ended.
    SessionEnded,
    /// Its state's timeout moved it on.
    TimedOut,
}

impl Change {
    /// Bytes of the key and of the values after and before.
    pub(super) fn byte_len(&self) -> usize {
        let value =
            |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.value.byte_len());
        self.key.as_str().len() + value(&self.entry) + value(&self.previous)
    }
}

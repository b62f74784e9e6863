//! Copies of the whole state as of one revision, made slice by slice while the state goes on changing.
//!
//! A copy goes through the keys in order. When a key changes that the copy has not come to yet, its entry is preserved
//! first, and copied later in place of the present one. So a copy shows all keys as of the revision at which it began.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::as_of::as_of;
use super::copies::{CopyId, KeyProgress};
use super::effect::OpenedSession;
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::state_machine::StateMachine;
use super::tree::Tree;
use super::value::{Entry, Key, Revision};

/// The beginning of a copy: everything but keys and requests.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyHead {
    /// The store revision that the copy shows.
    pub revision: Revision,
    /// How many keys the copy has.
    pub key_count: usize,
    /// All machines.
    pub machines: Vec<Machine>,
    /// All live sessions.
    pub sessions: Vec<OpenedSession>,
}

/// The next part of a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySlice {
    /// Entries, in the order of their keys. May be empty.
    Entries(Vec<(Key, Entry)>),
    /// Remembered requests, in the order in which they were applied.
    Requests(Vec<AppliedRequest>),
    /// The copy is complete.
    End,
}

/// A copy cannot go on: too many keys changed before it came to them, or it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyError {
    /// Most bytes of entries that may be preserved for the copy; 0 if it had ended before.
    pub limit: usize,
}

impl StateMachine {
    /// Begins a copy of the state as it is now. At most `bytes_max` bytes of entries are preserved for it.
    pub fn begin_copy(&mut self, bytes_max: usize) -> (CopyId, CopyHead) {
        let requests = self.request_ids.remembered();
        let head = CopyHead {
            revision: self.revision,
            key_count: self.entries.len(),
            machines: self.index.machines.all().cloned().collect(),
            sessions: self.index.sessions.all().collect(),
        };
        let id = CopyId(self.copies_begun);
        self.copies_begun += 1;
        let copies = &mut self.history.followers_mut().copies;
        copies.begin(id, requests, bytes_max);
        (id, head)
    }

    /// The next part of a copy: at most `count_max` keys or requests, and about `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CopyError`] if too much would have to be preserved for the copy, or if it has ended. It has ended then.
    pub fn next_copy_slice(
        &mut self,
        id: CopyId,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<CopySlice, CopyError> {
        let copies = &mut self.history.followers_mut().copies;
        let Some(copy) = copies.get_mut(id) else {
            self.history.forget_followers();
            return Err(CopyError { limit: 0 });
        };
        match &mut copy.keys {
            KeyProgress::Copying {
                after,
                preserved,
                bytes: _,
            } => {
                let slice = slice(
                    &self.entries,
                    after.as_ref(),
                    preserved,
                    count_max,
                    bytes_max,
                );
                if let Slice {
                    last: Some(last),
                    entries,
                } = slice
                {
                    *preserved = preserved.split_off(&last);
                    preserved.remove(&last);
                    *after = Some(last);
                    return Ok(CopySlice::Entries(entries));
                }
                copy.keys = KeyProgress::Done;
                Ok(CopySlice::Entries(Vec::new()))
            }
            KeyProgress::Done => {
                let (applied, next) =
                    self.request_ids
                        .copy(copy.requests.clone(), count_max, bytes_max);
                copy.requests.start = next;
                if applied.is_empty() {
                    self.end_copy(id);
                    return Ok(CopySlice::End);
                }
                Ok(CopySlice::Requests(applied))
            }
            KeyProgress::Overrun => {
                let limit = copy.bytes_max;
                self.end_copy(id);
                Err(CopyError { limit })
            }
        }
    }

    /// Ends a copy, if it is still being made.
    pub fn end_copy(&mut self, id: CopyId) {
        let copies = &mut self.history.followers_mut().copies;
        copies.end(id);
        self.history.forget_followers();
    }
}

/// Entries of a copy, and the last key that was looked at: it need not have had an entry.
struct Slice {
    entries: Vec<(Key, Entry)>,
    last: Option<Key>,
}

/// The entries of the keys greater than `after`, with the preserved ones in place of the present ones.
fn slice(
    tree: &Tree,
    after: Option<&Key>,
    preserved: &BTreeMap<Key, Option<Entry>>,
    count_max: usize,
    bytes_max: usize,
) -> Slice {
    let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
    let present = tree.range(from);
    let mut slice = Slice {
        entries: Vec::new(),
        last: None,
    };
    let (mut looked_at, mut bytes) = (0, 0);
    for (key, entry) in as_of(present, preserved.iter()) {
        if looked_at == count_max || bytes >= bytes_max {
            break;
        }
        looked_at += 1;
        if let Some(entry) = entry {
            bytes += key.as_str().len() + entry.value.byte_len();
            slice.entries.push((key.clone(), entry.to_entry()));
        }
        slice.last = Some(key);
    }
    slice
}

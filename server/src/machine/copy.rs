//! Copies of the whole state as of one revision, made slice by slice while it goes on changing.
//!
//! A copy goes through the keys in order. What changes ahead of it is put aside as it was, so that it is copied as of the
//! revision at which the copy began; what changes behind it is of no concern.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::as_of::as_of;
use super::copies::{CopyId, Keys};
use super::effect::OpenedSession;
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::state_machine::StateMachine;
use super::tree::Tree;
use super::value::{Entry, Key, Revision};

/// What a copy begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyHead {
    /// The revision as of which it is.
    pub revision: Revision,
    /// All machines.
    pub machines: Vec<Machine>,
    /// All sessions that live.
    pub sessions: Vec<OpenedSession>,
}

/// What comes next in a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySlice {
    /// Keys, in order.
    Entries(Vec<(Key, Entry)>),
    /// AppliedRequest requests, in the order in which they were applied.
    Requests(Vec<AppliedRequest>),
    /// Nothing: it is complete.
    End,
}

/// A copy cannot go on: too much has changed ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyError {
    /// Bytes that may be put aside for it.
    pub limit: usize,
}

impl StateMachine {
    /// Begins a copy of everything as of now. `bytes_max` bytes may be put aside for it.
    pub fn begin_copy(&mut self, bytes_max: usize) -> (CopyId, CopyHead) {
        let requests = self.request_ids.remembered();
        let head = CopyHead {
            revision: self.revision,
            machines: self.index.machines.all().cloned().collect(),
            sessions: self.index.sessions.all().collect(),
        };
        let id = CopyId(self.copies_begun);
        self.copies_begun += 1;
        let copies = &mut self.history.followers_mut().copies;
        copies.begin(id, requests, bytes_max);
        (id, head)
    }

    /// What comes next in a copy: at most `count_max` keys or requests, and about `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CopyError`] if too much has changed ahead of it, or it has ended before. It is ended then.
    pub fn next_copy_slice(
        &mut self,
        id: CopyId,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<CopySlice, CopyError> {
        let copies = &mut self.history.followers_mut().copies;
        let Some(copying) = copies.get_mut(id) else {
            self.history.forget_followers();
            return Err(CopyError { limit: 0 });
        };
        match &mut copying.keys {
            Keys::Going {
                after,
                changed,
                bytes: _,
            } => {
                let entries = slice(&self.entries, after.as_ref(), changed, count_max, bytes_max);
                if let Slice {
                    last: Some(last),
                    entries,
                } = entries
                {
                    *changed = changed.split_off(&last);
                    changed.remove(&last);
                    *after = Some(last);
                    return Ok(CopySlice::Entries(entries));
                }
                copying.keys = Keys::Done;
                Ok(CopySlice::Entries(Vec::new()))
            }
            Keys::Done => {
                let (applied, next) =
                    self.request_ids
                        .copy(copying.requests.clone(), count_max, bytes_max);
                copying.requests.start = next;
                if applied.is_empty() {
                    self.end_copy(id);
                    return Ok(CopySlice::End);
                }
                Ok(CopySlice::Requests(applied))
            }
            Keys::Overrun => {
                let limit = copying.bytes_max;
                self.end_copy(id);
                Err(CopyError { limit })
            }
        }
    }

    /// Gives a copy up, if it is still being made.
    pub fn end_copy(&mut self, id: CopyId) {
        let copies = &mut self.history.followers_mut().copies;
        copies.end(id);
        self.history.forget_followers();
    }
}

struct Slice {
    entries: Vec<(Key, Entry)>,
    last: Option<Key>,
}

/// The keys after `after`, as they were before `changed`.
fn slice(
    store: &Tree,
    after: Option<&Key>,
    changed: &BTreeMap<Key, Option<Entry>>,
    count_max: usize,
    bytes_max: usize,
) -> Slice {
    let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
    let present = store.range(from);
    let mut slice = Slice {
        entries: Vec::new(),
        last: None,
    };
    let (mut looked_at, mut bytes) = (0, 0);
    for (key, entry) in as_of(present, changed.iter()) {
        if looked_at == count_max || bytes >= bytes_max {
            break;
        }
        looked_at += 1;
        slice.last = Some(key.clone());
        if let Some(entry) = entry {
            bytes += key.as_str().len() + entry.value.byte_len();
            slice.entries.push((key.clone(), entry.to_entry()));
        }
    }
    slice
}

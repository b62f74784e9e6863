//! Copies of the whole state as of one revision, made slice by slice while it goes on changing.
//!
//! A copy goes through the keys in order. What changes ahead of it is put aside as it was, so that it is copied as of the
//! revision at which the copy began; what changes behind it is of no concern.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use super::StateMachine;
use super::effect::{Answered, OpenedSession};
use super::machines::Machine;
use super::store::{EntryRef, Store};
use super::value::{Entry, Key, Revision};
use crate::mutants::mutant;

/// Names a copy that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(u64);

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
    /// Answered requests, in the order in which they were answered.
    Answered(Vec<Answered>),
    /// Nothing: it is complete.
    End,
}

/// A copy cannot go on: too much has changed ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLost {
    /// Bytes that may be put aside for it.
    pub limit: usize,
}

/// All copies that are being made.
#[derive(Debug, Default)]
pub(super) struct Copies {
    copying: Vec<Copying>,
}

#[derive(Debug)]
struct Copying {
    id: CopyId,
    keys: Keys,
    /// The answered requests that are still to be copied, by how many were ever remembered before them.
    requests: std::ops::Range<u64>,
    bytes_max: usize,
}

#[derive(Debug)]
enum Keys {
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
    Lost,
}

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.copying.is_empty()
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
            self.keys = Keys::Lost;
        }
    }
}

impl StateMachine {
    /// Begins a copy of everything as of now. `bytes_max` bytes may be put aside for it.
    pub fn begin_copy(&mut self, bytes_max: usize) -> (CopyId, CopyHead) {
        let requests = self.requests.remembered();
        let head = CopyHead {
            revision: self.revision,
            machines: self.index.machines.all().cloned().collect(),
            sessions: self.index.sessions.all().collect(),
        };
        let id = CopyId(self.copies_begun);
        self.copies_begun += 1;
        let copies = &mut self.history.followers_mut().copies;
        copies.copying.push(Copying {
            id,
            keys: Keys::Going {
                after: None,
                changed: BTreeMap::new(),
                bytes: 0,
            },
            requests,
            bytes_max,
        });
        (id, head)
    }

    /// What comes next in a copy: at most `count_max` keys or requests, and about `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CopyLost`] if too much has changed ahead of it, or it has ended before. It is ended then.
    pub fn next_of_copy(
        &mut self,
        id: CopyId,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<CopySlice, CopyLost> {
        let copies = &mut self.history.followers_mut().copies;
        let mut copying = copies.copying.iter_mut();
        let Some(copying) = copying.find(|copying| copying.id == id) else {
            self.history.forget_followers();
            return Err(CopyLost { limit: 0 });
        };
        match &mut copying.keys {
            Keys::Going {
                after,
                changed,
                bytes: _,
            } => {
                let entries = slice(&self.store, after.as_ref(), changed, count_max, bytes_max);
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
                let (answered, next) =
                    self.requests
                        .copy(copying.requests.clone(), count_max, bytes_max);
                copying.requests.start = next;
                if answered.is_empty() {
                    self.end_copy(id);
                    return Ok(CopySlice::End);
                }
                Ok(CopySlice::Answered(answered))
            }
            Keys::Lost => {
                let limit = copying.bytes_max;
                self.end_copy(id);
                Err(CopyLost { limit })
            }
        }
    }

    /// Gives a copy up, if it is still being made.
    pub fn end_copy(&mut self, id: CopyId) {
        let copies = &mut self.history.followers_mut().copies;
        copies.copying.retain(|copying| copying.id != id);
        self.history.forget_followers();
    }
}

struct Slice {
    entries: Vec<(Key, Entry)>,
    last: Option<Key>,
}

/// The keys after `after`, as they were before `changed`.
fn slice(
    store: &Store,
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

/// Keys in order, as they were before they changed: `changed` has those that did, and stands in for what is there now. None
/// for a key that was not there.
pub(super) fn as_of<'a>(
    present: impl Iterator<Item = (&'a Key, EntryRef<'a>)>,
    changed: impl Iterator<Item = (&'a Key, &'a Option<Entry>)>,
) -> impl Iterator<Item = (&'a Key, Option<EntryRef<'a>>)> {
    AsOf {
        present: present.peekable(),
        changed: changed.peekable(),
    }
}

struct AsOf<P: Iterator, C: Iterator> {
    present: Peekable<P>,
    changed: Peekable<C>,
}

impl<'a, P, C> Iterator for AsOf<P, C>
where
    P: Iterator<Item = (&'a Key, EntryRef<'a>)>,
    C: Iterator<Item = (&'a Key, &'a Option<Entry>)>,
{
    type Item = (&'a Key, Option<EntryRef<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some((changed, _)) = self.changed.peek().copied() else {
            return self.present.next().map(|(key, entry)| (key, Some(entry)));
        };
        if let Some((key, entry)) = self.present.next_if(|(key, _)| *key < changed) {
            return Some((key, Some(entry)));
        }
        self.present.next_if(|(key, _)| *key == changed);
        let (key, entry) = self.changed.next()?;
        Some((key, entry.as_ref().map(EntryRef::from)))
    }
}

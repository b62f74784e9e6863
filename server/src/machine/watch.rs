//! Watches: the position of each, and what it is sent next.
//!
//! A watch first shows the initial state, if it was asked to: all its entries as of the revision at which it began. Then it
//! shows the changes after its position, from the history.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::as_of::as_of;
use super::change::{Change, Keeps};
use super::history::StoredChange;
use super::operation::HasMore;
use super::state_machine::StateMachine;
use super::value::{Entry, Key, Revision};

/// Most changes that are looked through for one batch. It takes about 50 us, and nothing else is served meanwhile.
const SCAN_MAX: usize = 4_096;

/// Most entries in one batch of the initial state, for the same reason.
const INITIAL_ENTRIES_MAX: usize = 1_000;

/// What one event takes in a message beyond its key and value: revisions, lifetime, state.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// Most bytes of a revision's changes with the entries before them; if there are more, those entries are left out. gRPC
/// clients refuse messages over 4 MiB unless told otherwise, and an atomic frame may change 2 MiB.
const PREVIOUS_BYTES_MAX: usize = 3 << 20;

/// What a watch watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchTarget {
    /// One key.
    Key(Key),
    /// Every key with this prefix.
    Prefix(String),
}

impl WatchTarget {
    /// Whether the watch shows this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        match self {
            Self::Key(watched) => watched.as_str() == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the changes from now on.
    Now,
    /// With the changes after this revision.
    After(Revision),
    /// With the initial state: all entries as they are now. Then with the changes.
    Initial,
}

/// Which entries a watch shows of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchShows {
    /// The entry after the change.
    After,
    /// Also the entry before it, where that fits into a message.
    BeforeAndAfter,
}

/// One watch: what it watches, and its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    target: WatchTarget,
    shows: WatchShows,
    position: Position,
}

#[derive(Clone, Debug, PartialEq)]
enum Position {
    /// The initial state is being sent.
    Initial(Initial),
    /// Everything up to this revision has been sent.
    After {
        revision: Revision,
        /// Whether the watch began in the past and has still to be told when it is up to date.
        catching_up: CatchingUp,
    },
}

/// A position in the initial state. It goes through the keys while they change, and shows all of them as of one revision.
#[derive(Clone, Debug, PartialEq)]
struct Initial {
    /// The revision that the initial state shows.
    as_of: Revision,
    /// The last key that was sent.
    after: Option<Key>,
    /// Keys greater than `after` that changed since then, with the entries that they had at `as_of`.
    preserved: BTreeMap<Key, Option<Entry>>,
    /// The revision up to which changes were looked through.
    scanned: Revision,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CatchingUp {
    Yes,
    No,
}

/// What a watch is sent at once.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// Entries or changes.
    pub updates: Updates,
    /// The revision up to which everything has been sent; 0 while the initial state is being sent.
    pub revision: Revision,
    /// Whether the watch is up to date with this batch, for the first time.
    pub caught_up: bool,
    /// Whether more can be sent at once.
    pub has_more: HasMore,
    /// About how many bytes the batch has as a message.
    pub bytes: usize,
}

/// The contents of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Updates {
    /// Entries of the initial state, in the order of their keys.
    Initial(Vec<(Key, Entry)>),
    /// Changes, in the order of their revisions. All changes of a revision are in one batch.
    Changes(Vec<Change>),
}

impl Updates {
    /// How many entries or changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Initial(entries) => entries.len(),
            Self::Changes(changes) => changes.len(),
        }
    }

    /// Whether there are no entries and no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Initial(entries) => entries.is_empty(),
            Self::Changes(changes) => changes.is_empty(),
        }
    }
}

/// Why a watch cannot begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// The history no longer has the changes after that revision.
    Compacted {
        /// The oldest revision that a watch can go on after.
        oldest: Revision,
        /// The revision that the watch would go on after.
        actual: Revision,
    },
    /// The store has not reached that revision yet.
    Unknown {
        /// The store revision.
        limit: Revision,
        /// The revision that was asked for.
        actual: Revision,
    },
}

impl Watch {
    /// What the watch watches.
    #[must_use]
    pub fn target(&self) -> &WatchTarget {
        &self.target
    }

    /// The revision up to which everything has been sent; `None` while the initial state is being sent.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        match &self.position {
            Position::Initial(_) => None,
            Position::After { revision, .. } => Some(*revision),
        }
    }

    /// Moves a watch that was up to date on to `revision`, because nothing that it watches has changed up to there.
    pub fn skip_to(&mut self, revision: Revision) {
        if let Position::After {
            revision: position, ..
        } = &mut self.position
        {
            *position = revision.max(*position);
        }
    }
}

impl StateMachine {
    /// Begins a watch.
    ///
    /// # Errors
    /// [`WatchError`] if the store has not reached that revision, or the history no longer has the changes after it.
    pub fn watch(
        &self,
        target: WatchTarget,
        from: WatchFrom,
        shows: WatchShows,
    ) -> Result<Watch, WatchError> {
        let after = |revision, catching_up| Position::After {
            revision,
            catching_up,
        };
        let position = match from {
            WatchFrom::Now => after(self.revision, CatchingUp::No),
            WatchFrom::After(revision) => {
                if revision > self.revision {
                    return Err(WatchError::Unknown {
                        limit: self.revision,
                        actual: revision,
                    });
                }
                self.check_history(revision)?;
                after(revision, CatchingUp::Yes)
            }
            WatchFrom::Initial => Position::Initial(Initial {
                as_of: self.revision,
                after: None,
                preserved: BTreeMap::new(),
                scanned: self.revision,
            }),
        };
        Ok(Watch {
            target,
            shows,
            position,
        })
    }

    /// What a watch is sent next: about `bytes_max` bytes, but at least one revision, if there is one. Shows no change after
    /// `up_to`, which must not be before the revision at which the watch began.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if the history no longer has the changes that the watch needs.
    pub fn next_batch(
        &self,
        watch: &mut Watch,
        bytes_max: usize,
        up_to: Revision,
    ) -> Result<WatchBatch, WatchError> {
        let Watch {
            target,
            shows,
            position,
        } = watch;
        match position {
            Position::Initial(initial) => {
                let (batch, done) = self.next_initial(target, initial, bytes_max)?;
                if let Done::Yes = done {
                    *position = Position::After {
                        revision: initial.as_of,
                        catching_up: CatchingUp::No,
                    };
                }
                Ok(batch)
            }
            Position::After {
                revision,
                catching_up,
            } => {
                self.check_history(*revision)?;
                let batch = self.next_changes(target, *shows, revision, (bytes_max, up_to));
                Ok(self.with_progress(batch, revision, catching_up, up_to))
            }
        }
    }

    /// The next changes after `position`, in whole revisions. Moves `position` to the last revision that it looked at.
    fn next_changes(
        &self,
        target: &WatchTarget,
        shows: WatchShows,
        position: &mut Revision,
        (bytes_max, up_to): (usize, Revision),
    ) -> ChangeBatch {
        let mut batch = ChangeBatch {
            changes: Vec::new(),
            bytes: 0,
            has_more: HasMore::No,
        };
        let changes = &mut batch.changes;
        let mut looked_at = 0;
        let ahead = self.history.after(*position);
        let mut ahead = ahead
            .take_while(|change| change.revision() <= up_to)
            .peekable();
        while let Some(revision) = ahead.peek().map(StoredChange::revision) {
            let from = changes.len();
            while let Some(change) = ahead.next_if(|change| change.revision() == revision) {
                looked_at += 1;
                if target.has(change.key()) {
                    changes.push(change.change());
                }
            }
            let with_previous = event_bytes(&changes[from..], WatchShows::BeforeAndAfter);
            if shows == WatchShows::After {
                for change in &mut changes[from..] {
                    change.previous = None;
                    // The watch did not ask for it, so nothing is missing.
                    change.keeps = Keeps::Previous;
                }
            } else if with_previous > PREVIOUS_BYTES_MAX {
                for change in &mut changes[from..] {
                    if change.previous.take().is_some() {
                        change.keeps = Keeps::NoPrevious;
                    }
                }
            }
            let revision_bytes = event_bytes(&changes[from..], shows);
            if from > 0 && batch.bytes + revision_bytes > bytes_max {
                changes.truncate(from);
                batch.has_more = HasMore::Yes;
                break;
            }
            batch.bytes += revision_bytes;
            *position = revision;
            if ahead.peek().is_some() && (batch.bytes >= bytes_max || looked_at >= SCAN_MAX) {
                batch.has_more = HasMore::Yes;
                break;
            }
        }
        batch
    }

    /// Makes a batch out of changes. If they are the last ones, the watch is up to date.
    fn with_progress(
        &self,
        batch: ChangeBatch,
        position: &mut Revision,
        catching_up: &mut CatchingUp,
        up_to: Revision,
    ) -> WatchBatch {
        let ChangeBatch {
            mut changes,
            bytes,
            has_more,
        } = batch;
        for change in &mut changes {
            for entry in change.entry.iter_mut().chain(&mut change.previous) {
                *entry = self.shown_as_of((&*entry).into(), change.revision);
            }
        }
        let mut caught_up = false;
        if has_more == HasMore::No {
            *position = up_to.min(self.revision).max(*position);
            caught_up = *catching_up == CatchingUp::Yes;
            *catching_up = CatchingUp::No;
        }
        WatchBatch {
            updates: Updates::Changes(changes),
            revision: *position,
            caught_up,
            has_more,
            bytes,
        }
    }

    /// The next entries of the initial state. After the last of them, a batch without entries ends it.
    fn next_initial(
        &self,
        target: &WatchTarget,
        initial: &mut Initial,
        bytes_max: usize,
    ) -> Result<(WatchBatch, Done), WatchError> {
        // After the initial state, the watch goes on from `as_of`. This also bounds how many entries are preserved.
        self.check_history(initial.as_of)?;
        self.preserve_changed(target, initial)?;
        let InitialSlice {
            entries,
            bytes,
            last,
            done,
        } = self.initial_slice(target, initial, bytes_max);
        if let Some(last) = last {
            initial.preserved = initial.preserved.split_off(&last);
            initial.preserved.remove(&last);
            initial.after = Some(last);
        }
        // The end is a message of its own, with the revision and no entries.
        let caught_up = matches!(done, Done::Yes) && entries.is_empty();
        let batch = WatchBatch {
            updates: Updates::Initial(entries),
            revision: if caught_up { initial.as_of } else { 0 },
            caught_up,
            has_more: HasMore::Yes,
            bytes,
        };
        Ok((batch, if caught_up { Done::Yes } else { Done::No }))
    }

    /// Looks through the changes since the last call, and preserves the entries of keys that are still to be sent.
    fn preserve_changed(
        &self,
        target: &WatchTarget,
        initial: &mut Initial,
    ) -> Result<(), WatchError> {
        for change in self.history.after(initial.scanned) {
            let key = change.key();
            let is_ahead = initial
                .after
                .as_ref()
                .is_none_or(|after| key > after.as_str());
            if is_ahead && target.has(key) && !initial.preserved.contains_key(key) {
                let change = change.change();
                if change.keeps == Keeps::NoPrevious {
                    return Err(WatchError::Compacted {
                        oldest: change.revision,
                        actual: initial.as_of,
                    });
                }
                initial.preserved.insert(change.key, change.previous);
            }
        }
        initial.scanned = self.revision;
        Ok(())
    }

    /// Entries from the watch's position on, as of the revision at which it began.
    fn initial_slice(
        &self,
        target: &WatchTarget,
        initial: &Initial,
        bytes_max: usize,
    ) -> InitialSlice {
        let first = match target {
            WatchTarget::Key(key) => key.as_str(),
            WatchTarget::Prefix(prefix) => prefix.as_str(),
        };
        let from = match &initial.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(first),
        };
        let present = self
            .entries
            .range(from)
            .take_while(|(key, _)| target.has(key.as_str()));
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut last = None;
        let mut done = Done::Yes;
        for (key, entry) in as_of(present, initial.preserved.iter()) {
            let Some(entry) = entry else {
                last = Some(key);
                continue;
            };
            let size = EVENT_OVERHEAD_BYTES
                + key.as_str().len()
                + entry.value.byte_len()
                + entry.names_byte_len();
            if !entries.is_empty()
                && (bytes + size > bytes_max || entries.len() == INITIAL_ENTRIES_MAX)
            {
                done = Done::No;
                break;
            }
            bytes += size;
            last = Some(key.clone());
            entries.push((key, self.shown_as_of(entry, initial.as_of)));
        }
        InitialSlice {
            entries,
            bytes,
            last,
            done,
        }
    }

    /// Refuses if the history does not have every change after `revision`.
    fn check_history(&self, revision: Revision) -> Result<(), WatchError> {
        let oldest = self.history.oldest();
        if revision < oldest {
            return Err(WatchError::Compacted {
                oldest,
                actual: revision,
            });
        }
        Ok(())
    }
}

/// About how many bytes changes take in a message.
fn event_bytes(changes: &[Change], shows: WatchShows) -> usize {
    let bytes = |change: &Change| {
        let value = |entry: &Option<Entry>| {
            entry.as_ref().map_or(0, |entry| {
                EVENT_OVERHEAD_BYTES
                    + change.key.as_str().len()
                    + entry.value.byte_len()
                    + entry.names_byte_len()
            })
        };
        let previous = match shows {
            WatchShows::BeforeAndAfter => value(&change.previous),
            WatchShows::After => 0,
        };
        EVENT_OVERHEAD_BYTES + change.key.as_str().len() + value(&change.entry) + previous
    };
    changes.iter().map(bytes).sum()
}

/// Changes for a watch, in whole revisions.
struct ChangeBatch {
    changes: Vec<Change>,
    bytes: usize,
    has_more: HasMore,
}

/// A part of the initial state.
struct InitialSlice {
    entries: Vec<(Key, Entry)>,
    bytes: usize,
    /// The last key that was looked at: it need not have had an entry.
    last: Option<Key>,
    done: Done,
}

/// Whether all of the initial state has been sent.
#[derive(Clone, Copy, Debug)]
enum Done {
    Yes,
    No,
}

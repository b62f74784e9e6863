//! Watches: where each stands in the history, and what it is sent next.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::as_of::as_of;
use super::change::{Change, Keeps};
use super::history::StoredChange;
use super::operation::HasMore;
use super::state_machine::StateMachine;
use super::value::{Entry, Key, Revision};

/// Most changes that are looked through for one batch: nothing else is served meanwhile, about 50 us.
const SCAN_MAX: usize = 4_096;

/// Most entries in one batch of what there is at first, for the same reason.
const INITIAL_ENTRIES_MAX: usize = 1_000;

/// What one event takes in a message beside its key and value: revisions, lifetime, state.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// Most bytes of a message with what there was before; above, that is left out. gRPC clients refuse messages over 4 MiB
/// unless told otherwise, and a batch may change 2 MiB.
const PREVIOUS_BYTES_MAX: usize = 3 << 20;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchTarget {
    /// One key.
    Key(Key),
    /// Every key that begins with this.
    Prefix(String),
}

impl WatchTarget {
    /// Whether a key is watched.
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
    /// With what happens from now on.
    Now,
    /// With what happened after this revision.
    After(Revision),
    /// With what there is.
    Initial,
}

/// Whether a change is shown with the entry as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchShows {
    /// Without.
    After,
    /// With, where it fits.
    BeforeAndAfter,
}

/// One watch: what it watches and how far it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    target: WatchTarget,
    shows: WatchShows,
    position: Position,
}

#[derive(Clone, Debug, PartialEq)]
enum Position {
    /// It is being sent what there was at first.
    Initial(Initial),
    /// It has been sent everything up to here.
    After {
        revision: Revision,
        /// It has not been told yet that it is up to date.
        catching_up: CatchingUp,
    },
}

/// Goes through the keys while they change, and sees them all as of one revision.
#[derive(Clone, Debug, PartialEq)]
struct Initial {
    as_of: Revision,
    /// The last key that was sent.
    after: Option<Key>,
    /// What has changed since, of the keys that were not sent yet: as it was.
    changed: BTreeMap<Key, Option<Entry>>,
    /// Up to where changes were looked through.
    scanned: Revision,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CatchingUp {
    Yes,
    No,
}

/// What a watch is sent next.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The news.
    pub updates: Updates,
    /// Everything up to here has been sent; 0 while what there was at first is being sent.
    pub revision: Revision,
    /// The past ends here.
    pub caught_up: bool,
    /// Whether there is more to send.
    pub has_more: HasMore,
    /// About how many bytes it has.
    pub bytes: usize,
}

/// What is new to a watch.
#[derive(Debug, PartialEq, Eq)]
pub enum Updates {
    /// What there was at first, in the order of the keys.
    Initial(Vec<(Key, Entry)>),
    /// What changed, all changes of one revision together.
    Changes(Vec<Change>),
}

impl Updates {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Initial(entries) => entries.is_empty(),
            Self::Changes(changes) => changes.is_empty(),
        }
    }
}

/// Why a watch cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// What comes next is not kept any more.
    Compacted {
        /// The oldest revision to go on after.
        oldest: Revision,
        /// The one that it was at.
        actual: Revision,
    },
    /// The store has not come so far.
    Unknown {
        /// Its revision.
        limit: Revision,
        /// The one that was asked for.
        actual: Revision,
    },
}

impl Watch {
    /// What it watches.
    #[must_use]
    pub fn target(&self) -> &WatchTarget {
        &self.target
    }

    /// The revision up to which it has been sent everything; none while it is being sent what there was at first.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        match &self.position {
            Position::Initial(_) => None,
            Position::After { revision, .. } => Some(*revision),
        }
    }

    /// It was up to date, and nothing that it watches has changed up to `revision`.
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
    /// [`WatchError`] if it cannot begin there.
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
                self.kept(revision)?;
                after(revision, CatchingUp::Yes)
            }
            WatchFrom::Initial => Position::Initial(Initial {
                as_of: self.revision,
                after: None,
                changed: BTreeMap::new(),
                scanned: self.revision,
            }),
        };
        Ok(Watch {
            target,
            shows,
            position,
        })
    }

    /// What a watch is sent next: about `bytes_max` bytes, but a revision at least if there is one. Nothing of what
    /// changed after `horizon` is shown, which must not be before the revision at which the watch began.
    ///
    /// # Errors
    /// [`WatchError`] if it fell too far behind.
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
                let budget = (bytes_max, up_to);
                self.next_changes(target, *shows, revision, catching_up, budget)
            }
        }
    }

    fn next_changes(
        &self,
        target: &WatchTarget,
        shows: WatchShows,
        position: &mut Revision,
        catching_up: &mut CatchingUp,
        (bytes_max, up_to): (usize, Revision),
    ) -> Result<WatchBatch, WatchError> {
        self.kept(*position)?;
        let mut changes: Vec<Change> = Vec::new();
        let mut bytes = 0;
        let mut has_more = HasMore::No;
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
            if shows == WatchShows::After || with_previous > PREVIOUS_BYTES_MAX {
                for change in &mut changes[from..] {
                    change.previous = None;
                }
            }
            let revision_bytes = event_bytes(&changes[from..], shows);
            if from > 0 && bytes + revision_bytes > bytes_max {
                changes.truncate(from);
                has_more = HasMore::Yes;
                break;
            }
            bytes += revision_bytes;
            *position = revision;
            if ahead.peek().is_some() && (bytes >= bytes_max || looked_at >= SCAN_MAX) {
                has_more = HasMore::Yes;
                break;
            }
        }
        for change in &mut changes {
            for entry in change.entry.iter_mut().chain(&mut change.previous) {
                *entry = self.shown((&*entry).into());
            }
        }
        let mut caught_up = false;
        if has_more == HasMore::No {
            *position = up_to.min(self.revision).max(*position);
            caught_up = *catching_up == CatchingUp::Yes;
            *catching_up = CatchingUp::No;
        }
        Ok(WatchBatch {
            updates: Updates::Changes(changes),
            revision: *position,
            caught_up,
            has_more,
            bytes,
        })
    }

    fn next_initial(
        &self,
        target: &WatchTarget,
        initial: &mut Initial,
        bytes_max: usize,
    ) -> Result<(WatchBatch, Done), WatchError> {
        // It goes on after that revision. This also bounds what is remembered of changes ahead.
        self.kept(initial.as_of)?;
        for change in self.history.after(initial.scanned) {
            let key = change.key();
            let ahead = initial
                .after
                .as_ref()
                .is_none_or(|after| key > after.as_str());
            if ahead && target.has(key) && !initial.changed.contains_key(key) {
                let change = change.change();
                if change.keeps == Keeps::NoPrevious {
                    return Err(WatchError::Compacted {
                        oldest: change.revision,
                        actual: initial.as_of,
                    });
                }
                initial.changed.insert(change.key, change.previous);
            }
        }
        initial.scanned = self.revision;

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
        for (key, entry) in as_of(present, initial.changed.iter()) {
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
            last = Some(key);
            entries.push((key.clone(), self.shown(entry)));
        }
        if let Some(last) = last.cloned() {
            initial.changed = initial.changed.split_off(&last);
            initial.changed.remove(&last);
            initial.after = Some(last);
        }
        // What comes last has a message of its own, with the revision and no entries.
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

    /// Whether every change after `revision` is kept.
    fn kept(&self, revision: Revision) -> Result<(), WatchError> {
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

/// Whether everything that there was at first has been sent.
#[derive(Clone, Copy, Debug)]
enum Done {
    Yes,
    No,
}

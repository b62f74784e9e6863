//! Reads, which change nothing.

use std::ops::Bound;
use std::sync::Arc;

use super::answer_room::AnswerRoom;
use super::check::check;
use super::index::Machines;
use super::operation::{List, ListOutcome, ListShows, Read, ReadOutcome, Rest};
use super::rejection::Rejection;
use super::state_machine::StateMachine;
use super::tree::EntryRef;
use super::value::{Entry, Place, Revision};

impl StateMachine {
    /// Reads one key.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold.
    pub fn read(&self, read: &Read) -> Result<ReadOutcome, Box<Rejection>> {
        self.read_into(read, &mut AnswerRoom::of(usize::MAX))
    }

    /// Reads one key as it was at an earlier revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold for that.
    pub fn read_before(
        &self,
        read: &Read,
        entry: Option<&Entry>,
        revision: Revision,
    ) -> Result<ReadOutcome, Box<Rejection>> {
        let entry = entry.map(EntryRef::from);
        check(read.expect.as_deref(), entry).map_err(|cause| Rejection::of(&read.key, cause))?;
        Ok(ReadOutcome {
            entry: entry.map(|entry| self.shown(entry)),
            revision,
        })
    }

    /// Lists keys in the order of their bytes.
    #[must_use]
    pub fn list(&self, list: &List) -> ListOutcome {
        let from = match &list.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(list.prefix.as_str()),
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut rest = Rest::Nothing;
        for (key, entry) in self.store.range(from) {
            if !key.as_str().starts_with(&list.prefix) {
                break;
            }
            bytes += key.as_str().len();
            if list.shows == ListShows::Entries {
                bytes += entry.value.byte_len();
            }
            if entries.len() == list.page_size || (bytes > list.page_bytes && !entries.is_empty()) {
                rest = Rest::More;
                break;
            }
            entries.push((key.clone(), self.shown(entry)));
        }
        ListOutcome {
            entries,
            rest,
            shows: list.shows,
            revision: self.revision,
        }
    }

    /// An entry as it is shown.
    pub(super) fn shown(&self, entry: EntryRef<'_>) -> Entry {
        shown(entry, &self.index.machines)
    }

    pub(super) fn read_into(
        &self,
        read: &Read,
        room: &mut AnswerRoom,
    ) -> Result<ReadOutcome, Box<Rejection>> {
        let entry = self.store.get(read.key.as_str());
        check(read.expect.as_deref(), entry)
            .and_then(|()| room.take(entry))
            .map_err(|cause| Rejection::of(&read.key, cause))?;
        Ok(ReadOutcome {
            entry: entry.map(|entry| self.shown(entry)),
            revision: self.revision,
        })
    }
}

/// An entry as it is shown: with when its state's timeout moves it on.
#[inline]
fn shown(entry: EntryRef<'_>, machines: &Machines) -> Entry {
    match entry.place() {
        Some(place) => shown_at(entry, place, machines),
        None => entry.to_entry(),
    }
}

fn shown_at(entry: EntryRef<'_>, place: &Place, machines: &Machines) -> Entry {
    let mut shown = entry.to_entry();
    if let Some(timeout_at) = machines.timeout_at(place)
        && let Some(attached) = &mut shown.attached
        && let Some(place) = &mut Arc::make_mut(attached).place
    {
        place.timeout_at = Some(timeout_at);
    }
    shown
}

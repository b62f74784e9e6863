//! Reads and lists: operations that change nothing.

use std::ops::Bound;
use std::sync::Arc;

use super::answer_budget::AnswerBudget;
use super::check::check;
use super::index::Machines;
use super::operation::{HasMore, List, ListOutcome, ListShows, Read, ReadOutcome};
use super::rejection::Rejection;
use super::state_machine::StateMachine;
use super::tree::EntryRef;
use super::value::{Entry, KeyState, Revision};

impl StateMachine {
    /// Reads one key.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold.
    pub fn read(&self, read: &Read) -> Result<ReadOutcome, Box<Rejection>> {
        self.read_into(read, &mut AnswerBudget::of(usize::MAX))
    }

    /// Reads one key as of an earlier revision, at which it had `entry`.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold for that entry.
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

    /// Lists a page of keys, in the order of their bytes.
    #[must_use]
    pub fn list(&self, list: &List) -> ListOutcome {
        let from = match &list.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(list.prefix.as_str()),
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut has_more = HasMore::No;
        for (key, entry) in self.entries.range(from) {
            if !key.as_str().starts_with(&list.prefix) {
                break;
            }
            bytes += key.as_str().len();
            if list.shows == ListShows::Entries {
                bytes += entry.value.byte_len();
            }
            if entries.len() == list.page_size || (bytes > list.page_bytes && !entries.is_empty()) {
                has_more = HasMore::Yes;
                break;
            }
            entries.push((key, self.shown(entry)));
        }
        ListOutcome {
            entries,
            has_more,
            shows: list.shows,
            revision: self.revision,
        }
    }

    /// An entry as answers show it: with the time at which the timeout of its state moves it on.
    pub(super) fn shown(&self, entry: EntryRef<'_>) -> Entry {
        shown(entry, &self.index.machines)
    }

    /// An entry of an earlier revision as watches show it. The time at which its timeout would have moved it on is left out
    /// if its machine was defined anew since then: the present definition tells nothing about that time.
    pub(super) fn shown_as_of(&self, entry: EntryRef<'_>, revision: Revision) -> Entry {
        let machines = &self.index.machines;
        let is_of_today = |key_state: &KeyState| {
            machines
                .get(&key_state.machine)
                .is_some_and(|defined| defined.machine.revision <= revision)
        };
        match entry.key_state() {
            Some(key_state) if is_of_today(key_state) => {
                shown_with_timeout(entry, key_state, machines)
            }
            _ => entry.to_entry(),
        }
    }

    /// Reads one key into an answer.
    pub(super) fn read_into(
        &self,
        read: &Read,
        budget: &mut AnswerBudget,
    ) -> Result<ReadOutcome, Box<Rejection>> {
        let entry = self.entries.get(read.key.as_str());
        check(read.expect.as_deref(), entry)
            .and_then(|()| budget.take(entry))
            .map_err(|cause| Rejection::of(&read.key, cause))?;
        Ok(ReadOutcome {
            entry: entry.map(|entry| self.shown(entry)),
            revision: self.revision,
        })
    }
}

/// See [`StateMachine::shown`].
#[inline]
fn shown(entry: EntryRef<'_>, machines: &Machines) -> Entry {
    match entry.key_state() {
        Some(key_state) => shown_with_timeout(entry, key_state, machines),
        None => entry.to_entry(),
    }
}

fn shown_with_timeout(entry: EntryRef<'_>, key_state: &KeyState, machines: &Machines) -> Entry {
    let mut shown = entry.to_entry();
    if let Some(timeout_at) = machines.timeout_at(key_state)
        && let Some(attached) = &mut shown.attached
        && let Some(key_state) = &mut Arc::make_mut(attached).key_state
    {
        key_state.timeout_at = Some(timeout_at);
    }
    shown
}

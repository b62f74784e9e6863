//! What each operation does to the state.

use std::ops::Bound;
use std::sync::Arc;

use super::add::Bounds;
use super::history::{ChangeCause, ChangeRef};
use super::index::Index;
use super::machines::Machines;
use super::operation::{
    Add, AddOutcome, Condition, Delete, DeleteOutcome, List, ListOutcome, ListShows, Read,
    ReadOutcome, Rest, SetLifetime, Transition, TransitionOutcome, TransitionTerms, Write,
    WriteAnswer, WriteOutcome,
};
use super::rejection::{Cause, Mismatch, Rejection};
use super::requests::Request;
use super::store::{EntryRef, Slot, ValueRef};
use super::time::Time;
use super::value::{Attached, Entry, Key, Lifetime, Place, Revision, Value};
use super::{StateMachine, entry_bytes};

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

    /// Creates or replaces one value, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, the session or the value to keep is not there, or the store is full;
    /// nothing is changed then.
    pub fn write(
        &mut self,
        write: Write,
        request: Option<&Request>,
        now: Time,
    ) -> Result<WriteOutcome, Box<Rejection>> {
        self.once(request, now, |this| {
            this.write_at(
                this.revision + 1,
                write,
                &mut AnswerRoom::of(usize::MAX),
                now,
            )
        })
    }

    /// Adds to one int, at a new revision if that changes anything.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, the session is not there, the value is no int, the sum is out of bounds
    /// or the store is full; nothing is changed then.
    pub fn add(
        &mut self,
        add: Add,
        request: Option<&Request>,
        now: Time,
    ) -> Result<AddOutcome, Box<Rejection>> {
        self.once(request, now, |this| {
            this.add_at(this.revision + 1, add, now)
        })
    }

    /// Moves one key to another state of its machine, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, the key is not there or has no machine, the machine does not allow the
    /// move, or the store is full; nothing is changed then.
    pub fn transition(
        &mut self,
        transition: Transition,
        request: Option<&Request>,
        now: Time,
    ) -> Result<TransitionOutcome, Box<Rejection>> {
        self.once(request, now, |this| {
            this.transition_at(this.revision + 1, transition, now)
        })
    }

    /// Deletes one key, at a new revision if it is there.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, or the key is in a state that is not final; nothing is changed then.
    pub fn delete(
        &mut self,
        delete: Delete,
        request: Option<&Request>,
        now: Time,
    ) -> Result<DeleteOutcome, Box<Rejection>> {
        self.once(request, now, |this| {
            this.delete_at(this.revision + 1, delete, &mut AnswerRoom::of(usize::MAX))
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

    pub(super) fn write_at(
        &mut self,
        revision: Revision,
        write: Write,
        room: &mut AnswerRoom,
        now: Time,
    ) -> Result<WriteOutcome, Box<Rejection>> {
        let Write { key, value, terms } = write;
        let terms = terms.as_deref();
        let refuse = |cause| Rejection::of(&key, cause);
        let slot = self.store.slot(key.as_str());
        let present = self.store.at(slot);

        check(terms.and_then(|terms| terms.expect.as_ref()), present).map_err(refuse)?;
        let value = match (value, present) {
            (Some(value), _) => value,
            (None, Some(present)) => present.value.to_value(),
            (None, None) => return Err(refuse(Cause::KeyNotFound)),
        };
        let lifetime = match terms.map(|terms| &terms.lifetime) {
            None => None,
            Some(set) => set_lifetime(set, present, &self.index, now).map_err(refuse)?,
        };
        let entry = Entry {
            value,
            revision,
            create_revision: present.map_or(revision, |entry| entry.create_revision),
            attached: attached(&key, present, lifetime, &self.index, now),
        };
        let used_bytes = self.space(&key, present, &entry).map_err(refuse)?;
        let previous = match terms.map(|terms| terms.answer) {
            None | Some(WriteAnswer::Revisions) => None,
            Some(WriteAnswer::Previous) => {
                room.take(present).map_err(refuse)?;
                present.map(|entry| Box::new(self.shown(entry)))
            }
        };

        // Nothing refuses from here on.
        self.used_bytes = used_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(slot, &key, entry, ChangeCause::Written);
        Ok(WriteOutcome {
            revision,
            create_revision,
            previous,
            replayed: false,
        })
    }

    pub(super) fn add_at(
        &mut self,
        revision: Revision,
        add: Add,
        now: Time,
    ) -> Result<AddOutcome, Box<Rejection>> {
        let Add { key, delta, terms } = add;
        let terms = terms.as_deref();
        let refuse = |cause| Rejection::of(&key, cause);
        let slot = self.store.slot(key.as_str());
        let present = self.store.at(slot);

        check(terms.and_then(|terms| terms.expect.as_ref()), present).map_err(refuse)?;
        let lifetime = match (present, terms.map(|terms| &terms.lifetime)) {
            (None, Some(set)) => set_lifetime(set, None, &self.index, now).map_err(refuse)?,
            // It has its own, or none.
            (Some(_), _) | (None, None) => None,
        };
        let before = match present.map(|entry| entry.value.unshared()) {
            None => 0,
            Some(ValueRef::Int(int)) => int,
            Some(other) => return Err(refuse(Cause::NotAnInt { kind: other.kind() })),
        };
        let bounds = terms.map_or(Bounds::NONE, |terms| terms.bounds);
        let after = bounds.add(before, delta).map_err(refuse)?;
        // From one end of 64 bits to a bound beyond the middle, it is as much as 64 bits can tell.
        let applied = after.saturating_sub(before);
        if let Some(entry) = present
            && after == before
        {
            return Ok(AddOutcome {
                revision: self.revision,
                create_revision: entry.create_revision,
                value: after,
                applied,
                replayed: false,
            });
        }
        let entry = Entry {
            value: Value::Int(after),
            revision,
            create_revision: present.map_or(revision, |entry| entry.create_revision),
            attached: match present {
                Some(present) => present.attached.cloned(),
                None => attached(&key, None, lifetime, &self.index, now),
            },
        };
        let used_bytes = self.space(&key, present, &entry).map_err(refuse)?;

        // Nothing refuses from here on.
        self.used_bytes = used_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(slot, &key, entry, ChangeCause::Written);
        Ok(AddOutcome {
            revision,
            create_revision,
            value: after,
            applied,
            replayed: false,
        })
    }

    pub(super) fn transition_at(
        &mut self,
        revision: Revision,
        transition: Transition,
        now: Time,
    ) -> Result<TransitionOutcome, Box<Rejection>> {
        let Transition { key, to, terms } = transition;
        let TransitionTerms { expect, value } =
            terms.map_or_else(TransitionTerms::default, |terms| *terms);
        let refuse = |cause| Rejection::of(&key, cause);
        let slot = self.store.slot(key.as_str());
        let present = self.store.at(slot);

        check(expect.as_ref(), present).map_err(refuse)?;
        let present = present.ok_or_else(|| refuse(Cause::KeyNotFound))?;
        let place = present.place().ok_or_else(|| refuse(Cause::NoMachine))?;
        let machines = &self.index.machines;
        let moved = machines.moved(place, to, now).map_err(refuse)?;
        let from = place.state.clone();
        let entry = Entry {
            value: value.unwrap_or_else(|| present.value.to_value()),
            revision,
            create_revision: present.create_revision,
            attached: Attached::of(present.lifetime().cloned(), Some(moved)),
        };
        let used_bytes = self.space(&key, Some(present), &entry).map_err(refuse)?;

        // Nothing refuses from here on.
        self.used_bytes = used_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(slot, &key, entry, ChangeCause::Transitioned);
        Ok(TransitionOutcome {
            revision,
            create_revision,
            from,
            replayed: false,
        })
    }

    pub(super) fn delete_at(
        &mut self,
        revision: Revision,
        delete: Delete,
        room: &mut AnswerRoom,
    ) -> Result<DeleteOutcome, Box<Rejection>> {
        let Delete { key, expect } = delete;
        let present = self.store.get(key.as_str());
        let deletable = |entry: EntryRef<'_>| match entry.place() {
            Some(place) => self.index.machines.deletable(place),
            None => Ok(()),
        };
        check(expect.as_deref(), present)
            .and_then(|()| present.map_or(Ok(()), deletable))
            .and_then(|()| room.take(present))
            .map_err(|cause| Rejection::of(&key, cause))?;
        let previous = present.map(|entry| Box::new(self.shown(entry)));

        // Nothing refuses from here on.
        if previous.is_some() {
            self.remove(&key, revision, ChangeCause::Deleted);
            self.revision = revision;
        }
        Ok(DeleteOutcome {
            revision: self.revision,
            previous,
            replayed: false,
        })
    }

    /// What the store holds, in bytes, once `entry` is there. Only growth is refused: a full store can always be made
    /// smaller.
    fn space(&self, key: &Key, present: Option<EntryRef<'_>>, entry: &Entry) -> Result<u64, Cause> {
        self.disk_has_space()?;
        let limit = self.limits.store_bytes;
        let freed = present.map_or(0, |entry| entry_bytes(key, entry));
        let after = self.used_bytes - freed + entry_bytes(key, entry.into());
        if after > limit && after > self.used_bytes {
            return Err(Cause::StoreFull {
                limit,
                actual: after,
            });
        }
        Ok(after)
    }

    /// Puts an entry into its slot.
    pub(super) fn put(&mut self, slot: Slot, key: &Key, entry: Entry, cause: ChangeCause) {
        let previous = self.store.at(slot);
        let attached = previous.and_then(|previous| previous.attached);
        if attached.is_some() || entry.attached.is_some() {
            let before = attached.map(|attached| &**attached);
            self.index.replaced(key, before, entry.attached.as_deref());
        }
        self.history.record(ChangeRef {
            key,
            revision: entry.revision,
            cause,
            entry: Some((&entry).into()),
            previous,
        });
        self.store.put(slot, key, entry);
    }
}

/// The lifetime that an entry is to have.
fn set_lifetime(
    set: &SetLifetime,
    present: Option<EntryRef<'_>>,
    index: &Index,
    now: Time,
) -> Result<Option<Lifetime>, Cause> {
    Ok(match set {
        SetLifetime::Unlimited => None,
        SetLifetime::Keep => present.and_then(EntryRef::lifetime).cloned(),
        SetLifetime::Ttl(ttl) => Some(Lifetime::Ttl {
            ttl: *ttl,
            ends: now + *ttl,
        }),
        SetLifetime::Session {
            id,
            create_revision,
        } => Some(index.sessions.lifetime(id, *create_revision)?),
    })
}

/// What is to hang on an entry: it stays where it stands in its machine, and a new one starts.
fn attached(
    key: &Key,
    present: Option<EntryRef<'_>>,
    lifetime: Option<Lifetime>,
    index: &Index,
    now: Time,
) -> Option<Arc<Attached>> {
    let place = match present {
        Some(present) if present.attached.is_none() && lifetime.is_none() => return None,
        Some(present) => present.place().cloned(),
        None => index.machines.start(key, now),
    };
    Attached::of(lifetime, place)
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

/// Tells whether the condition holds for what is there.
fn check(condition: Option<&Condition>, entry: Option<EntryRef<'_>>) -> Result<(), Cause> {
    let Some(condition) = condition else {
        return Ok(());
    };
    let holds = match (condition, entry) {
        (Condition::Exists(true), None) => return Err(Cause::KeyNotFound),
        (Condition::Exists(false), Some(entry)) => {
            return Err(Cause::KeyExists {
                revision: entry.revision,
            });
        }
        (Condition::Exists(_), _) => true,
        (Condition::Revision(expected), entry) => {
            *expected == entry.map_or(0, |entry| entry.revision)
        }
        (Condition::CreateRevision(expected), entry) => {
            *expected == entry.map_or(0, |entry| entry.create_revision)
        }
        (Condition::Value(expected), entry) => entry.is_some_and(|entry| entry.value == *expected),
        (Condition::State(expected), entry) => {
            let actual = entry.and_then(EntryRef::place).map(|place| &place.state);
            if actual != Some(expected) {
                return Err(Cause::StateMismatch {
                    expected: expected.clone(),
                    actual: actual.cloned(),
                });
            }
            true
        }
        (Condition::Session(expected), entry) => {
            entry.is_some_and(|entry| entry.session() == expected.as_ref())
        }
    };
    if holds {
        Ok(())
    } else {
        Err(Cause::ExpectationFailed(Box::new(Mismatch {
            expected: match condition {
                Condition::Value(value) => Condition::Value(value.head(SHOWN_BYTES_MAX)),
                other => other.clone(),
            },
            actual: entry.map(|entry| {
                let entry = entry.to_entry();
                Entry {
                    value: entry.value.head(SHOWN_BYTES_MAX),
                    ..entry
                }
            }),
        })))
    }
}

/// So much of a value is kept for an error to show: the rest must not live on with an answer that nobody takes.
const SHOWN_BYTES_MAX: usize = 512;

/// How much the answer to one message may still carry. A single entry always fits; a frame of large reads may not.
pub(super) struct AnswerRoom {
    used: usize,
    limit: usize,
}

impl AnswerRoom {
    pub(super) const fn of(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Bytes of values that it carries so far.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Makes room for `entry`, or refuses the operation that would show it.
    pub(super) fn take(&mut self, entry: Option<EntryRef<'_>>) -> Result<(), Cause> {
        let used = self.used + entry.map_or(0, |entry| entry.value.byte_len());
        if used > self.limit {
            return Err(Cause::AnswerTooLarge {
                limit: self.limit,
                actual: used,
            });
        }
        self.used = used;
        Ok(())
    }
}

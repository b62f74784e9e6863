//! The operations that change a key: Write, Add, Transition, Delete.
//!
//! Each has two functions: the public one applies the operation at a revision of its own, and `*_at` at a given revision,
//! so that an atomic frame has one for all its operations. All checks come first: once an operation changes anything,
//! nothing refuses it any more.

use std::sync::Arc;

use super::answer_budget::AnswerBudget;
use super::bounds::Bounds;
use super::change::ChangeCause;
use super::check::check;
use super::index::Index;
use super::operation::{
    Add, AddOutcome, Delete, DeleteOutcome, SetLifetime, Transition, TransitionOptions,
    TransitionOutcome, Write, WriteOutcome, WriteShows,
};
use super::rejection::{Cause, Rejection};
use super::request_ids::{Growth, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;
use super::tree::{EntryRef, ValueRef};
use super::value::{Attached, Entry, Key, Lifetime, Revision, Value};

impl StateMachine {
    /// Creates or replaces an entry, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold, the session does not exist, there is no value to keep, or the store or
    /// the disk is full. Nothing is changed then.
    pub fn write(
        &mut self,
        write: Write,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<WriteOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::Possible, now, |this| {
            this.write_at(
                this.revision + 1,
                write,
                &mut AnswerBudget::of(usize::MAX),
                now,
            )
        })
    }

    /// Adds to an int, at a new revision unless the value stays the same.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold, the session does not exist, the value is not an int, the sum is out of
    /// bounds, or the store or the disk is full. Nothing is changed then.
    pub fn add(
        &mut self,
        add: Add,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<AddOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::Possible, now, |this| {
            this.add_at(this.revision + 1, add, now)
        })
    }

    /// Moves one key to another state of its machine, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold, the key does not exist or has no machine, the machine does not allow the
    /// transition, or the store or the disk is full. Nothing is changed then.
    pub fn transition(
        &mut self,
        transition: Transition,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<TransitionOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::Possible, now, |this| {
            this.transition_at(this.revision + 1, transition, now)
        })
    }

    /// Deletes one key, at a new revision if it exists.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold, or the key is in a state that is not final. Nothing is changed then.
    pub fn delete(
        &mut self,
        delete: Delete,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<DeleteOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::None, now, |this| {
            this.delete_at(this.revision + 1, delete, &mut AnswerBudget::of(usize::MAX))
        })
    }

    /// Applies a Write at `revision`.
    pub(super) fn write_at(
        &mut self,
        revision: Revision,
        write: Write,
        budget: &mut AnswerBudget,
        now: Time,
    ) -> Result<WriteOutcome, Box<Rejection>> {
        let Write {
            key,
            value,
            options,
        } = write;
        let options = options.as_deref();
        let refuse = |cause| Rejection::of(&key, cause);
        let cursor = self.entries.cursor(key.as_str());
        let present = self.entries.at(cursor);

        check(options.and_then(|options| options.expect.as_ref()), present).map_err(refuse)?;
        let value = match (value, present) {
            (Some(value), _) => value,
            (None, Some(present)) => present.value.to_value(),
            (None, None) => return Err(refuse(Cause::KeyNotFound)),
        };
        let lifetime = match options.map(|options| &options.lifetime) {
            None => None,
            Some(set) => set_lifetime(set, present, &self.index, now).map_err(refuse)?,
        };
        let entry = Entry {
            value,
            revision,
            create_revision: present.map_or(revision, |entry| entry.create_revision),
            attached: attached(&key, present, lifetime, &self.index, now),
        };
        let key_bytes = self.key_bytes_with(&key, present, &entry).map_err(refuse)?;
        let previous = match options.map(|options| options.shows) {
            None | Some(WriteShows::Revisions) => None,
            Some(WriteShows::Previous) => {
                budget.take(present).map_err(refuse)?;
                present.map(|entry| Box::new(self.shown(entry)))
            }
        };

        // All checks have passed: from here on nothing is refused.
        self.key_bytes = key_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(cursor, &key, entry, ChangeCause::Written);
        Ok(WriteOutcome {
            revision,
            create_revision,
            previous,
            replayed: false,
        })
    }

    /// Applies an Add at `revision`.
    pub(super) fn add_at(
        &mut self,
        revision: Revision,
        add: Add,
        now: Time,
    ) -> Result<AddOutcome, Box<Rejection>> {
        let Add {
            key,
            delta,
            options,
        } = add;
        let options = options.as_deref();
        let refuse = |cause| Rejection::of(&key, cause);
        let cursor = self.entries.cursor(key.as_str());
        let present = self.entries.at(cursor);

        check(options.and_then(|options| options.expect.as_ref()), present).map_err(refuse)?;
        let lifetime = match (present, options.map(|options| &options.lifetime)) {
            (None, Some(set)) => set_lifetime(set, None, &self.index, now).map_err(refuse)?,
            // An existing key keeps its lifetime.
            (Some(_), _) | (None, None) => None,
        };
        let before = int_of(present).map_err(refuse)?;
        let bounds = options.map_or(Bounds::NONE, |options| options.bounds);
        let after = bounds.add(before, delta).map_err(refuse)?;
        // The bounds have refused a difference of more than 64 bits.
        let applied = after.wrapping_sub(before);
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
        let key_bytes = self.key_bytes_with(&key, present, &entry).map_err(refuse)?;

        // All checks have passed: from here on nothing is refused.
        self.key_bytes = key_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(cursor, &key, entry, ChangeCause::Written);
        Ok(AddOutcome {
            revision,
            create_revision,
            value: after,
            applied,
            replayed: false,
        })
    }

    /// Applies a Transition at `revision`.
    pub(super) fn transition_at(
        &mut self,
        revision: Revision,
        transition: Transition,
        now: Time,
    ) -> Result<TransitionOutcome, Box<Rejection>> {
        let Transition { key, to, options } = transition;
        let TransitionOptions { expect, value } =
            options.map_or_else(TransitionOptions::default, |options| *options);
        let refuse = |cause| Rejection::of(&key, cause);
        let cursor = self.entries.cursor(key.as_str());
        let present = self.entries.at(cursor);

        check(expect.as_ref(), present).map_err(refuse)?;
        let present = present.ok_or_else(|| refuse(Cause::KeyNotFound))?;
        let key_state = present
            .key_state()
            .ok_or_else(|| refuse(Cause::NoMachine))?;
        let machines = &self.index.machines;
        let from = key_state.state.clone();
        let next = match machines.next_state(key_state, to, now) {
            Ok(next) => next,
            Err(cause) => {
                let refused = refuse(cause);
                let machine = key_state.machine.clone();
                self.count_refused_move(machine);
                return Err(refused);
            }
        };
        let entry = Entry {
            value: value.unwrap_or_else(|| present.value.to_value()),
            revision,
            create_revision: present.create_revision,
            attached: Attached::of(present.lifetime().cloned(), Some(next)),
        };
        let key_bytes = self
            .key_bytes_with(&key, Some(present), &entry)
            .map_err(refuse)?;

        // All checks have passed: from here on nothing is refused.
        self.key_bytes = key_bytes;
        self.revision = revision;
        let create_revision = entry.create_revision;
        self.put(cursor, &key, entry, ChangeCause::Transitioned);
        Ok(TransitionOutcome {
            revision,
            create_revision,
            from,
            replayed: false,
        })
    }

    /// Applies a Delete at `revision`.
    pub(super) fn delete_at(
        &mut self,
        revision: Revision,
        delete: Delete,
        budget: &mut AnswerBudget,
    ) -> Result<DeleteOutcome, Box<Rejection>> {
        let Delete { key, expect } = delete;
        let present = self.entries.get(key.as_str());
        let check_deletable = |entry: EntryRef<'_>| match entry.key_state() {
            Some(key_state) => self.index.machines.check_deletable(key_state),
            None => Ok(()),
        };
        check(expect.as_deref(), present)
            .and_then(|()| present.map_or(Ok(()), check_deletable))
            .and_then(|()| budget.take(present))
            .map_err(|cause| Rejection::of(&key, cause))?;
        let previous = present.map(|entry| Box::new(self.shown(entry)));

        // All checks have passed: from here on nothing is refused.
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
}

/// The int of an entry; 0 if the key does not exist.
#[inline]
fn int_of(present: Option<EntryRef<'_>>) -> Result<i64, Cause> {
    match present.map(|entry| entry.value.unshared()) {
        None => Ok(0),
        Some(ValueRef::Int(int)) => Ok(int),
        Some(other) => Err(Cause::NotAnInt { kind: other.kind() }),
    }
}

/// The lifetime that an entry gets.
///
/// # Errors
/// If the session does not exist.
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

/// The lifetime and machine state of an entry: an existing key keeps its state, and a new key gets the initial one.
fn attached(
    key: &Key,
    present: Option<EntryRef<'_>>,
    lifetime: Option<Lifetime>,
    index: &Index,
    now: Time,
) -> Option<Arc<Attached>> {
    let key_state = match present {
        Some(present) if present.attached.is_none() && lifetime.is_none() => return None,
        Some(present) => present.key_state().cloned(),
        None => index.machines.initial_state(key, now),
    };
    Attached::of(lifetime, key_state)
}

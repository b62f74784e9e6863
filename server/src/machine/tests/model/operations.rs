//! What the model does for each operation.

use super::*;

/// How many bytes of values an answer shows, and how many it may show.
pub(super) struct Budget {
    pub(super) shown: u64,
    limit: usize,
}

impl Budget {
    pub(super) fn of(limit: usize) -> Self {
        Self { shown: 0, limit }
    }

    pub(super) fn show(&mut self, bytes: u64) -> Done<()> {
        let after = self.shown + bytes;
        if after > self.limit as u64 {
            return Err(Cause::AnswerTooLarge {
                limit: self.limit,
                actual: after as usize,
            });
        }
        self.shown = after;
        Ok(())
    }
}

impl Model {
    /// Applies an operation by itself.
    pub(super) fn one(
        &mut self,
        operation: &Operation,
        request_id: Option<&RequestId>,
        budget: &mut Budget,
        now: Time,
    ) -> Result<Outcome, Refused> {
        if let (Some(request_id), Some(answer)) = (
            request_id,
            self.replay(request_id, may_grow(operation), now)?,
        ) {
            let Answer::One(outcome) = answer else {
                panic!("a replay of an operation is answered like an operation");
            };
            budget
                .show(super::super::shown_bytes(&outcome) as u64)
                .map_err(|cause| refused(&request_id.id, cause))?;
            return Ok(outcome);
        }
        let mut after = self.clone();
        let outcome = after
            .apply(operation, self.revision + 1, budget, now)
            .map_err(|cause| refused(key_of(operation), cause))?;
        let answer = Answer::One(outcome.clone());
        self.become_after(after, request_id, &answer, now);
        Ok(outcome)
    }

    /// Applies an operation. If it changes anything, the change has this revision.
    pub(super) fn apply(
        &mut self,
        operation: &Operation,
        revision: Revision,
        budget: &mut Budget,
        now: Time,
    ) -> Done<Outcome> {
        match operation {
            Operation::Read(read) => self.read(read, budget),
            Operation::Write(write) => self.write(write, revision, budget, now),
            Operation::Add(add) => self.add(add, revision, now),
            Operation::Transition(transition) => self.transition(transition, revision, now),
            Operation::Delete(delete) => self.delete(delete, revision, budget),
        }
    }

    /// The present entry as an answer shows it, if there is room for it.
    fn show(&self, present: Option<&Entry>, budget: &mut Budget) -> Done<Option<Entry>> {
        budget.show(present.map_or(0, |entry| len(&entry.value)))?;
        Ok(present.map(|entry| self.shown(entry)))
    }

    fn read(&self, read: &Read, budget: &mut Budget) -> Done<Outcome> {
        let present = self.entry(&read.key);
        meets(present.as_ref(), read.expect.as_deref())?;
        Ok(Outcome::Read(ReadOutcome {
            entry: self.show(present.as_ref(), budget)?,
            revision: self.revision,
        }))
    }

    fn write(
        &mut self,
        write: &Write,
        revision: Revision,
        budget: &mut Budget,
        now: Time,
    ) -> Done<Outcome> {
        let Write {
            key,
            value,
            options,
        } = write;
        let present = self.entry(key);
        let options = options.as_deref().cloned().unwrap_or_default();
        meets(present.as_ref(), options.expect.as_ref())?;
        let value = match (value, &present) {
            (Some(value), _) => value.clone(),
            (None, Some(present)) => present.value.clone(),
            (None, None) => return Err(Cause::KeyNotFound),
        };
        let lifetime = match &options.lifetime {
            SetLifetime::Keep => present.as_ref().and_then(|e| e.lifetime().cloned()),
            other => self.new_lifetime(other, now)?,
        };
        let created = created_at(present.as_ref(), revision);
        let key_state = self.key_state(key, present.as_ref(), now);
        let entry = new_entry(value, revision, created, lifetime, key_state);
        let used = self.check_space(key, &entry)?;
        let previous = match options.shows {
            WriteShows::Revisions => None,
            WriteShows::Previous => self.show(present.as_ref(), budget)?,
        };
        self.set(key, Some(entry), revision, ChangeCause::Written);
        assert_eq!(self.used(), used);
        Ok(Outcome::Write(WriteOutcome {
            revision,
            create_revision: created,
            previous: previous.map(Box::new),
            replayed: false,
        }))
    }

    fn add(&mut self, add: &Add, revision: Revision, now: Time) -> Done<Outcome> {
        let Add {
            key,
            delta,
            options,
        } = add;
        let present = self.entry(key);
        let options = options.as_deref().cloned().unwrap_or_default();
        meets(present.as_ref(), options.expect.as_ref())?;
        let lifetime = match &present {
            Some(present) => present.lifetime().cloned(),
            None => self.new_lifetime(&options.lifetime, now)?,
        };
        let before = match present.as_ref().map(|entry| &entry.value) {
            None => 0,
            Some(Value::Int(int)) => *int,
            Some(Value::Text(_)) => return Err(Cause::NotAnInt { kind: "text" }),
            Some(Value::Bytes(_)) => return Err(Cause::NotAnInt { kind: "bytes" }),
        };
        let saturate = options.bounds.on_overflow == OnOverflow::Saturate;
        let (min, max) = (options.bounds.min, options.bounds.max);
        let after = sum(before, *delta, min, max, saturate)?;
        let applied = i128::from(after) - i128::from(before);
        let created = created_at(present.as_ref(), revision);
        let outcome = |revision| {
            Outcome::Add(AddOutcome {
                revision,
                create_revision: created,
                value: after,
                applied: applied.try_into().unwrap(),
                replayed: false,
            })
        };
        if present.is_some() && applied == 0 {
            return Ok(outcome(self.revision));
        }
        let key_state = self.key_state(key, present.as_ref(), now);
        let entry = new_entry(Value::Int(after), revision, created, lifetime, key_state);
        self.check_space(key, &entry)?;
        self.set(key, Some(entry), revision, ChangeCause::Written);
        Ok(outcome(revision))
    }

    fn transition(
        &mut self,
        transition: &Transition,
        revision: Revision,
        now: Time,
    ) -> Done<Outcome> {
        let Transition { key, to, options } = transition;
        let present = self.entry(key);
        let options = options.as_deref().cloned().unwrap_or_default();
        meets(present.as_ref(), options.expect.as_ref())?;
        let present = present.as_ref().ok_or(Cause::KeyNotFound)?;
        let key_state = present.key_state().ok_or(Cause::NoMachine)?;
        let next = &self.state(key_state).next;
        let allowed = next.iter().cloned().collect::<Vec<_>>();
        if !allowed.contains(to) {
            return Err(Cause::TransitionRefused(Box::new(RefusedTransition {
                machine: key_state.machine.clone(),
                from: key_state.state.clone(),
                to: Some(to.clone()),
                allowed,
            })));
        }
        let value = options.value.unwrap_or_else(|| present.value.clone());
        let moved = KeyState {
            state: to.clone(),
            since: now,
            ..key_state.clone()
        };
        let lifetime = present.lifetime().cloned();
        let created = present.create_revision;
        let entry = new_entry(value, revision, created, lifetime, Some(moved));
        self.check_space(key, &entry)?;
        let from = key_state.state.clone();
        self.set(key, Some(entry), revision, ChangeCause::Transitioned);
        Ok(Outcome::Transition(TransitionOutcome {
            revision,
            create_revision: created,
            from,
            replayed: false,
        }))
    }

    fn delete(
        &mut self,
        delete: &Delete,
        revision: Revision,
        budget: &mut Budget,
    ) -> Done<Outcome> {
        let Delete { key, expect } = delete;
        let present = self.entry(key);
        meets(present.as_ref(), expect.as_deref())?;
        if let Some(key_state) = present.as_ref().and_then(Entry::key_state) {
            let state = self.state(key_state);
            if !(state.next.is_empty() && state.timeout.is_none()) {
                return Err(Cause::StateNotFinal(Box::new(RefusedTransition {
                    machine: key_state.machine.clone(),
                    from: key_state.state.clone(),
                    to: None,
                    allowed: state.next.iter().cloned().collect(),
                })));
            }
        }
        let previous = self.show(present.as_ref(), budget)?;
        if previous.is_some() {
            self.set(key, None, revision, ChangeCause::Deleted);
        }
        Ok(Outcome::Delete(DeleteOutcome {
            revision: self.revision,
            previous: previous.map(Box::new),
            replayed: false,
        }))
    }

    pub(super) fn delete_prefix(&mut self, delete: &DeletePrefix) -> Answer {
        let mut keys: Vec<_> = self
            .sorted_entries()
            .into_iter()
            .filter(|(key, _)| {
                let behind = delete.after.as_ref();
                key.as_str().starts_with(&delete.prefix)
                    && behind.is_none_or(|after| key.as_str() > after.as_str())
            })
            .collect();
        let has_more = keys.len() > delete.limit;
        keys.truncate(delete.limit);
        let more_after = keys.last().map(|(key, _)| key.clone()).filter(|_| has_more);
        let looked_at = keys.len();
        keys.retain(|(_, entry)| {
            entry.key_state().is_none_or(|key_state| {
                let state = self.state(key_state);
                state.next.is_empty() && state.timeout.is_none()
            })
        });
        let revision = self.revision + 1;
        for (key, _) in &keys {
            self.set(key, None, revision, ChangeCause::Deleted);
        }
        Answer::DeletedPrefix(DeletePrefixOutcome {
            deleted_count: keys.len(),
            kept_count: looked_at - keys.len(),
            more_after,
            revision: self.revision,
            replayed: false,
        })
    }

    /// The bytes of the store with this entry. Only growth is refused.
    fn check_space(&self, key: &Key, entry: &Entry) -> Done<u64> {
        let present = self.entry(key).map_or(0, |entry| size(key, &entry));
        let wanted = size(key, entry);
        self.check_room(present, wanted)?;
        Ok(self.used() - present + wanted)
    }

    fn new_lifetime(&self, set: &SetLifetime, now: Time) -> Done<Option<Lifetime>> {
        match set {
            SetLifetime::Unlimited | SetLifetime::Keep => Ok(None),
            SetLifetime::Ttl(ttl) => Ok(Some(Lifetime::Ttl {
                ttl: *ttl,
                ends: now + *ttl,
            })),
            SetLifetime::Session {
                id,
                create_revision,
            } => {
                let live = self.sessions.iter().find(|session| session.id == *id);
                let live = live.ok_or(Cause::SessionNotFound { id: id.clone() })?;
                let create_revision = create_revision.unwrap_or(live.create_revision);
                let at = self.position_of(&SessionLife {
                    id: id.clone(),
                    create_revision,
                })?;
                Ok(Some(Lifetime::Session {
                    id: id.clone(),
                    create_revision: self.sessions[at].create_revision,
                }))
            }
        }
    }

    /// The state of a key after a write.
    fn key_state(&self, key: &Key, present: Option<&Entry>, now: Time) -> Option<KeyState> {
        if let Some(present) = present {
            return present.key_state().cloned();
        }
        let mut machines = self.machines.iter();
        let machine = machines.find(|m| key.as_str().starts_with(m.key_prefix.as_str()))?;
        Some(KeyState {
            machine: machine.name.clone(),
            state: machine.initial.clone(),
            since: now,
            timeout_at: None,
        })
    }
}

fn created_at(present: Option<&Entry>, revision: Revision) -> Revision {
    present.map_or(revision, |entry| entry.create_revision)
}

//! A model of the state machine, written from the contract and not from the code: it has a list of everything, searches it
//! from the front, and copies the whole of it before each call, to throw the copy away if the call is refused.

mod operations;
mod protocols;
mod rules;
mod time;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::{
    Add, AddOutcome, AllOutcome, Attached, Cause, ChangeCause, CloseOutcome, Condition,
    DefineMachine, Delete, DeleteMachine, DeleteOutcome, DeletePrefix, DeletePrefixOutcome, Entry,
    Key, KeyState, KeysLeft, Lifetime, List, ListShows, Machine, Mismatch, Name, OnExisting,
    OnOverflow, OpenOutcome, OpenSession, Operation, Outcome, Purpose, Read, ReadOutcome,
    RefusedTransition, RequestId, Revision, Session, SessionLife, SetLifetime, State, StoreLimits,
    StrandedKeys, Time, Transition, TransitionOutcome, Usage, Value, Write, WriteOutcome,
    WriteShows,
};
use super::{Answer, Call, Refused};

use operations::Budget;
use rules::*;

/// A change of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) revision: Revision,
    pub(super) key: Key,
    pub(super) cause: ChangeCause,
    pub(super) entry: Option<Entry>,
    pub(super) previous: Option<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    limits: StoreLimits,
    pub(super) revision: Revision,
    /// In no order.
    entries: Entries,
    /// In no order; `key_count` is not kept.
    sessions: Vec<Session>,
    /// In no order.
    machines: Vec<Machine>,
    /// In the order in which they were applied.
    answers: Vec<(Time, RequestId, Answer)>,
    /// All events from the beginning.
    pub(super) events: Vec<Rc<Event>>,
    /// The entries at each revision, in the order of their keys.
    pub(super) past: Vec<(Revision, Rc<Entries>)>,
    /// The keys that the present call has changed, and why.
    touched: Vec<(Key, ChangeCause)>,
}

type Done<T> = Result<T, Cause>;

type Entries = Vec<(Key, Entry)>;

impl Model {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            revision: 0,
            entries: Vec::new(),
            sessions: Vec::new(),
            machines: Vec::new(),
            answers: Vec::new(),
            events: Vec::new(),
            past: vec![(0, Rc::default())],
            touched: Vec::new(),
        }
    }

    pub(super) fn call(&mut self, call: &Call, now: Time) -> Result<Answer, Refused> {
        match call {
            Call::One(operation, request_id) => {
                let mut budget = Budget::of(usize::MAX);
                let answer = self.one(operation, request_id.as_ref(), &mut budget, now);
                answer.map(Answer::One)
            }
            Call::Each(operations, bytes_max) => {
                let mut budget = Budget::of(*bytes_max);
                let results = operations
                    .iter()
                    .map(|(operation, request_id)| {
                        self.one(operation, request_id.as_ref(), &mut budget, now)
                    })
                    .collect();
                Ok(Answer::Each(results, self.revision, budget.shown as usize))
            }
            Call::All(operations, request_id, bytes_max) => {
                self.all(operations, request_id.as_ref(), *bytes_max, now)
            }
            Call::Open(open, request_id) => {
                let request_id = request_id.as_ref();
                self.once(request_id, &open.id, true, now, |after| {
                    after.open(open, now)
                })
            }
            Call::Renew(life) => {
                let at = self.position_of(life);
                let at = at.map_err(|cause| refused(&life.id, cause))?;
                self.sessions[at].ends = now + self.sessions[at].ttl;
                Ok(Answer::Session(self.session_shown(&self.sessions[at])))
            }
            Call::Close(life, request_id) => {
                let request_id = request_id.as_ref();
                self.once(request_id, &life.id, false, now, |after| after.close(life))
            }
            Call::DeletePrefix(delete, request_id) => {
                let request_id = request_id.as_ref();
                let subject = Name::from(delete.prefix.as_str());
                self.once(request_id, &subject, false, now, |after| {
                    Ok(after.delete_prefix(delete))
                })
            }
            Call::Define(define) => {
                let answer = self.define(define).map(Answer::Machine);
                answer.map_err(|cause| refused(&define.machine.name, cause))
            }
            Call::Undefine(delete) => {
                let answer = self.undefine(delete).map(Answer::Revision);
                answer.map_err(|cause| refused(&delete.name, cause))
            }
        }
    }

    /// Applies an atomic frame.
    fn all(
        &mut self,
        operations: &[Operation],
        request_id: Option<&RequestId>,
        bytes_max: usize,
        now: Time,
    ) -> Result<Answer, Refused> {
        if let Some(answer) = self.replay(request_id, operations.iter().any(may_grow), now)? {
            let (Answer::All(all), Some(request_id)) = (&answer, request_id) else {
                panic!("a replay of an atomic frame is answered like one");
            };
            let fits = Budget::of(bytes_max).show(all.answer_bytes as u64);
            return fits
                .map(|()| answer.clone())
                .map_err(|cause| refused(&request_id.id, cause));
        }
        let mut budget = Budget::of(bytes_max);
        let mut after = self.clone();
        let mut outcomes = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let outcome = after.apply(operation, self.revision + 1, &mut budget, now);
            outcomes.push(outcome.map_err(|cause| Refused {
                index: Some(index),
                ..refused(key_of(operation), cause)
            })?);
        }
        for outcome in &mut outcomes {
            match outcome {
                Outcome::Read(read) => read.revision = after.revision,
                Outcome::Write(write) => write.revision = after.revision,
                Outcome::Add(add) => add.revision = after.revision,
                Outcome::Transition(moved) => moved.revision = after.revision,
                Outcome::Delete(deleted) => deleted.revision = after.revision,
            }
        }
        let answer = Answer::All(AllOutcome {
            outcomes,
            revision: after.revision,
            answer_bytes: budget.shown as usize,
            replayed: false,
        });
        self.become_after(after, request_id, &answer, now);
        Ok(answer)
    }

    /// Applies a request about a session once.
    fn once(
        &mut self,
        request_id: Option<&RequestId>,
        session: &Name,
        grows: bool,
        now: Time,
        apply: impl FnOnce(&mut Self) -> Done<Answer>,
    ) -> Result<Answer, Refused> {
        if let Some(answer) = self.replay(request_id, grows, now)? {
            return Ok(answer);
        }
        let mut after = self.clone();
        let answer = apply(&mut after).map_err(|cause| refused(session, cause))?;
        self.become_after(after, request_id, &answer, now);
        Ok(answer)
    }

    /// The first answer to a request, if it came before. If it is new, there must be room for it.
    fn replay(
        &self,
        request_id: Option<&RequestId>,
        grows: bool,
        now: Time,
    ) -> Result<Option<Answer>, Refused> {
        let Some(request_id) = request_id else {
            return Ok(None);
        };
        let refused = |cause| Err(refused(&request_id.id, cause));
        for (_, before, answer) in &self.answers {
            if before.id == request_id.id {
                if before.fingerprint != request_id.fingerprint {
                    return refused(Cause::RequestIdReused);
                }
                return Ok(Some(super::replayed(Ok(answer.clone())).unwrap()));
            }
        }
        if self.answers.len() >= self.limits.request_ids {
            let first = self.answers.first().map(|(at, ..)| *at);
            let room_at = first.map(|at| at + self.limits.request_id_window);
            return refused(Cause::RequestIdsFull {
                limit: self.limits.request_ids,
                unit: "request_ids",
                retry_after: room_at.map_or(Duration::ZERO, |at| at.since(now)),
            });
        }
        if grows && let Err(full) = self.check_room(0, 256 + request_id.id.as_str().len() as u64) {
            return refused(full);
        }
        Ok(None)
    }

    /// Becomes the state after a call, and remembers the answer.
    fn become_after(
        &mut self,
        after: Self,
        request_id: Option<&RequestId>,
        answer: &Answer,
        now: Time,
    ) {
        *self = after;
        self.record();
        if let Some(request_id) = request_id {
            self.answers.push((now, request_id.clone(), answer.clone()));
        }
    }

    /// Records the entries of this revision, and the events that led to them.
    fn record(&mut self) {
        let (before, entries) = self.past.last().unwrap().clone();
        let mut touched: Vec<(Key, ChangeCause)> = Vec::new();
        for (key, cause) in std::mem::take(&mut self.touched) {
            touched.retain(|(other, _)| *other != key);
            touched.push((key, cause));
        }
        touched.sort_by_key(|(key, _)| key.clone());
        assert!(touched.is_empty() || before < self.revision);
        for (key, cause) in touched {
            self.events.push(Rc::new(Event {
                revision: self.revision,
                cause,
                entry: find(&self.entries, &key),
                previous: find(&entries, &key),
                key,
            }));
        }
        if before < self.revision {
            self.past
                .push((self.revision, Rc::new(self.sorted_entries())));
        }
    }

    pub(super) fn usage(&self, oldest_revision: Revision) -> Usage {
        Usage {
            revision: self.revision,
            oldest_revision,
            key_count: self.entries.len(),
            used_bytes: self.used(),
            session_count: self.sessions.len(),
            machine_count: self.machines.len(),
            request_id_count: self.answers.len(),
        }
    }

    /// The entries, in the order of their keys.
    pub(super) fn sorted_entries(&self) -> Entries {
        let mut entries = self.entries.clone();
        entries.sort_by_key(|(key, _)| key.clone());
        entries
    }

    pub(super) fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|s| self.session_shown(s))
            .collect();
        sessions.sort_by_key(|session| session.id.clone());
        sessions
    }

    pub(super) fn machines(&self) -> Vec<Machine> {
        let mut machines = self.machines.clone();
        machines.sort_by_key(|machine| machine.name.clone());
        machines
    }

    /// The entries of a page, and whether more follow: as many as fit, but at least one.
    pub(super) fn page(&self, list: &List) -> (Vec<(Key, Entry)>, bool) {
        let mut entries = self.sorted_entries();
        entries.retain(|(key, _)| key.as_str().starts_with(&list.prefix));
        entries.retain(|(key, _)| {
            list.after
                .as_ref()
                .is_none_or(|after| key.as_str() > after.as_str())
        });
        let size = |(key, entry): &(Key, Entry)| match list.shows {
            ListShows::Entries => key.as_str().len() + len(&entry.value) as usize,
            ListShows::Keys => key.as_str().len(),
        };
        let fits = |count: &usize| {
            let bytes: usize = entries[..*count].iter().map(size).sum();
            *count <= list.page_size && (*count <= 1 || bytes <= list.page_bytes)
        };
        let count = (0..=entries.len()).rev().find(fits).unwrap();
        let more = count < entries.len();
        entries.truncate(count);
        for (_, entry) in &mut entries {
            *entry = self.shown(entry);
        }
        (entries, more)
    }

    fn entry(&self, key: &Key) -> Option<Entry> {
        find(&self.entries, key)
    }

    fn set(&mut self, key: &Key, entry: Option<Entry>, revision: Revision, cause: ChangeCause) {
        self.entries.retain(|(other, _)| other != key);
        self.entries.extend(entry.map(|entry| (key.clone(), entry)));
        self.revision = revision;
        self.touched.push((key.clone(), cause));
    }

    fn used(&self) -> u64 {
        let keys = self.entries.iter().map(|(key, entry)| size(key, entry));
        let machines = self.machines.iter().map(machine_size);
        let sessions = self
            .sessions
            .iter()
            .map(|session| session_size(&session.id));
        let answers = self.answers.iter().map(|(_, request_id, answer)| {
            256 + request_id.id.as_str().len() as u64 + shown_size(answer)
        });
        keys.sum::<u64>() + machines.sum::<u64>() + sessions.sum::<u64>() + answers.sum::<u64>()
    }

    /// Refuses growth beyond the limit.
    fn check_room(&self, freed: u64, taken: u64) -> Done<()> {
        let limit = self.limits.store_bytes;
        let actual = self.used() - freed + taken;
        if actual > limit && taken > freed {
            return Err(Cause::StoreFull { limit, actual });
        }
        Ok(())
    }

    /// The index of a session in the list.
    fn position_of(&self, life: &SessionLife) -> Done<usize> {
        let id = life.id.clone();
        let at = self.sessions.iter().position(|session| session.id == id);
        let at = at.ok_or(Cause::SessionNotFound { id: id.clone() })?;
        let actual = self.sessions[at].create_revision;
        if actual != life.create_revision {
            return Err(Cause::SessionTakenOver {
                id,
                expected: life.create_revision,
                actual,
            });
        }
        Ok(at)
    }

    fn session_shown(&self, session: &Session) -> Session {
        let of_it = |entry: &Entry| {
            entry.lifetime()
                == Some(&Lifetime::Session {
                    id: session.id.clone(),
                    create_revision: session.create_revision,
                })
        };
        Session {
            key_count: self
                .entries
                .iter()
                .filter(|(_, entry)| of_it(entry))
                .count(),
            ..session.clone()
        }
    }

    fn state(&self, key_state: &KeyState) -> &State {
        let mut machines = self.machines.iter();
        let machine = machines.find(|machine| machine.name == key_state.machine);
        &machine.unwrap().states[&key_state.state]
    }

    fn shown(&self, entry: &Entry) -> Entry {
        let key_state = entry.key_state().cloned().map(|key_state| KeyState {
            timeout_at: self
                .state(&key_state)
                .timeout
                .as_ref()
                .map(|timeout| key_state.since + timeout.after),
            ..key_state
        });
        let Entry {
            value,
            revision,
            create_revision,
            ..
        } = entry.clone();
        new_entry(
            value,
            revision,
            create_revision,
            entry.lifetime().cloned(),
            key_state,
        )
    }
}

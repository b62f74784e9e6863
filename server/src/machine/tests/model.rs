//! A model of the machine, written from the contract and not from the machine: lists of everything, looked through from
//! the front, copied whole before each call and thrown away where the call is refused.

mod protocols;
mod rules;
mod time;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::{
    Add, AddOutcome, AllOutcome, Attached, Cause, ChangeCause, CloseOutcome, Condition,
    DefineMachine, Delete, DeleteOutcome, Entry, Key, KeyState, Lifetime, List, ListShows, Machine,
    Mismatch, Name, OnExisting, OnOverflow, OpenOutcome, OpenSession, Operation, Outcome, Purpose,
    Read, ReadOutcome, RefusedTransition, RequestId, Revision, Session, SessionLife, SetLifetime,
    State, StoreLimits, StrandedKeys, Time, Transition, TransitionOutcome, Usage, Value, Write,
    WriteOutcome, WriteShows,
};
use super::{Answer, Call, Refused};

use rules::*;

/// What a key is changed to and from.
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
    lines: Lines,
    /// In no order; `key_count` is not kept.
    sessions: Vec<Session>,
    /// In no order.
    machines: Vec<Machine>,
    /// In the order in which they were given.
    answers: Vec<(Time, RequestId, Answer)>,
    /// Every event that ever was.
    pub(super) events: Vec<Rc<Event>>,
    /// Every key as it was at each revision, in order.
    pub(super) past: Vec<(Revision, Rc<Lines>)>,
    /// What the present call has touched, and why.
    touched: Vec<(Key, ChangeCause)>,
}

type Done<T> = Result<T, Cause>;

type Lines = Vec<(Key, Entry)>;

/// How much an answer shows, and may show.
struct Room {
    shown: u64,
    limit: usize,
}

impl Room {
    fn of(limit: usize) -> Self {
        Self { shown: 0, limit }
    }

    fn show(&mut self, bytes: u64) -> Done<()> {
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
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            revision: 0,
            lines: Vec::new(),
            sessions: Vec::new(),
            machines: Vec::new(),
            answers: Vec::new(),
            events: Vec::new(),
            past: vec![(0, Rc::default())],
            touched: Vec::new(),
        }
    }

    pub(super) fn call(&mut self, call: &Call, now: Time) -> Result<Answer, Refused> {
        let refused = |index, subject: &str, cause| Refused {
            index,
            subject: subject.into(),
            cause,
        };
        match call {
            Call::One(operation, request_id) => {
                let mut budget = Room::of(usize::MAX);
                let answer = self.one(operation, request_id.as_ref(), &mut budget, now);
                answer.map(Answer::One)
            }
            Call::Each(operations, bytes_max) => {
                let mut budget = Room::of(*bytes_max);
                let results = operations
                    .iter()
                    .map(|(operation, request_id)| {
                        self.one(operation, request_id.as_ref(), &mut budget, now)
                    })
                    .collect();
                Ok(Answer::Each(results, self.revision, budget.shown as usize))
            }
            Call::All(operations, request_id, bytes_max) => {
                if let Some(answer) = self.replay(request_id.as_ref(), now)? {
                    let (Answer::All(all), Some(request_id)) = (&answer, request_id) else {
                        panic!("only a batch has its content");
                    };
                    let fits = Room::of(*bytes_max).show(all.answer_bytes as u64);
                    return fits
                        .map(|()| answer.clone())
                        .map_err(|cause| refused(None, request_id.id.as_str(), cause));
                }
                let mut budget = Room::of(*bytes_max);
                let mut after = self.clone();
                let mut outcomes = Vec::new();
                for (index, operation) in operations.iter().enumerate() {
                    let revision = self.revision + 1;
                    match after.step(operation, revision, &mut budget, now) {
                        Ok(outcome) => outcomes.push(outcome),
                        Err(cause) => {
                            return Err(refused(Some(index), key_of(operation).as_str(), cause));
                        }
                    }
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
                self.settle(after, request_id.as_ref(), &answer, now);
                Ok(answer)
            }
            Call::Open(open, request_id) => {
                if let Some(answer) = self.replay(request_id.as_ref(), now)? {
                    return Ok(answer);
                }
                let mut after = self.clone();
                let answer = after.open(open, now);
                let answer = answer.map_err(|cause| refused(None, open.id.as_str(), cause))?;
                self.settle(after, request_id.as_ref(), &answer, now);
                Ok(answer)
            }
            Call::Renew(life) => {
                let at = self.living(life);
                let at = at.map_err(|cause| refused(None, life.id.as_str(), cause))?;
                self.sessions[at].ends = now + self.sessions[at].ttl;
                Ok(Answer::Session(self.session_shown(&self.sessions[at])))
            }
            Call::Close(life, request_id) => {
                if let Some(answer) = self.replay(request_id.as_ref(), now)? {
                    return Ok(answer);
                }
                let at = self.living(life);
                let at = at.map_err(|cause| refused(None, life.id.as_str(), cause))?;
                let key_count = self.session_shown(&self.sessions[at]).key_count;
                let mut after = self.clone();
                after.end_session(at);
                let answer = Answer::Closed(CloseOutcome {
                    key_count,
                    revision: after.revision,
                    create_revision: life.create_revision,
                    replayed: false,
                });
                self.settle(after, request_id.as_ref(), &answer, now);
                Ok(answer)
            }
            Call::Define(define) => {
                let name = define.machine.name.as_str();
                let answer = self.define(define);
                answer
                    .map(Answer::Machine)
                    .map_err(|cause| refused(None, name, cause))
            }
            Call::Undefine(name) => {
                let answer = self.undefine(name);
                answer
                    .map(Answer::Revision)
                    .map_err(|cause| refused(None, name.as_str(), cause))
            }
        }
    }

    /// What was answered to a request before. If it is new, there must be room for it.
    fn replay(&self, request_id: Option<&RequestId>, now: Time) -> Result<Option<Answer>, Refused> {
        let Some(request_id) = request_id else {
            return Ok(None);
        };
        let refused = |cause| {
            Err(Refused {
                index: None,
                subject: request_id.id.clone(),
                cause,
            })
        };
        for (_, before, answer) in &self.answers {
            if before.id == request_id.id {
                if before.fingerprint != request_id.fingerprint {
                    return refused(Cause::RequestIdReused);
                }
                return Ok(Some(super::again(Ok(answer.clone())).unwrap()));
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
        Ok(None)
    }

    /// Takes over what a call has led to, and remembers its answer.
    fn settle(&mut self, after: Self, request_id: Option<&RequestId>, answer: &Answer, now: Time) {
        *self = after;
        self.record();
        if let Some(request_id) = request_id {
            self.answers.push((now, request_id.clone(), answer.clone()));
        }
    }

    /// Writes down what the keys are at this revision, and which events led there.
    fn record(&mut self) {
        let (before, lines) = self.past.last().unwrap().clone();
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
                entry: find(&self.lines, &key),
                previous: find(&lines, &key),
                key,
            }));
        }
        if before < self.revision {
            self.past.push((self.revision, Rc::new(self.lines())));
        }
    }

    /// One operation that stands alone.
    fn one(
        &mut self,
        operation: &Operation,
        request_id: Option<&RequestId>,
        budget: &mut Room,
        now: Time,
    ) -> Result<Outcome, Refused> {
        let refused = |subject: &Key, cause| Refused {
            index: None,
            subject: subject.clone(),
            cause,
        };
        if let (Some(request_id), Some(answer)) = (request_id, self.replay(request_id, now)?) {
            let Answer::One(outcome) = answer else {
                panic!("only an operation has its content");
            };
            budget
                .show(super::shown_bytes(&outcome) as u64)
                .map_err(|cause| refused(&request_id.id, cause))?;
            return Ok(outcome);
        }
        let mut after = self.clone();
        let outcome = after
            .step(operation, self.revision + 1, budget, now)
            .map_err(|cause| refused(key_of(operation), cause))?;
        self.settle(after, request_id, &Answer::One(outcome.clone()), now);
        Ok(outcome)
    }

    /// Does one operation, to change something at `revision`.
    fn step(
        &mut self,
        operation: &Operation,
        revision: Revision,
        budget: &mut Room,
        now: Time,
    ) -> Done<Outcome> {
        let key = key_of(operation);
        let present = self.line(key);
        let created = present
            .as_ref()
            .map_or(revision, |entry| entry.create_revision);
        let shown = present.as_ref().map(|entry| self.shown(entry));
        let mut show = || {
            budget.show(present.as_ref().map_or(0, |entry| len(&entry.value)))?;
            Ok(shown.clone())
        };
        match operation {
            Operation::Read(Read { expect, .. }) => {
                meets(present.as_ref(), expect.as_deref())?;
                Ok(Outcome::Read(ReadOutcome {
                    entry: show()?,
                    revision: self.revision,
                }))
            }
            Operation::Write(Write { value, options, .. }) => {
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
                let key_state = self.key_state(key, present.as_ref(), now);
                let entry = line(value, revision, created, lifetime, key_state);
                let used = self.fits(key, &entry)?;
                let previous = match options.shows {
                    WriteShows::Revisions => None,
                    WriteShows::Previous => show()?,
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
            Operation::Add(Add { delta, options, .. }) => {
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
                let outcome = |revision| {
                    Outcome::Add(AddOutcome {
                        revision,
                        create_revision: created,
                        value: after,
                        applied: applied.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
                        replayed: false,
                    })
                };
                if present.is_some() && applied == 0 {
                    return Ok(outcome(self.revision));
                }
                let key_state = self.key_state(key, present.as_ref(), now);
                let entry = line(Value::Int(after), revision, created, lifetime, key_state);
                self.fits(key, &entry)?;
                self.set(key, Some(entry), revision, ChangeCause::Written);
                Ok(outcome(revision))
            }
            Operation::Transition(Transition { to, options, .. }) => {
                let options = options.as_deref().cloned().unwrap_or_default();
                meets(present.as_ref(), options.expect.as_ref())?;
                let present = present.as_ref().ok_or(Cause::KeyNotFound)?;
                let key_state = present.key_state().ok_or(Cause::NoMachine)?;
                let allowed = self
                    .state(key_state)
                    .next
                    .iter()
                    .cloned()
                    .collect::<Vec<_>>();
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
                let entry = line(value, revision, created, lifetime, Some(moved));
                self.fits(key, &entry)?;
                let from = key_state.state.clone();
                self.set(key, Some(entry), revision, ChangeCause::Transitioned);
                Ok(Outcome::Transition(TransitionOutcome {
                    revision,
                    create_revision: created,
                    from,
                    replayed: false,
                }))
            }
            Operation::Delete(Delete { expect, .. }) => {
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
                let previous = show()?;
                if previous.is_some() {
                    self.set(key, None, revision, ChangeCause::Deleted);
                }
                Ok(Outcome::Delete(DeleteOutcome {
                    revision: self.revision,
                    previous: previous.map(Box::new),
                    replayed: false,
                }))
            }
        }
    }

    pub(super) fn usage(&self, oldest_revision: Revision) -> Usage {
        Usage {
            revision: self.revision,
            oldest_revision,
            key_count: self.lines.len(),
            used_bytes: self.used(),
            session_count: self.sessions.len(),
            machine_count: self.machines.len(),
            request_id_count: self.answers.len(),
        }
    }

    /// The keys in order.
    pub(super) fn lines(&self) -> Lines {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|(key, _)| key.clone());
        lines
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

    /// The entries of a page, and whether there are more: as many as fit, but one at least.
    pub(super) fn page(&self, list: &List) -> (Vec<(Key, Entry)>, bool) {
        let mut lines = self.lines();
        lines.retain(|(key, _)| key.as_str().starts_with(&list.prefix));
        lines.retain(|(key, _)| {
            list.after
                .as_ref()
                .is_none_or(|after| key.as_str() > after.as_str())
        });
        let size = |(key, entry): &(Key, Entry)| match list.shows {
            ListShows::Entries => key.as_str().len() + len(&entry.value) as usize,
            ListShows::Keys => key.as_str().len(),
        };
        let fits = |count: &usize| {
            let bytes: usize = lines[..*count].iter().map(size).sum();
            *count <= list.page_size && (*count <= 1 || bytes <= list.page_bytes)
        };
        let count = (0..=lines.len()).rev().find(fits).unwrap();
        let more = count < lines.len();
        lines.truncate(count);
        for (_, entry) in &mut lines {
            *entry = self.shown(entry);
        }
        (lines, more)
    }

    fn line(&self, key: &Key) -> Option<Entry> {
        find(&self.lines, key)
    }

    fn set(&mut self, key: &Key, entry: Option<Entry>, revision: Revision, cause: ChangeCause) {
        self.lines.retain(|(other, _)| other != key);
        self.lines.extend(entry.map(|entry| (key.clone(), entry)));
        self.revision = revision;
        self.touched.push((key.clone(), cause));
    }

    fn used(&self) -> u64 {
        self.lines.iter().map(|(key, entry)| size(key, entry)).sum()
    }

    /// What the store would hold with this entry. Only growth is refused.
    fn fits(&self, key: &Key, entry: &Entry) -> Done<u64> {
        let others = self.lines.iter().filter(|(other, _)| other != key);
        let others: u64 = others.map(|(key, entry)| size(key, entry)).sum();
        let actual = others + size(key, entry);
        let limit = self.limits.store_bytes;
        if actual > limit && actual > self.used() {
            return Err(Cause::StoreFull { limit, actual });
        }
        Ok(actual)
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
                let living = self.sessions.iter().find(|session| session.id == *id);
                let living = living.ok_or(Cause::SessionNotFound { id: id.clone() })?;
                let create_revision = create_revision.unwrap_or(living.create_revision);
                let at = self.living(&SessionLife {
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

    /// Which of the sessions is meant.
    fn living(&self, life: &SessionLife) -> Done<usize> {
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
            key_count: self.lines.iter().filter(|(_, entry)| of_it(entry)).count(),
            ..session.clone()
        }
    }

    /// Where a key stands after a write.
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
        line(
            value,
            revision,
            create_revision,
            entry.lifetime().cloned(),
            key_state,
        )
    }
}

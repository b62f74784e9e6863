//! A model of the machine, written from the contract and not from the machine: lists of everything, looked through from
//! the front, copied whole before each call and thrown away where the call is refused.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::{
    Add, AddOutcome, AllOutcome, Attached, Beyond, Cause, ChangeCause, CloseOutcome, Condition,
    DefineMachine, Delete, DeleteOutcome, Entry, Key, Lifetime, List, ListShows, LivingSession,
    Machine, Mismatch, Name, OpenOutcome, OpenSession, Operation, Outcome, Place, Purpose, Read,
    ReadOutcome, RefusedMove, Request, Revision, Session, SessionLife, SetLifetime, State,
    StoreLimits, Stranded, Time, Transition, TransitionOutcome, Usage, Value, Write, WriteAnswer,
    WriteOutcome,
};
use super::{Answer, Call, Refused};

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
    answers: Vec<(Time, Request, Answer)>,
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

/// The order of what is due at the same time: kind, machine and state, since when, name.
type DueOrder = (u8, Vec<Key>, Time, Key);

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
            Call::One(operation, named) => {
                let mut room = Room::of(usize::MAX);
                let answer = self.one(operation, named.as_ref(), &mut room, now);
                answer.map(Answer::One)
            }
            Call::Each(operations, bytes_max) => {
                let mut room = Room::of(*bytes_max);
                let results = operations
                    .iter()
                    .map(|(operation, named)| self.one(operation, named.as_ref(), &mut room, now))
                    .collect();
                Ok(Answer::Each(results, self.revision, room.shown as usize))
            }
            Call::All(operations, named, bytes_max) => {
                if let Some(answer) = self.replay(named.as_ref(), now)? {
                    let (Answer::All(all), Some(named)) = (&answer, named) else {
                        panic!("only a batch has its content");
                    };
                    let fits = Room::of(*bytes_max).show(all.answer_bytes as u64);
                    return fits
                        .map(|()| answer.clone())
                        .map_err(|cause| refused(None, named.id.as_str(), cause));
                }
                let mut room = Room::of(*bytes_max);
                let mut after = self.clone();
                let mut outcomes = Vec::new();
                for (index, operation) in operations.iter().enumerate() {
                    let revision = self.revision + 1;
                    match after.step(operation, revision, &mut room, now) {
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
                    answer_bytes: room.shown as usize,
                    replayed: false,
                });
                self.settle(after, named.as_ref(), &answer, now);
                Ok(answer)
            }
            Call::Open(open, named) => {
                if let Some(answer) = self.replay(named.as_ref(), now)? {
                    return Ok(answer);
                }
                let mut after = self.clone();
                let answer = after.open(open, now);
                let answer = answer.map_err(|cause| refused(None, open.id.as_str(), cause))?;
                self.settle(after, named.as_ref(), &answer, now);
                Ok(answer)
            }
            Call::Renew(life) => {
                let at = self.living(life);
                let at = at.map_err(|cause| refused(None, life.id.as_str(), cause))?;
                self.sessions[at].ends = now + self.sessions[at].ttl;
                Ok(Answer::Session(self.session_shown(&self.sessions[at])))
            }
            Call::Close(life, named) => {
                if let Some(answer) = self.replay(named.as_ref(), now)? {
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
                self.settle(after, named.as_ref(), &answer, now);
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
    fn replay(&self, named: Option<&Request>, now: Time) -> Result<Option<Answer>, Refused> {
        let Some(named) = named else {
            return Ok(None);
        };
        let refused = |cause| {
            Err(Refused {
                index: None,
                subject: named.id.clone(),
                cause,
            })
        };
        for (_, before, answer) in &self.answers {
            if before.id == named.id {
                if before.fingerprint != named.fingerprint {
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
    fn settle(&mut self, after: Self, named: Option<&Request>, answer: &Answer, now: Time) {
        *self = after;
        self.record();
        if let Some(named) = named {
            self.answers.push((now, named.clone(), answer.clone()));
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
        named: Option<&Request>,
        room: &mut Room,
        now: Time,
    ) -> Result<Outcome, Refused> {
        let refused = |subject: &Key, cause| Refused {
            index: None,
            subject: subject.clone(),
            cause,
        };
        if let (Some(named), Some(answer)) = (named, self.replay(named, now)?) {
            let Answer::One(outcome) = answer else {
                panic!("only an operation has its content");
            };
            room.show(super::shown_bytes(&outcome) as u64)
                .map_err(|cause| refused(&named.id, cause))?;
            return Ok(outcome);
        }
        let mut after = self.clone();
        let outcome = after
            .step(operation, self.revision + 1, room, now)
            .map_err(|cause| refused(key_of(operation), cause))?;
        self.settle(after, named, &Answer::One(outcome.clone()), now);
        Ok(outcome)
    }

    /// Does one operation, to change something at `revision`.
    fn step(
        &mut self,
        operation: &Operation,
        revision: Revision,
        room: &mut Room,
        now: Time,
    ) -> Done<Outcome> {
        let key = key_of(operation);
        let present = self.line(key);
        let created = present
            .as_ref()
            .map_or(revision, |entry| entry.create_revision);
        let shown = present.as_ref().map(|entry| self.shown(entry));
        let mut show = || {
            room.show(present.as_ref().map_or(0, |entry| len(&entry.value)))?;
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
            Operation::Write(Write { value, terms, .. }) => {
                let terms = terms.as_deref().cloned().unwrap_or_default();
                meets(present.as_ref(), terms.expect.as_ref())?;
                let value = match (value, &present) {
                    (Some(value), _) => value.clone(),
                    (None, Some(present)) => present.value.clone(),
                    (None, None) => return Err(Cause::KeyNotFound),
                };
                let lifetime = match &terms.lifetime {
                    SetLifetime::Keep => present.as_ref().and_then(|e| e.lifetime().cloned()),
                    other => self.new_lifetime(other, now)?,
                };
                let place = self.place(key, present.as_ref(), now);
                let entry = line(value, revision, created, lifetime, place);
                let used = self.fits(key, &entry)?;
                let previous = match terms.answer {
                    WriteAnswer::Revisions => None,
                    WriteAnswer::Previous => show()?,
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
            Operation::Add(Add { delta, terms, .. }) => {
                let terms = terms.as_deref().cloned().unwrap_or_default();
                meets(present.as_ref(), terms.expect.as_ref())?;
                let lifetime = match &present {
                    Some(present) => present.lifetime().cloned(),
                    None => self.new_lifetime(&terms.lifetime, now)?,
                };
                let before = match present.as_ref().map(|entry| &entry.value) {
                    None => 0,
                    Some(Value::Int(int)) => *int,
                    Some(Value::Text(_)) => return Err(Cause::NotAnInt { kind: "text" }),
                    Some(Value::Bytes(_)) => return Err(Cause::NotAnInt { kind: "bytes" }),
                };
                let saturate = terms.bounds.beyond == Beyond::Saturate;
                let (min, max) = (terms.bounds.min, terms.bounds.max);
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
                let place = self.place(key, present.as_ref(), now);
                let entry = line(Value::Int(after), revision, created, lifetime, place);
                self.fits(key, &entry)?;
                self.set(key, Some(entry), revision, ChangeCause::Written);
                Ok(outcome(revision))
            }
            Operation::Transition(Transition { to, terms, .. }) => {
                let terms = terms.as_deref().cloned().unwrap_or_default();
                meets(present.as_ref(), terms.expect.as_ref())?;
                let present = present.as_ref().ok_or(Cause::KeyNotFound)?;
                let place = present.place().ok_or(Cause::NoMachine)?;
                let allowed = self.state(place).next.iter().cloned().collect::<Vec<_>>();
                if !allowed.contains(to) {
                    return Err(Cause::TransitionRefused(Box::new(RefusedMove {
                        machine: place.machine.clone(),
                        from: place.state.clone(),
                        to: Some(to.clone()),
                        allowed,
                    })));
                }
                let value = terms.value.unwrap_or_else(|| present.value.clone());
                let moved = Place {
                    state: to.clone(),
                    since: now,
                    ..place.clone()
                };
                let lifetime = present.lifetime().cloned();
                let entry = line(value, revision, created, lifetime, Some(moved));
                self.fits(key, &entry)?;
                let from = place.state.clone();
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
                if let Some(place) = present.as_ref().and_then(Entry::place) {
                    let state = self.state(place);
                    if !(state.next.is_empty() && state.timeout.is_none()) {
                        return Err(Cause::StateNotFinal(Box::new(RefusedMove {
                            machine: place.machine.clone(),
                            from: place.state.clone(),
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

    fn open(&mut self, open: &OpenSession, now: Time) -> Done<Answer> {
        let before = self.sessions.iter().position(|s| s.id == open.id);
        let taken_over = before.map(|at| self.sessions[at].create_revision);
        if let (Some(create_revision), LivingSession::Refuse) = (taken_over, open.living) {
            return Err(Cause::SessionExists { create_revision });
        }
        match before {
            Some(at) => {
                self.end_session(at);
                self.record();
            }
            None if self.sessions.len() >= self.limits.sessions => {
                return Err(Cause::TooMany {
                    what: "sessions",
                    limit: self.limits.sessions,
                });
            }
            None => {}
        }
        self.revision += 1;
        let session = Session {
            id: open.id.clone(),
            ttl: open.ttl,
            ends: now + open.ttl,
            create_revision: self.revision,
            key_count: 0,
        };
        self.sessions.push(session.clone());
        Ok(Answer::Opened(OpenOutcome {
            session,
            taken_over,
            replayed: false,
        }))
    }

    fn end_session(&mut self, at: usize) {
        let Session {
            id,
            create_revision,
            ..
        } = self.sessions.remove(at);
        self.revision += 1;
        for (key, entry) in self.lines() {
            if entry.lifetime()
                == Some(&Lifetime::Session {
                    id: id.clone(),
                    create_revision,
                })
            {
                self.set(&key, None, self.revision, ChangeCause::SessionEnded);
            }
        }
    }

    fn define(&mut self, define: &DefineMachine) -> Done<Machine> {
        let DefineMachine {
            machine,
            expect,
            purpose,
        } = define;
        let at = self.machines.iter().position(|m| m.name == machine.name);
        let before = at.map(|at| self.machines[at].clone());
        let revision = before.as_ref().map_or(0, |before| before.revision);
        match (expect, &before) {
            (Some(Condition::Exists(true)), None) => return Err(Cause::MachineNotFound),
            (Some(Condition::Exists(false)), Some(_)) => {
                return Err(Cause::MachineExists { revision });
            }
            (Some(Condition::Revision(expected)), _) if *expected != revision => {
                return Err(Cause::MachineChanged {
                    expected: *expected,
                    actual: revision,
                });
            }
            _ => {}
        }
        let answered = |revision| Machine {
            revision,
            ..machine.clone()
        };
        let same = before.as_ref() == Some(&answered(revision));
        if !same {
            self.definable(machine, before.as_ref())?;
        }
        match purpose {
            Purpose::Validate => Ok(answered(0)),
            Purpose::Define if same => Ok(answered(revision)),
            Purpose::Define => {
                self.machines.retain(|other| other.name != machine.name);
                self.revision += 1;
                self.machines.push(answered(self.revision));
                self.record();
                Ok(answered(self.revision))
            }
        }
    }

    fn definable(&self, machine: &Machine, before: Option<&Machine>) -> Done<()> {
        let limit = self.limits.machines;
        if before.is_none() && self.machines.len() >= limit {
            return Err(Cause::TooMany {
                what: "machines",
                limit,
            });
        }
        let prefix = machine.key_prefix.as_str();
        let taken = self
            .machines
            .iter()
            .filter(|other| other.name != machine.name)
            .filter(|other| {
                let other = other.key_prefix.as_str();
                other.starts_with(prefix) || prefix.starts_with(other)
            })
            .min_by_key(|other| &other.key_prefix);
        if let Some(other) = taken {
            return Err(Cause::PrefixTaken {
                machine: other.name.clone(),
                key_prefix: other.key_prefix.clone(),
            });
        }
        let moves_on = before.is_some_and(|before| before.key_prefix == machine.key_prefix);
        self.stranded(before, |state| {
            moves_on && machine.states.contains_key(state)
        })?;
        let below: Vec<_> = self
            .lines()
            .into_iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .collect();
        if let (false, Some((example, _))) = (moves_on, below.first()) {
            return Err(Cause::EntriesInState(Box::new(Stranded {
                count: below.len(),
                example: example.clone(),
                state: None,
            })));
        }
        let mut reached = vec![machine.initial.clone()];
        for (_, entry) in &self.lines {
            let place = entry.place().filter(|place| place.machine == machine.name);
            reached.extend(place.map(|place| place.state.clone()));
        }
        for _ in &machine.states {
            for state in reached.clone() {
                let state = &machine.states[&state];
                reached.extend(state.next.iter().cloned());
                reached.extend(state.timeout.iter().map(|timeout| timeout.next.clone()));
            }
            reached.sort();
            reached.dedup();
        }
        let unreachable = machine.states.keys().find(|state| !reached.contains(state));
        unreachable.map_or(Ok(()), |state| {
            Err(Cause::StateUnreachable {
                state: state.clone(),
            })
        })
    }

    /// Refuses if a key of the machine is in a state in which it cannot be left.
    fn stranded(&self, machine: Option<&Machine>, may_stay: impl Fn(&Name) -> bool) -> Done<()> {
        let mut stranded: Vec<_> = self
            .lines
            .iter()
            .filter_map(|(key, entry)| {
                let place = entry.place()?;
                let of_machine = machine.is_some_and(|machine| machine.name == place.machine);
                let left = of_machine && !may_stay(&place.state);
                left.then(|| (place.state.clone(), place.since, key.clone()))
            })
            .collect();
        stranded.sort();
        let Some((state, _, example)) = stranded.first().cloned() else {
            return Ok(());
        };
        Err(Cause::EntriesInState(Box::new(Stranded {
            count: stranded.iter().filter(|other| other.0 == state).count(),
            example,
            state: Some(state),
        })))
    }

    fn undefine(&mut self, name: &Name) -> Done<Revision> {
        let machine = self.machines.iter().find(|machine| machine.name == *name);
        let machine = machine.cloned().ok_or(Cause::MachineNotFound)?;
        self.stranded(Some(&machine), |state| {
            let state = &machine.states[state];
            state.next.is_empty() && state.timeout.is_none()
        })?;
        self.revision += 1;
        self.machines.retain(|machine| machine.name != *name);
        for (_, entry) in &mut self.lines {
            if entry.place().is_some_and(|place| place.machine == *name) {
                let bare = entry.clone();
                let lifetime = bare.lifetime().cloned();
                *entry = line(
                    bare.value,
                    bare.revision,
                    bare.create_revision,
                    lifetime,
                    None,
                );
            }
        }
        self.record();
        Ok(self.revision)
    }

    /// Lets everything happen that is due, one thing after another.
    pub(super) fn advance(&mut self, now: Time) {
        while let Some((_, _, what)) = self.due().into_iter().find(|(due, ..)| *due <= now) {
            match what {
                Due::Session(at) => self.end_session(at),
                Due::Key(key) => {
                    self.revision += 1;
                    self.set(&key, None, self.revision, ChangeCause::Expired);
                }
                Due::State(key, to) => {
                    self.revision += 1;
                    let entry = self.line(&key).unwrap();
                    let place = entry.place().cloned().map(|place| Place {
                        state: to,
                        since: now,
                        ..place
                    });
                    let lifetime = entry.lifetime().cloned();
                    let created = entry.create_revision;
                    let moved = line(entry.value, self.revision, created, lifetime, place);
                    self.set(&key, Some(moved), self.revision, ChangeCause::TimedOut);
                }
            }
            self.record();
        }
        let window = self.limits.request_id_window;
        self.answers.retain(|(at, ..)| *at + window > now);
    }

    /// What is going to happen, in order: by time, then by kind, then by name.
    fn due(&self) -> Vec<(Time, DueOrder, Due)> {
        let mut due = Vec::new();
        for (at, session) in self.sessions.iter().enumerate() {
            let order = (0, vec![], Time::MIN, session.id.clone());
            due.push((session.ends, order, Due::Session(at)));
        }
        for (key, entry) in &self.lines {
            if let Some(Lifetime::Ttl { ends, .. }) = entry.lifetime() {
                let order = (1, vec![], Time::MIN, key.clone());
                due.push((*ends, order, Due::Key(key.clone())));
            }
            if let Some(place) = entry.place()
                && let Some(timeout) = &self.state(place).timeout
            {
                let of = vec![place.machine.clone(), place.state.clone()];
                let order = (2, of, place.since, key.clone());
                let what = Due::State(key.clone(), timeout.next.clone());
                due.push((place.since + timeout.after, order, what));
            }
        }
        due.sort_by_key(|(due, order, _)| (*due, order.clone()));
        due
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let first = self.due().into_iter().map(|(due, ..)| due).next();
        let window = self.limits.request_id_window;
        let forget = self.answers.iter().map(|(at, ..)| *at + window).min();
        match (first, forget) {
            (Some(first), Some(forget)) => Some(first.min(forget)),
            (one, other) => one.or(other),
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
    fn place(&self, key: &Key, present: Option<&Entry>, now: Time) -> Option<Place> {
        if let Some(present) = present {
            return present.place().cloned();
        }
        let mut machines = self.machines.iter();
        let machine = machines.find(|m| key.as_str().starts_with(m.key_prefix.as_str()))?;
        Some(Place {
            machine: machine.name.clone(),
            state: machine.initial.clone(),
            since: now,
            timeout_at: None,
        })
    }

    fn state(&self, place: &Place) -> &State {
        let mut machines = self.machines.iter();
        let machine = machines.find(|machine| machine.name == place.machine);
        &machine.unwrap().states[&place.state]
    }

    fn shown(&self, entry: &Entry) -> Entry {
        let place = entry.place().cloned().map(|place| Place {
            timeout_at: self
                .state(&place)
                .timeout
                .as_ref()
                .map(|timeout| place.since + timeout.after),
            ..place
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
            place,
        )
    }
}

enum Due {
    Session(usize),
    Key(Key),
    State(Key, Name),
}

fn find(lines: &[(Key, Entry)], key: &Key) -> Option<Entry> {
    let line = lines.iter().find(|(other, _)| other == key);
    line.map(|(_, entry)| entry.clone())
}

fn line(
    value: Value,
    revision: Revision,
    create_revision: Revision,
    lifetime: Option<Lifetime>,
    place: Option<Place>,
) -> Entry {
    let attached = match (lifetime, place) {
        (None, None) => None,
        (lifetime, place) => Some(Arc::new(Attached { lifetime, place })),
    };
    Entry {
        value,
        revision,
        create_revision,
        attached,
    }
}

fn key_of(operation: &Operation) -> &Key {
    match operation {
        Operation::Read(Read { key, .. })
        | Operation::Write(Write { key, .. })
        | Operation::Add(Add { key, .. })
        | Operation::Transition(Transition { key, .. })
        | Operation::Delete(Delete { key, .. }) => key,
    }
}

fn len(value: &Value) -> u64 {
    match value {
        Value::Int(_) => 8,
        Value::Text(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
    }
}

fn size(key: &Key, entry: &Entry) -> u64 {
    let attached = if entry.attached.is_some() { 128 } else { 0 };
    key.as_str().len() as u64 + len(&entry.value) + 64 + attached
}

fn meets(entry: Option<&Entry>, condition: Option<&Condition>) -> Done<()> {
    let Some(condition) = condition else {
        return Ok(());
    };
    let holds = match condition {
        Condition::Exists(true) if entry.is_none() => return Err(Cause::KeyNotFound),
        Condition::Exists(false) if entry.is_some() => {
            let revision = entry.unwrap().revision;
            return Err(Cause::KeyExists { revision });
        }
        Condition::Exists(_) => true,
        Condition::Revision(0) | Condition::CreateRevision(0) => entry.is_none(),
        Condition::Revision(revision) => entry.is_some_and(|e| e.revision == *revision),
        Condition::CreateRevision(created) => entry.is_some_and(|e| e.create_revision == *created),
        Condition::Value(value) => entry.is_some_and(|entry| entry.value == *value),
        Condition::Session(session) => entry.is_some_and(|entry| match entry.lifetime() {
            Some(Lifetime::Session { id, .. }) => session.as_ref() == Some(id),
            _ => session.is_none(),
        }),
        Condition::State(state) => {
            let actual = entry
                .and_then(Entry::place)
                .map(|place| place.state.clone());
            if actual.as_ref() == Some(state) {
                return Ok(());
            }
            return Err(Cause::StateMismatch {
                expected: state.clone(),
                actual,
            });
        }
    };
    if holds {
        return Ok(());
    }
    Err(Cause::ExpectationFailed(Box::new(Mismatch {
        expected: condition.clone(),
        actual: entry.cloned(),
    })))
}

fn sum(value: i64, delta: i64, min: Option<i64>, max: Option<i64>, saturate: bool) -> Done<i64> {
    let exact = i128::from(value) + i128::from(delta);
    let past = |bound, limit| Cause::BoundReached {
        bound,
        limit,
        value,
        delta,
    };
    if saturate {
        let low = i128::from(min.unwrap_or(i64::MIN));
        let high = i128::from(max.unwrap_or(i64::MAX));
        return Ok(exact.min(high).max(low) as i64);
    }
    if let Some(max) = max
        && delta > 0
        && exact > max.into()
    {
        return Err(past("max", max));
    }
    if let Some(min) = min
        && delta < 0
        && exact < min.into()
    {
        return Err(past("min", min));
    }
    if exact > i64::MAX.into() || exact < i64::MIN.into() {
        return Err(Cause::Overflow { value, delta });
    }
    Ok(exact as i64)
}

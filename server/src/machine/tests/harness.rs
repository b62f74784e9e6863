//! Calls and their answers as data, and tables of them that are checked against the state machine.

use super::*;

/// A call of the state machine.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// One operation, by its own method.
    One(Operation, Option<RequestId>),
    Each(Vec<(Operation, Option<RequestId>)>, usize),
    All(Vec<Operation>, Option<RequestId>, usize),
    Open(OpenSession, Option<RequestId>),
    Renew(SessionLife),
    Close(SessionLife, Option<RequestId>),
    Define(DefineMachine),
    Undefine(DeleteMachine),
    DeletePrefix(DeletePrefix, Option<RequestId>),
}

impl From<Operation> for Call {
    fn from(operation: Operation) -> Self {
        Self::One(operation, None)
    }
}

impl Call {
    pub(super) fn with_id(self, id: &str, content: u128) -> Self {
        let request_id = Some(request_id(id, content));
        match self {
            Self::One(operation, _) => Self::One(operation, request_id),
            Self::All(operations, _, budget) => Self::All(operations, request_id, budget),
            Self::Open(open, _) => Self::Open(open, request_id),
            Self::Close(life, _) => Self::Close(life, request_id),
            Self::DeletePrefix(delete, _) => Self::DeletePrefix(delete, request_id),
            other => panic!("{other:?} takes no request id"),
        }
    }
}

/// An operation with a request id.
pub(super) fn with_id(id: &str, content: u128, operation: Operation) -> Call {
    Call::from(operation).with_id(id, content)
}

pub(super) fn all<const N: usize>(operations: [Operation; N]) -> Call {
    Call::All(operations.into(), None, ALL)
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    One(Outcome),
    Each(Vec<Result<Outcome, Refused>>, Revision, usize),
    All(AllOutcome),
    Opened(OpenOutcome),
    Session(Session),
    Closed(CloseOutcome),
    DeletedPrefix(DeletePrefixOutcome),
    Machine(Machine),
    Revision(Revision),
}

/// How a call was refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    /// The index of the refused operation in a frame.
    pub(super) index: Option<usize>,
    /// The key, session, machine or request id that the refusal is about.
    pub(super) subject: Key,
    pub(super) cause: Cause,
}

impl From<Box<Rejection>> for Refused {
    fn from(rejection: Box<Rejection>) -> Self {
        let Rejection { subject, cause } = *rejection;
        Self {
            index: None,
            subject,
            cause,
        }
    }
}

impl From<RejectedAt> for Refused {
    fn from(RejectedAt { index, rejection }: RejectedAt) -> Self {
        Self {
            index,
            ..rejection.into()
        }
    }
}

impl StateMachine {
    pub(super) fn call(&mut self, call: Call, now: Time) -> Result<Answer, Refused> {
        Ok(match call {
            Call::One(operation, request_id) => {
                let request_id = request_id.as_ref();
                Answer::One(match operation {
                    Operation::Read(read) => Outcome::Read(self.read(&read)?),
                    Operation::Write(write) => Outcome::Write(self.write(write, request_id, now)?),
                    Operation::Add(add) => Outcome::Add(self.add(add, request_id, now)?),
                    Operation::Transition(transition) => {
                        Outcome::Transition(self.transition(transition, request_id, now)?)
                    }
                    Operation::Delete(delete) => {
                        Outcome::Delete(self.delete(delete, request_id, now)?)
                    }
                })
            }
            Call::Each(operations, budget) => {
                let (operations, request_id): (Vec<_>, Vec<_>) = operations.into_iter().unzip();
                let request_id: Vec<_> = request_id
                    .into_iter()
                    .enumerate()
                    .filter_map(|(index, request_id)| Some((index, request_id?)))
                    .collect();
                let answer = self.apply_each(operations, &request_id, budget, now);
                let results = answer
                    .results
                    .into_iter()
                    .map(|result| result.map_err(Refused::from))
                    .collect();
                Answer::Each(results, answer.revision, answer.answer_bytes)
            }
            Call::All(operations, request_id, budget) => {
                Answer::All(self.apply_all(operations, request_id.as_ref(), budget, now)?)
            }
            Call::Open(open, request_id) => {
                Answer::Opened(self.open_session(open, request_id.as_ref(), now)?)
            }
            Call::Renew(life) => Answer::Session(self.renew_session(&life, now)?),
            Call::Close(life, request_id) => {
                Answer::Closed(self.close_session(&life, request_id.as_ref(), now)?)
            }
            Call::Define(define) => Answer::Machine(self.define_machine(define)?),
            Call::DeletePrefix(delete, request_id) => {
                let request_id = request_id.as_ref();
                Answer::DeletedPrefix(self.delete_prefix(&delete, request_id, now)?)
            }
            Call::Undefine(delete) => Answer::Revision(self.delete_machine(&delete)?),
        })
    }

    /// The whole state, as text.
    pub(super) fn everything(&self) -> String {
        format!("{self:?}")
    }

    /// Asserts what must hold after every call.
    pub(super) fn assert_consistent(&self) {
        let mut used = 0;
        let mut keys_of_session = BTreeMap::<_, usize>::new();
        let mut keys_in_states = BTreeMap::<_, usize>::new();
        let machines = self.list_machines(None, usize::MAX).items;
        self.entries.assert_consistent();
        for machine in &machines {
            for state in machine.states.keys() {
                keys_in_states.insert((machine.name.clone(), state.clone()), 0);
            }
        }
        for (key, entry) in &self.entries.all() {
            let attached = if entry.attached.is_some() { 128 } else { 0 };
            used += key.as_str().len() + entry.value.byte_len() + 64 + attached;
            assert!(
                0 < entry.create_revision
                    && entry.create_revision <= entry.revision
                    && entry.revision <= self.revision,
                "{key:?}: {entry:?} at {}",
                self.revision
            );
            assert!(
                entry.attached.is_none()
                    || entry.lifetime().is_some()
                    || entry.key_state().is_some(),
                "{key:?} has an empty attachment"
            );
            if let Some(Lifetime::Session {
                id,
                create_revision,
            }) = entry.lifetime()
            {
                let life = (id.clone(), *create_revision);
                *keys_of_session.entry(life).or_default() += 1;
            }
            let covering = machines
                .iter()
                .find(|machine| key.as_str().starts_with(machine.key_prefix.as_str()));
            let key_state = entry.key_state();
            assert_eq!(
                covering.map(|machine| &machine.name),
                key_state.map(|key_state| &key_state.machine)
            );
            if let (Some(machine), Some(key_state)) = (covering, key_state) {
                assert!(machine.states.contains_key(&key_state.state), "{key:?}");
                assert_eq!(key_state.timeout_at, None, "the store keeps no timeout_at");
                let state = (machine.name.clone(), key_state.state.clone());
                *keys_in_states.entry(state).or_default() += 1;
            }
        }
        assert_eq!(self.key_bytes, used as u64);
        let counted = self.keys_in_states();
        let counted = counted.map(|(machine, state, n)| ((machine.clone(), state.clone()), n));
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), keys_in_states);
        for session in self.list_sessions(None, usize::MAX).items {
            let count = keys_of_session.remove(&(session.id.clone(), session.create_revision));
            assert_eq!(session.key_count, count.unwrap_or(0), "{session:?}");
        }
        for ((id, create_revision), _) in keys_of_session {
            assert!(
                self.is_ending(create_revision),
                "{id:?} from {create_revision}"
            );
        }
    }

    /// Asserts that nothing is left in the index when all keys, sessions and machines are removed.
    pub(super) fn assert_index_ends_empty(mut self) {
        for (key, entry) in self.entries.all() {
            self.index.update(&key, entry.attached.as_deref(), None);
            self.entries.remove_key(key.as_str());
        }
        let sessions = self.list_sessions(None, usize::MAX).items;
        for session in sessions {
            assert_eq!(session.key_count, 0, "{session:?}");
            let life = life(session.id.as_str(), session.create_revision);
            self.close_session(&life, None, Time::MIN).unwrap();
        }
        for machine in self.list_machines(None, usize::MAX).items {
            let delete = DeleteMachine {
                revision: None,
                name: machine.name,
                keys: KeysLeft::InFinalStates,
            };
            self.delete_machine(&delete).unwrap();
        }
        assert_eq!(self.index, Index::default());
    }
}

/// A line of a table: a call at a time, and the expected answer.
pub(super) struct Step {
    at: Time,
    call: Call,
    expected: Result<Answer, Cause>,
}

/// A call at a time in milliseconds, after everything that is due by then, and the expected answer.
pub(super) fn at(ms: u64, call: impl Into<Call>, expected: Result<Answer, Cause>) -> Step {
    Step {
        at: at_ms(ms),
        call: call.into(),
        expected,
    }
}

/// A call at the first moment, and the expected answer.
pub(super) fn now(call: impl Into<Call>, expected: Result<Answer, Cause>) -> Step {
    at(0, call, expected)
}

/// Makes the calls of a table one after another, and compares the answers. A refusal must leave no trace.
pub(super) fn check(limits: StoreLimits, steps: impl IntoIterator<Item = Step>) -> StateMachine {
    let mut machine = StateMachine::new(limits);
    take(&mut machine, steps);
    machine
}

pub(super) fn take(machine: &mut StateMachine, steps: impl IntoIterator<Item = Step>) {
    for (step, Step { at, call, expected }) in steps.into_iter().enumerate() {
        machine.advance(at, usize::MAX);
        machine.assert_consistent();
        let before = machine.everything();
        let answer = machine.call(call.clone(), at);
        if answer.is_err() {
            assert_eq!(machine.everything(), before, "step {step}: {call:?}");
        }
        let answer = answer.map_err(|refused| refused.cause);
        assert_eq!(answer, expected, "step {step}: {call:?}");
        machine.assert_consistent();
    }
}

/// Makes calls that must succeed, whatever their answers.
pub(super) fn prepare<const N: usize>(machine: &mut StateMachine, at: u64, calls: [Call; N]) {
    for call in calls {
        machine.call(call, at_ms(at)).unwrap();
    }
}

/// The changes after a revision.
pub(super) fn history(machine: &StateMachine, after: Revision) -> Vec<Change> {
    machine
        .history
        .after(after)
        .map(|kept| kept.change())
        .collect()
}

/// The changes after a revision, a line each: revision, cause, key, values after and before.
pub(super) fn changes(machine: &StateMachine, after: Revision) -> Vec<String> {
    let value = |entry: &Option<Entry>| match entry {
        None => "-".to_owned(),
        Some(entry) => match &entry.value {
            Value::Int(int) => int.to_string(),
            Value::Text(text) => text.to_string(),
            Value::Bytes(bytes) => format!("{bytes:?}"),
        },
    };
    history(machine, after)
        .iter()
        .map(|change| {
            let Change {
                key,
                revision,
                cause,
                entry,
                previous,
                ..
            } = change;
            format!(
                "{revision} {cause:?} {key} {}<{}",
                value(entry),
                value(previous)
            )
        })
        .collect()
}

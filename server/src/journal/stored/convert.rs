//! From the domain to what is kept of it, and back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::machine::{
    self, AddOutcome, AllOutcome, Attached, Change, ChangeCause, CloseOutcome, DeleteOutcome,
    Keeps, OpenOutcome, ReadOutcome, Timeout, TransitionOutcome, WriteOutcome,
};

use super::*;

pub(crate) fn nanos(time: Time) -> u64 {
    span(time.to_epoch())
}

pub(crate) fn time(nanos: u64) -> Time {
    Time::since_epoch(Duration::from_nanos(nanos))
}

fn span(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&machine::Entry> for Entry {
    fn from(entry: &machine::Entry) -> Self {
        let (mut ttl, mut session) = (None, None);
        match entry.lifetime() {
            None => {}
            Some(machine::Lifetime::Ttl { ttl: of, ends }) => {
                ttl = Some(Ttl {
                    ttl: span(*of),
                    ends: nanos(*ends),
                });
            }
            Some(machine::Lifetime::Session {
                id,
                create_revision,
            }) => {
                session = Some(Named {
                    name: id.to_string(),
                    revision: *create_revision,
                });
            }
        }
        Self {
            value: Some(Value {
                kind: Some(match &entry.value {
                    machine::Value::Int(int) => ValueKind::Int(*int),
                    machine::Value::Text(text) => ValueKind::Text(text.as_ref().into()),
                    machine::Value::Bytes(bytes) => ValueKind::Bytes(Bytes::copy_from_slice(bytes)),
                }),
            }),
            revision: entry.revision,
            create_revision: entry.create_revision,
            ttl,
            session,
            place: entry.key_state().map(|place| Place {
                machine: place.machine.to_string(),
                state: place.state.to_string(),
                since: nanos(place.since),
                timeout_at: place.timeout_at.map(nanos),
            }),
        }
    }
}

impl TryFrom<Entry> for machine::Entry {
    type Error = Damaged;

    fn try_from(entry: Entry) -> Result<Self, Damaged> {
        let value = entry.value.and_then(|value| value.kind);
        let lifetime = match (entry.ttl, entry.session) {
            (None, None) => None,
            (Some(Ttl { ttl, ends }), None) => Some(machine::Lifetime::Ttl {
                ttl: Duration::from_nanos(ttl),
                ends: time(ends),
            }),
            (None, Some(session)) => Some(machine::Lifetime::Session {
                id: session.name.into(),
                create_revision: session.revision,
            }),
            (Some(_), Some(_)) => return Err(Damaged("it ends in two ways".into())),
        };
        let key_state = entry.place.map(|place| machine::KeyState {
            machine: place.machine.into(),
            state: place.state.into(),
            since: time(place.since),
            timeout_at: place.timeout_at.map(time),
        });
        Ok(Self {
            value: match value.ok_or_else(|| lacks("value"))? {
                ValueKind::Int(int) => machine::Value::Int(int),
                ValueKind::Text(text) => machine::Value::Text(text.into()),
                ValueKind::Bytes(bytes) => machine::Value::Bytes(bytes.as_ref().into()),
            },
            revision: entry.revision,
            create_revision: entry.create_revision,
            attached: (lifetime.is_some() || key_state.is_some()).then(|| {
                Arc::new(Attached {
                    lifetime,
                    key_state,
                })
            }),
        })
    }
}

impl KeyedEntry {
    pub(crate) fn of(key: &machine::Key, entry: &machine::Entry) -> Self {
        Self {
            key: key.to_string(),
            entry: Some(entry.into()),
        }
    }

    pub(crate) fn into_domain(self) -> Result<(machine::Key, machine::Entry), Damaged> {
        let entry = self.entry.ok_or_else(|| lacks("entry"))?;
        Ok((self.key.into(), entry.try_into()?))
    }
}

impl From<&machine::Effect> for Effect {
    fn from(effect: &machine::Effect) -> Self {
        let named = |name: &machine::Name, revision: &Revision| Named {
            name: name.to_string(),
            revision: *revision,
        };
        Self {
            kind: Some(match effect {
                machine::Effect::Changed(change) => EffectKind::Changed(change.into()),
                machine::Effect::SessionOpened(opened) => EffectKind::SessionOpened(opened.into()),
                machine::Effect::SessionEnded { id, revision } => {
                    EffectKind::SessionEnded(named(id, revision))
                }
                machine::Effect::MachineDefined(machine) => {
                    EffectKind::MachineDefined(machine.into())
                }
                machine::Effect::MachineDeleted { name, revision } => {
                    EffectKind::MachineDeleted(named(name, revision))
                }
                machine::Effect::RequestApplied(answered) => EffectKind::Answered(answered.into()),
            }),
        }
    }
}

impl TryFrom<Effect> for machine::Effect {
    type Error = Damaged;

    fn try_from(effect: Effect) -> Result<Self, Damaged> {
        Ok(match effect.kind.ok_or_else(|| lacks("effect"))? {
            EffectKind::Changed(changed) => Self::Changed(changed.try_into()?),
            EffectKind::SessionOpened(opened) => Self::SessionOpened(opened.into()),
            EffectKind::SessionEnded(named) => Self::SessionEnded {
                id: named.name.into(),
                revision: named.revision,
            },
            EffectKind::MachineDefined(machine) => Self::MachineDefined(machine.into()),
            EffectKind::MachineDeleted(named) => Self::MachineDeleted {
                name: named.name.into(),
                revision: named.revision,
            },
            EffectKind::Answered(answered) => Self::RequestApplied(answered.try_into()?),
        })
    }
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        let cause = match change.cause {
            ChangeCause::Written => Cause::Written,
            ChangeCause::Transitioned => Cause::Transitioned,
            ChangeCause::Deleted => Cause::Deleted,
            ChangeCause::Expired => Cause::Expired,
            ChangeCause::SessionEnded => Cause::SessionEnded,
            ChangeCause::TimedOut => Cause::TimedOut,
        };
        Self {
            key: change.key.to_string(),
            revision: change.revision,
            cause: cause.into(),
            entry: change.entry.as_ref().map(Entry::from),
        }
    }
}

impl TryFrom<Changed> for Change {
    type Error = Damaged;

    fn try_from(changed: Changed) -> Result<Self, Damaged> {
        let cause = match changed.cause() {
            Cause::Unknown => return Err(lacks("cause")),
            Cause::Written => ChangeCause::Written,
            Cause::Transitioned => ChangeCause::Transitioned,
            Cause::Deleted => ChangeCause::Deleted,
            Cause::Expired => ChangeCause::Expired,
            Cause::SessionEnded => ChangeCause::SessionEnded,
            Cause::TimedOut => ChangeCause::TimedOut,
        };
        Ok(Self {
            key: changed.key.into(),
            revision: changed.revision,
            cause,
            entry: changed.entry.map(TryInto::try_into).transpose()?,
            previous: None,
            keeps: Keeps::NoPrevious,
        })
    }
}

impl From<&machine::OpenedSession> for OpenedSession {
    fn from(opened: &machine::OpenedSession) -> Self {
        Self {
            id: opened.id.to_string(),
            ttl: span(opened.ttl),
            create_revision: opened.create_revision,
        }
    }
}

impl From<OpenedSession> for machine::OpenedSession {
    fn from(opened: OpenedSession) -> Self {
        Self {
            id: opened.id.into(),
            ttl: Duration::from_nanos(opened.ttl),
            create_revision: opened.create_revision,
        }
    }
}

impl From<&machine::Machine> for Machine {
    fn from(machine: &machine::Machine) -> Self {
        let state = |(name, state): (&machine::Name, &machine::State)| State {
            name: name.to_string(),
            next: state.next.iter().map(ToString::to_string).collect(),
            timeout: state.timeout.as_ref().map(|timeout| span(timeout.after)),
            timeout_next: state
                .timeout
                .as_ref()
                .map_or_else(String::new, |timeout| timeout.next.to_string()),
        };
        Self {
            name: machine.name.to_string(),
            key_prefix: machine.key_prefix.to_string(),
            initial: machine.initial.to_string(),
            states: machine.states.iter().map(state).collect(),
            revision: machine.revision,
        }
    }
}

impl From<Machine> for machine::Machine {
    fn from(machine: Machine) -> Self {
        let state = |state: State| {
            let timeout = state.timeout.map(|after| Timeout {
                after: Duration::from_nanos(after),
                next: state.timeout_next.into(),
            });
            let next = state.next.into_iter().map(Into::into).collect();
            (state.name.into(), machine::State { next, timeout })
        };
        Self {
            name: machine.name.into(),
            key_prefix: machine.key_prefix.into(),
            initial: machine.initial.into(),
            states: machine.states.into_iter().map(state).collect(),
            revision: machine.revision,
        }
    }
}

impl From<&machine::AppliedRequest> for Answered {
    fn from(applied: &machine::AppliedRequest) -> Self {
        let machine::AppliedRequest {
            at,
            request_id,
            outcome,
        } = applied;
        let answer = match outcome {
            machine::SavedOutcome::One(outcome) => AnswerKind::One(outcome.into()),
            machine::SavedOutcome::All(all) => AnswerKind::All(All {
                outcomes: all.outcomes.iter().map(Outcome::from).collect(),
                revision: all.revision,
                answer_bytes: all.answer_bytes as u64,
            }),
            machine::SavedOutcome::Opened(opened) => AnswerKind::Opened(Opened {
                session: Some(OpenedSession {
                    id: opened.session.id.to_string(),
                    ttl: span(opened.session.ttl),
                    create_revision: opened.session.create_revision,
                }),
                ends: nanos(opened.session.ends),
                taken_over: opened.taken_over,
            }),
            machine::SavedOutcome::Closed(closed) => AnswerKind::Closed(Closed {
                key_count: closed.key_count as u64,
                revision: closed.revision,
                create_revision: closed.create_revision,
            }),
        };
        Self {
            at: nanos(*at),
            request_id: request_id.id.to_string(),
            fingerprint: Bytes::copy_from_slice(&request_id.fingerprint.0.to_le_bytes()),
            answer: Some(answer),
        }
    }
}

impl TryFrom<Answered> for machine::AppliedRequest {
    type Error = Damaged;

    fn try_from(answered: Answered) -> Result<Self, Damaged> {
        let fingerprint = answered.fingerprint.as_ref().try_into();
        let fingerprint = fingerprint.map_err(|_| lacks("fingerprint"))?;
        let outcome = match answered.answer.ok_or_else(|| lacks("answer"))? {
            AnswerKind::One(outcome) => machine::SavedOutcome::One(outcome.try_into()?),
            AnswerKind::All(all) => {
                let outcomes = all.outcomes.into_iter().map(TryInto::try_into);
                machine::SavedOutcome::All(AllOutcome {
                    outcomes: outcomes.collect::<Result<_, _>>()?,
                    revision: all.revision,
                    answer_bytes: all.answer_bytes as usize,
                    replayed: false,
                })
            }
            AnswerKind::Opened(opened) => {
                let session = opened.session.ok_or_else(|| lacks("session"))?;
                machine::SavedOutcome::Opened(OpenOutcome {
                    session: machine::Session {
                        id: session.id.into(),
                        ttl: Duration::from_nanos(session.ttl),
                        ends: time(opened.ends),
                        create_revision: session.create_revision,
                        key_count: 0,
                    },
                    taken_over: opened.taken_over,
                    replayed: false,
                })
            }
            AnswerKind::Closed(closed) => machine::SavedOutcome::Closed(CloseOutcome {
                key_count: closed.key_count as usize,
                revision: closed.revision,
                create_revision: closed.create_revision,
                replayed: false,
            }),
        };
        Ok(Self {
            at: time(answered.at),
            request_id: machine::RequestId {
                id: answered.request_id.into(),
                fingerprint: machine::Fingerprint(u128::from_le_bytes(fingerprint)),
            },
            outcome,
        })
    }
}

impl From<&machine::Outcome> for Outcome {
    fn from(outcome: &machine::Outcome) -> Self {
        let previous = |entry: &Option<Box<machine::Entry>>| entry.as_deref().map(Entry::from);
        let of = |kind: OutcomeKind, revision: Revision| Self {
            kind: kind.into(),
            revision,
            ..Self::default()
        };
        match outcome {
            machine::Outcome::Read(read) => Self {
                entry: read.entry.as_ref().map(Entry::from),
                ..of(OutcomeKind::Read, read.revision)
            },
            machine::Outcome::Write(write) => Self {
                create_revision: write.create_revision,
                entry: previous(&write.previous),
                ..of(OutcomeKind::Write, write.revision)
            },
            machine::Outcome::Add(add) => Self {
                create_revision: add.create_revision,
                value: add.value,
                applied: add.applied,
                ..of(OutcomeKind::Add, add.revision)
            },
            machine::Outcome::Transition(transition) => Self {
                create_revision: transition.create_revision,
                from: transition.from.to_string(),
                ..of(OutcomeKind::Transition, transition.revision)
            },
            machine::Outcome::Delete(delete) => Self {
                entry: previous(&delete.previous),
                ..of(OutcomeKind::Delete, delete.revision)
            },
        }
    }
}

impl TryFrom<Outcome> for machine::Outcome {
    type Error = Damaged;

    fn try_from(outcome: Outcome) -> Result<Self, Damaged> {
        let kind = outcome.kind();
        let Outcome {
            revision,
            create_revision,
            entry,
            value,
            applied,
            from,
            ..
        } = outcome;
        let entry: Option<machine::Entry> = entry.map(TryInto::try_into).transpose()?;
        let replayed = false;
        Ok(match kind {
            OutcomeKind::Unknown => return Err(lacks("outcome")),
            OutcomeKind::Read => Self::Read(ReadOutcome { entry, revision }),
            OutcomeKind::Write => Self::Write(WriteOutcome {
                revision,
                create_revision,
                previous: entry.map(Box::new),
                replayed,
            }),
            OutcomeKind::Add => Self::Add(AddOutcome {
                revision,
                create_revision,
                value,
                applied,
                replayed,
            }),
            OutcomeKind::Transition => Self::Transition(TransitionOutcome {
                revision,
                create_revision,
                from: from.into(),
                replayed,
            }),
            OutcomeKind::Delete => Self::Delete(DeleteOutcome {
                revision,
                previous: entry.map(Box::new),
                replayed,
            }),
        })
    }
}

//! Entries, sessions and machines.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::messages::{
    Entry, KeyState, KeyedEntry, Machine, OpenedSession, SessionLife, State, Ttl, Value, value,
};
use super::{Damaged, duration_nanos, from_nanos, lacks, to_nanos};
use crate::machine::{self, Attached, Timeout};

impl From<&machine::Entry> for Entry {
    fn from(entry: &machine::Entry) -> Self {
        let (mut ttl, mut session) = (None, None);
        match entry.lifetime() {
            None => {}
            Some(machine::Lifetime::Ttl { ttl: of, ends }) => {
                ttl = Some(Ttl {
                    ttl: duration_nanos(*of),
                    ends: to_nanos(*ends),
                });
            }
            Some(machine::Lifetime::Session {
                id,
                create_revision,
            }) => {
                session = Some(SessionLife {
                    id: id.to_string(),
                    create_revision: *create_revision,
                });
            }
        }
        Self {
            value: Some(Value {
                kind: Some(match &entry.value {
                    machine::Value::Int(int) => value::Kind::Int(*int),
                    machine::Value::Text(text) => value::Kind::Text(text.as_ref().into()),
                    machine::Value::Bytes(bytes) => {
                        value::Kind::Bytes(Bytes::copy_from_slice(bytes))
                    }
                }),
            }),
            revision: entry.revision,
            create_revision: entry.create_revision,
            ttl,
            session,
            key_state: entry.key_state().map(|key_state| KeyState {
                machine: key_state.machine.to_string(),
                state: key_state.state.to_string(),
                since: to_nanos(key_state.since),
                timeout_at: key_state.timeout_at.map(to_nanos),
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
                ends: from_nanos(ends),
            }),
            (None, Some(session)) => Some(machine::Lifetime::Session {
                id: session.id.into(),
                create_revision: session.create_revision,
            }),
            (Some(_), Some(_)) => return Err(Damaged("entry has both a ttl and a session".into())),
        };
        let key_state = entry.key_state.map(|stored| machine::KeyState {
            machine: stored.machine.into(),
            state: stored.state.into(),
            since: from_nanos(stored.since),
            timeout_at: stored.timeout_at.map(from_nanos),
        });
        Ok(Self {
            value: match value.ok_or_else(|| lacks("value"))? {
                value::Kind::Int(int) => machine::Value::Int(int),
                value::Kind::Text(text) => machine::Value::Text(text.into()),
                value::Kind::Bytes(bytes) => machine::Value::Bytes(bytes.as_ref().into()),
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
    /// The message of a key and its entry.
    pub(crate) fn of(key: &machine::Key, entry: &machine::Entry) -> Self {
        Self {
            key: key.to_string(),
            entry: Some(entry.into()),
        }
    }

    /// The key and its entry.
    ///
    /// # Errors
    /// [`Damaged`] if no server can have written the entry.
    pub(crate) fn into_domain(self) -> Result<(machine::Key, machine::Entry), Damaged> {
        let entry = self.entry.ok_or_else(|| lacks("entry"))?;
        Ok((self.key.into(), entry.try_into()?))
    }
}

impl From<&machine::OpenedSession> for OpenedSession {
    fn from(opened: &machine::OpenedSession) -> Self {
        Self {
            id: opened.id.to_string(),
            ttl: duration_nanos(opened.ttl),
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
            timeout: state
                .timeout
                .as_ref()
                .map(|timeout| duration_nanos(timeout.after)),
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

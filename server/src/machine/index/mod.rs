//! The index: finds the keys that change without an operation on them, because time passes or a session ends.

mod machines;
mod sessions;

use std::collections::BTreeSet;

pub(crate) use machines::ALLOWED_BYTES;
pub(super) use machines::{DefinedMachine, Machines, machine_bytes};
pub(super) use sessions::{LiveSession, Sessions, session_bytes};

use super::time::Time;
use super::value::{Attached, Key, Lifetime};

/// The sessions, the machines and the ttls, each with its keys. Updated with every change of an entry's lifetime or machine
/// state.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    pub(super) sessions: Sessions,
    pub(super) machines: Machines,
    /// The keys with a ttl, by when they end.
    expiries: BTreeSet<(Time, Key)>,
}

impl Index {
    /// What machines and sessions count towards `used_bytes`.
    pub(super) fn byte_len(&self) -> u64 {
        self.machines.byte_len() + self.sessions.byte_len()
    }

    /// Follows a change of a key's lifetime or machine state.
    pub(super) fn update(
        &mut self,
        key: &Key,
        before: Option<&Attached>,
        after: Option<&Attached>,
    ) {
        let lifetime = |attached: Option<&Attached>| attached.and_then(|a| a.lifetime.clone());
        let (old, new) = (lifetime(before), lifetime(after));
        if old != new {
            match old {
                Some(Lifetime::Ttl { ends, .. }) => {
                    self.expiries.remove(&(ends, key.clone()));
                }
                Some(Lifetime::Session {
                    id,
                    create_revision,
                }) => self.sessions.detach(&id, create_revision, key),
                None => {}
            }
            match new {
                Some(Lifetime::Ttl { ends, .. }) => {
                    self.expiries.insert((ends, key.clone()));
                }
                Some(Lifetime::Session {
                    id,
                    create_revision,
                }) => self.sessions.attach(&id, create_revision, key),
                None => {}
            }
        }
        let (old, new) = (
            before.and_then(|before| before.key_state.as_ref()),
            after.and_then(|after| after.key_state.as_ref()),
        );
        if old != new {
            if let Some(key_state) = old {
                self.machines.remove_key(key_state, key);
            }
            if let Some(key_state) = new {
                self.machines.insert_key(key_state, key);
            }
        }
    }

    /// When the next session, key or state timeout is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        [
            self.sessions.next_due(),
            self.next_expiry(),
            self.machines.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the next ttl ends.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(ends, _)| *ends)
    }

    /// The key whose ttl ends first, if it has ended by now.
    pub(super) fn expired(&self, now: Time) -> Option<&Key> {
        let (ends, key) = self.expiries.first()?;
        (*ends <= now).then_some(key)
    }
}

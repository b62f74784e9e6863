//! Where to find the keys that something else may change: time, a session's end, a timeout.

mod machines;
mod sessions;

use std::collections::BTreeSet;

pub(crate) use machines::ALLOWED_BYTES;
pub(super) use machines::{DefinedMachine, Machines};
pub(super) use sessions::{LiveSession, Sessions};

use super::time::Time;
use super::value::{Attached, Key, Lifetime};

/// StoredChange in step with what hangs on the entries.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    pub(super) sessions: Sessions,
    pub(super) machines: Machines,
    /// The keys that end at a time.
    expiries: BTreeSet<(Time, Key)>,
}

impl Index {
    /// Something else hangs on a key than before.
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

    /// When something is due that time brings.
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

    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(ends, _)| *ends)
    }

    /// The key that ends first, if that is by now.
    pub(super) fn expired(&self, now: Time) -> Option<&Key> {
        let (ends, key) = self.expiries.first()?;
        (*ends <= now).then_some(key)
    }
}

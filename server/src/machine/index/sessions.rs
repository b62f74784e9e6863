//! The live sessions, and the keys that end with each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::machine::effect::OpenedSession;
use crate::machine::operation::Session;
use crate::machine::rejection::Cause;
use crate::machine::time::Time;
use crate::machine::value::{Key, Lifetime, Name, Revision};

/// All live sessions, and the keys of sessions that have ended.
#[derive(Debug, Default, PartialEq)]
pub(in crate::machine) struct Sessions {
    /// What the live sessions count towards `used_bytes`.
    bytes: u64,
    live: BTreeMap<Name, LiveSession>,
    /// The live sessions, by when they end.
    due: BTreeSet<(Time, Name)>,
    /// Keys that still exist although their sessions have ended, by the sessions' create_revisions.
    ending: BTreeMap<Revision, BTreeSet<Key>>,
}

/// What a session counts towards `used_bytes` beyond its id: itself, its part of the indexes, and the allocator's rounding.
const SESSION_OVERHEAD_BYTES: u64 = 256;

/// What a session of this id counts towards `used_bytes`. Its keys count by themselves.
pub(in crate::machine) fn session_bytes(id: &Name) -> u64 {
    SESSION_OVERHEAD_BYTES + id.as_str().len() as u64
}

/// A live session without its id, and its keys.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::machine) struct LiveSession {
    pub(in crate::machine) ttl: Duration,
    pub(in crate::machine) ends: Time,
    pub(in crate::machine) create_revision: Revision,
    pub(in crate::machine) keys: BTreeSet<Key>,
}

impl LiveSession {
    /// The session as the log and copies have it.
    pub(in crate::machine) fn opened(&self, id: &Name) -> OpenedSession {
        OpenedSession {
            id: id.clone(),
            ttl: self.ttl,
            create_revision: self.create_revision,
        }
    }

    /// The session as answers show it.
    pub(in crate::machine) fn show(&self, id: &Name) -> Session {
        Session {
            id: id.clone(),
            ttl: self.ttl,
            ends: self.ends,
            create_revision: self.create_revision,
            key_count: self.keys.len(),
        }
    }
}

impl Sessions {
    pub(in crate::machine) fn len(&self) -> usize {
        self.live.len()
    }

    /// What the live sessions count towards `used_bytes`.
    pub(in crate::machine) fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// When the next session ends; at once if keys of an ended session still exist.
    pub(in crate::machine) fn next_due(&self) -> Option<Time> {
        if self.ending.is_empty() {
            self.due.first().map(|(ends, _)| *ends)
        } else {
            Some(Time::MIN)
        }
    }

    /// The lifetime of a key that is to end with a session.
    ///
    /// # Errors
    /// As for [`life`](Self::life).
    pub(in crate::machine) fn lifetime(
        &self,
        id: &Name,
        create_revision: Option<Revision>,
    ) -> Result<Lifetime, Cause> {
        let create_revision = self.life(id, create_revision)?.create_revision;
        Ok(Lifetime::Session {
            id: id.clone(),
            create_revision,
        })
    }

    /// Adds a key that ends with a session.
    pub(in crate::machine) fn attach(&mut self, id: &Name, create_revision: Revision, key: &Key) {
        let keys = match self.live.get_mut(id.as_str()) {
            Some(live) if live.create_revision == create_revision => &mut live.keys,
            // The rollback of an atomic frame puts back a key whose session had ended before.
            _ => self.ending.entry(create_revision).or_default(),
        };
        keys.insert(key.clone());
    }

    /// Removes a key that ended with a session.
    pub(in crate::machine) fn detach(&mut self, id: &Name, create_revision: Revision, key: &Key) {
        match self.live.get_mut(id.as_str()) {
            Some(live) if live.create_revision == create_revision => {
                live.keys.remove(key);
            }
            _ => {
                if let Some(keys) = self.ending.get_mut(&create_revision) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.ending.remove(&create_revision);
                    }
                }
            }
        }
    }

    /// The live session of this id.
    ///
    /// # Errors
    /// [`Cause::SessionNotFound`], or [`Cause::SessionTakenOver`] if it is not the life that began at `create_revision`.
    pub(in crate::machine) fn life(
        &self,
        id: &Name,
        create_revision: Option<Revision>,
    ) -> Result<&LiveSession, Cause> {
        let Some(live) = self.live.get(id.as_str()) else {
            return Err(Cause::SessionNotFound { id: id.clone() });
        };
        match create_revision {
            Some(expected) if expected != live.create_revision => Err(Cause::SessionTakenOver {
                id: id.clone(),
                expected,
                actual: live.create_revision,
            }),
            _ => Ok(live),
        }
    }

    /// All live sessions, in the order of their ids.
    pub(in crate::machine) fn all(&self) -> impl Iterator<Item = OpenedSession> {
        self.live.iter().map(|(id, live)| live.opened(id))
    }

    /// Restores a session. It does not end before [`renew_all`](Self::renew_all) is called. Returns false, and does nothing,
    /// if a session of that id is live.
    pub(in crate::machine) fn restore(&mut self, opened: OpenedSession) -> bool {
        let OpenedSession {
            id,
            ttl,
            create_revision,
        } = opened;
        if self.live.contains_key(&id) {
            return false;
        }
        let live = LiveSession {
            ttl,
            ends: Time::MAX,
            create_revision,
            keys: BTreeSet::new(),
        };
        self.insert(id, live);
        true
    }

    /// Ends a session in a replay, where the ends of its keys follow as changes. Returns false if no session of that id is
    /// live.
    pub(in crate::machine) fn end_in_replay(&mut self, id: &Name) -> bool {
        if !self.live.contains_key(id) {
            return false;
        }
        let LiveSession {
            create_revision,
            keys,
            ..
        } = self.remove(id);
        if !keys.is_empty() {
            self.ending.insert(create_revision, keys);
        }
        true
    }

    /// The keys of sessions that have ended, by the sessions' create_revisions.
    #[cfg(test)]
    pub(in crate::machine) fn ending(&self) -> &BTreeMap<Revision, BTreeSet<Key>> {
        &self.ending
    }

    /// Gives every session its whole ttl from now.
    pub(in crate::machine) fn renew_all(&mut self, now: Time) {
        self.due.clear();
        for (id, live) in &mut self.live {
            live.ends = now + live.ttl;
            self.due.insert((live.ends, id.clone()));
        }
    }

    /// The live session of this id.
    pub(in crate::machine) fn get(&self, id: &Name) -> Option<&LiveSession> {
        self.live.get(id.as_str())
    }

    /// The live sessions after the id `after`, in the order of their ids.
    pub(in crate::machine) fn after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&Name, &LiveSession)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range::<str, _>((from, Bound::Unbounded))
    }

    /// The session that ends first, if its time is over.
    pub(in crate::machine) fn due(&self, now: Time) -> Option<&Name> {
        let (ends, id) = self.due.first()?;
        (*ends <= now).then_some(id)
    }

    /// Whether keys still exist of an ended session that began at `create_revision`.
    pub(in crate::machine) fn is_ending(&self, create_revision: Revision) -> bool {
        self.ending.contains_key(&create_revision)
    }

    /// Leaves keys of an ended session to be removed later.
    pub(in crate::machine) fn end_later(&mut self, create_revision: Revision, keys: BTreeSet<Key>) {
        self.ending.insert(create_revision, keys);
    }

    /// Takes all keys that one ended session has left, and its create_revision. The oldest session comes first.
    pub(in crate::machine) fn take_ending(&mut self) -> Option<(Revision, BTreeSet<Key>)> {
        self.ending.pop_first()
    }

    /// Adds a live session.
    pub(in crate::machine) fn insert(&mut self, id: Name, live: LiveSession) {
        self.bytes += session_bytes(&id);
        self.due.insert((live.ends, id.clone()));
        self.live.insert(id, live);
    }

    /// Removes a session, which must be live.
    pub(in crate::machine) fn remove(&mut self, id: &Name) -> LiveSession {
        let live = self.live.remove(id.as_str());
        let live = live.expect("the session is live");
        self.bytes -= session_bytes(id);
        self.due.remove(&(live.ends, id.clone()));
        live
    }
}

//! The sessions that live, and which key ends with which.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::machine::effect::OpenedSession;
use crate::machine::operation::Session;
use crate::machine::rejection::Cause;
use crate::machine::time::Time;
use crate::machine::value::{Key, Lifetime, Name, Revision};

/// All sessions, and which key ends with which.
#[derive(Debug, Default, PartialEq)]
pub(in crate::machine) struct Sessions {
    live: BTreeMap<Name, LiveSession>,
    due: BTreeSet<(Time, Name)>,
    /// Keys of sessions that have ended, and which are still there, by the sessions' create_revisions.
    ending: BTreeMap<Revision, BTreeSet<Key>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::machine) struct LiveSession {
    pub(in crate::machine) ttl: Duration,
    pub(in crate::machine) ends: Time,
    pub(in crate::machine) create_revision: Revision,
    pub(in crate::machine) keys: BTreeSet<Key>,
}

impl LiveSession {
    pub(in crate::machine) fn opened(&self, id: &Name) -> OpenedSession {
        OpenedSession {
            id: id.clone(),
            ttl: self.ttl,
            create_revision: self.create_revision,
        }
    }

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

    /// When the next one ends.
    pub(in crate::machine) fn next_due(&self) -> Option<Time> {
        if self.ending.is_empty() {
            self.due.first().map(|(ends, _)| *ends)
        } else {
            Some(Time::MIN)
        }
    }

    /// The lifetime of a key that is to end with a session.
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

    pub(in crate::machine) fn attach(&mut self, id: &Name, create_revision: Revision, key: &Key) {
        let keys = match self.live.get_mut(id.as_str()) {
            Some(live) if live.create_revision == create_revision => &mut live.keys,
            // What a refused batch had taken away from a session that is ending.
            _ => self.ending.entry(create_revision).or_default(),
        };
        keys.insert(key.clone());
    }

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

    /// The session that is meant.
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

    /// All that live, in the order of their names.
    pub(in crate::machine) fn all(&self) -> impl Iterator<Item = OpenedSession> {
        self.live.iter().map(|(id, live)| live.opened(id))
    }

    /// Begins a session again; it has no end until [all are renewed](Self::renew_all). False if it lives already.
    pub(in crate::machine) fn open_again(&mut self, opened: OpenedSession) -> bool {
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

    /// Ends a session again; its keys go one by one. False if there is none.
    pub(in crate::machine) fn end_again(&mut self, id: &Name) -> bool {
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

    /// The keys that are still to end with sessions that have.
    #[cfg(test)]
    pub(in crate::machine) fn ending(&self) -> &BTreeMap<Revision, BTreeSet<Key>> {
        &self.ending
    }

    /// Gives all sessions their whole ttl from now.
    pub(in crate::machine) fn renew_all(&mut self, now: Time) {
        self.due.clear();
        for (id, live) in &mut self.live {
            live.ends = now + live.ttl;
            self.due.insert((live.ends, id.clone()));
        }
    }

    pub(in crate::machine) fn get(&self, id: &Name) -> Option<&LiveSession> {
        self.live.get(id.as_str())
    }

    /// Those after the one of the name `after`, in the order of their names.
    pub(in crate::machine) fn after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&Name, &LiveSession)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range::<str, _>((from, Bound::Unbounded))
    }

    /// The first that is due by now.
    pub(in crate::machine) fn due(&self, now: Time) -> Option<&Name> {
        let (ends, id) = self.due.first()?;
        (*ends <= now).then_some(id)
    }

    /// Whether keys of the session that began at `create_revision`, and has ended, are still there.
    pub(in crate::machine) fn is_ending(&self, create_revision: Revision) -> bool {
        self.ending.contains_key(&create_revision)
    }

    /// Puts aside the keys of a session that has ended.
    pub(in crate::machine) fn end_later(&mut self, create_revision: Revision, keys: BTreeSet<Key>) {
        self.ending.insert(create_revision, keys);
    }

    /// The keys of the first session that has ended and left any.
    pub(in crate::machine) fn take_ending(&mut self) -> Option<(Revision, BTreeSet<Key>)> {
        self.ending.pop_first()
    }

    pub(in crate::machine) fn insert(&mut self, id: Name, live: LiveSession) {
        self.due.insert((live.ends, id.clone()));
        self.live.insert(id, live);
    }

    pub(in crate::machine) fn remove(&mut self, id: &Name) -> LiveSession {
        let live = self.live.remove(id.as_str());
        let live = live.expect("only a live session ends");
        self.due.remove(&(live.ends, id.clone()));
        live
    }
}

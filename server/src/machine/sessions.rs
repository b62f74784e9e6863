//! Sessions: clients' proofs of life, and the keys that end with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::StateMachine;
use super::effect::{Effect, OpenedSession};
use super::history::ChangeCause;
use super::operation::{Page, Rest};
use super::rejection::{Cause, Rejection};
use super::requests::Request;
use super::time::Time;
use super::value::{Key, Lifetime, Name, Revision};

/// Most keys of a session that end at one revision. What ends at one revision is one message to a watch, and nothing
/// else is served meanwhile: about a millisecond.
pub const SESSION_SLICE: usize = 1_024;

/// Begins a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its name.
    pub id: Name,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// What to do with a living one of that name.
    pub living: LivingSession,
}

/// What to do with a session that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivingSession {
    /// Leave it, and refuse.
    Refuse,
    /// End it, and its keys.
    TakeOver,
}

/// Names one life of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLife {
    /// The session's name.
    pub id: Name,
    /// When it began.
    pub create_revision: Revision,
}

/// A session as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: Name,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// When it ends unless it is renewed.
    pub ends: Time,
    /// The store revision at which it began.
    pub create_revision: Revision,
    /// How many keys end with it.
    pub key_count: usize,
}

/// The answer to an [`OpenSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOutcome {
    /// The session.
    pub session: Session,
    /// Which earlier life it has ended, by its create_revision. Its last keys may still be [ending](StateMachine::is_ending).
    pub taken_over: Option<Revision>,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to a session's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseOutcome {
    /// How many keys it had.
    pub key_count: usize,
    /// The store revision at which it ended, with its first keys.
    pub revision: Revision,
    /// Which life it was. Its last keys may still be [ending](StateMachine::is_ending).
    pub create_revision: Revision,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// All sessions, and which key ends with which.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sessions {
    living: BTreeMap<Name, Living>,
    due: BTreeSet<(Time, Name)>,
    /// Keys of sessions that have ended, and which are still there, by the sessions' create_revisions.
    ending: BTreeMap<Revision, BTreeSet<Key>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Living {
    ttl: Duration,
    ends: Time,
    create_revision: Revision,
    keys: BTreeSet<Key>,
}

impl Living {
    fn opened(&self, id: &Name) -> OpenedSession {
        OpenedSession {
            id: id.clone(),
            ttl: self.ttl,
            create_revision: self.create_revision,
        }
    }

    fn show(&self, id: &Name) -> Session {
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
    pub(super) fn len(&self) -> usize {
        self.living.len()
    }

    /// When the next one ends.
    pub(super) fn next_due(&self) -> Option<Time> {
        if self.ending.is_empty() {
            self.due.first().map(|(ends, _)| *ends)
        } else {
            Some(Time::MIN)
        }
    }

    /// The lifetime of a key that is to end with a session.
    pub(super) fn lifetime(
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

    pub(super) fn attach(&mut self, id: &Name, create_revision: Revision, key: &Key) {
        let keys = match self.living.get_mut(id.as_str()) {
            Some(living) if living.create_revision == create_revision => &mut living.keys,
            // What a refused batch had taken away from a session that is ending.
            _ => self.ending.entry(create_revision).or_default(),
        };
        keys.insert(key.clone());
    }

    pub(super) fn detach(&mut self, id: &Name, create_revision: Revision, key: &Key) {
        match self.living.get_mut(id.as_str()) {
            Some(living) if living.create_revision == create_revision => {
                living.keys.remove(key);
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
    fn life(&self, id: &Name, create_revision: Option<Revision>) -> Result<&Living, Cause> {
        let Some(living) = self.living.get(id.as_str()) else {
            return Err(Cause::SessionNotFound { id: id.clone() });
        };
        match create_revision {
            Some(expected) if expected != living.create_revision => Err(Cause::SessionTakenOver {
                id: id.clone(),
                expected,
                actual: living.create_revision,
            }),
            _ => Ok(living),
        }
    }

    /// All that live, in the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = OpenedSession> {
        self.living.iter().map(|(id, living)| living.opened(id))
    }

    /// Begins a session again; it has no end until [all are renewed](Self::renew_all). False if it lives already.
    pub(super) fn open_again(&mut self, opened: OpenedSession) -> bool {
        let OpenedSession {
            id,
            ttl,
            create_revision,
        } = opened;
        if self.living.contains_key(&id) {
            return false;
        }
        let living = Living {
            ttl,
            ends: Time::MAX,
            create_revision,
            keys: BTreeSet::new(),
        };
        self.insert(id, living);
        true
    }

    /// Ends a session again; its keys go one by one. False if there is none.
    pub(super) fn end_again(&mut self, id: &Name) -> bool {
        if !self.living.contains_key(id) {
            return false;
        }
        let Living {
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
    pub(super) fn ending(&self) -> &BTreeMap<Revision, BTreeSet<Key>> {
        &self.ending
    }

    /// Gives all sessions their whole ttl from now.
    pub(super) fn renew_all(&mut self, now: Time) {
        self.due.clear();
        for (id, living) in &mut self.living {
            living.ends = now + living.ttl;
            self.due.insert((living.ends, id.clone()));
        }
    }

    fn insert(&mut self, id: Name, living: Living) {
        self.due.insert((living.ends, id.clone()));
        self.living.insert(id, living);
    }

    fn remove(&mut self, id: &Name) -> Living {
        let living = self.living.remove(id.as_str());
        let living = living.expect("only a living session ends");
        self.due.remove(&(living.ends, id.clone()));
        living
    }
}

impl StateMachine {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Rejection`] if there is a living one and it is not to be taken over, or if there are too many.
    pub fn open_session(
        &mut self,
        open: OpenSession,
        request: Option<&Request>,
        now: Time,
    ) -> Result<OpenOutcome, Box<Rejection>> {
        self.once(request, now, |machine| {
            let OpenSession { id, ttl, living } = open;
            let before = machine.sessions().living.get(id.as_str());
            let taken_over = before.map(|living| living.create_revision);
            if let (Some(create_revision), LivingSession::Refuse) = (taken_over, living) {
                return Err(Rejection::of(&id, Cause::SessionExists { create_revision }));
            }
            let limit = machine.limits.sessions;
            if before.is_none() && machine.sessions().len() >= limit {
                let what = "sessions";
                return Err(Rejection::of(&id, Cause::TooMany { what, limit }));
            }
            machine
                .disk_has_space()
                .map_err(|cause| Rejection::of(&id, cause))?;

            // Nothing refuses from here on.
            if before.is_some() {
                machine.end_session(&id);
            }
            machine.revision += 1;
            let living = Living {
                ttl,
                ends: now + ttl,
                create_revision: machine.revision,
                keys: BTreeSet::new(),
            };
            let session = living.show(&id);
            let opened = living.opened(&id);
            machine.index.sessions.insert(id, living);
            machine.happened(|| Effect::SessionOpened(opened));
            Ok(OpenOutcome {
                session,
                taken_over,
                replayed: false,
            })
        })
    }

    /// Lets a session's ttl count anew from now.
    ///
    /// # Errors
    /// [`Rejection`] if it has ended, or another of its name has begun.
    pub fn renew_session(
        &mut self,
        life: &SessionLife,
        now: Time,
    ) -> Result<Session, Box<Rejection>> {
        let SessionLife {
            id,
            create_revision,
        } = life;
        let sessions = &mut self.index.sessions;
        sessions
            .life(id, Some(*create_revision))
            .map_err(|cause| Rejection::of(id, cause))?;
        let mut living = sessions.remove(id);
        living.ends = now + living.ttl;
        let session = living.show(id);
        sessions.insert(id.clone(), living);
        Ok(session)
    }

    /// Ends a session, and its keys with it: the first of them at once, the others as [time](Self::advance) allows.
    ///
    /// # Errors
    /// [`Rejection`] if it has ended, or another of its name has begun.
    pub fn close_session(
        &mut self,
        life: &SessionLife,
        request: Option<&Request>,
        now: Time,
    ) -> Result<CloseOutcome, Box<Rejection>> {
        let SessionLife {
            id,
            create_revision,
        } = life;
        self.once(request, now, |machine| {
            let living = machine.sessions().life(id, Some(*create_revision));
            let key_count = living.map_err(|cause| Rejection::of(id, cause))?.keys.len();
            machine.end_session(id);
            Ok(CloseOutcome {
                key_count,
                revision: machine.revision,
                create_revision: *create_revision,
                replayed: false,
            })
        })
    }

    /// A page of the living sessions, after the one of the name `after`.
    #[must_use]
    pub fn list_sessions(&self, after: Option<&str>, page_size: usize) -> Page<Session> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut sessions = self
            .sessions()
            .living
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(id, living)| living.show(id));
        let items = sessions.by_ref().take(page_size).collect();
        let rest = match sessions.next() {
            Some(_) => Rest::More,
            None => Rest::Nothing,
        };
        Page { items, rest }
    }

    /// Whether keys of the session that began at `create_revision`, and has ended, are still there.
    #[must_use]
    pub fn is_ending(&self, create_revision: Revision) -> bool {
        self.sessions().ending.contains_key(&create_revision)
    }

    /// Goes on with what has ended: at most [`SESSION_SLICE`] keys, at one revision. Returns how many.
    pub(super) fn end_next_slice(&mut self) -> usize {
        let Some((create_revision, keys)) = self.index.sessions.ending.pop_first() else {
            return 0;
        };
        self.end_keys(create_revision, keys)
    }

    /// Ends the first session that is due by now. Returns how many keys ended with it so far.
    pub(super) fn end_due_session(&mut self, now: Time) -> Option<usize> {
        let (ends, id) = self.sessions().due.first()?;
        if *ends > now {
            return None;
        }
        let id = id.clone();
        Some(self.end_session(&id))
    }

    /// Ends a living session. Returns how many keys ended with it so far.
    fn end_session(&mut self, id: &Name) -> usize {
        let living = self.index.sessions.remove(id);
        let revision = self.revision + 1;
        self.happened(|| Effect::SessionEnded {
            id: id.clone(),
            revision,
        });
        self.end_keys(living.create_revision, living.keys)
    }

    fn end_keys(&mut self, create_revision: Revision, mut keys: BTreeSet<Key>) -> usize {
        self.revision += 1;
        if let Some(rest) = keys.iter().nth(SESSION_SLICE).cloned() {
            let rest = keys.split_off(&rest);
            self.index.sessions.ending.insert(create_revision, rest);
        }
        self.history.begin_batch();
        for key in &keys {
            self.remove(key, self.revision, ChangeCause::SessionEnded);
        }
        self.history.end_batch();
        keys.len()
    }

    fn sessions(&self) -> &Sessions {
        &self.index.sessions
    }
}

//! Sessions: clients' proofs of life, and the keys that end with them.

use std::collections::BTreeSet;

use super::change::ChangeCause;
use super::effect::Effect;
use super::index::{Living, Sessions};
use super::operation::{
    CloseOutcome, LivingSession, OpenOutcome, OpenSession, Page, Rest, Session, SessionLife,
};
use super::rejection::{Cause, Rejection};
use super::requests::Request;
use super::state_machine::StateMachine;
use super::time::Time;
use super::value::{Key, Name, Revision};

/// Most keys of a session that end at one revision. What ends at one revision is one message to a watch, and nothing
/// else is served meanwhile: about a millisecond.
pub const SESSION_SLICE: usize = 1_024;

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
            let before = machine.sessions().get(&id);
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
        let mut sessions = self
            .sessions()
            .after(after)
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
        self.sessions().is_ending(create_revision)
    }

    /// Goes on with what has ended: at most [`SESSION_SLICE`] keys, at one revision. Returns how many.
    pub(super) fn end_next_slice(&mut self) -> usize {
        let Some((create_revision, keys)) = self.index.sessions.take_ending() else {
            return 0;
        };
        self.end_keys(create_revision, keys)
    }

    /// Ends the first session that is due by now. Returns how many keys ended with it so far.
    pub(super) fn end_due_session(&mut self, now: Time) -> Option<usize> {
        let id = self.sessions().due(now)?.clone();
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
            self.index.sessions.end_later(create_revision, rest);
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

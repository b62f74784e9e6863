//! Sessions: clients' proofs of life, and the keys that end with them.

use std::collections::BTreeSet;

use super::change::ChangeCause;
use super::effect::Effect;
use super::index::{LiveSession, Sessions};
use super::operation::{
    CloseOutcome, HasMore, OnExisting, OpenOutcome, OpenSession, Page, Session, SessionLife,
};
use super::rejection::{Cause, Rejection};
use super::request_ids::RequestId;
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
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<OpenOutcome, Box<Rejection>> {
        self.apply_once(request_id, now, |machine| {
            let OpenSession {
                id,
                ttl,
                on_existing,
            } = open;
            let before = machine.sessions().get(&id);
            let taken_over = before.map(|live| live.create_revision);
            if let (Some(create_revision), OnExisting::Refuse) = (taken_over, on_existing) {
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
            let live = LiveSession {
                ttl,
                ends: now + ttl,
                create_revision: machine.revision,
                keys: BTreeSet::new(),
            };
            let session = live.show(&id);
            let opened = live.opened(&id);
            machine.index.sessions.insert(id, live);
            machine.push_effect(|| Effect::SessionOpened(opened));
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
        let mut live = sessions.remove(id);
        live.ends = now + live.ttl;
        let session = live.show(id);
        sessions.insert(id.clone(), live);
        Ok(session)
    }

    /// Ends a session, and its keys with it: the first of them at once, the others as [time](Self::advance) allows.
    ///
    /// # Errors
    /// [`Rejection`] if it has ended, or another of its name has begun.
    pub fn close_session(
        &mut self,
        life: &SessionLife,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<CloseOutcome, Box<Rejection>> {
        let SessionLife {
            id,
            create_revision,
        } = life;
        self.apply_once(request_id, now, |machine| {
            let live = machine.sessions().life(id, Some(*create_revision));
            let key_count = live.map_err(|cause| Rejection::of(id, cause))?.keys.len();
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
        let mut sessions = self.sessions().after(after).map(|(id, live)| live.show(id));
        let items = sessions.by_ref().take(page_size).collect();
        let has_more = match sessions.next() {
            Some(_) => HasMore::Yes,
            None => HasMore::No,
        };
        Page { items, has_more }
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
        let live = self.index.sessions.remove(id);
        let revision = self.revision + 1;
        self.push_effect(|| Effect::SessionEnded {
            id: id.clone(),
            revision,
        });
        self.end_keys(live.create_revision, live.keys)
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

//! Sessions: clients' proofs of life. The keys that were written with a session end with it.

use std::collections::BTreeSet;

use super::change::ChangeCause;
use super::effect::Effect;
use super::index::{LiveSession, Sessions, session_bytes};
use super::operation::{
    CloseOutcome, HasMore, OnExisting, OpenOutcome, OpenSession, Page, Session, SessionLife,
};
use super::rejection::{Cause, Rejection};
use super::request_ids::{Growth, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;
use super::value::{Key, Name, Revision};

/// Most keys of a session that end at one revision. All changes of a revision are one message to a watch, and nothing else
/// is served while they are made: about a millisecond.
pub const SESSION_SLICE: usize = 1_024;

impl StateMachine {
    /// Opens a session, at a new revision. If it takes over a live one, that one ends first.
    ///
    /// # Errors
    /// [`Rejection`] if a session of that id is live and is not to be taken over, there are too many sessions, or the store or
    /// the disk is full. Nothing is changed then.
    pub fn open_session(
        &mut self,
        open: OpenSession,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<OpenOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::Possible, now, |this| {
            let OpenSession {
                id,
                ttl,
                on_existing,
            } = open;
            let before = this.sessions().get(&id);
            let taken_over = before.map(|live| live.create_revision);
            if let (Some(create_revision), OnExisting::Refuse) = (taken_over, on_existing) {
                return Err(Rejection::of(&id, Cause::SessionExists { create_revision }));
            }
            let freed = before.map_or(0, |_| session_bytes(&id));
            let limit = this.limits.sessions;
            if before.is_none() && this.sessions().len() >= limit {
                let what = "sessions";
                return Err(Rejection::of(&id, Cause::TooMany { what, limit }));
            }
            this.check_disk_space()
                .and_then(|()| this.check_room(freed, session_bytes(&id)))
                .map_err(|cause| Rejection::of(&id, cause))?;

            // All checks have passed: from here on nothing is refused.
            if before.is_some() {
                this.end_session(&id);
            }
            this.revision += 1;
            let live = LiveSession {
                ttl,
                ends: now + ttl,
                create_revision: this.revision,
                keys: BTreeSet::new(),
            };
            let session = live.show(&id);
            let opened = live.opened(&id);
            this.index.sessions.insert(id, live);
            this.push_effect(|| Effect::SessionOpened(opened));
            Ok(OpenOutcome {
                session,
                taken_over,
                replayed: false,
            })
        })
    }

    /// Renews a session: its ttl counts from now. Takes no revision.
    ///
    /// # Errors
    /// [`Rejection`] if the session has ended, or a later one of its id is live.
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

    /// Closes a session, at a new revision. Its first [`SESSION_SLICE`] keys end at once, the others in
    /// [`advance`](Self::advance).
    ///
    /// # Errors
    /// [`Rejection`] if the session has ended, or a later one of its id is live.
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
        self.apply_once(request_id, Growth::None, now, |this| {
            let live = this.sessions().life(id, Some(*create_revision));
            let key_count = live.map_err(|cause| Rejection::of(id, cause))?.keys.len();
            this.end_session(id);
            Ok(CloseOutcome {
                key_count,
                revision: this.revision,
                create_revision: *create_revision,
                replayed: false,
            })
        })
    }

    /// A page of the live sessions after the id `after`, in the order of their ids.
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

    /// Whether keys still exist of an ended session that began at `create_revision`.
    #[must_use]
    pub fn is_ending(&self, create_revision: Revision) -> bool {
        self.sessions().is_ending(create_revision)
    }

    /// Removes the next keys of an ended session, at most [`SESSION_SLICE`], at a new revision. Returns how many.
    pub(super) fn end_next_slice(&mut self) -> usize {
        let Some((create_revision, keys)) = self.index.sessions.take_ending() else {
            return 0;
        };
        self.end_keys(create_revision, keys)
    }

    /// Ends the session whose time is over first, with its first keys. Returns how many keys; `None` if no session is due.
    pub(super) fn end_due_session(&mut self, now: Time) -> Option<usize> {
        let id = self.sessions().due(now)?.clone();
        Some(self.end_session(&id))
    }

    /// Ends a live session, with its first keys. Returns how many keys.
    fn end_session(&mut self, id: &Name) -> usize {
        let live = self.index.sessions.remove(id);
        let revision = self.revision + 1;
        self.push_effect(|| Effect::SessionEnded {
            id: id.clone(),
            revision,
        });
        self.end_keys(live.create_revision, live.keys)
    }

    /// Removes the first of these keys at a new revision, and leaves the others for later. Returns how many it removed.
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
        self.ended.session_ended += keys.len() as u64;
        self.history.end_batch();
        keys.len()
    }

    fn sessions(&self) -> &Sessions {
        &self.index.sessions
    }
}

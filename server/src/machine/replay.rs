//! Replay of the log, and restoring of copies: the state is made again.

use std::fmt;

use super::change::{Change, ChangeCause, ChangeRef};
use super::effect::{Effect, OpenedSession};
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::state_machine::{StateMachine, entry_bytes};
use super::time::Time;
use super::value::{Entry, Key, Revision};
use crate::mutants::mutant;

/// Effects or a copy do not fit the state that they are applied to: they are damaged or incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayError(String);

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplayError {}

fn misfit<T>(problem: impl Into<String>) -> Result<T, ReplayError> {
    Err(ReplayError(problem.into()))
}

impl StateMachine {
    /// Applies effects in the order in which they happened. After an error, the state is of no use.
    ///
    /// # Errors
    /// [`ReplayError`] if an effect cannot have happened to this state.
    pub fn replay(&mut self, effects: impl IntoIterator<Item = Effect>) -> Result<(), ReplayError> {
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            let revision = effect.revision().unwrap_or(self.revision);
            if revision < self.revision {
                let present = self.revision;
                return misfit(format!("revision {revision} comes after {present}"));
            }
            match effect {
                Effect::Changed(change) => {
                    // All changes of a revision were one batch when they happened.
                    let same_batch = |next: &Effect| matches!(next, Effect::Changed(next) if next.revision == revision);
                    let batch = effects.peek().is_some_and(same_batch);
                    if batch {
                        self.history.begin_batch();
                    }
                    self.replay_change(change)?;
                    while let Some(Effect::Changed(change)) = effects.next_if(same_batch) {
                        self.replay_change(change)?;
                    }
                    if batch {
                        self.history.end_batch();
                    }
                }
                Effect::SessionOpened(opened) => self.restore_session(opened)?,
                Effect::SessionEnded { id, .. } => {
                    if !self.index.sessions.end_in_replay(&id) {
                        return misfit(format!("session {id:?} ends, but it is not live"));
                    }
                }
                Effect::MachineDefined(machine) => self.restore_machine(machine)?,
                Effect::MachineDeleted { name, .. } => {
                    if self.get_machine(&name).is_err() {
                        return misfit(format!(
                            "machine {name:?} is deleted, but it does not exist"
                        ));
                    }
                    self.undefine(&name);
                }
                Effect::RequestApplied(applied) => self.restore_request(applied),
            }
            self.revision = revision;
        }
        Ok(())
    }

    fn replay_change(&mut self, change: Change) -> Result<(), ReplayError> {
        let Change {
            key,
            revision,
            cause,
            entry,
            ..
        } = change;
        match entry {
            Some(entry) if entry.revision != revision => {
                let of = entry.revision;
                misfit(format!(
                    "the entry of key {key:?} has revision {of}, but its change has {revision}"
                ))
            }
            Some(entry) => self.replay_put(key, entry, cause),
            None if self.entries.get(key.as_str()).is_some() => {
                self.remove(&key, revision, cause);
                Ok(())
            }
            // The key was created and removed in one batch.
            None => {
                self.history.record(ChangeRef {
                    key: &key,
                    revision,
                    cause,
                    entry: None,
                    previous: None,
                });
                Ok(())
            }
        }
    }

    fn replay_put(
        &mut self,
        key: Key,
        entry: Entry,
        cause: ChangeCause,
    ) -> Result<(), ReplayError> {
        self.check_key_state(&key, &entry)?;
        let cursor = self.entries.cursor(key.as_str());
        let before = self.entries.at(cursor);
        self.key_bytes -= before.map_or(0, |entry| entry_bytes(&key, entry));
        self.key_bytes += entry_bytes(&key, (&entry).into());
        self.put(cursor, &key, entry, cause);
        Ok(())
    }

    /// Refuses an entry in a state that no machine has.
    fn check_key_state(&self, key: &Key, entry: &Entry) -> Result<(), ReplayError> {
        let Some(key_state) = entry.key_state() else {
            return Ok(());
        };
        match self.get_machine(&key_state.machine) {
            Ok(machine) if machine.states.contains_key(&key_state.state) => Ok(()),
            _ => misfit(format!(
                "key {key:?} is in state {:?} of machine {:?}, which does not exist",
                key_state.state, key_state.machine
            )),
        }
    }

    /// Restores an entry of a copy. Machines and sessions have to be restored before, and keys in their order.
    ///
    /// # Errors
    /// [`ReplayError`] if the entry does not fit the state.
    pub fn restore_entry(&mut self, key: Key, entry: Entry) -> Result<(), ReplayError> {
        self.check_key_state(&key, &entry)?;
        if self.entries.last_key().is_some_and(|last| last >= key) {
            return misfit(format!("key {key:?} is out of order"));
        }
        if entry.revision > self.revision || entry.create_revision > entry.revision {
            return misfit(format!(
                "key {key:?} has revision {} and create_revision {}, but the store is at {}",
                entry.revision, entry.create_revision, self.revision
            ));
        }
        if entry.attached.is_some() {
            self.index.update(&key, None, entry.attached.as_deref());
        }
        self.key_bytes += entry_bytes(&key, (&entry).into());
        self.entries.insert(&key, entry);
        Ok(())
    }

    /// Restores a session.
    ///
    /// # Errors
    /// [`ReplayError`] if a session of its id is live.
    pub fn restore_session(&mut self, opened: OpenedSession) -> Result<(), ReplayError> {
        let id = opened.id.clone();
        if self.index.sessions.restore(opened) {
            Ok(())
        } else {
            misfit(format!("session {id:?} is opened, but it is live already"))
        }
    }

    /// Restores a machine.
    ///
    /// # Errors
    /// [`ReplayError`] if its prefix overlaps with another's, or keys are in its way.
    pub fn restore_machine(&mut self, machine: Machine) -> Result<(), ReplayError> {
        match self.check_fits(&machine) {
            Ok(()) => {
                self.index.machines.define(machine);
                Ok(())
            }
            Err(cause) => misfit(format!(
                "machine {:?} does not fit: {cause:?}",
                machine.name
            )),
        }
    }

    /// Restores the saved outcome of a request.
    pub fn restore_request(&mut self, applied: AppliedRequest) {
        let AppliedRequest {
            at,
            request_id,
            outcome,
        } = applied;
        while self.request_ids.forget_due(at) {}
        self.request_ids.remember(&request_id, outcome, at);
    }

    /// Sets the store revision. The history is empty up to there.
    pub fn restore_revision(&mut self, revision: Revision) {
        self.revision = revision;
        self.history.restart(revision);
    }

    /// Raises the store revision, so that no revision up to this one is used again.
    pub fn restore_revision_floor(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Fills the history with the changes after `revision` that led to the restored state.
    pub fn restore_history(
        &mut self,
        revision: Revision,
        effects: impl IntoIterator<Item = Effect>,
    ) {
        self.history.restart(revision);
        for effect in effects {
            if let Effect::Changed(change) = effect {
                self.history.keep(change);
            }
        }
    }

    /// Ends the restoring: sessions have their whole ttl from now, and no revision up to `revision` is used again.
    pub fn resume(&mut self, now: Time, revision: Revision) {
        self.restore_revision_floor(revision);
        if !mutant("sessions-not-renewed") {
            self.index.sessions.renew_all(now);
        }
    }
}

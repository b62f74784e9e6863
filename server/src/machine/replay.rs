//! Makes a state again from what happened to it.

use std::fmt;

use super::change::{Change, ChangeCause, ChangeRef};
use super::effect::{Effect, OpenedSession};
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::state_machine::{StateMachine, entry_bytes};
use super::time::Time;
use super::value::{Entry, Key, Revision};
use crate::mutants::mutant;

/// Something cannot have happened to this state: what was kept of it is damaged, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayError(String);

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplayError {}

fn unfit<T>(what: impl Into<String>) -> Result<T, ReplayError> {
    Err(ReplayError(what.into()))
}

impl StateMachine {
    /// Does again what happened, in its order. The state is of no use after an error.
    ///
    /// # Errors
    /// [`ReplayError`] if that cannot have happened.
    pub fn replay(&mut self, effects: impl IntoIterator<Item = Effect>) -> Result<(), ReplayError> {
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            let revision = effect.revision().unwrap_or(self.revision);
            if revision < self.revision {
                let present = self.revision;
                return unfit(format!("revision {revision} comes after {present}"));
            }
            match effect {
                Effect::Changed(change) => {
                    // Those of one revision are kept together, as they were when they happened.
                    let together = |next: &Effect| matches!(next, Effect::Changed(next) if next.revision == revision);
                    let batch = effects.peek().is_some_and(together);
                    if batch {
                        self.history.begin_batch();
                    }
                    self.replay_change(change)?;
                    while let Some(Effect::Changed(change)) = effects.next_if(together) {
                        self.replay_change(change)?;
                    }
                    if batch {
                        self.history.end_batch();
                    }
                }
                Effect::SessionOpened(opened) => self.restore_session(opened)?,
                Effect::SessionEnded { id, .. } => {
                    if !self.index.sessions.end_again(&id) {
                        return unfit(format!("session {id:?} ends, and there is none"));
                    }
                }
                Effect::MachineDefined(machine) => self.restore_machine(machine)?,
                Effect::MachineDeleted { name, .. } => {
                    if self.get_machine(&name).is_err() {
                        return unfit(format!("machine {name:?} is deleted, and there is none"));
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
                unfit(format!(
                    "the entry of {key:?} is of {of}, and not of {revision}"
                ))
            }
            Some(entry) => self.replay_put(key, entry, cause),
            None if self.entries.get(key.as_str()).is_some() => {
                self.remove(&key, revision, cause);
                Ok(())
            }
            // It came and went in one batch.
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
        self.fits(&key, &entry)?;
        let cursor = self.entries.cursor(key.as_str());
        let before = self.entries.at(cursor);
        self.used_bytes -= before.map_or(0, |entry| entry_bytes(&key, entry));
        self.used_bytes += entry_bytes(&key, (&entry).into());
        self.put(cursor, &key, entry, cause);
        Ok(())
    }

    /// Whether an entry stands where its machine has a state.
    fn fits(&self, key: &Key, entry: &Entry) -> Result<(), ReplayError> {
        let Some(key_state) = entry.key_state() else {
            return Ok(());
        };
        match self.get_machine(&key_state.machine) {
            Ok(machine) if machine.states.contains_key(&key_state.state) => Ok(()),
            _ => unfit(format!(
                "{key:?} is in state {:?} of machine {:?}, which there is not",
                key_state.state, key_state.machine
            )),
        }
    }

    /// Puts an entry of a copy back: machines and sessions come first, and keys in their order.
    ///
    /// # Errors
    /// [`ReplayError`] if it is no entry of this state.
    pub fn restore_entry(&mut self, key: Key, entry: Entry) -> Result<(), ReplayError> {
        self.fits(&key, &entry)?;
        if self.entries.last_key().is_some_and(|last| *last >= key) {
            return unfit(format!("{key:?} is out of order"));
        }
        if entry.revision > self.revision || entry.create_revision > entry.revision {
            return unfit(format!("{key:?} is of a revision that has not been"));
        }
        if entry.attached.is_some() {
            self.index.update(&key, None, entry.attached.as_deref());
        }
        self.used_bytes += entry_bytes(&key, (&entry).into());
        self.entries.insert(&key, entry);
        Ok(())
    }

    /// Puts a session back.
    ///
    /// # Errors
    /// [`ReplayError`] if there is one of its name.
    pub fn restore_session(&mut self, opened: OpenedSession) -> Result<(), ReplayError> {
        let id = opened.id.clone();
        if self.index.sessions.open_again(opened) {
            Ok(())
        } else {
            unfit(format!("session {id:?} begins, and lives already"))
        }
    }

    /// Puts a machine back.
    ///
    /// # Errors
    /// [`ReplayError`] if there is one with such a prefix, or keys would be stranded.
    pub fn restore_machine(&mut self, machine: Machine) -> Result<(), ReplayError> {
        match self.machine_fits(&machine) {
            Ok(()) => {
                self.index.machines.define(machine);
                Ok(())
            }
            Err(cause) => unfit(format!("machine {:?} cannot be: {cause:?}", machine.name)),
        }
    }

    /// Puts an answered request back.
    pub fn restore_request(&mut self, applied: AppliedRequest) {
        let AppliedRequest {
            at,
            request_id,
            outcome,
        } = applied;
        while self.request_ids.forget_due(at) {}
        self.request_ids.remember(&request_id, outcome, at);
    }

    /// Goes on from `revision`, with no change kept from before.
    pub fn restore_revision(&mut self, revision: Revision) {
        self.revision = revision;
        self.history.restart(revision);
    }

    /// No revision up to this one is used again.
    pub fn restore_revision_floor(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Keeps for watches what happened after `revision` and before what was restored, as far as it is known.
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

    /// Goes on after it was made again: sessions have their whole ttl from now, and no revision up to `revision` is used
    /// again.
    pub fn resume(&mut self, now: Time, revision: Revision) {
        self.restore_revision_floor(revision);
        if !mutant("sessions-not-renewed") {
            self.index.sessions.renew_all(now);
        }
    }

    /// Keeps every change after this revision for watches, however many there are: they have not been shown yet. Whoever
    /// says so has to bound them.
    pub fn keep_history_after(&mut self, revision: Revision) {
        self.history.keep_after(revision);
    }

    /// From here on what happens is kept, until it is [taken](Self::take_effects).
    pub fn keep_effects(&mut self) {
        self.history.followers_mut().effects = Some(Vec::new());
    }

    /// Appends what has happened since it was last asked.
    pub fn take_effects(&mut self, taken: &mut Vec<Effect>) {
        self.history.take_effects(taken);
    }
}

//! What happened to the state, as data: the same effects, done again in the same order, make the same state.

use std::time::Duration;

use super::copy::Copies;
use super::history::{Change, ChangeCause, ChangeRef};
use super::machines::Machine;
use super::requests::{Answer, Request};
use super::time::Time;
use super::value::{Entry, Name, Revision};
use crate::mutants::mutant;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A key changed. Those of one message are of one revision.
    Changed(Change),
    /// A session began.
    SessionOpened(OpenedSession),
    /// A session ended. Its keys end with the changes that follow.
    SessionEnded {
        /// The session.
        id: Name,
        /// The store revision at which it ended.
        revision: Revision,
    },
    /// A machine was created or replaced, at the revision that it has.
    MachineDefined(Machine),
    /// A machine was deleted, and its keys have no state from then on.
    MachineDeleted {
        /// The machine.
        name: Name,
        /// The store revision at which it was deleted.
        revision: Revision,
    },
    /// A request was answered, and will be answered so again.
    Answered(Answered),
}

impl Effect {
    /// The store revision that it takes; none if it takes none.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Self::Changed(change) => Some(change.revision),
            Self::SessionOpened(opened) => Some(opened.create_revision),
            Self::SessionEnded { revision, .. } | Self::MachineDeleted { revision, .. } => {
                Some(*revision)
            }
            Self::MachineDefined(machine) => Some(machine.revision),
            Self::Answered(_) => None,
        }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let own = match self {
            Self::Changed(change) => {
                let bytes = |entry: &Option<Entry>| {
                    entry
                        .as_ref()
                        .map_or(0, |entry| entry.value.byte_len() + entry.names_byte_len())
                };
                // Both are kept in memory until it is on disk.
                change.key.as_str().len() + bytes(&change.entry) + bytes(&change.previous)
            }
            Self::SessionOpened(opened) => opened.id.as_str().len(),
            Self::SessionEnded { id, .. } => id.as_str().len(),
            Self::MachineDefined(machine) => machine.byte_len(),
            Self::MachineDeleted { name, .. } => name.as_str().len(),
            Self::Answered(answered) => answered.byte_len(),
        };
        size_of::<Self>() + own
    }
}

/// A session as it began. When it ends is not part of it: after a restart it has its whole ttl again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// Its name.
    pub id: Name,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// The store revision at which it began.
    pub create_revision: Revision,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// When.
    pub at: Time,
    /// The request.
    pub request: Request,
    /// The answer.
    pub answer: Answer,
}

impl Answered {
    fn byte_len(&self) -> usize {
        self.request.id.as_str().len() + self.answer.byte_len()
    }
}

/// Those who are told what happens, beside watches: who keeps a log, and who makes a copy.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// What happened since it was last taken, if somebody takes it.
    pub(super) effects: Option<Vec<Effect>>,
    pub(super) copies: Copies,
}

impl Followers {
    /// A key changes.
    pub(super) fn changed(&mut self, change: ChangeRef<'_>) {
        let ChangeRef {
            key,
            cause,
            previous,
            ..
        } = change;
        self.copies.changes(key, previous);
        if mutant("expiry-not-kept") && cause == ChangeCause::Expired
            || mutant("deletes-not-kept") && cause == ChangeCause::Deleted
        {
            return;
        }
        if let Some(effects) = &mut self.effects {
            effects.push(Effect::Changed(change.to_change()));
        }
    }
}

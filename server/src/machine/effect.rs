//! What happened to the state, as data: the same effects, done again in the same order, make the same state.

use std::time::Duration;

use super::change::Change;
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::value::{Entry, Name, Revision};

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
    RequestApplied(AppliedRequest),
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
            Self::RequestApplied(_) => None,
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
            Self::RequestApplied(applied) => applied.byte_len(),
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

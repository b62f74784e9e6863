//! Effects: what happened to the state, as data. The same effects, applied to the same state in the same order, make the
//! same state again. The journal keeps them.

use std::time::Duration;

use super::change::Change;
use super::protocol::Machine;
use super::request_ids::AppliedRequest;
use super::value::{Entry, Name, Revision};

/// One thing that happened to the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A key changed. All changes of one atomic frame have the same revision.
    Changed(Change),
    /// A session was opened.
    SessionOpened(OpenedSession),
    /// A session ended. The ends of its keys follow as changes.
    SessionEnded {
        /// The session.
        id: Name,
        /// The store revision at which the session ended.
        revision: Revision,
    },
    /// A machine was created or replaced, at the revision that it names.
    MachineDefined(Machine),
    /// A machine was deleted, and with it the states of its keys.
    MachineDeleted {
        /// The machine.
        name: Name,
        /// The store revision at which the machine was deleted.
        revision: Revision,
    },
    /// A request with an id was applied: its outcome is saved for replays.
    RequestApplied(AppliedRequest),
}

impl Effect {
    /// The store revision of the effect; `None` if it takes none.
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

    /// About how many bytes the effect takes in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let own = match self {
            Self::Changed(change) => {
                let bytes = |entry: &Option<Entry>| {
                    entry
                        .as_ref()
                        .map_or(0, |entry| entry.value.byte_len() + entry.names_byte_len())
                };
                // Both entries stay in memory until the effect is on disk.
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

/// A session as it was opened. Its end is left out, because it has its whole ttl again after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// The session's id.
    pub id: Name,
    /// How long the session lives without being renewed.
    pub ttl: Duration,
    /// The store revision at which the session began.
    pub create_revision: Revision,
}

//! The state of one key at one moment, as far as it is known.

use crate::history::Initial;
use crate::operation::{Entry, NO_REVISION, StateNumber, Value};

/// A revision that no answer shows. One that is known to be `n` or greater is kept as `UNKNOWN_REVISION - n`.
pub(crate) const UNKNOWN_REVISION: i64 = NO_REVISION;

/// What the store holds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// Not known: nobody looked at the key before the run, and no answer shows it yet.
    Unknown,
    Absent,
    Present {
        value: Value,
        state: Option<StateNumber>,
    },
}

/// A key at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Register {
    pub(crate) content: Content,
    /// The revision of the last change, if the key exists. Negative if no answer shows it.
    pub(crate) revision: i64,
    /// If no answer shows the revision, it is not greater than this.
    pub(crate) revision_max: i64,
    /// The store has come to this revision: each later change has a greater one.
    pub(crate) store_revision: i64,
}

impl Register {
    /// The register as the initial state of a history that begins here. `None` if something of it is unknown.
    pub(crate) fn initial(&self) -> Option<Initial> {
        let entry = match self.content {
            Content::Unknown => return None,
            Content::Absent => None,
            Content::Present { .. } if self.revision < 0 => return None,
            Content::Present { value, state } => Some(Entry {
                value,
                revision: self.revision,
                state,
            }),
        };
        let revision = self.store_revision;
        Some(Initial { entry, revision })
    }

    /// Whether the two differ in the store revision at most.
    pub(crate) fn same_but_later(&self, other: &Self) -> bool {
        let of_key = |it: &Self| (it.content, it.revision, it.revision_max);
        of_key(self) == of_key(other)
    }

    /// Whether every order that explains the rest from the other register on explains it from this one on: the content is
    /// the same, and the revisions rule out no more.
    pub(crate) fn permits(&self, other: &Self) -> bool {
        let has_more_room = self.revision < 0
            && other.revision < 0
            && self.revision >= other.revision
            && self.revision_max >= other.revision_max;
        self.content == other.content
            && self.store_revision <= other.store_revision
            && (has_more_room || self.same_but_later(other))
    }
}

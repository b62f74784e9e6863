//! The kinds of operations.

use soloist::v1::error::Reason;
use soloist_client::Outcome;

/// What an operation does: what is reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Read,
    Write,
    CompareAndSet,
    Add,
    Delete,
    Transition,
    List,
    Batch,
    Renew,
    /// What a watch is told of a write.
    Event,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::CompareAndSet,
        Self::Add,
        Self::Delete,
        Self::Transition,
        Self::List,
        Self::Batch,
        Self::Renew,
        Self::Event,
    ];

    /// As reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::CompareAndSet => "compare_and_set",
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Transition => "transition",
            Self::List => "list",
            Self::Batch => "batch",
            Self::Renew => "renew",
            Self::Event => "event",
        }
    }

    /// Whether the server's refusal for this reason is an answer like any other: somebody else was faster.
    pub(crate) fn expects(self, reason: Reason) -> bool {
        match self {
            Self::CompareAndSet => matches!(
                reason,
                Reason::ExpectationFailed | Reason::KeyExists | Reason::KeyNotFound
            ),
            Self::Add => matches!(reason, Reason::BoundReached | Reason::Overflow),
            Self::Transition => {
                matches!(reason, Reason::TransitionRefused | Reason::StateMismatch)
            }
            _ => false,
        }
    }

    /// What it is not known of, where nobody says: a read changes nothing.
    pub(crate) fn outcome_unless_told(self) -> Outcome {
        match self {
            Self::Read | Self::List | Self::Renew | Self::Event => Outcome::NotApplied,
            _ => Outcome::Unknown,
        }
    }
}

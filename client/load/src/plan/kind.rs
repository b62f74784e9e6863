//! The kinds of operations that a report tells apart.

use soloist::v1::error::Reason;
use soloist_client::Outcome;

/// What an operation does. Each kind has counts and latencies of its own in the report.
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
    /// A call of a method that the user names (`--call`).
    Call,
    /// A write as a watch reports it: its latency is from the intended start of the write to the event.
    Event,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Read,
        Self::Write,
        Self::CompareAndSet,
        Self::Add,
        Self::Delete,
        Self::Transition,
        Self::List,
        Self::Batch,
        Self::Renew,
        Self::Call,
        Self::Event,
    ];

    /// Returns the name in reports and objectives.
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
            Self::Call => "call",
            Self::Event => "event",
        }
    }

    /// Returns whether a refusal for this reason is a normal answer to this kind: it means that another worker changed the
    /// key first. Any other refusal is a failure.
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

    /// Returns what to assume of an operation that failed without saying whether it was applied: operations that change
    /// nothing were not applied, of the others it is unknown.
    pub(crate) fn default_outcome(self) -> Outcome {
        match self {
            Self::Read | Self::List | Self::Renew | Self::Event => Outcome::NotApplied,
            _ => Outcome::Unknown,
        }
    }
}

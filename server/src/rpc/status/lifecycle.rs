//! The server cannot do the call: there is no time left, it shuts down, or its owner has ended.

use std::time::Duration;

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use crate::machine::Revision;
use crate::owner::Unknown;

pub(super) fn not_started() -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        Reason::NotStarted,
        "the deadline passed before the call was begun, and nothing was applied",
    )
}

/// A stream has been open until its deadline.
#[must_use]
pub(crate) fn stream_deadline() -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        Reason::NotStarted,
        "the deadline of this stream passed; nothing that it has no response to was begun",
    )
}

pub(super) fn not_confirmed() -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        Reason::NotConfirmed,
        "the deadline passed before the answer could be shown; the call changed nothing",
    )
}

/// The node at this address owns the store now.
pub(super) fn handed_off(owner: &str) -> Refusal {
    Refusal::new(
        Code::Unavailable,
        Reason::NotOwner,
        format!(
            "this node has handed off the store to the node at {owner}, and nothing was applied"
        ),
    )
    .with("owner", owner)
}

pub(super) fn owner_lost() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        Reason::OwnerLost,
        "the task that owns the state has ended, and the server stops",
    )
}

/// The one refusal that does not mean that nothing was applied.
pub(super) fn outcome_unknown(revision: Option<Revision>, why: Unknown) -> Refusal {
    let (code, when) = match why {
        Unknown::Deadline => (Code::DeadlineExceeded, "the deadline passed"),
        Unknown::OwnerEnded => (Code::Unavailable, "the task that owns the state ended"),
    };
    let refusal = Refusal::new(
        code,
        Reason::OutcomeUnknown,
        format!("{when} before the change was on disk: it may be applied or not"),
    );
    match revision {
        Some(revision) => refusal.with("revision", revision),
        None => refusal,
    }
}

/// The server takes no new work any more.
#[must_use]
pub(crate) fn draining() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        Reason::Draining,
        "the server is shutting down",
    )
}

/// A message of a stream began to arrive, and the rest did not come.
#[must_use]
pub(crate) fn unfinished_message(timeout: Duration) -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        Reason::NotStarted,
        format!("a message of this stream did not arrive whole within {timeout:?}"),
    )
}

/// The handler of a call has a fault. Whether it has changed anything is not known.
#[must_use]
pub(crate) fn handler_panicked() -> Refusal {
    Refusal::new(
        Code::Internal,
        Reason::OutcomeUnknown,
        "the handler of this call failed: it may be applied or not",
    )
}

//! The errors of the owner: what a caller gets instead of an outcome, and how the task itself can fail.

use std::convert::Infallible;

use crate::machine::{CopyError, RejectedAt, Rejection, Revision, SpaceLow, WatchError};

/// Why a call got no outcome. Except for [`OutcomeUnknown`](Self::OutcomeUnknown), an error means that the call changed
/// nothing, so that a retry is safe. `rpc/status` has the gRPC code of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Too much waits for the owner, or for the disk. A retry after a moment may succeed.
    Overloaded {
        /// The limit that was reached.
        limit: usize,
        /// What the limit counts, in the plural, such as "messages" or "bytes".
        unit: &'static str,
    },
    /// The deadline passed before the owner started with the message.
    NotStarted,
    /// The deadline passed before the answer could be shown: it waited for a change of another call to be on disk, or for a
    /// confirmation that no other process owns the store. The call itself changed nothing.
    NotConfirmed,
    /// The owner's task ended before the call changed anything. The state is gone with it.
    OwnerLost,
    /// The owner has given the store to the node at this address, and did not begin with the call.
    HandedOff(Box<str>),
    /// The owner changed something for the call, but it is not known whether that is on disk. Retry with the same request id,
    /// or read first.
    OutcomeUnknown {
        /// The store revision of the change; `None` if it is not known.
        revision: Option<Revision>,
        /// Why the outcome is not known.
        why: Unknown,
    },
    /// The disk is full. Nothing can be changed until there is space again.
    DiskFull(SpaceLow),
    /// The machine refused the operation.
    Rejected(Box<Rejection>),
    /// The machine refused an atomic frame, because of one of its operations.
    RejectedAt(RejectedAt),
    /// The watch cannot start at the revision asked for, or has fallen behind the history.
    Watch(WatchError),
    /// As many watches or backups are open as the limit allows.
    TooManyOpen {
        /// What is open: "watches" or "backups".
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The backup is too slow: more changed ahead of it than may be put aside.
    Copy(CopyError),
}

/// Why the outcome of a call is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The deadline passed before the result was on disk.
    Deadline,
    /// The owner ended before the result was on disk.
    OwnerEnded,
}

impl From<Box<Rejection>> for CallError {
    fn from(rejection: Box<Rejection>) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<RejectedAt> for CallError {
    fn from(rejected: RejectedAt) -> Self {
        Self::RejectedAt(rejected)
    }
}

impl From<WatchError> for CallError {
    fn from(error: WatchError) -> Self {
        Self::Watch(error)
    }
}

impl From<CopyError> for CallError {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

impl From<Infallible> for CallError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why the store was not handed off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOffError {
    /// The journal has refused it, for this reason, and the owner goes on.
    Refused(String),
    /// The owner has ended.
    OwnerLost,
}

/// The journal failed, with this reason, and the owner ended because of it. Changes that were not acknowledged may be
/// lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLost(pub String);

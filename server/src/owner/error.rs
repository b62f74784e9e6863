//! Why the owner did not do what it was asked, or ended.

use std::convert::Infallible;

use crate::machine::{CopyError, DiskLow, RejectedAt, Rejection, Revision, WatchError};

/// Why it is not known whether something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The deadline passed before it was on disk.
    Deadline,
    /// The owner ended before it was on disk.
    OwnerEnded,
}

/// Why the owner did not do what it was asked, or cannot be asked. Nothing was applied, but for
/// [`OutcomeUnknown`](Self::OutcomeUnknown).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The mailbox is full.
    Overloaded {
        /// What there may be.
        limit: usize,
        /// Of what: "messages" or "bytes".
        unit: &'static str,
    },
    /// The deadline passed before the owner began.
    NotStarted,
    /// The owner has ended, and the state with it.
    OwnerLost,
    /// It was done, and whether it lasts is not known: the only error that does not mean that nothing was applied.
    OutcomeUnknown {
        /// The store revision that it took, if it did.
        revision: Option<Revision>,
        /// Why it is not known.
        why: Unknown,
    },
    /// The disk is full: nothing can be changed until it is not.
    DiskFull(DiskLow),
    /// The state said no.
    Rejected(Box<Rejection>),
    /// The state said no to one operation of a frame, and so to all of it.
    RejectedAt(RejectedAt),
    /// The watch cannot begin there, or go on.
    Watch(WatchError),
    /// There are as many watches, or backups, as there may be.
    TooManyOpen {
        /// Of what: "watches" or "backups".
        what: &'static str,
        /// How many that is.
        limit: usize,
    },
    /// The backup cannot go on.
    Copy(CopyError),
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

/// The journal has ended before the owner: what had not been acknowledged may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLost(pub String);

//! What can stand in the mailbox.

use std::convert::Infallible;

use crate::machine::{
    Add, AddOutcome, AllOutcome, Delete, DeleteOutcome, EachOutcome, List, ListOutcome, Operation,
    Read, ReadOutcome, RejectedAt, Rejection, Usage, Write, WriteOutcome,
};

use super::reply::Reply;
use super::unread::{Held, Unread};

/// A message in the mailbox, with what it counts towards the mailbox's limit.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) message: Message,
    pub(super) byte_len: usize,
}

/// One message: what to do and where to answer.
#[derive(Debug)]
pub(super) enum Message {
    /// One read.
    Read {
        read: Read,
        reply: Reply<ReadOutcome>,
    },
    /// One write.
    Write {
        write: Write,
        reply: Reply<WriteOutcome>,
    },
    /// One addition.
    Add { add: Add, reply: Reply<AddOutcome> },
    /// One deletion.
    Delete {
        delete: Delete,
        reply: Reply<DeleteOutcome>,
    },
    /// A page of keys.
    List {
        list: List,
        reply: Reply<ListOutcome>,
    },
    /// A frame of operations that stand alone.
    Each {
        operations: Vec<Operation>,
        unread: Unread,
        reply: Reply<(EachOutcome, Held)>,
    },
    /// A frame that is done as a whole or not at all.
    All {
        operations: Vec<Operation>,
        unread: Unread,
        reply: Reply<(AllOutcome, Held)>,
    },
    /// How full the state is.
    Usage { reply: Reply<Usage> },
}

impl Message {
    /// Bytes that the message holds while it waits, beyond its own fixed size.
    pub(super) fn byte_len(&self) -> usize {
        match self {
            Self::Read { read, .. } => read.byte_len(),
            Self::Write { write, .. } => write.byte_len(),
            Self::Add { add, .. } => add.byte_len(),
            Self::Delete { delete, .. } => delete.byte_len(),
            Self::List { list, .. } => {
                list.prefix.len() + list.after.as_ref().map_or(0, String::len)
            }
            Self::Each { operations, .. } | Self::All { operations, .. } => {
                operations.len() * size_of::<Operation>()
                    + operations.iter().map(Operation::byte_len).sum::<usize>()
            }
            Self::Usage { .. } => 0,
        }
    }
}

/// Why the owner did not do what it was asked, or cannot be asked. In every case nothing was applied.
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
    /// The state said no.
    Rejected(Box<Rejection>),
    /// The state said no to one operation of a frame, and so to all of it.
    RejectedAt(RejectedAt),
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

impl From<Infallible> for CallError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

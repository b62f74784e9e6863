//! What can stand in the mailbox.

use std::convert::Infallible;

use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopyId, CopyLost, CopySlice, DefineMachine, Delete,
    DeleteOutcome, DiskLow, EachOutcome, List, ListOutcome, Lost, Machine, Name, OpenOutcome,
    OpenSession, Operation, Page, Read, ReadOutcome, RejectedAt, Rejection, Request, Revision,
    Session, SessionLife, StateMachine, Transition, TransitionOutcome, Write, WriteOutcome,
};

use super::Usage;
use super::copies::CopyBegun;
use super::reply::Reply;
use super::unread::{Held, Unread};
use super::watches::{NewWatch, Next, WatchId, Watching};

/// A message in the mailbox, with what it counts towards the mailbox's limit.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) message: Message,
    pub(super) byte_len: usize,
}

/// What can be recognised when it comes again. Boxed, because most messages cannot.
pub(super) type Named = Option<Box<Request>>;

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
        named: Named,
        reply: Reply<WriteOutcome>,
    },
    /// One addition.
    Add {
        add: Add,
        named: Named,
        reply: Reply<AddOutcome>,
    },
    /// One move to another state.
    Transition {
        transition: Transition,
        named: Named,
        reply: Reply<TransitionOutcome>,
    },
    /// One deletion.
    Delete {
        delete: Delete,
        named: Named,
        reply: Reply<DeleteOutcome>,
    },
    /// A page of keys.
    List {
        list: List,
        reply: Reply<ListOutcome>,
    },
    /// Frames of operations that stand alone, of one stream, in their order.
    Each {
        frames: Vec<EachFrame>,
        unread: Unread,
        reply: Reply<Vec<(EachOutcome, Held)>>,
    },
    /// A frame that is done as a whole or not at all.
    All {
        operations: Vec<Operation>,
        named: Named,
        unread: Unread,
        reply: Reply<(AllOutcome, Held)>,
    },
    /// A session to begin.
    OpenSession {
        open: OpenSession,
        named: Named,
        reply: Reply<OpenOutcome>,
    },
    /// A session to go on.
    RenewSession {
        life: SessionLife,
        reply: Reply<Session>,
    },
    /// A session to end.
    CloseSession {
        life: SessionLife,
        named: Named,
        reply: Reply<CloseOutcome>,
    },
    /// A page of sessions.
    ListSessions {
        after: Option<String>,
        page_size: usize,
        reply: Reply<Page<Session>>,
    },
    /// A machine to create or replace.
    DefineMachine {
        define: Box<DefineMachine>,
        reply: Reply<Machine>,
    },
    /// One machine to show.
    GetMachine { name: Name, reply: Reply<Machine> },
    /// A page of machines.
    ListMachines {
        after: Option<String>,
        page_size: usize,
        reply: Reply<Page<Machine>>,
    },
    /// A machine to delete.
    DeleteMachine { name: Name, reply: Reply<Revision> },
    /// A watch to begin.
    Watch {
        watch: NewWatch,
        reply: Reply<Watching>,
    },
    /// What a watch is sent next.
    Next {
        watch: WatchId,
        unread: Unread,
        reply: Reply<Next>,
    },
    /// A copy of everything to begin.
    BeginCopy { reply: Reply<CopyBegun> },
    /// What comes next in a copy.
    NextSlice {
        copy: CopyId,
        reply: Reply<CopySlice>,
    },
    /// How full the state is.
    Usage { reply: Reply<Usage> },
}

impl Message {
    /// Of a frame: the account of its connection.
    pub(super) fn unread(&self) -> Option<&Unread> {
        match self {
            Self::Each { unread, .. } | Self::All { unread, .. } => Some(unread),
            _ => None,
        }
    }

    /// Bytes that the message holds while it waits, beyond its own fixed size.
    pub(super) fn byte_len(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let requests = |count: usize| count * size_of::<Request>();
        let (bytes, named) = match self {
            Self::Read { read, .. } => (read.byte_len(), 0),
            Self::Write { write, named, .. } => (write.byte_len(), named.iter().len()),
            Self::Add { add, named, .. } => (add.byte_len(), named.iter().len()),
            Self::Transition {
                transition, named, ..
            } => (transition.byte_len(), named.iter().len()),
            Self::Delete { delete, named, .. } => (delete.byte_len(), named.iter().len()),
            Self::List { list, .. } => (list.prefix.len() + text(&list.after), 0),
            Self::Each { frames, .. } => (
                frames.iter().map(EachFrame::byte_len).sum(),
                frames.iter().map(|frame| frame.named.len()).sum(),
            ),
            Self::All {
                operations, named, ..
            } => (operations_byte_len(operations), named.iter().len()),
            Self::DefineMachine { define, .. } => (define.machine.byte_len(), 0),
            Self::ListSessions { after, .. } | Self::ListMachines { after, .. } => (text(after), 0),
            Self::Watch { watch, .. } => (watch.byte_len(), 0),
            Self::OpenSession { named, .. } | Self::CloseSession { named, .. } => {
                (0, named.iter().len())
            }
            // Of names alone, which are short.
            Self::RenewSession { .. }
            | Self::GetMachine { .. }
            | Self::DeleteMachine { .. }
            | Self::Next { .. }
            | Self::BeginCopy { .. }
            | Self::NextSlice { .. }
            | Self::Usage { .. } => (0, 0),
        };
        bytes + requests(named)
    }
}

/// A frame of operations that stand alone.
#[derive(Clone, Debug, PartialEq)]
pub struct EachFrame {
    /// What to do, in order.
    pub operations: Vec<Operation>,
    /// Those of them that can be recognised when they come again, by their places.
    pub named: Vec<(usize, Request)>,
}

impl EachFrame {
    fn byte_len(&self) -> usize {
        size_of::<Self>() + operations_byte_len(&self.operations)
    }

    /// Whether all of it has been answered before.
    pub(super) fn is_remembered(&self, machine: &StateMachine) -> bool {
        !self.named.is_empty()
            && self.named.len() == self.operations.len()
            && (self.named.iter()).all(|(_, request)| machine.remembers(request))
    }
}

fn operations_byte_len(operations: &[Operation]) -> usize {
    size_of_val(operations) + operations.iter().map(Operation::byte_len).sum::<usize>()
}

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
    Lost(Lost),
    /// There are as many watches, or backups, as there may be.
    TooManyOpen {
        /// Of what: "watches" or "backups".
        what: &'static str,
        /// How many that is.
        limit: usize,
    },
    /// The backup cannot go on.
    CopyLost(CopyLost),
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

impl From<Lost> for CallError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<CopyLost> for CallError {
    fn from(lost: CopyLost) -> Self {
        Self::CopyLost(lost)
    }
}

impl From<Infallible> for CallError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

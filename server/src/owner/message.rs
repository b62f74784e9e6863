//! What can stand in the mailbox.

use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopyId, CopySlice, DefineMachine, Delete,
    DeleteOutcome, EachOutcome, List, ListOutcome, Machine, Name, OpenOutcome, OpenSession,
    Operation, Page, Read, ReadOutcome, RequestId, Revision, Session, SessionLife, StateMachine,
    Transition, TransitionOutcome, Write, WriteOutcome,
};

use super::backups::OpenBackup;
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::Reply;
use super::watches::{NewWatch, NextBatch, OpenWatch, WatchId};

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
    Read(Read, Reply<ReadOutcome>),
    /// One write.
    Write(Write, Option<Box<RequestId>>, Reply<WriteOutcome>),
    /// One addition.
    Add(Add, Option<Box<RequestId>>, Reply<AddOutcome>),
    /// One move to another state.
    Transition(Transition, Option<Box<RequestId>>, Reply<TransitionOutcome>),
    /// One deletion.
    Delete(Delete, Option<Box<RequestId>>, Reply<DeleteOutcome>),
    /// A page of keys.
    List(List, Reply<ListOutcome>),
    /// Frames of operations that stand alone, of one stream, in their order.
    Each(
        Vec<EachFrame>,
        ConnectionQuota,
        Reply<Vec<(EachOutcome, QuotaGuard)>>,
    ),
    /// A frame that is done as a whole or not at all.
    All(AllFrame, ConnectionQuota, Reply<(AllOutcome, QuotaGuard)>),
    /// A session to begin.
    OpenSession(OpenSession, Option<Box<RequestId>>, Reply<OpenOutcome>),
    /// A session to go on.
    RenewSession(SessionLife, Reply<Session>),
    /// A session to end.
    CloseSession(SessionLife, Option<Box<RequestId>>, Reply<CloseOutcome>),
    /// A page of sessions.
    ListSessions(PageRequest, Reply<Page<Session>>),
    /// A machine to create or replace.
    DefineMachine(Box<DefineMachine>, Reply<Machine>),
    /// One machine to show.
    GetMachine(Name, Reply<Machine>),
    /// A page of machines.
    ListMachines(PageRequest, Reply<Page<Machine>>),
    /// A machine to delete.
    DeleteMachine(Name, Reply<Revision>),
    /// A watch to begin.
    Watch(NewWatch, Reply<OpenWatch>),
    /// What a watch is sent next.
    Next(WatchId, ConnectionQuota, Reply<NextBatch>),
    /// A copy of everything to begin.
    BeginBackup(Reply<OpenBackup>),
    /// What comes next in a copy.
    NextBackupSlice(CopyId, Reply<CopySlice>),
    /// How full the state is.
    Usage(Reply<Usage>),
}

impl Message {
    /// Of a frame: the account of its connection.
    pub(super) fn quota(&self) -> Option<&ConnectionQuota> {
        match self {
            Self::Each(_, quota, _) | Self::All(_, quota, _) => Some(quota),
            _ => None,
        }
    }

    /// Bytes that the message holds while it waits, beyond its own fixed size.
    pub(super) fn byte_len(&self) -> usize {
        let (bytes, request_ids) = match self {
            Self::Read(read, _) => (read.byte_len(), 0),
            Self::Write(write, request_id, _) => (write.byte_len(), request_id.iter().len()),
            Self::Add(add, request_id, _) => (add.byte_len(), request_id.iter().len()),
            Self::Transition(transition, request_id, _) => {
                (transition.byte_len(), request_id.iter().len())
            }
            Self::Delete(delete, request_id, _) => (delete.byte_len(), request_id.iter().len()),
            Self::List(list, _) => (list.prefix.len() + text_len(&list.after), 0),
            Self::Each(frames, ..) => (
                frames.iter().map(EachFrame::byte_len).sum(),
                frames.iter().map(|frame| frame.request_ids.len()).sum(),
            ),
            Self::All(frame, ..) => (
                operations_byte_len(&frame.operations),
                frame.request_id.iter().len(),
            ),
            Self::DefineMachine(define, _) => (define.machine.byte_len(), 0),
            Self::ListSessions(page, _) | Self::ListMachines(page, _) => (text_len(&page.after), 0),
            Self::Watch(watch, _) => (watch.byte_len(), 0),
            Self::OpenSession(_, request_id, _) | Self::CloseSession(_, request_id, _) => {
                (0, request_id.iter().len())
            }
            // Of names alone, which are short.
            Self::RenewSession(..)
            | Self::GetMachine(..)
            | Self::DeleteMachine(..)
            | Self::Next(..)
            | Self::BeginBackup(_)
            | Self::NextBackupSlice(..)
            | Self::Usage(_) => (0, 0),
        };
        bytes + request_ids * size_of::<RequestId>()
    }
}

/// A frame of operations that stand alone.
#[derive(Clone, Debug, PartialEq)]
pub struct EachFrame {
    /// What to do, in order.
    pub operations: Vec<Operation>,
    /// Those of them that can be recognised when they come again, by their places.
    pub request_ids: Vec<(usize, RequestId)>,
}

impl EachFrame {
    fn byte_len(&self) -> usize {
        size_of::<Self>() + operations_byte_len(&self.operations)
    }

    /// Whether all of it has been answered before.
    pub(super) fn is_replay(&self, machine: &StateMachine) -> bool {
        !self.request_ids.is_empty()
            && self.request_ids.len() == self.operations.len()
            && (self.request_ids.iter()).all(|(_, request)| machine.is_replay(request))
    }
}

/// A frame that is done as a whole or not at all.
#[derive(Debug)]
pub(super) struct AllFrame {
    pub(super) operations: Vec<Operation>,
    pub(super) request_id: Option<Box<RequestId>>,
}

/// Asks for a page of a list of names.
#[derive(Debug)]
pub(super) struct PageRequest {
    /// The last name of the page before, if there was one.
    pub(super) after: Option<String>,
    pub(super) page_size: usize,
}

/// How full the state is, and who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How full the state is.
    pub state: crate::machine::Usage,
    /// Watches that are open.
    pub watch_count: usize,
}

fn text_len(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn operations_byte_len(operations: &[Operation]) -> usize {
    size_of_val(operations) + operations.iter().map(Operation::byte_len).sum::<usize>()
}

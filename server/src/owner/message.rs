//! The messages that the mailbox carries.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopyId, CopySlice, DefineMachine, Delete,
    DeleteMachine, DeleteOutcome, DeletePrefix, DeletePrefixOutcome, Key, List, ListOutcome,
    Machine, MachineNow, Name, OpenOutcome, OpenSession, Page, Read, ReadOutcome, RequestId,
    Revision, Session, SessionLife, Transition, TransitionOutcome, Write, WriteOutcome,
};

use crate::config::{COST_BYTES, COST_WAITING_CONNECTION_MAX};

use super::backups::OpenBackup;
use super::frames::{AllFrame, WaitingFrames};
use super::gate::Place;
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::Reply;
use super::successor::HandOff;
use super::times::CallTimes;
use super::watches::{NewWatch, NextBatch, OpenWatch, WatchId};

/// A message in the mailbox, with the bytes that it counts towards the mailbox's limit.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) message: Message,
    pub(super) byte_len: usize,
    /// The room of a costly message, which is given back when the owner has handled it, and confirmed its answer if need be.
    pub(super) place: Option<Box<Place>>,
    /// When it was put into the mailbox, if its wait is to be measured.
    pub(super) sent: Option<Instant>,
    /// The times of the call that it belongs to, if they are measured.
    pub(super) times: Option<Arc<CallTimes>>,
}

impl Envelope {
    pub(super) fn new(message: Message) -> Self {
        Self {
            byte_len: message.byte_len(),
            message,
            place: None,
            sent: None,
            times: None,
        }
    }

    /// Returns what the message can cost at most; see [`COST_SMALL_MAX`](crate::config::COST_SMALL_MAX).
    pub(super) fn cost(&self) -> usize {
        let touched = match &self.message {
            Message::List(list, _) => list.page_size,
            Message::DeletePrefix(delete, ..) => delete.limit,
            Message::All(frame, ..) => frame.operations.len(),
            Message::ListSessions(page, _) => page.page_size,
            // A machine can have tens of thousands of names, and of keys that lose their states.
            Message::GetMachine(..)
            | Message::ListMachines(..)
            | Message::MachinesNow(..)
            | Message::DeleteMachine(..) => COST_WAITING_CONNECTION_MAX,
            _ => 0,
        };
        touched.max(self.byte_len / COST_BYTES)
    }
}

/// One message: what to do, and where to reply.
///
/// `Option<Box<RequestId>>` is the request id, if the caller sent one. Boxed, because most messages have none.
#[derive(Debug)]
pub(super) enum Message {
    /// Reads one key.
    Read(Read, Reply<ReadOutcome>),
    /// Writes one key.
    Write(Write, Option<Box<RequestId>>, Reply<WriteOutcome>),
    /// Adds to one int.
    Add(Add, Option<Box<RequestId>>, Reply<AddOutcome>),
    /// Moves one key to another state.
    Transition(Transition, Option<Box<RequestId>>, Reply<TransitionOutcome>),
    /// Deletes one key.
    Delete(Delete, Option<Box<RequestId>>, Reply<DeleteOutcome>),
    /// Deletes a slice of the keys with a prefix.
    DeletePrefix(
        DeletePrefix,
        Option<Box<RequestId>>,
        Reply<DeletePrefixOutcome>,
    ),
    /// Lists a page of keys.
    List(List, Reply<ListOutcome>),
    /// Applies plain frames of one stream, in their order: each operation succeeds or fails by itself.
    Each(Box<dyn WaitingFrames>, ConnectionQuota),
    /// Applies one atomic frame: all of its operations, or none.
    All(AllFrame, ConnectionQuota, Reply<(AllOutcome, QuotaGuard)>),
    /// Opens a session.
    OpenSession(OpenSession, Option<Box<RequestId>>, Reply<OpenOutcome>),
    /// Renews a session.
    RenewSession(SessionLife, Reply<Session>),
    /// Closes a session.
    CloseSession(SessionLife, Option<Box<RequestId>>, Reply<CloseOutcome>),
    /// Lists a page of sessions.
    ListSessions(PageRequest, Reply<Page<Session>>),
    /// Creates or replaces a machine.
    DefineMachine(Box<DefineMachine>, Reply<Machine>),
    /// Returns one machine.
    GetMachine(Name, Reply<Machine>),
    /// Lists a page of machines.
    ListMachines(PageRequest, Reply<Page<Machine>>),
    /// Returns the first machines, at most so many, with how their keys are spread over their states.
    MachinesNow(usize, Reply<Vec<MachineNow>>),
    /// Deletes a machine.
    DeleteMachine(DeleteMachine, Reply<Revision>),
    /// Opens a watch.
    Watch(NewWatch, ConnectionQuota, Reply<OpenWatch>),
    /// Asks for a watch's next batch.
    NextBatch(WatchId, ConnectionQuota, Reply<NextBatch>),
    /// Begins a backup.
    BeginBackup(ConnectionQuota, Reply<OpenBackup>),
    /// Asks for a backup's next slice.
    NextBackupSlice(CopyId, Reply<CopySlice>),
    /// Asks how full the state is.
    Usage(Reply<Usage>),
    /// Asks for a sign of life.
    Heartbeat(oneshot::Sender<()>),
    /// Gives the store to another node.
    HandOff(HandOff),
    /// Has the log tell the time, though nothing has changed.
    TellTime,
    /// Asks how many keys are in each state of each machine, for so many states at most.
    KeysInStates(usize, Reply<KeysInStates>),
}

/// Machine, state, and how many keys are in it.
pub type KeysInStates = Vec<(Name, Name, usize)>;

impl Message {
    /// Returns the key of an operation that is a message of its own.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Read(Read { key, .. }, _)
            | Self::Write(Write { key, .. }, ..)
            | Self::Add(Add { key, .. }, ..)
            | Self::Transition(Transition { key, .. }, ..)
            | Self::Delete(Delete { key, .. }, ..) => Some(key),
            _ => None,
        }
    }

    /// Returns the quota of the connection that sent the message, if the message carries frames.
    pub(super) fn quota(&self) -> Option<&ConnectionQuota> {
        match self {
            Self::Each(_, quota) | Self::All(_, quota, _) => Some(quota),
            _ => None,
        }
    }

    /// Returns the bytes of memory that the message uses while it waits, without its own fixed size.
    pub(super) fn byte_len(&self) -> usize {
        let (bytes, request_ids) = match self {
            Self::Read(read, _) => (read.byte_len(), 0),
            Self::Write(write, request_id, _) => (write.byte_len(), request_id.iter().len()),
            Self::Add(add, request_id, _) => (add.byte_len(), request_id.iter().len()),
            Self::Transition(transition, request_id, _) => {
                (transition.byte_len(), request_id.iter().len())
            }
            Self::Delete(delete, request_id, _) => (delete.byte_len(), request_id.iter().len()),
            Self::DeletePrefix(delete, request_id, _) => (
                delete.prefix.len() + text_len(&delete.after),
                request_id.iter().len(),
            ),
            Self::List(list, _) => (list.prefix.len() + text_len(&list.after), 0),
            Self::Each(frames, _) => (frames.byte_len(), 0),
            Self::All(frame, ..) => (frame.byte_len(), frame.request_id.iter().len()),
            Self::DefineMachine(define, _) => (define.machine.byte_len(), 0),
            Self::ListSessions(page, _) | Self::ListMachines(page, _) => (text_len(&page.after), 0),
            Self::Watch(watch, ..) => (watch.byte_len(), 0),
            Self::OpenSession(_, request_id, _) | Self::CloseSession(_, request_id, _) => {
                (0, request_id.iter().len())
            }
            // These carry at most a name, which is short.
            Self::RenewSession(..)
            | Self::GetMachine(..)
            | Self::MachinesNow(..)
            | Self::DeleteMachine(..)
            | Self::NextBatch(..)
            | Self::BeginBackup(..)
            | Self::NextBackupSlice(..)
            | Self::Usage(_)
            | Self::Heartbeat(_)
            | Self::HandOff(..)
            | Self::TellTime
            | Self::KeysInStates(..) => (0, 0),
        };
        bytes + request_ids * size_of::<RequestId>()
    }
}

/// Which page of a list of sessions or machines.
#[derive(Debug)]
pub(super) struct PageRequest {
    /// The page begins after this name; `None` for the first page.
    pub(super) after: Option<String>,
    /// Most names on the page.
    pub(super) page_size: usize,
}

/// How full the state is, and how many watches are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How full the state is.
    pub state: crate::machine::Usage,
    /// Open watches.
    pub watch_count: usize,
}

fn text_len(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

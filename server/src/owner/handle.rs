//! The only way to the owner.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopySlice, DefineMachine, Delete, DeleteOutcome,
    EachOutcome, List, ListOutcome, Machine, Name, OpenOutcome, OpenSession, Operation, Page, Read,
    ReadOutcome, RequestId, Revision, Session, SessionLife, Transition, TransitionOutcome, Write,
    WriteOutcome,
};

use super::backups::OpenBackup;
use super::error::CallError;
use super::mailbox::MailboxSender;
use super::message::{AllFrame, EachFrame, Message, PageRequest, Usage};
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::Pending;
use super::watches::{NewWatch, NextBatch, OpenWatch};

/// Sends messages to the owner. Cheap to clone; when the last one is gone, the owner ends.
///
/// Every method puts one message into the mailbox at once or refuses at once, never waiting for room; a frame also if its
/// connection has as much there as is left for all others. What it
/// returns waits for the answer until `deadline`; dropping that takes the message back, unless the owner has begun.
/// Messages of one caller are taken in the order in which it sent them.
///
/// # Errors
/// Each method can fail with [`CallError::Overloaded`], [`CallError::NotStarted`] or [`CallError::OwnerLost`], and
/// with a rejection by the state. In every case nothing was applied.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    mailbox: MailboxSender,
    /// Places in the mailbox for watches.
    watch_permits: Arc<Semaphore>,
}

impl OwnerHandle {
    pub(super) fn new(mailbox: MailboxSender) -> Self {
        let watch_permits = Arc::new(Semaphore::new(mailbox.quarter()));
        Self {
            mailbox,
            watch_permits,
        }
    }

    /// Reads one key.
    pub async fn read(&self, read: Read, deadline: Instant) -> Result<ReadOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::Read(read, reply))
            .await
    }

    /// Writes one key. What is `named` is answered again when it comes again.
    pub async fn write(
        &self,
        write: Write,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<WriteOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::Write(write, request_id, reply))
            .await
    }

    /// Adds to one int. As to `named`, see [`write`](Self::write).
    pub async fn add(
        &self,
        add: Add,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<AddOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::Add(add, request_id, reply))
            .await
    }

    /// Moves one key to another state. As to `named`, see [`write`](Self::write).
    pub async fn transition(
        &self,
        transition: Transition,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<TransitionOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| {
                Message::Transition(transition, request_id, reply)
            })
            .await
    }

    /// Deletes one key. As to `named`, see [`write`](Self::write).
    pub async fn delete(
        &self,
        delete: Delete,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<DeleteOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::Delete(delete, request_id, reply))
            .await
    }

    /// Lists a page of keys.
    pub async fn list(&self, list: List, deadline: Instant) -> Result<ListOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::List(list, reply))
            .await
    }

    /// Does each operation of each frame on its own, in order, with nothing of others in between. What has a request id is
    /// answered again when it comes again. What an answer shows counts towards `unread` until it is dropped.
    pub fn apply_each(
        &self,
        frames: Vec<EachFrame>,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<Pending<Vec<(EachOutcome, QuotaGuard)>>, CallError> {
        self.mailbox
            .send(deadline, |reply| Message::Each(frames, quota, reply))
    }

    /// Does all operations, in order and at one revision, or none. As to `named`, see [`write`](Self::write); as to
    /// `unread`, see [`apply_each`](Self::apply_each).
    pub fn apply_all(
        &self,
        operations: Vec<Operation>,
        request_id: Option<Box<RequestId>>,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<Pending<(AllOutcome, QuotaGuard)>, CallError> {
        let frame = AllFrame {
            operations,
            request_id,
        };
        self.mailbox
            .send(deadline, |reply| Message::All(frame, quota, reply))
    }

    /// Begins a session. If it takes over from one with many keys, that one's last key is gone when this is answered. As to
    /// `named`, see [`write`](Self::write).
    pub async fn open_session(
        &self,
        open: OpenSession,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<OpenOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| {
                Message::OpenSession(open, request_id, reply)
            })
            .await
    }

    /// Lets a session's ttl count anew.
    pub async fn renew_session(
        &self,
        life: SessionLife,
        deadline: Instant,
    ) -> Result<Session, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::RenewSession(life, reply))
            .await
    }

    /// Ends a session; its last key is gone when this is answered. As to `named`, see [`write`](Self::write).
    pub async fn close_session(
        &self,
        life: SessionLife,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<CloseOutcome, CallError> {
        self.mailbox
            .ask(deadline, |reply| {
                Message::CloseSession(life, request_id, reply)
            })
            .await
    }

    /// Lists a page of sessions, after the one of the name `after`.
    pub async fn list_sessions(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Session>, CallError> {
        let page = PageRequest { after, page_size };
        self.mailbox
            .ask(deadline, |reply| Message::ListSessions(page, reply))
            .await
    }

    /// Creates or replaces a machine.
    pub async fn define_machine(
        &self,
        define: DefineMachine,
        deadline: Instant,
    ) -> Result<Machine, CallError> {
        let define = Box::new(define);
        self.mailbox
            .ask(deadline, |reply| Message::DefineMachine(define, reply))
            .await
    }

    /// Shows one machine.
    pub async fn get_machine(&self, name: Name, deadline: Instant) -> Result<Machine, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::GetMachine(name, reply))
            .await
    }

    /// Lists a page of machines, after the one of the name `after`.
    pub async fn list_machines(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Machine>, CallError> {
        let page = PageRequest { after, page_size };
        self.mailbox
            .ask(deadline, |reply| Message::ListMachines(page, reply))
            .await
    }

    /// Deletes a machine.
    pub async fn delete_machine(
        &self,
        name: Name,
        deadline: Instant,
    ) -> Result<Revision, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::DeleteMachine(name, reply))
            .await
    }

    /// Begins a watch, which stays open until what this returns is dropped.
    pub async fn watch(&self, watch: NewWatch, deadline: Instant) -> Result<OpenWatch, CallError> {
        self.mailbox
            .ask(deadline, |reply| Message::Watch(watch, reply))
            .await
    }

    /// What a watch is sent next. Waits for room in the mailbox, where other calls are refused. However many watches one
    /// change wakes, they take no more than a quarter of the mailbox, and leave the rest to calls.
    pub async fn next(
        &self,
        watch: &OpenWatch,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<NextBatch, CallError> {
        let permit = self.watch_permits.acquire().await;
        let _permit = permit.expect("it is never closed");
        let watch = watch.id;
        self.mailbox
            .ask_in_turn(deadline, |reply| Message::Next(watch, quota, reply))
            .await
    }

    /// Begins a copy of everything, which goes on until what this returns is dropped.
    pub async fn begin_backup(&self, deadline: Instant) -> Result<OpenBackup, CallError> {
        self.mailbox.ask(deadline, Message::BeginBackup).await
    }

    /// What comes next in a copy. Waits for room in the mailbox, where other calls are refused.
    pub async fn next_backup_slice(
        &self,
        copy: &OpenBackup,
        deadline: Instant,
    ) -> Result<CopySlice, CallError> {
        let copy = copy.id;
        self.mailbox
            .ask_in_turn(deadline, |reply| Message::NextBackupSlice(copy, reply))
            .await
    }

    /// Tells how full the state is.
    pub async fn usage(&self, deadline: Instant) -> Result<Usage, CallError> {
        self.mailbox.ask(deadline, Message::Usage).await
    }

    /// Resolves when the owner has ended.
    pub async fn closed(&self) {
        self.mailbox.closed().await;
    }
}

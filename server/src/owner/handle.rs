//! The handle through which everybody else calls the owner.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopySlice, DefineMachine, Delete, DeleteMachine,
    DeleteOutcome, DeletePrefix, DeletePrefixOutcome, List, ListOutcome, Machine, Name,
    OpenOutcome, OpenSession, Operation, Page, PlainAnswers, PlainFrames, Read, ReadOutcome,
    RequestId, Revision, Session, SessionLife, Transition, TransitionOutcome, Write, WriteOutcome,
};

use super::backups::OpenBackup;
use super::error::CallError;
use super::frames::{AllFrame, EachFrames};
use super::heartbeat::Heartbeat;
use super::mailbox::MailboxSender;
use super::message::{Message, PageRequest, Usage};
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::Pending;
use super::successor::Successor;
use super::watches::{NewWatch, NextBatch, OpenWatch};

/// Calls the owner. Cheap to clone. When the last handle is dropped, the owner works off its mailbox and ends.
///
/// A call puts one message into the mailbox. If the mailbox is full, the call is refused at once; frames are also
/// refused if their connection uses as much of the mailbox as is left for others. Unary calls that cost the owner much wait
/// until it is their connection's turn. Only [`next_batch`](Self::next_batch)
/// and [`next_backup_slice`](Self::next_backup_slice) wait for room instead. The owner takes the messages of one caller
/// in the order in which they were sent.
///
/// The call then waits for its answer, at most until `deadline`. Dropping the returned future or [`Pending`] withdraws
/// the message, unless the owner has started with it: then the message takes effect, and its answer is thrown away.
///
/// A `request_id` makes a call safe to repeat: if the owner has applied a call with the same id before, it sends the
/// same answer and changes nothing.
///
/// # Errors
/// Every method can fail with [`CallError::Overloaded`], [`CallError::NotStarted`] or [`CallError::OwnerLost`], and
/// with a rejection by the machine; then nothing was changed. [`CallError::OutcomeUnknown`] is the only error that
/// leaves open whether the call took effect.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    mailbox: MailboxSender,
    /// The connection whose calls these are.
    quota: ConnectionQuota,
    /// Limits how many messages of watches are in the mailbox at once.
    watch_permits: Arc<Semaphore>,
}

impl OwnerHandle {
    pub(super) fn new(mailbox: MailboxSender) -> Self {
        let watch_permits = Arc::new(Semaphore::new(mailbox.watch_messages_max()));
        Self {
            mailbox,
            quota: ConnectionQuota::new(usize::MAX),
            watch_permits,
        }
    }

    pub(super) fn mailbox(&self) -> &MailboxSender {
        &self.mailbox
    }

    /// Returns who owns the store after this owner. [`apply_each`](Self::apply_each) and [`apply_all`](Self::apply_all) need it to
    /// explain the error of their [`Pending`]; all other methods have done so.
    #[must_use]
    pub fn successor(&self) -> Successor {
        self.mailbox.successor().clone()
    }

    /// Returns the handle for the calls of one connection: they share what that connection may use.
    #[must_use]
    pub fn for_connection(&self, quota: ConnectionQuota) -> Self {
        Self {
            quota,
            ..self.clone()
        }
    }

    /// Reads one key.
    pub async fn read(&self, read: Read, deadline: Instant) -> Result<ReadOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| Message::Read(read, reply))
            .await
    }

    /// Writes one key.
    pub async fn write(
        &self,
        write: Write,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<WriteOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::Write(write, request_id, reply)
            })
            .await
    }

    /// Adds to one int.
    pub async fn add(
        &self,
        add: Add,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<AddOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::Add(add, request_id, reply)
            })
            .await
    }

    /// Moves one key to another state.
    pub async fn transition(
        &self,
        transition: Transition,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<TransitionOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::Transition(transition, request_id, reply)
            })
            .await
    }

    /// Deletes one key.
    pub async fn delete(
        &self,
        delete: Delete,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<DeleteOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::Delete(delete, request_id, reply)
            })
            .await
    }

    /// Deletes a slice of the keys with a prefix.
    pub async fn delete_prefix(
        &self,
        delete: DeletePrefix,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<DeletePrefixOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::DeletePrefix(delete, request_id, reply)
            })
            .await
    }

    /// Lists a page of keys.
    pub async fn list(&self, list: List, deadline: Instant) -> Result<ListOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| Message::List(list, reply))
            .await
    }

    /// Applies plain frames in order; each operation succeeds or fails by itself, and no other call comes in between.
    /// Returns `answers`, which have taken the outcomes. They are charged to `quota` until the guard is dropped; operations
    /// whose values would exceed the quota are refused.
    pub fn apply_each<A: PlainAnswers + 'static>(
        &self,
        frames: PlainFrames,
        answers: A,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<Pending<(A, QuotaGuard)>, CallError> {
        self.mailbox.send(deadline, |reply| {
            Message::Each(EachFrames::waiting(frames, answers, reply), quota)
        })
    }

    /// Applies all operations, in order and at one revision, or none. The values in the outcome are charged to `quota`
    /// until its guard is dropped; a frame that would exceed the quota is refused.
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

    /// Like [`apply_all`](Self::apply_all), for a unary call: many operations wait for their turn.
    pub async fn batch(
        &self,
        operations: Vec<Operation>,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<(AllOutcome, QuotaGuard), CallError> {
        let frame = AllFrame {
            operations,
            request_id,
        };
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::All(frame, self.quota.clone(), reply)
            })
            .await
    }

    /// Opens a session. If it takes over another session, the answer comes when the last key of that session is gone.
    pub async fn open_session(
        &self,
        open: OpenSession,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<OpenOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::OpenSession(open, request_id, reply)
            })
            .await
    }

    /// Renews a session: its ttl starts again from now.
    pub async fn renew_session(
        &self,
        life: SessionLife,
        deadline: Instant,
    ) -> Result<Session, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::RenewSession(life, reply)
            })
            .await
    }

    /// Closes a session. The answer comes when the session's last key is gone.
    pub async fn close_session(
        &self,
        life: SessionLife,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<CloseOutcome, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::CloseSession(life, request_id, reply)
            })
            .await
    }

    /// Lists at most `page_size` sessions by id, from the first, or from the one that follows `after`.
    pub async fn list_sessions(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Session>, CallError> {
        let page = PageRequest { after, page_size };
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::ListSessions(page, reply)
            })
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
            .ask(&self.quota, deadline, |reply| {
                Message::DefineMachine(define, reply)
            })
            .await
    }

    /// Returns one machine.
    pub async fn get_machine(&self, name: Name, deadline: Instant) -> Result<Machine, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::GetMachine(name, reply)
            })
            .await
    }

    /// Lists at most `page_size` machines by name, from the first, or from the one that follows `after`.
    pub async fn list_machines(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Machine>, CallError> {
        let page = PageRequest { after, page_size };
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::ListMachines(page, reply)
            })
            .await
    }

    /// Deletes a machine.
    pub async fn delete_machine(
        &self,
        delete: DeleteMachine,
        deadline: Instant,
    ) -> Result<Revision, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::DeleteMachine(delete, reply)
            })
            .await
    }

    /// Opens a watch, which stays open until the returned value is dropped.
    pub async fn watch(&self, watch: NewWatch, deadline: Instant) -> Result<OpenWatch, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::Watch(watch, self.quota.clone(), reply)
            })
            .await
    }

    /// Returns the next batch of a watch. Waits for room in the mailbox. However many watches one change wakes, few of their
    /// messages are in the mailbox at once, so that calls find room. A watch that is behind, with many changes or entries
    /// ahead, waits for its connection's turn.
    pub async fn next_batch(
        &self,
        watch: &OpenWatch,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<NextBatch, CallError> {
        let behind = watch.is_behind().then(|| quota.clone());
        // A watch that is behind waits for its turn instead.
        let _permit = match &behind {
            Some(_) => None,
            None => {
                let permit = self.watch_permits.acquire().await;
                Some(permit.expect("nothing closes the semaphore"))
            }
        };
        let next = self
            .mailbox
            .ask_when_room(behind.as_ref(), deadline, |reply| {
                Message::NextBatch(watch.id, quota, reply)
            })
            .await?;
        watch.note(&next);
        Ok(next)
    }

    /// Begins a backup: a copy of the whole state at one revision, which ends when the returned value is dropped.
    pub async fn begin_backup(&self, deadline: Instant) -> Result<OpenBackup, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, |reply| {
                Message::BeginBackup(self.quota.clone(), reply)
            })
            .await
    }

    /// Returns the next slice of a backup. Waits for room in the mailbox.
    pub async fn next_backup_slice(
        &self,
        backup: &OpenBackup,
        deadline: Instant,
    ) -> Result<CopySlice, CallError> {
        let copy = backup.id;
        self.mailbox
            .ask_when_room(None, deadline, |reply| {
                Message::NextBackupSlice(copy, reply)
            })
            .await
    }

    /// Returns how full the state is.
    pub async fn usage(&self, deadline: Instant) -> Result<Usage, CallError> {
        self.mailbox
            .ask(&self.quota, deadline, Message::Usage)
            .await
    }

    /// Returns what finds out whether the owner takes messages.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(self.mailbox.downgrade())
    }

    /// Waits until the owner has ended.
    pub async fn closed(&self) {
        self.mailbox.closed().await;
    }
}

//! The only way to the owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::config::MailboxLimits;
use crate::machine::{
    Add, AddOutcome, AllOutcome, Delete, DeleteOutcome, EachOutcome, List, ListOutcome, Operation,
    Read, ReadOutcome, Usage, Write, WriteOutcome,
};

use super::message::{CallError, Envelope, Message};
use super::reply::{Pending, Reply, reply};
use super::unread::{Held, Unread};

/// Sends messages to the owner. Cheap to clone; when the last one is gone, the owner ends.
///
/// Every method puts one message into the mailbox at once or refuses at once, never waiting for room. What it
/// returns waits for the answer until `deadline`; dropping that takes the message back, unless the owner has begun.
/// Messages of one caller are taken in the order in which it sent them.
///
/// # Errors
/// Each method can fail with [`CallError::Overloaded`], [`CallError::NotStarted`] or [`CallError::OwnerLost`], and
/// with a rejection by the state. In every case nothing was applied.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    pub(super) mailbox: mpsc::Sender<Envelope>,
    pub(super) waiting_bytes: WaitingBytes,
    pub(super) limits: MailboxLimits,
}

/// Bytes of all messages in the mailbox.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingBytes(Arc<AtomicUsize>);

impl WaitingBytes {
    /// Adds `bytes` unless the sum would pass `limit`.
    fn add(&self, bytes: usize, limit: usize) -> bool {
        // Relaxed: the number guards no other memory.
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= limit {
            return true;
        }
        self.remove(bytes);
        false
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl OwnerHandle {
    /// Reads one key.
    pub async fn read(&self, read: Read, deadline: Instant) -> Result<ReadOutcome, CallError> {
        self.send(deadline, |reply| Message::Read { read, reply })?
            .answer()
            .await
    }

    /// Writes one key.
    pub async fn write(&self, write: Write, deadline: Instant) -> Result<WriteOutcome, CallError> {
        self.send(deadline, |reply| Message::Write { write, reply })?
            .answer()
            .await
    }

    /// Adds to one int.
    pub async fn add(&self, add: Add, deadline: Instant) -> Result<AddOutcome, CallError> {
        self.send(deadline, |reply| Message::Add { add, reply })?
            .answer()
            .await
    }

    /// Deletes one key.
    pub async fn delete(
        &self,
        delete: Delete,
        deadline: Instant,
    ) -> Result<DeleteOutcome, CallError> {
        self.send(deadline, |reply| Message::Delete { delete, reply })?
            .answer()
            .await
    }

    /// Lists a page of keys.
    pub async fn list(&self, list: List, deadline: Instant) -> Result<ListOutcome, CallError> {
        self.send(deadline, |reply| Message::List { list, reply })?
            .answer()
            .await
    }

    /// Does each operation on its own, in order, with nothing of others in between. What the answer shows counts
    /// towards `unread` until it is dropped.
    pub fn apply_each(
        &self,
        operations: Vec<Operation>,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Pending<(EachOutcome, Held)>, CallError> {
        self.send(deadline, |reply| Message::Each {
            operations,
            unread,
            reply,
        })
    }

    /// Does all operations, in order and at one revision, or none. As to `unread`, see
    /// [`apply_each`](Self::apply_each).
    pub fn apply_all(
        &self,
        operations: Vec<Operation>,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Pending<(AllOutcome, Held)>, CallError> {
        self.send(deadline, |reply| Message::All {
            operations,
            unread,
            reply,
        })
    }

    /// Tells how full the state is.
    pub async fn usage(&self, deadline: Instant) -> Result<Usage, CallError> {
        self.send(deadline, |reply| Message::Usage { reply })?
            .answer()
            .await
    }

    /// Resolves when the owner has ended.
    pub async fn closed(&self) {
        self.mailbox.closed().await;
    }

    fn send<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<Pending<T>, CallError> {
        let (reply, pending) = reply(deadline);
        let message = message(reply);
        let byte_len = message.byte_len();
        if !self.waiting_bytes.add(byte_len, self.limits.bytes) {
            return Err(CallError::Overloaded {
                limit: self.limits.bytes,
                unit: "bytes",
            });
        }
        let envelope = Envelope { message, byte_len };
        self.mailbox.try_send(envelope).map_err(|error| {
            self.waiting_bytes.remove(byte_len);
            match error {
                TrySendError::Full(_) => CallError::Overloaded {
                    limit: self.limits.messages,
                    unit: "messages",
                },
                TrySendError::Closed(_) => CallError::OwnerLost,
            }
        })?;
        Ok(pending)
    }
}

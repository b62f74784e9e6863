//! The mailbox: what waits for the owner, bounded in messages and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::config::{MailboxLimits, OWNER_BATCH_MAX};

use super::error::CallError;
use super::message::{Envelope, Message};
use super::quota::{ConnectionQuota, Queued};
use super::reply::{Pending, Reply, reply};

/// Makes a mailbox: the end that sends, and the owner's.
pub(super) fn mailbox(limits: MailboxLimits) -> (MailboxSender, Mailbox) {
    let (sender, receiver) = mpsc::channel(limits.messages);
    let queued_bytes = QueuedBytes::default();
    let mailbox = Mailbox {
        receiver,
        queued_bytes: queued_bytes.clone(),
    };
    let sender = MailboxSender {
        sender,
        queued_bytes,
        limits,
    };
    (sender, mailbox)
}

/// The owner's end.
pub(super) struct Mailbox {
    receiver: mpsc::Receiver<Envelope>,
    queued_bytes: QueuedBytes,
}

impl Mailbox {
    /// Waits for messages, and takes as many as are done in one go. None of them: every handle is gone. Cancelling it
    /// loses nothing.
    pub(super) async fn recv_many(&mut self, batch: &mut Vec<Envelope>) -> usize {
        self.receiver.recv_many(batch, OWNER_BATCH_MAX).await
    }

    /// A message does not wait any more.
    pub(super) fn release(&self, envelope: &Envelope) {
        self.queued_bytes.release(envelope);
    }
}

/// The end that sends.
#[derive(Clone, Debug)]
pub(super) struct MailboxSender {
    sender: mpsc::Sender<Envelope>,
    queued_bytes: QueuedBytes,
    limits: MailboxLimits,
}

impl MailboxSender {
    /// Sends a message, and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        self.send(deadline, message)?.answer().await
    }

    /// Waits for room in the mailbox, and sends a message that takes no bytes.
    pub(super) async fn ask_in_turn<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        let Ok(room) = self.sender.reserve().await else {
            return Err(CallError::OwnerLost);
        };
        let (reply, pending) = reply(deadline);
        room.send(Envelope {
            message: message(reply),
            byte_len: 0,
        });
        pending.answer().await
    }

    /// Sends a message, or refuses it at once.
    pub(super) fn send<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<Pending<T>, CallError> {
        let (reply, pending) = reply(deadline);
        let message = message(reply);
        let byte_len = message.byte_len();
        if let Some(quota) = message.quota() {
            self.check_share(quota, byte_len)?;
        }
        if !self.queued_bytes.add(byte_len, self.limits.bytes) {
            return Err(CallError::Overloaded {
                limit: self.limits.bytes,
                unit: "bytes",
            });
        }
        if let Some(quota) = message.quota() {
            quota.enqueue(byte_len);
        }
        let envelope = Envelope { message, byte_len };
        self.sender.try_send(envelope).map_err(|error| {
            let (TrySendError::Full(envelope) | TrySendError::Closed(envelope)) = &error;
            self.queued_bytes.release(envelope);
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

    /// Whether one more frame of this connection may wait: no more than there are places left, see `quota.rs`. Its first
    /// may take the last place.
    fn check_share(&self, quota: &ConnectionQuota, byte_len: usize) -> Result<(), CallError> {
        let Queued { frames, bytes } = quota.queued();
        if frames == 0 {
            return Ok(());
        }
        let free = self.sender.capacity();
        // If nothing is free it is not for this connection's sake that it is refused.
        if frames >= free && free > 0 {
            return Err(CallError::Overloaded {
                limit: free,
                unit: "messages of one connection",
            });
        }
        let free = self.limits.bytes.saturating_sub(self.queued_bytes.total());
        if bytes + byte_len > free && free > 0 {
            return Err(CallError::Overloaded {
                limit: free,
                unit: "bytes of one connection",
            });
        }
        Ok(())
    }

    /// A quarter of the mailbox.
    pub(super) fn quarter(&self) -> usize {
        (self.limits.messages / 4).max(1)
    }

    /// Resolves when the owner has ended.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// Bytes of all messages in the mailbox.
#[derive(Clone, Debug, Default)]
struct QueuedBytes(Arc<AtomicUsize>);

impl QueuedBytes {
    /// Adds `bytes` unless the sum would pass `limit`.
    fn add(&self, bytes: usize, limit: usize) -> bool {
        // Relaxed: the number guards no other memory.
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= limit {
            return true;
        }
        self.remove(bytes);
        false
    }

    fn total(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A message does not wait any more, or found no place.
    fn release(&self, envelope: &Envelope) {
        self.remove(envelope.byte_len);
        if let Some(quota) = envelope.message.quota() {
            quota.dequeue(envelope.byte_len);
        }
    }
}

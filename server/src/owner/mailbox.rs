//! The mailbox: the queue in front of the owner, limited in messages and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::config::{
    COST_SMALL_MAX, COST_WATCH_BEHIND, MailboxLimits, OWNER_BATCH_MAX, WATCH_MESSAGES_MAX,
};
use crate::metrics;

use super::error::CallError;
use super::gate::Gate;
use super::message::{Envelope, Message};
use super::quota::{ConnectionQuota, QueuedFrames};
use super::reply::{Pending, Reply, reply};
use super::successor::Successor;
use super::times::CallTimes;

/// Creates a mailbox. Returns the end that the handle sends into, and the end that the owner reads.
pub(super) fn mailbox(limits: MailboxLimits) -> (MailboxSender, Mailbox) {
    let (sender, receiver) = mpsc::channel(limits.messages);
    let queued_bytes = QueuedBytes::default();
    let successor = Successor::default();
    let mailbox = Mailbox {
        receiver,
        queued_bytes: queued_bytes.clone(),
        successor: successor.clone(),
    };
    let sender = MailboxSender {
        sender,
        queued_bytes,
        gate: Gate::default(),
        limits,
        successor,
    };
    (sender, mailbox)
}

/// The owner's end of the mailbox.
pub(super) struct Mailbox {
    receiver: mpsc::Receiver<Envelope>,
    queued_bytes: QueuedBytes,
    successor: Successor,
}

impl Mailbox {
    /// Waits for at least one message, and takes at most [`OWNER_BATCH_MAX`]. Returns how many; 0 means that every
    /// handle is gone and the mailbox is empty. Cancelling it loses no message.
    pub(super) async fn recv_many(&mut self, batch: &mut Vec<Envelope>) -> usize {
        self.receiver.recv_many(batch, OWNER_BATCH_MAX).await
    }

    /// Gives back the room that a message had in the mailbox. Call it once for each message taken.
    pub(super) fn release(&self, envelope: &Envelope) {
        self.queued_bytes.release(envelope);
    }

    /// Ends it, because the owner has given the store to the node at `successor`. Nobody begins with the messages in it.
    pub(super) fn end(self, successor: Box<str>) {
        self.successor.set(successor);
    }
}

/// The sending end of the mailbox. Clones share the limits.
#[derive(Clone, Debug)]
pub(super) struct MailboxSender {
    sender: mpsc::Sender<Envelope>,
    queued_bytes: QueuedBytes,
    gate: Gate,
    limits: MailboxLimits,
    successor: Successor,
}

impl MailboxSender {
    /// Sends a message as [`send`](Self::send) does, and waits for its answer. A message that costs the owner much waits for
    /// its turn first, with `quota` as its connection.
    pub(super) async fn ask<T>(
        &self,
        quota: &ConnectionQuota,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        let (reply, pending) = reply(deadline);
        let envelope = Envelope::new(message(reply));
        if envelope.cost() > COST_SMALL_MAX {
            // Boxed, so that the futures of small calls stay small.
            Box::pin(self.put_in_turn(Box::new(envelope), quota, deadline)).await?;
        } else {
            self.put(envelope)?;
        }
        pending
            .answer()
            .await
            .map_err(|error| self.successor.explain(error))
    }

    /// Waits until a costly message may go into the mailbox, and puts it there.
    async fn put_in_turn(
        &self,
        mut envelope: Box<Envelope>,
        quota: &ConnectionQuota,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let cost = (envelope.cost(), envelope.byte_len);
        let place = self.gate.enter(quota, cost, deadline).await?;
        envelope.place = Some(Box::new(place));
        self.put(*envelope)
    }

    /// Waits for room in the mailbox, sends a message, and waits for its answer. The message counts no bytes. `behind` is the
    /// connection of a watch that has many changes ahead of it: such a message waits for its turn first.
    pub(super) async fn ask_when_room<T>(
        &self,
        behind: Option<&ConnectionQuota>,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        let place = match behind {
            Some(quota) => Some(Box::new(
                self.gate.enter_at_any_time(quota, COST_WATCH_BEHIND).await,
            )),
            None => None,
        };
        let Ok(room) = self.sender.reserve().await else {
            return Err(self.successor.explain(CallError::OwnerLost));
        };
        let (reply, pending) = reply(deadline);
        room.send(Envelope {
            message: message(reply),
            byte_len: 0,
            place,
            sent: sent_at(),
            times: CallTimes::of_message(),
        });
        pending
            .answer()
            .await
            .map_err(|error| self.successor.explain(error))
    }

    /// Waits for room in the mailbox, and sends a message that counts no bytes. Returns false if the owner has ended.
    pub(super) async fn put_when_room(&self, envelope: Envelope) -> bool {
        let room = self.sender.reserve().await;
        room.map(|room| room.send(envelope)).is_ok()
    }

    /// Who owns the store after this owner.
    pub(super) fn successor(&self) -> &Successor {
        &self.successor
    }

    /// Sends a message if the mailbox has room, and refuses it otherwise. Never waits.
    pub(super) fn send<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<Pending<T>, CallError> {
        let (reply, pending) = reply(deadline);
        self.put(Envelope::new(message(reply)))?;
        Ok(pending)
    }

    /// Puts a message into the mailbox if there is room, and refuses it otherwise.
    fn put(&self, mut envelope: Envelope) -> Result<(), CallError> {
        envelope.sent = sent_at();
        envelope.times = CallTimes::of_message();
        let Envelope {
            message, byte_len, ..
        } = &envelope;
        let byte_len = *byte_len;
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
        self.sender.try_send(envelope).map_err(|error| {
            let (TrySendError::Full(envelope) | TrySendError::Closed(envelope)) = &error;
            self.queued_bytes.release(envelope);
            match error {
                TrySendError::Full(_) => CallError::Overloaded {
                    limit: self.limits.messages,
                    unit: "messages",
                },
                TrySendError::Closed(_) => self.successor.explain(CallError::OwnerLost),
            }
        })
    }

    /// Refuses a message with frames if its connection would use more of the mailbox than is left for others;
    /// `quota.rs` has the rule. A connection's first message may take the last place.
    fn check_share(&self, quota: &ConnectionQuota, byte_len: usize) -> Result<(), CallError> {
        let QueuedFrames { frames, bytes } = quota.queued();
        if frames == 0 {
            return Ok(());
        }
        let free = self.sender.capacity();
        // With nothing free, the message is refused because the mailbox is full, whatever this connection uses.
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

    /// Returns a sending end that does not keep the owner from ending.
    pub(super) fn weak(&self) -> WeakMailboxSender {
        WeakMailboxSender {
            sender: self.sender.downgrade(),
            queued_bytes: self.queued_bytes.clone(),
            gate: self.gate.clone(),
            limits: self.limits.clone(),
            successor: self.successor.clone(),
        }
    }

    /// Returns how many messages wait, and the bytes that they count.
    pub(super) fn level(&self) -> (usize, usize) {
        let messages = self.sender.max_capacity() - self.sender.capacity();
        (messages, self.queued_bytes.total())
    }

    /// Returns whether the owner has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns how many messages of watches may be in the mailbox at once: a quarter of it at most, and at least 1.
    pub(super) fn watch_messages_max(&self) -> usize {
        (self.limits.messages / 4).clamp(1, WATCH_MESSAGES_MAX)
    }

    /// The same end, which does not keep the owner from ending.
    pub(super) fn downgrade(&self) -> mpsc::WeakSender<Envelope> {
        self.sender.downgrade()
    }

    /// Waits until the owner has ended.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// A sending end that does not keep the owner from ending.
#[derive(Clone, Debug)]
pub(super) struct WeakMailboxSender {
    sender: mpsc::WeakSender<Envelope>,
    queued_bytes: QueuedBytes,
    gate: Gate,
    limits: MailboxLimits,
    successor: Successor,
}

impl WeakMailboxSender {
    /// The sending end; `None` once every other one is gone.
    pub(super) fn upgrade(&self) -> Option<MailboxSender> {
        Some(MailboxSender {
            sender: self.sender.upgrade()?,
            queued_bytes: self.queued_bytes.clone(),
            gate: self.gate.clone(),
            limits: self.limits.clone(),
            successor: self.successor.clone(),
        })
    }
}

/// The present time, if the wait of this message is to be measured.
fn sent_at() -> Option<Instant> {
    metrics::here(|cells| cells.samples_message().then(Instant::now)).flatten()
}

/// Bytes of all messages in the mailbox. Clones share the counter.
#[derive(Clone, Debug, Default)]
struct QueuedBytes(Arc<AtomicUsize>);

impl QueuedBytes {
    /// Adds `bytes` unless the sum would pass `limit`.
    fn add(&self, bytes: usize, limit: usize) -> bool {
        // Relaxed: the counter guards no other memory.
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

    /// Stops counting a message that has left the mailbox, or was not accepted.
    fn release(&self, envelope: &Envelope) {
        self.remove(envelope.byte_len);
        if let Some(quota) = envelope.message.quota() {
            quota.dequeue(envelope.byte_len);
        }
    }
}

//! The only way to the owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::config::MailboxLimits;
use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopySlice, DefineMachine, Delete, DeleteOutcome,
    EachOutcome, List, ListOutcome, Machine, Name, OpenOutcome, OpenSession, Operation, Page, Read,
    ReadOutcome, Revision, Session, SessionLife, Transition, TransitionOutcome, Write,
    WriteOutcome,
};

use super::Usage;
use super::copies::CopyBegun;
use super::message::{CallError, EachFrame, Envelope, Message, Named};
use super::reply::{Pending, Reply, reply};
use super::unread::{Held, Unread, Waiting};
use super::watches::{NewWatch, Next, Watching};

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
    pub(super) mailbox: mpsc::Sender<Envelope>,
    pub(super) waiting_bytes: WaitingBytes,
    pub(super) limits: MailboxLimits,
    /// Places in the mailbox for watches.
    pub(super) watch_places: Arc<Semaphore>,
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

    fn total(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl OwnerHandle {
    /// Reads one key.
    pub async fn read(&self, read: Read, deadline: Instant) -> Result<ReadOutcome, CallError> {
        self.ask(deadline, |reply| Message::Read { read, reply })
            .await
    }

    /// Writes one key. What is `named` is answered again when it comes again.
    pub async fn write(
        &self,
        write: Write,
        named: Named,
        deadline: Instant,
    ) -> Result<WriteOutcome, CallError> {
        self.ask(deadline, |reply| Message::Write {
            write,
            named,
            reply,
        })
        .await
    }

    /// Adds to one int. As to `named`, see [`write`](Self::write).
    pub async fn add(
        &self,
        add: Add,
        named: Named,
        deadline: Instant,
    ) -> Result<AddOutcome, CallError> {
        self.ask(deadline, |reply| Message::Add { add, named, reply })
            .await
    }

    /// Moves one key to another state. As to `named`, see [`write`](Self::write).
    pub async fn transition(
        &self,
        transition: Transition,
        named: Named,
        deadline: Instant,
    ) -> Result<TransitionOutcome, CallError> {
        self.ask(deadline, |reply| Message::Transition {
            transition,
            named,
            reply,
        })
        .await
    }

    /// Deletes one key. As to `named`, see [`write`](Self::write).
    pub async fn delete(
        &self,
        delete: Delete,
        named: Named,
        deadline: Instant,
    ) -> Result<DeleteOutcome, CallError> {
        self.ask(deadline, |reply| Message::Delete {
            delete,
            named,
            reply,
        })
        .await
    }

    /// Lists a page of keys.
    pub async fn list(&self, list: List, deadline: Instant) -> Result<ListOutcome, CallError> {
        self.ask(deadline, |reply| Message::List { list, reply })
            .await
    }

    /// Does each operation of each frame on its own, in order, with nothing of others in between. What has a request id is
    /// answered again when it comes again. What an answer shows counts towards `unread` until it is dropped.
    pub fn apply_each(
        &self,
        frames: Vec<EachFrame>,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Pending<Vec<(EachOutcome, Held)>>, CallError> {
        self.send(deadline, |reply| Message::Each {
            frames,
            unread,
            reply,
        })
    }

    /// Does all operations, in order and at one revision, or none. As to `named`, see [`write`](Self::write); as to
    /// `unread`, see [`apply_each`](Self::apply_each).
    pub fn apply_all(
        &self,
        operations: Vec<Operation>,
        named: Named,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Pending<(AllOutcome, Held)>, CallError> {
        self.send(deadline, |reply| Message::All {
            operations,
            named,
            unread,
            reply,
        })
    }

    /// Begins a session. If it takes over from one with many keys, that one's last key is gone when this is answered. As to
    /// `named`, see [`write`](Self::write).
    pub async fn open_session(
        &self,
        open: OpenSession,
        named: Named,
        deadline: Instant,
    ) -> Result<OpenOutcome, CallError> {
        self.ask(deadline, |reply| Message::OpenSession {
            open,
            named,
            reply,
        })
        .await
    }

    /// Lets a session's ttl count anew.
    pub async fn renew_session(
        &self,
        life: SessionLife,
        deadline: Instant,
    ) -> Result<Session, CallError> {
        self.ask(deadline, |reply| Message::RenewSession { life, reply })
            .await
    }

    /// Ends a session; its last key is gone when this is answered. As to `named`, see [`write`](Self::write).
    pub async fn close_session(
        &self,
        life: SessionLife,
        named: Named,
        deadline: Instant,
    ) -> Result<CloseOutcome, CallError> {
        self.ask(deadline, |reply| Message::CloseSession {
            life,
            named,
            reply,
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
        self.ask(deadline, |reply| Message::ListSessions {
            after,
            page_size,
            reply,
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
        self.ask(deadline, |reply| Message::DefineMachine { define, reply })
            .await
    }

    /// Shows one machine.
    pub async fn get_machine(&self, name: Name, deadline: Instant) -> Result<Machine, CallError> {
        self.ask(deadline, |reply| Message::GetMachine { name, reply })
            .await
    }

    /// Lists a page of machines, after the one of the name `after`.
    pub async fn list_machines(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Machine>, CallError> {
        self.ask(deadline, |reply| Message::ListMachines {
            after,
            page_size,
            reply,
        })
        .await
    }

    /// Deletes a machine.
    pub async fn delete_machine(
        &self,
        name: Name,
        deadline: Instant,
    ) -> Result<Revision, CallError> {
        self.ask(deadline, |reply| Message::DeleteMachine { name, reply })
            .await
    }

    /// Begins a watch, which stays open until what this returns is dropped.
    pub async fn watch(&self, watch: NewWatch, deadline: Instant) -> Result<Watching, CallError> {
        self.ask(deadline, |reply| Message::Watch { watch, reply })
            .await
    }

    /// What a watch is sent next. Waits for room in the mailbox, where other calls are refused. However many watches one
    /// change wakes, they take no more than a quarter of the mailbox, and leave the rest to calls.
    pub async fn next(
        &self,
        watch: &Watching,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Next, CallError> {
        let place = self.watch_places.acquire().await;
        let _place = place.expect("it is never closed");
        let watch = watch.id;
        self.ask_in_turn(deadline, |reply| Message::Next {
            watch,
            unread,
            reply,
        })
        .await
    }

    /// Begins a copy of everything, which goes on until what this returns is dropped.
    pub async fn begin_copy(&self, deadline: Instant) -> Result<CopyBegun, CallError> {
        self.ask(deadline, |reply| Message::BeginCopy { reply })
            .await
    }

    /// What comes next in a copy. Waits for room in the mailbox, where other calls are refused.
    pub async fn next_slice(
        &self,
        copy: &CopyBegun,
        deadline: Instant,
    ) -> Result<CopySlice, CallError> {
        let copy = copy.id;
        self.ask_in_turn(deadline, |reply| Message::NextSlice { copy, reply })
            .await
    }

    /// Tells how full the state is.
    pub async fn usage(&self, deadline: Instant) -> Result<Usage, CallError> {
        self.ask(deadline, |reply| Message::Usage { reply }).await
    }

    /// Resolves when the owner has ended.
    pub async fn closed(&self) {
        self.mailbox.closed().await;
    }

    /// Sends a message, and waits for its answer.
    async fn ask<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        self.send(deadline, message)?.answer().await
    }

    /// Waits for room in the mailbox, and sends a message that takes no bytes.
    async fn ask_in_turn<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, CallError> {
        let Ok(room) = self.mailbox.reserve().await else {
            return Err(CallError::OwnerLost);
        };
        let (reply, pending) = reply(deadline);
        room.send(Envelope {
            message: message(reply),
            byte_len: 0,
        });
        pending.answer().await
    }

    fn send<T>(
        &self,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<Pending<T>, CallError> {
        let (reply, pending) = reply(deadline);
        let message = message(reply);
        let byte_len = message.byte_len();
        if let Some(unread) = message.unread() {
            self.check_share(unread, byte_len)?;
        }
        if !self.waiting_bytes.add(byte_len, self.limits.bytes) {
            return Err(CallError::Overloaded {
                limit: self.limits.bytes,
                unit: "bytes",
            });
        }
        if let Some(unread) = message.unread() {
            unread.wait(byte_len);
        }
        let envelope = Envelope { message, byte_len };
        self.mailbox.try_send(envelope).map_err(|error| {
            self.waiting_bytes.remove(byte_len);
            let (TrySendError::Full(envelope) | TrySendError::Closed(envelope)) = &error;
            if let Some(unread) = envelope.message.unread() {
                unread.take(byte_len);
            }
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

    /// Whether one more frame of this connection may wait: no more than there are places left, see `unread.rs`. Its first
    /// may take the last place.
    fn check_share(&self, unread: &Unread, byte_len: usize) -> Result<(), CallError> {
        let Waiting { messages, bytes } = unread.waiting();
        if messages == 0 {
            return Ok(());
        }
        let free = self.mailbox.capacity();
        // If nothing is free it is not for this connection's sake that it is refused.
        if messages >= free && free > 0 {
            return Err(CallError::Overloaded {
                limit: free,
                unit: "messages of one connection",
            });
        }
        let free = self.limits.bytes.saturating_sub(self.waiting_bytes.total());
        if bytes + byte_len > free && free > 0 {
            return Err(CallError::Overloaded {
                limit: free,
                unit: "bytes of one connection",
            });
        }
        Ok(())
    }
}

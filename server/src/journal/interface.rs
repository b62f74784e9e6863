//! What the owner and a journal say to each other.
//!
//! A [`Journal`] is two queues: the owner sends [`Command`]s and receives [`Event`]s. Anything that serves these queues can
//! be the other end: the persister, which writes to the local disk, the journal on etcd, or a scripted journal in tests. A
//! [`LogBatch`] holds effects, never requests, so replay needs no clock and decides nothing again.

use std::fmt::Debug;

use tokio::sync::mpsc;

use crate::machine::{CopyHead, CopySlice, Effect, Revision, SpaceLow, Time};

/// Everything that happened between two commits. It becomes one record of the log.
#[derive(Debug)]
pub(crate) struct LogBatch {
    /// The record's number: one more than the number of the batch before.
    pub(crate) seq: u64,
    /// The store revision after the batch.
    pub(crate) revision: Revision,
    /// The owner's time when it sent the batch.
    pub(crate) time: Time,
    /// What happened, in order.
    pub(crate) effects: Vec<Effect>,
}

/// What the owner sends to a journal.
#[derive(Debug)]
pub(crate) enum Command {
    /// Appends a batch to the log. The owner sends the next batch after [`Event::Committed`].
    Commit(LogBatch),
    /// Makes a snapshot of the state after the last batch that was sent. The journal asks for each slice with
    /// [`Event::NextSlice`]. If the sender of `slices` is dropped before the last slice, the snapshot is abandoned.
    Snapshot {
        head: CopyHead,
        /// The last record whose effects are in the snapshot.
        seq: u64,
        /// The owner's time when the copy began.
        time: Time,
        /// Bytes that the state uses.
        bytes: u64,
        slices: mpsc::Receiver<CopySlice>,
    },
    /// Asks whether this process still owns the store. The journal finds out after it has this command, never before, and
    /// even while a commit is under way. The owner sends the next one after [`Event::Confirmed`].
    Confirm,
    /// Gives the store to another node: the named one, or any. It takes the place of [`Command::Close`]: the owner sends it
    /// when every batch is committed, and sends no batch before [`Event::HandOffRefused`].
    HandOff {
        to: Option<String>,
        revision: Revision,
        time: Time,
    },
    /// Nothing more comes. The journal notes that the store was closed in order, at this revision.
    Close { revision: Revision, time: Time },
}

/// What a journal sends to the owner.
#[derive(Debug)]
pub(crate) enum Event {
    /// The batch is committed: durable with `--durability sync`, written with the other modes.
    Committed {
        /// The batch's number.
        seq: u64,
        /// Bytes of the records since the last snapshot.
        log_bytes: u64,
    },
    /// The journal is ready for the next slice of the snapshot.
    NextSlice,
    /// The snapshot ended. `made` says whether it is complete.
    SnapshotEnded { made: bool },
    /// The space that the journal has, when it has changed.
    Space(Space),
    /// The stored bytes that go when a snapshot is made now, when they have changed. The snapshot itself takes new ones.
    Removable(u64),
    /// This process owned the store after it sent [`Command::Confirm`].
    Confirmed,
    /// The store belongs to another node, at this address; the last event.
    HandedOff { owner: String },
    /// The store was not handed off, for this reason. Everything goes on.
    HandOffRefused(String),
    /// The journal has failed, or this process has lost the store to another. Batches that were sent and not committed may or
    /// may not be durable.
    Failed(String),
    /// The store is closed in order; the last event.
    Closed,
}

/// How much space the journal has for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// At least as much as there should be, and `room` bytes more. `u64::MAX` stands for much.
    Enough { room: u64 },
    /// Too little: the owner refuses whatever makes the store larger.
    Low(SpaceLow),
    /// No space: the batch that was sent waits until there is some.
    Full(SpaceLow),
}

/// Where the owner sends its commands.
pub(crate) trait CommandSink: Debug + Send + Sync + 'static {
    /// Sends a command, and never waits: few are under way at once, a commit, a confirmation, a snapshot and the end, and the
    /// queue has room for them.
    ///
    /// # Errors
    /// [`Gone`] if the journal has ended.
    fn send(&self, command: Command) -> Result<(), Gone>;
}

/// The journal has ended. Its last event says why; without one, the queue of events ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The owner's end of a journal.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) commands: Box<dyn CommandSink>,
    pub(crate) events: mpsc::Receiver<Event>,
    /// The number of the last record in the log.
    pub(crate) seq: u64,
    /// When the owner answers a change.
    pub(crate) answers: AnswerWhen,
    /// The space at the start.
    pub(crate) space: Space,
    /// A snapshot is due when the log has grown by this many bytes and by as many bytes as the state takes.
    pub(crate) snapshot_log_bytes: u64,
}

/// When a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerWhen {
    /// A change when its batch is committed, and whatever else when all is committed that it shows.
    Committed,
    /// As with [`Committed`](Self::Committed); but whatever is no change waits, besides, for a [`Command::Confirm`] that was
    /// sent after the answer was computed. Before that another process may own the store, and have changed it.
    Confirmed,
    /// When it is applied, before it is committed.
    Applied,
}

/// Capacity of both queues; [`CommandSink::send`] says why it suffices. Events are at most one for each command, one for
/// each slice, and changes of the space.
pub(crate) const QUEUE_CAPACITY: usize = 8;

#[cfg(test)]
impl CommandSink for std::sync::mpsc::SyncSender<Command> {
    fn send(&self, command: Command) -> Result<(), Gone> {
        use std::sync::mpsc::TrySendError;
        match self.try_send(command) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => unreachable!("the queue has room for every command"),
            Err(TrySendError::Disconnected(_)) => Err(Gone),
        }
    }
}

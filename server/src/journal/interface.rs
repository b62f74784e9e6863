//! What the owner and a journal say to each other.
//!
//! A [`Journal`] is two queues: the owner sends [`Command`]s and receives [`Event`]s. Anything that serves these queues can
//! be the other end: the persister, a scripted journal in tests, or one day a replicated log. A [`LogBatch`] holds effects,
//! never requests, so replay needs no clock and decides nothing again.

use std::sync::mpsc;

use tokio::sync::mpsc as tokio_mpsc;

use super::error::FileError;
use super::snapshot::NewSnapshot;
use crate::machine::{CopyHead, CopySlice, DiskLow, Effect, Revision, Time};

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
        /// Where the snapshot thread sends [`Command::SnapshotDone`]: the journal's own queue of commands.
        done: mpsc::SyncSender<Command>,
    },
    /// A snapshot is complete, or failed. The snapshot thread sends this, not the owner.
    SnapshotDone(Result<NewSnapshot, FileError>),
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
    /// The snapshot thread is ready for the next slice.
    NextSlice,
    /// The snapshot ended. `made` says whether it is complete.
    SnapshotEnded { made: bool },
    /// The space on the disk, when it has changed.
    Space(DiskSpace),
    /// The bytes on disk that go when a snapshot is made now, when they have changed. The snapshot itself takes new ones.
    Removable(u64),
    /// The journal has failed. Batches that were sent and not committed may or may not be durable.
    Failed(String),
    /// The store is closed in order; the last event.
    Closed,
}

/// How much space there is on the disk of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskSpace {
    /// At least as much as there should be, and `room` bytes more. `u64::MAX` stands for much.
    Enough { room: u64 },
    /// Too little: the owner refuses whatever makes the store larger.
    Low(DiskLow),
    /// No space: the batch that was sent waits until there is some.
    Full(DiskLow),
}

/// The owner's end of a journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Never full, because few commands are under way at once: a commit, a snapshot, its end, and the close.
    pub(crate) commands: mpsc::SyncSender<Command>,
    pub(crate) events: tokio_mpsc::Receiver<Event>,
    /// The number of the last record in the log.
    pub(crate) seq: u64,
    /// When the owner answers a change.
    pub(crate) answers: AnswerWhen,
    /// The space on the disk at the start.
    pub(crate) space: DiskSpace,
    /// A snapshot is due when the log has grown by this many bytes and by as many bytes as the state takes.
    pub(crate) snapshot_log_bytes: u64,
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerWhen {
    /// When its batch is committed.
    Committed,
    /// When it is applied, before it is committed.
    Applied,
}

/// Capacity of both queues; [`Journal::commands`] says why it suffices. Events are at most one for each command, one for
/// each slice, and changes of the disk space.
pub(crate) const QUEUE_CAPACITY: usize = 8;

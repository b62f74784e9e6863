//! What the owner and a journal say to each other.
//!
//! The seam is the two queues of a [`Journal`]: the owner sends [`Command`]s and is told [`Event`]s. Whatever takes the
//! one and gives the other can stand behind it: the persister here, a script in tests, a replicated log one day. A segment
//! has effects and never commands, and is the same in the log, in replay and for watches.

use std::sync::mpsc;

use tokio::sync::mpsc as tokio_mpsc;

use super::error::FileError;
use super::snapshot::NewSnapshot;
use crate::machine::{CopyHead, CopySlice, Effect, Revision, Time};

/// What happened between two commits.
#[derive(Debug)]
pub(crate) struct LogBatch {
    /// One more than the segment's before.
    pub(crate) seq: u64,
    /// The store revision after it.
    pub(crate) revision: Revision,
    /// The owner's time at its end.
    pub(crate) time: Time,
    pub(crate) effects: Vec<Effect>,
}

/// What the owner asks of a journal.
#[derive(Debug)]
pub(crate) enum Command {
    /// Keep this. The next one comes after [`Event::Committed`].
    Commit(LogBatch),
    /// Make a snapshot as of the last segment that was sent. Its slices come through the queue, each when it was asked for
    /// by [`Event::NextSlice`].
    Snapshot {
        head: CopyHead,
        seq: u64,
        time: Time,
        slices: mpsc::Receiver<CopySlice>,
        /// Where its end is told.
        done: mpsc::SyncSender<Command>,
    },
    /// A snapshot is complete: sent by the thread that made it.
    SnapshotDone(Result<NewSnapshot, FileError>),
    /// Nothing more comes: note that all is in order, up to this revision.
    Close { revision: Revision, time: Time },
}

/// What a journal tells the owner.
#[derive(Debug)]
pub(crate) enum Event {
    /// The segment is kept, as far as the journal's promise goes.
    Committed {
        seq: u64,
        /// Bytes of the log since the last snapshot.
        log_bytes: u64,
    },
    /// The snapshot that is being made takes its next slice.
    NextSlice,
    /// The snapshot is made, or could not be.
    SnapshotEnded { made: bool },
    /// There is hardly any space left, or there is enough again.
    Space(DiskSpace),
    /// It is over: what was sent and not committed may be kept or not.
    Failed(String),
    /// All is noted; nothing more comes.
    Closed,
}

/// How much space there is where the journal keeps its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskSpace {
    Enough,
    /// Less than there should be: what makes the store larger is refused.
    Low {
        free: u64,
        least: u64,
    },
    /// None: the segment that was sent waits until there is.
    Full {
        free: u64,
        least: u64,
    },
}

/// The owner's end of a journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Never full: at most a commit, a snapshot, its end and the close are under way.
    pub(crate) commands: mpsc::SyncSender<Command>,
    pub(crate) events: tokio_mpsc::Receiver<Event>,
    /// The last segment that it has.
    pub(crate) seq: u64,
    /// Whether answers wait until what they tell of is committed.
    pub(crate) answers: AnswerWhen,
    /// A snapshot is due when the log has grown by so much, and by as much as the state takes.
    pub(crate) snapshot_log_bytes: u64,
}

/// When what was done is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerWhen {
    /// When it is committed.
    Committed,
    /// At once.
    Applied,
}

/// Capacity of both queues; see [`Journal::commands`]. Events are at most one for each command, one for each slice, and
/// changes of space.
pub(crate) const QUEUE_CAPACITY: usize = 8;

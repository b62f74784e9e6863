//! Keeps what happens to the state, so that it is there again after a restart.
//!
//! ```text
//! owner -> segment -> persister thread -> tail            a record a commit
//!   ^                      |           |-> log.redb       those before, moved there many at a time
//!   |                      |           \-> watermark      how far it was at least
//!   +------ events --------+
//! owner -> slices of a copy -> snapshot thread -> snapshot-a.redb, snapshot-b.redb, in turn
//! ```
//!
//! The seam is the two queues of a [`Journal`]: the owner sends [`Command`]s and is told [`Event`]s. Whatever takes the
//! one and gives the other can stand behind it: the persister here, a script in tests, a replicated log one day. A segment
//! has effects and never commands, and is the same in the log, in replay and for watches.

pub(crate) mod backup;
mod disk;
pub(crate) mod inspect;
mod log;
mod pages;
mod persister;
mod recovery;
mod snapshot;
mod stored;
mod tail;
#[cfg(test)]
mod tests;
mod watermark;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use tokio::sync::mpsc as tokio_mpsc;

use crate::machine::{CopyHead, CopySlice, Effect, Revision, Time};

use disk::{Directory, FileName, Missing};
pub(crate) use pages::PageWriter;
pub(crate) use recovery::{Opened, Options};

/// What happened between two commits.
#[derive(Debug)]
pub(crate) struct Segment {
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
    Commit(Segment),
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
    SnapshotDone(Result<persister::NewSnapshot, Fault>),
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
    Space(Space),
    /// It is over: what was sent and not committed may be kept or not.
    Failed(String),
    /// All is noted; nothing more comes.
    Closed,
}

/// How much space there is where the journal keeps its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
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
    pub(crate) answers: Answers,
    /// A snapshot is due when the log has grown by so much, and by as much as the state takes.
    pub(crate) snapshot_bytes: u64,
}

/// When what was done is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// When it is committed.
    Committed,
    /// At once.
    AtOnce,
}

/// Capacity of both queues; see [`Journal::commands`]. Events are at most one for each command, one for each slice, and
/// changes of space.
pub(crate) const QUEUE: usize = 8;

/// The place of a record: what the next one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) crc: u32,
}

/// A file cannot be read or written.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The system says so.
    Io {
        file: &'static str,
        error: io::Error,
    },
    /// What is in it cannot be.
    Damaged {
        file: &'static str,
        at: String,
        what: String,
    },
}

impl Fault {
    fn io(name: FileName, error: io::Error) -> Self {
        Self::Io {
            file: name.as_str(),
            error,
        }
    }

    fn damaged(name: FileName, at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: name.as_str(),
            at: at.into(),
            what: what.into(),
        }
    }

    /// Whether there is no space left, which may pass.
    fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { error, .. }
            if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, error } => write!(f, "{file}: {error}"),
            Self::Damaged { file, at, what } => write!(f, "{file} is damaged {at}: {what}"),
        }
    }
}

/// A data directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The system says so.
    Io {
        /// What could not be done.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// Another process uses it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it is known.
        process: String,
    },
    /// It has things in it that are not a server's.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of them.
        has: String,
    },
    /// There is no store in it.
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// There is a store in it already.
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Something that may have been acknowledged is not there any more, or cannot be read.
    Lost {
        /// What is missing: file, place and reason.
        what: String,
        /// Everything up to this revision can be read.
        revision: Revision,
        /// What was accepted instead, if anything.
        accepted: Option<Revision>,
    },
    /// What is in it does not fit together.
    Bad {
        /// What does not.
        what: String,
    },
    /// A backup cannot be read.
    BadBackup {
        /// The file.
        path: PathBuf,
        /// Where and why.
        what: String,
    },
}

/// Opens the store in a directory, which is made if there is none.
///
/// # Errors
/// [`OpenError`] if it cannot be used, or something is lost.
pub(crate) fn open_directory(path: &Path, options: Options) -> Result<Opened, OpenError> {
    let directory = Directory::take(path, Missing::Make)?;
    recovery::open(Arc::new(directory), options)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::InUse { path, process } => {
                write!(f, "{} is used by another server", path.display())?;
                match process.as_str() {
                    "" => Ok(()),
                    process => write!(f, ", process {process}"),
                }
            }
            Self::NotOurs { path, has } => write!(
                f,
                "{} is no data directory of a server: it has {has:?} in it. Name an empty one, or one that is not there",
                path.display()
            ),
            Self::Empty { path } => write!(f, "{} has no store in it", path.display()),
            Self::NotEmpty { path } => {
                write!(f, "{} has a store in it already", path.display())
            }
            Self::Lost {
                what,
                revision,
                accepted,
            } => {
                write!(f, "{what}. What can be read ends at revision {revision}. ")?;
                match accepted {
                    None => write!(
                        f,
                        "Restore a backup, or go on without the rest: --accept-data-loss={revision}"
                    ),
                    Some(accepted) => {
                        write!(f, "That is not {accepted}, which --accept-data-loss names")
                    }
                }
            }
            Self::Bad { what } => f.write_str(what),
            Self::BadBackup { path, what } => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io { file, error } => Self::Io {
                what: format!("cannot use {file}"),
                error,
            },
            damaged @ Fault::Damaged { .. } => Self::Lost {
                what: damaged.to_string(),
                revision: 0,
                accepted: None,
            },
        }
    }
}

//! Why a store cannot be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::machine::Revision;

/// Why a store or a backup cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The operating system refused a call.
    Io {
        /// The action that failed.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// The disk is full, and the store cannot be opened without space.
    DiskFull {
        /// The action that failed.
        what: String,
        /// The directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that suffice.
        needed: u64,
    },
    /// Another process uses the directory.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process's id; empty if it is not known.
        process: String,
    },
    /// `verify` or `inspect` is reading the directory.
    BeingRead {
        /// The directory.
        path: PathBuf,
    },
    /// The directory contains files, and none of them is a server's.
    ForeignFiles {
        /// The directory.
        path: PathBuf,
        /// The name of one of the files.
        has: String,
    },
    /// The directory contains no store.
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The directory contains no store yet, because a server ended while it created one. The next start creates it.
    NotCreated {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has only the copy with which a store begins: a `restore` was interrupted, or the other files are lost.
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The directory already contains a store.
    StoreExists {
        /// The directory.
        path: PathBuf,
    },
    /// Data that may have been acknowledged is missing or unreadable.
    DataLoss {
        /// What is missing: file, place and reason.
        what: String,
        /// All data up to this revision can be read.
        revision: Revision,
        /// The revision that `--accept-data-loss` named, if it was given.
        accepted: Option<Revision>,
    },
    /// Two parts of the store contradict each other.
    Inconsistent {
        /// The contradiction.
        what: String,
    },
    /// etcd refuses what a node needs of it, or has a store that this server does not know.
    Etcd {
        /// What was refused, and why.
        what: String,
    },
    /// A backup is damaged, or the file is not a backup.
    BadBackup {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        what: String,
    },
}

impl OpenError {
    /// Whether data is missing or damaged, so that trying again is in vain until a person has looked at it. Otherwise
    /// something stands in the way, such as another process or a missing permission.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::DataLoss { .. }
            | Self::Inconsistent { .. }
            | Self::Unfinished { .. }
            | Self::BadBackup { .. } => true,
            Self::Io { .. }
            | Self::DiskFull { .. }
            | Self::InUse { .. }
            | Self::BeingRead { .. }
            | Self::ForeignFiles { .. }
            | Self::NoStore { .. }
            | Self::NotCreated { .. }
            | Self::Etcd { .. }
            | Self::StoreExists { .. } => false,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::DiskFull {
                what,
                path,
                free,
                needed,
            } => write!(
                f,
                "{what}: the disk of {} is full: {free} bytes are free, and a start needs up to {needed}; free that many by removing or moving other files, none of the store's own",
                path.display()
            ),
            Self::InUse { path, process } => {
                write!(f, "{} is in use by another server", path.display())?;
                match process.as_str() {
                    "" => Ok(()),
                    process => write!(f, ", process {process}"),
                }
            }
            Self::BeingRead { path } => write!(
                f,
                "{} is being read by soloist-server verify or inspect: wait until it has ended",
                path.display()
            ),
            Self::ForeignFiles { path, has } => write!(
                f,
                "{} is not a data directory of a server: it contains {has:?}; name an empty directory, or a new one",
                path.display()
            ),
            Self::NoStore { path } => write!(f, "{} contains no store", path.display()),
            Self::NotCreated { path } => write!(
                f,
                "{} contains no store yet: a server ended while it created one; the next start creates it",
                path.display()
            ),
            Self::Unfinished { path } => write!(
                f,
                "{} contains no more than the copy of a restore: the restore did not end, or log.redb, tail and watermark are lost; restore the backup again with soloist-server restore",
                path.display()
            ),
            Self::StoreExists { path } => {
                write!(f, "{} already contains a store", path.display())
            }
            Self::DataLoss {
                what,
                revision,
                accepted,
            } => {
                write!(f, "{what}; data can be read up to revision {revision}")?;
                match accepted {
                    None => write!(
                        f,
                        ": restore a backup, or continue without the later data: --accept-data-loss={revision}"
                    ),
                    Some(accepted) => {
                        write!(f, ", not {accepted} as --accept-data-loss says")
                    }
                }
            }
            Self::Inconsistent { what } | Self::Etcd { what } => f.write_str(what),
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

//! Why a file, or a whole data directory, cannot be used.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::file_name::FileName;
use crate::machine::Revision;

/// A file cannot be read or written.
#[derive(Debug)]
pub(crate) enum FileError {
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

impl FileError {
    pub(super) fn io(name: FileName, error: io::Error) -> Self {
        Self::Io {
            file: name.as_str(),
            error,
        }
    }

    pub(super) fn damaged(name: FileName, at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: name.as_str(),
            at: at.into(),
            what: what.into(),
        }
    }

    /// Whether there is no space left, which may pass.
    pub(super) fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { error, .. }
            if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

impl fmt::Display for FileError {
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
    ForeignFiles {
        /// The directory.
        path: PathBuf,
        /// One of them.
        has: String,
    },
    /// There is no store in it.
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// There is a store in it already.
    StoreExists {
        /// The directory.
        path: PathBuf,
    },
    /// Something that may have been acknowledged is not there any more, or cannot be read.
    DataLoss {
        /// What is missing: file, place and reason.
        what: String,
        /// Everything up to this revision can be read.
        revision: Revision,
        /// What was accepted instead, if anything.
        accepted: Option<Revision>,
    },
    /// What is in it does not fit together.
    Inconsistent {
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
            Self::ForeignFiles { path, has } => write!(
                f,
                "{} is no data directory of a server: it has {has:?} in it. Name an empty one, or one that is not there",
                path.display()
            ),
            Self::NoStore { path } => write!(f, "{} has no store in it", path.display()),
            Self::StoreExists { path } => {
                write!(f, "{} has a store in it already", path.display())
            }
            Self::DataLoss {
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
            Self::Inconsistent { what } => f.write_str(what),
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

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { file, error } => Self::Io {
                what: format!("cannot use {file}"),
                error,
            },
            damaged @ FileError::Damaged { .. } => Self::DataLoss {
                what: damaged.to_string(),
                revision: 0,
                accepted: None,
            },
        }
    }
}

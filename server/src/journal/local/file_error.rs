//! Why a file of a data directory cannot be used.

use std::fmt;
use std::io;

use super::file_name::FileName;
use crate::journal::error::OpenError;

/// Why a file cannot be read or written.
#[derive(Debug)]
pub(crate) enum FileError {
    /// The operating system refused a call.
    Io {
        file: &'static str,
        error: io::Error,
    },
    /// No server can have written what the file contains.
    Damaged {
        file: &'static str,
        /// The place of the damage, with its preposition: `at record 7`.
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

    /// Whether the disk, the quota or the largest file size is used up: a later try may succeed.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_full(error))
    }
}

/// Whether the disk, the quota or the largest file size is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, error } => write!(f, "{file}: {error}"),
            Self::Damaged { file, at, what } => write!(f, "{file} is damaged {at}: {what}"),
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

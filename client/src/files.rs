//! Files with certificates, keys and tokens: read off the tasks that make calls, and named when they cannot be used.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use tonic::Code;

use crate::Error;

/// Why a file that the builder was given cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct FileError {
    /// The method of the builder.
    field: &'static str,
    /// None if no file was named.
    path: Option<PathBuf>,
    why: String,
}

impl FileError {
    pub(crate) fn new(field: &'static str, path: &Path, why: impl fmt::Display) -> Self {
        Self {
            field,
            path: Some(path.to_owned()),
            why: why.to_string(),
        }
    }

    /// An error about a file that should have been named.
    #[cfg(feature = "tls")]
    pub(crate) fn without_path(field: &'static str, why: &str) -> Self {
        Self {
            field,
            path: None,
            why: why.to_owned(),
        }
    }

    /// What is wrong, without the path.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} {}: {}", self.field, path.display(), self.why),
            None => write!(f, "{} {}", self.field, self.why),
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::bad_argument(error.to_string()).with("field", error.field)
    }
}

/// Reads a file of at most `max` bytes: the path may be that of a device without an end.
pub(crate) fn read(field: &'static str, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut contents));
    match read {
        Err(error) => Err(FileError::new(field, path, error)),
        Ok(read) if read as u64 > max => {
            let why = format!("it is longer than {max} bytes");
            Err(FileError::new(field, path, why))
        }
        Ok(_) => Ok(contents),
    }
}

/// Reads on a thread that may wait for the disk: a file system can take long, and a network's may never answer.
///
/// # Errors
/// The runtime is shutting down.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    reading: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(reading).await.map_err(io::Error::other)
}

/// The error of [`off_the_runtime`].
pub(crate) fn shutting_down(error: &io::Error) -> Error {
    let why = format!("the files were not read: {error}");
    Error::new(Code::Cancelled, why, crate::Outcome::NotApplied)
}

//! The storage engine, redb: opens its files, and turns its errors and panics into [`FileError`]s.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::{Database, StorageBackend};

use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::FileName;
use crate::progress::{Progress, Unit};

/// Bytes of memory for cached pages of one file. Small, because records are written once and read only at a start.
const CACHE_BYTES: usize = 16 << 20;

/// Opens a file of the engine, and has the engine check all of it, which is a step of `progress`.
pub(crate) fn open(
    disk: &dyn Disk,
    name: FileName,
    progress: &Progress,
) -> Result<Database, FileError> {
    let error = |error| FileError::io(name, error);
    let file = disk.open(name).map_err(error)?;
    let len = file.len().map_err(error)?;
    progress.begin(
        format!("checking {}", name.as_str()),
        Unit::Bytes,
        Some(len),
    );
    open_counted(file, name, Check::All, progress)
}

/// How much of a file the engine checks before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    All,
    /// Only the pages that are read.
    AsRead,
}

/// Opens a file of the engine that is open already.
pub(crate) fn open_file(
    file: Arc<dyn StorageBackend>,
    name: FileName,
    check: Check,
) -> Result<Database, FileError> {
    open_counted(file, name, check, &Progress::default())
}

/// Opens a file of the engine that is open already. Counts the bytes that are read meanwhile.
fn open_counted(
    file: Arc<dyn StorageBackend>,
    name: FileName,
    check: Check,
    progress: &Progress,
) -> Result<Database, FileError> {
    let (last_read, is_opening) = (Arc::default(), Arc::new(AtomicBool::new(true)));
    let noting_reads = NotedReads {
        file,
        last_offset: Arc::clone(&last_read),
        progress: progress.clone(),
        is_opening: Arc::clone(&is_opening),
    };
    let opened = guarded(name, || {
        let mut builder = Database::builder();
        builder
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(check == Check::All);
        Ok(builder.create_with_backend(noting_reads)?)
    });
    is_opening.store(false, Ordering::Relaxed);
    opened.map_err(|error| match error {
        FileError::Damaged { file, what, .. } => FileError::Damaged {
            file,
            at: format!("near byte {}", last_read.load(Ordering::Relaxed)),
            what,
        },
        other => other,
    })
}

/// A file that notes its reads.
#[derive(Debug)]
struct NotedReads {
    file: Arc<dyn StorageBackend>,
    /// The offset of the last read: the likely place of any damage.
    last_offset: Arc<AtomicU64>,
    /// Counts the bytes that are read while the file is being opened.
    progress: Progress,
    is_opening: Arc<AtomicBool>,
}

impl StorageBackend for NotedReads {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.last_offset.store(offset, Ordering::Relaxed);
        if self.is_opening.load(Ordering::Relaxed) {
            self.progress.add(out.len() as u64);
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

/// Calls the engine. Catches panics, because redb panics on some damaged files.
pub(crate) fn guarded<T>(
    name: FileName,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, FileError> {
    let damaged = |what: String| FileError::damaged(name, "in the storage engine", what);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        // redb reports a foreign or truncated file with these kinds.
        Ok(Err(redb::Error::Io(error)))
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Err(damaged(error.to_string()))
        }
        Ok(Err(redb::Error::Io(error))) => Err(FileError::io(name, error)),
        Ok(Err(error @ redb::Error::PreviousIo)) => {
            Err(FileError::io(name, io::Error::other(error)))
        }
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(format!(
                "redb panicked: {}",
                what.unwrap_or("no message")
            )))
        }
    }
}

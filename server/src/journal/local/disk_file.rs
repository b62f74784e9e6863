//! A file of a data directory, and where its blocks come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use redb::StorageBackend;
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::file_name::FileName;
use crate::metrics::{FILES, JournalCells};

/// Bytes of a sparse file that are allocated at once, from a multiple of as many on.
const STEP: u64 = 256 << 10;

/// An open file.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    /// The steps of a sparse file that are known to be allocated, by number. `None` for a file that is allocated as it grows.
    allocated: Option<Mutex<Vec<bool>>>,
    syncs: SyncCount,
}

/// Where the syncs of a file are counted.
#[derive(Debug)]
pub(super) struct SyncCount {
    cells: Arc<JournalCells>,
    /// The index of the file in [`FILES`].
    file: usize,
}

impl SyncCount {
    pub(super) fn of(cells: Arc<JournalCells>, name: FileName) -> Self {
        let file = FILES.iter().position(|file| *file == name.as_str());
        Self {
            cells,
            file: file.expect("every file that is synced has a name in the list"),
        }
    }

    fn add(&self, took: Duration) {
        self.cells.syncs[self.file].add_shared(took);
    }
}

impl DiskFile {
    /// A file that takes as many bytes of the disk as it is long.
    pub(super) fn dense(file: File, syncs: SyncCount) -> Self {
        Self {
            file,
            allocated: None,
            syncs,
        }
    }

    /// A file that takes bytes of the disk only where something is written, a step at a time.
    pub(super) fn sparse(file: File, syncs: SyncCount) -> Self {
        Self {
            file,
            allocated: Some(Mutex::default()),
            syncs,
        }
    }

    /// Forgets what is allocated from `len` on.
    fn forget_from(allocated: &Mutex<Vec<bool>>, len: u64) {
        let mut allocated = allocated.lock().unwrap_or_else(PoisonError::into_inner);
        allocated.truncate(usize::try_from(len / STEP).unwrap_or(usize::MAX));
    }

    /// Allocates the steps in which `len` bytes from `offset` lie: so a full disk fails before anything is written.
    fn allocate_steps(
        &self,
        allocated: &Mutex<Vec<bool>>,
        offset: u64,
        len: u64,
    ) -> io::Result<()> {
        let mut allocated = allocated.lock().unwrap_or_else(PoisonError::into_inner);
        for step in offset / STEP..(offset + len).div_ceil(STEP) {
            let number = usize::try_from(step).map_err(io::Error::other)?;
            if allocated.get(number) == Some(&true) {
                continue;
            }
            let from = step * STEP;
            let end = (from + STEP).min(self.file.metadata()?.len());
            match allocate(&self.file, from, end.saturating_sub(from)) {
                Ok(()) => {
                    if allocated.len() <= number {
                        allocated.resize(number + 1, false);
                    }
                    allocated[number] = true;
                }
                Err(error) if is_unsupported(&error) => {}
                Err(_) => {
                    // There may be space for these bytes, if not for the whole step.
                    let from = from.max(offset);
                    allocate(&self.file, from, end.min(offset + len) - from)?;
                }
            }
        }
        Ok(())
    }
}

/// Gives a part of a file its blocks. The file gets longer if it ends before the part does.
///
/// # Errors
/// If the disk is full, or cannot allocate ahead.
pub(super) fn allocate(file: &File, from: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    loop {
        match posix_fallocate(file, from.cast_signed(), len.cast_signed()) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many names a file has. Asks for nothing else: after a question for its times, the system notes the exact time of the next
/// write in the inode, and on some file systems each sync has to write that, too, which takes half as long again.
fn link_count(file: &File) -> io::Result<u64> {
    match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Ok(found) => Ok(found.stx_nlink.into()),
        Err(rustix::io::Errno::NOSYS) => Ok(file.metadata()?.nlink()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file system cannot allocate ahead.
fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS)
    )
}

/// Makes an error of a failed sync, which must never be retried: after it, the system may take data for written that it
/// could not write. Its kind is not kept, because a sync that failed for lack of space must not look like a full disk.
pub(super) fn after_sync(error: io::Error) -> io::Error {
    io::Error::other(format!("a sync failed: {error}"))
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    /// Allocates the new blocks of a dense file at once, so that a full disk fails here, and not in the middle of a write.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let present = self.file.metadata()?.len();
        match &self.allocated {
            Some(allocated) => Self::forget_from(allocated, present.min(len)),
            None if len > present => match allocate(&self.file, present, len - present) {
                Ok(()) => return Ok(()),
                Err(error) if is_unsupported(&error) => {}
                Err(error) => return Err(error),
            },
            None => {}
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        self.file.sync_data().map_err(after_sync)?;
        self.syncs.add(began.elapsed());
        // A change must not be answered as on disk if the disk forgets the file when the process ends.
        match link_count(&self.file)? {
            0 => Err(io::Error::other(
                "the file was removed while the server used it",
            )),
            _ => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(allocated) = &self.allocated {
            self.allocate_steps(allocated, offset, data.len() as u64)?;
        }
        self.file.write_all_at(data, offset)
    }
}

//! The [`Disk`] on which a journal stores its files: a directory, or in tests a simulation that fails as disks do.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::file_error::FileError;
use super::file_name::FileName;

/// A place for the files of one store.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file, and creates it if it is missing.
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageBackend>>;

    /// Checks that the place and its files are still where they were opened.
    ///
    /// # Errors
    /// If one of them was removed, moved or replaced: what is written then is lost.
    fn check_present(&self) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Bytes of the disk that a file takes: fewer than its length where nothing was written yet. 0 if it is missing.
    fn occupied_bytes(&self, name: FileName) -> u64;

    /// Bytes that are kept in reserve. `Some(0)` after they were given up; `None` if there never were any.
    fn reserved_bytes(&self) -> Option<u64>;

    /// Keeps this many bytes in reserve instead of the present ones. 0 gives them up.
    ///
    /// # Errors
    /// If there are not so many. None is kept then.
    fn set_reserve(&self, bytes: u64) -> io::Result<()>;

    /// Renames a file, so that it is no longer used but can still be examined.
    fn set_aside(&self, name: FileName) -> io::Result<()>;

    /// The name of the place, for messages.
    fn name(&self) -> String;
}

/// The length of a file in bytes. Creates the file, with length 0, if it is missing.
pub(crate) fn len(disk: &dyn Disk, name: FileName) -> Result<u64, FileError> {
    let len = disk.open(name).and_then(|file| file.len());
    len.map_err(|error| FileError::io(name, error))
}

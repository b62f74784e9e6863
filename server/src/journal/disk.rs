//! Where a journal keeps its files: a directory, or in tests something that fails as disks do.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::error::FileError;
use super::file_name::FileName;

/// A place for files.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file, which is made if there is none.
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageBackend>>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Takes a file out of use, and keeps it for who wants to look at it.
    fn set_aside(&self, name: FileName) -> io::Result<()>;

    /// How the place is called.
    fn name(&self) -> String;
}

/// How long a file is; 0 if there is none.
pub(crate) fn len(disk: &dyn Disk, name: FileName) -> Result<u64, FileError> {
    let len = disk.open(name).and_then(|file| file.len());
    len.map_err(|error| FileError::io(name, error))
}

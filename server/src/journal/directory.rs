//! A directory of the file system as the [`Disk`] of one process.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::fstatvfs;
use redb::StorageBackend;

use super::disk::Disk;
use super::error::OpenError;
use super::file_name::FileName;
use crate::mutants::mutant;

/// Held by the process that uses the directory; has its id.
const LOCK_FILE: &str = "LOCK";

/// A directory that belongs to this process.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What is done about a directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// It is made.
    Create,
    /// It is an error.
    Refuse,
}

impl Directory {
    /// Takes a directory for this process alone.
    ///
    /// # Errors
    /// If it cannot be made or read, is used by another process, or has other things in it.
    pub(crate) fn acquire(path: &Path, if_missing: IfMissing) -> Result<Self, OpenError> {
        let failed = |what: &str| {
            let what = format!("{what} {}", path.display());
            move |error: io::Error| OpenError::Io { what, error }
        };
        if if_missing == IfMissing::Create {
            create_with_parents(path).map_err(failed("cannot make the directory"))?;
        }
        let handle = File::open(path).map_err(failed("cannot open the directory"))?;
        let mut foreign = None;
        let mut ours = false;
        for entry in fs::read_dir(path).map_err(failed("cannot read the directory"))? {
            let name = entry
                .map_err(failed("cannot read the directory"))?
                .file_name();
            if name == LOCK_FILE || FileName::ALL.iter().any(|ours| name == ours.as_str()) {
                ours = true;
            } else {
                foreign = Some(name);
            }
        }
        match foreign {
            Some(name) if !ours => {
                return Err(OpenError::ForeignFiles {
                    path: path.into(),
                    has: name.to_string_lossy().into_owned(),
                });
            }
            None if !ours && if_missing == IfMissing::Refuse => {
                return Err(OpenError::NoStore { path: path.into() });
            }
            _ => {}
        }
        handle
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(failed("cannot set the permissions of"))?;

        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed("cannot open LOCK in"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if mutant("no-lock") => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = lock.read_to_string(&mut process);
                return Err(OpenError::InUse {
                    path: path.into(),
                    process: process.trim().into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("cannot lock")(error)),
        }
        let mut note = || {
            lock.rewind()?;
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())
        };
        // A disk that is full must not keep what is on it from being served.
        let _ = note();
        Ok(Self {
            path: path.into(),
            handle,
            _lock: lock,
        })
    }

    /// Makes sure that files that came, went or were renamed stay so.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all().map_err(after_sync)
    }
}

/// Makes a directory and those above it, and makes sure that they stay.
fn create_with_parents(path: &Path) -> io::Result<()> {
    let above = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut new = Vec::new();
    let mut at = path.to_owned();
    while !at.try_exists()? {
        new.push(at.clone());
        at = above(&at);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for path in new {
        File::open(above(&path))?.sync_all()?;
    }
    Ok(())
}

impl Disk for Directory {
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageBackend>> {
        let path = self.path.join(name.as_str());
        let is_new = !path.try_exists()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if is_new {
            self.sync()?;
        }
        Ok(Arc::new(DiskFile(file)))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&self.handle)?;
        Ok(system.blocks_available() as u64 * system.fragment_size() as u64)
    }

    fn set_aside(&self, name: FileName) -> io::Result<()> {
        let path = self.path.join(name.as_str());
        let mut number = 1;
        let aside = loop {
            let aside = self
                .path
                .join(format!("{}.damaged-{number}", name.as_str()));
            if !aside.try_exists()? {
                break aside;
            }
            number += 1;
        };
        match fs::rename(path, aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| self.sync()),
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Whatever a sync says is final: what it could not write the system may take for written from then on. So nothing of it
/// must look like a disk that is only full.
fn after_sync(error: io::Error) -> io::Error {
    io::Error::other(format!("a sync failed: {error}"))
}

#[derive(Debug)]
struct DiskFile(File);

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    /// Takes what it grows by from the disk at once: a full disk is found out before anything is written, and not in the
    /// middle of it.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let present = self.0.metadata()?.len();
        if len > present {
            let (from, more) = (present.cast_signed(), (len - present).cast_signed());
            loop {
                match posix_fallocate(&self.0, from, more) {
                    Ok(()) => return Ok(()),
                    Err(Errno::EINTR) => {}
                    // Not every file system can.
                    Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data().map_err(after_sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

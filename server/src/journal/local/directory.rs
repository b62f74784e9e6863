//! A directory of the file system as the [`Disk`] of one process.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statvfs::fstatvfs;
use redb::StorageBackend;

use super::disk::Disk;
use super::disk_file::{DiskFile, SyncCount, after_sync, allocate};
use super::file_name::FileName;
use crate::journal::error::OpenError;
use crate::metrics::JournalCells;
use crate::mutants::mutant;

/// The file that the process that uses the directory keeps locked. It contains the process's id.
pub(super) const LOCK_FILE: &str = "LOCK";

/// The file that keeps space for a full disk. Nothing is ever read from it, and whoever needs the space may remove it.
const RESERVE_FILE: &str = "reserve";

/// A directory that only this process uses.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    /// The files that were opened.
    opened: Mutex<BTreeMap<FileName, Identity>>,
    /// Stays locked until it is dropped.
    _lock: File,
    /// Where syncs are counted.
    cells: Arc<JournalCells>,
}

/// What tells a file from every other: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// What to do about a directory that does not exist or is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// Creates it.
    Create,
    /// Reports an error.
    Refuse,
}

impl Directory {
    /// Locks a directory for this process.
    ///
    /// # Errors
    /// If the directory cannot be created or read, another process uses it, or it contains only files of others.
    pub(crate) fn acquire(path: &Path, if_missing: IfMissing) -> Result<Self, OpenError> {
        if if_missing == IfMissing::Create {
            create_with_parents(path).map_err(failed("cannot create the directory", path))?;
        }
        let handle = File::open(path).map_err(failed("cannot open the directory", path))?;
        refuse_foreign(path, if_missing)?;
        handle
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(failed("cannot set the permissions of", path))?;
        Ok(Self {
            path: path.into(),
            handle,
            opened: Mutex::default(),
            _lock: lock(path)?,
            cells: Arc::default(),
        })
    }

    /// The same directory, whose syncs are counted.
    pub(crate) fn counting(self, cells: Arc<JournalCells>) -> Self {
        Self { cells, ..self }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<FileName, Identity>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes renamed and new files of the directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all().map_err(after_sync)
    }
}

/// Makes an error of a failed call.
pub(super) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let what = format!("{what} {}", path.display());
    move |error| OpenError::Io { what, error }
}

/// The error about a path where the file is no longer that was opened.
fn gone(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::other(format!(
        "{path} was removed, moved or replaced while the server used it"
    ))
}

/// Refuses a directory that contains files, but none of a server. Unless it may be created, refuses an empty one as well.
pub(super) fn refuse_foreign(path: &Path, if_missing: IfMissing) -> Result<(), OpenError> {
    let unreadable = || failed("cannot read the directory", path);
    let mut foreign = None;
    for entry in fs::read_dir(path).map_err(unreadable())? {
        let name = entry.map_err(unreadable())?.file_name();
        if name == LOCK_FILE
            || name == RESERVE_FILE
            || FileName::ALL.iter().any(|ours| name == ours.as_str())
        {
            return Ok(());
        }
        foreign = Some(name);
    }
    match foreign {
        Some(name) => Err(OpenError::ForeignFiles {
            path: path.into(),
            has: name.to_string_lossy().into_owned(),
        }),
        None if if_missing == IfMissing::Refuse => Err(OpenError::NoStore { path: path.into() }),
        None => Ok(()),
    }
}

/// How files are opened: never through a symbolic link, which would have a server overwrite a file elsewhere.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

/// Opens a file, and creates it if it is missing.
fn open(path: &Path) -> io::Result<File> {
    options().open(path).map_err(explain_link)
}

/// Explains the error about a symbolic link.
pub(super) fn explain_link(error: io::Error) -> io::Error {
    match error.raw_os_error() == Some(Errno::ELOOP as i32) {
        true => io::Error::other("it is a symbolic link, which a server neither makes nor follows"),
        false => error,
    }
}

/// Locks the lock file of a directory, and writes the id of this process into it.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock = open(&path.join(LOCK_FILE)).map_err(failed("cannot open LOCK in", path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if mutant("no-lock") => {}
        // Readers lock it together, and name themselves nowhere.
        Err(TryLockError::WouldBlock) if lock.try_lock_shared().is_ok() => {
            return Err(OpenError::BeingRead { path: path.into() });
        }
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &lock)),
        Err(TryLockError::Error(error)) => return Err(failed("cannot lock", path)(error)),
    }
    let mut write_id = || {
        lock.rewind()?;
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())
    };
    // The id is only for people. A store on a full disk must open without it.
    let _ = write_id();
    Ok(lock)
}

/// The error about a directory that the process named in its lock file uses.
pub(super) fn in_use(path: &Path, mut lock: &File) -> OpenError {
    let mut process = String::new();
    let _ = lock.read_to_string(&mut process);
    OpenError::InUse {
        path: path.into(),
        process: process.trim().into(),
    }
}

/// Creates a directory and its missing parents, and makes them durable.
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
        let is_new = fs::symlink_metadata(&path).is_err();
        let file = open(&path)?;
        let identity = Identity::of(&file.metadata()?);
        self.opened().insert(name, identity);
        if is_new {
            self.sync()?;
        }
        let syncs = SyncCount::of(Arc::clone(&self.cells), name);
        Ok(Arc::new(match name {
            // The engine doubles its files when they are full: what it does not use must take no space.
            FileName::Log | FileName::Snapshot(_) => DiskFile::sparse(file, syncs),
            FileName::Wal | FileName::Watermark => DiskFile::dense(file, syncs),
        }))
    }

    fn check_present(&self) -> io::Result<()> {
        let is_at = |path: &Path, expected: Identity| {
            let found = fs::symlink_metadata(path);
            found.is_ok_and(|found| Identity::of(&found) == expected)
        };
        // The directory itself may be named by a symbolic link.
        let found = fs::metadata(&self.path)
            .map(|found| Identity::of(&found))
            .ok();
        if found != Some(Identity::of(&self.handle.metadata()?)) {
            return Err(gone(&self.path));
        }
        for (name, identity) in &*self.opened() {
            let path = self.path.join(name.as_str());
            if !is_at(&path, *identity) {
                return Err(gone(&path));
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&self.handle)?;
        Ok(system.blocks_available() as u64 * system.fragment_size() as u64)
    }

    fn occupied_bytes(&self, name: FileName) -> u64 {
        // Blocks in the sense of `stat` have 512 bytes, whatever the file system's have.
        fs::symlink_metadata(self.path.join(name.as_str())).map_or(0, |found| 512 * found.blocks())
    }

    fn reserved_bytes(&self) -> Option<u64> {
        let found = fs::symlink_metadata(self.path.join(RESERVE_FILE)).ok()?;
        Some(found.len())
    }

    fn set_reserve(&self, bytes: u64) -> io::Result<()> {
        let path = self.path.join(RESERVE_FILE);
        let file = open(&path)?;
        file.set_len(0)?;
        // The empty file stays: it tells that the reserve was given up.
        allocate(&file, 0, bytes).inspect_err(|_| drop(fs::remove_file(&path)))
    }

    fn set_aside(&self, name: FileName) -> io::Result<()> {
        let path = self.path.join(name.as_str());
        self.opened().remove(&name);
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

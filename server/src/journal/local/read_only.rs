//! A data directory as a [`Disk`] that is only read: what is written stays in memory.
//!
//! The engine writes to its files even when they are only read: it repairs what a killed server left, and notes that the
//! file is open. Here each file that is opened keeps such writes to itself, so the directory and its files may be read-only,
//! and whoever examines them finds them as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use redb::StorageBackend;

use super::directory::{IfMissing, LOCK_FILE, explain_link, failed, in_use, refuse_foreign};
use super::disk::Disk;
use super::file_name::FileName;
use crate::journal::error::OpenError;

/// Bytes of a block, the unit in which what is written is kept.
const BLOCK: u64 = 4096;

/// A directory that no server uses.
#[derive(Debug)]
pub(crate) struct ReadOnlyDirectory {
    path: PathBuf,
    /// The files that were set aside: from then on, they are missing.
    aside: Mutex<BTreeSet<FileName>>,
    /// Keeps servers away until it is dropped. `None` if the directory has no lock file: then no server uses it.
    _lock: Option<File>,
}

impl ReadOnlyDirectory {
    /// Opens a directory, and locks it against servers if it has a lock file. Others may read it, too.
    ///
    /// # Errors
    /// If the directory cannot be read, a server uses it, or it is empty or contains only files of others.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        refuse_foreign(path, IfMissing::Refuse)?;
        Ok(Self {
            path: path.into(),
            aside: Mutex::default(),
            _lock: lock(path)?,
        })
    }

    fn aside(&self) -> MutexGuard<'_, BTreeSet<FileName>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks the lock file of a directory together with other readers.
fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    let lock = match open(&path.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot open LOCK in", path)(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(in_use(path, &lock)),
        Err(TryLockError::Error(error)) => Err(failed("cannot lock", path)(error)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(explain_link)
}

impl Disk for ReadOnlyDirectory {
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageBackend>> {
        let path = self.path.join(name.as_str());
        let file = match open(&path) {
            _ if self.aside().contains(&name) => None,
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let len = file
            .as_ref()
            .map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        Ok(Arc::new(Overlay {
            file,
            written: Mutex::new(Written {
                len,
                original: len,
                blocks: BTreeMap::new(),
            }),
        }))
    }

    fn check_present(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn occupied_bytes(&self, name: FileName) -> u64 {
        let found = fs::symlink_metadata(self.path.join(name.as_str()));
        found.map_or(0, |found| 512 * found.blocks())
    }

    /// None: what is written takes no space.
    fn reserved_bytes(&self) -> Option<u64> {
        None
    }

    fn set_reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_aside(&self, name: FileName) -> io::Result<()> {
        self.aside().insert(name);
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A file, and over it what was written to it since it was opened.
#[derive(Debug)]
struct Overlay {
    /// `None` if the file is missing.
    file: Option<File>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// The length of the file as it would be.
    len: u64,
    /// Only up to here the original bytes still count. Beyond are zeros.
    original: u64,
    /// The blocks that were written to, by number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a part of the original, with zeros behind its end.
    fn read_original(&self, written: &Written, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = written.original.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (original, behind) = out.split_at_mut(there);
        behind.fill(0);
        match &self.file {
            Some(file) => file.read_exact_at(original, offset),
            None => Ok(()),
        }
    }
}

/// The part of a block that an access touches: the block's number, the first byte in it, and how many bytes.
fn part(offset: u64, bytes: usize) -> (u64, usize, usize) {
    let begin = (offset % BLOCK) as usize;
    (offset / BLOCK, begin, bytes.min(BLOCK as usize - begin))
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        while !out.is_empty() {
            let (number, begin, count) = part(offset, out.len());
            let (now, rest) = out.split_at_mut(count);
            match written.blocks.get(&number) {
                Some(block) => now.copy_from_slice(&block[begin..begin + count]),
                None => self.read_original(&written, offset, now)?,
            }
            offset += count as u64;
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        written.original = written.original.min(len);
        if len < written.len {
            let (last, keep, _) = part(len, 0);
            written.blocks.retain(|number, _| *number <= last);
            if let Some(block) = written.blocks.get_mut(&last) {
                block[keep..].fill(0);
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        while !data.is_empty() {
            let (number, begin, count) = part(offset, data.len());
            let (now, rest) = data.split_at(count);
            if !written.blocks.contains_key(&number) {
                let mut block = vec![0; BLOCK as usize].into_boxed_slice();
                self.read_original(&written, number * BLOCK, &mut block)?;
                written.blocks.insert(number, block);
            }
            if let Some(block) = written.blocks.get_mut(&number) {
                block[begin..begin + count].copy_from_slice(now);
            }
            offset += count as u64;
            written.len = written.len.max(offset);
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use tempfile::TempDir;

    use super::*;

    /// The overlay reads like a file that was really written, and the file stays as it was.
    #[test]
    fn an_overlay_reads_as_if_it_had_been_written() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(FileName::Log.as_str());
        let original: Vec<u8> = (0..20_000_u32).map(|byte| byte as u8).collect();
        fs::write(&path, &original).unwrap();
        let directory = ReadOnlyDirectory::open(dir.path()).unwrap();
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (file, mut model) = (directory.open(FileName::Log).unwrap(), original.clone());
            for _ in 0..50 {
                let offset = rng.random_range(0..30_000);
                let count = rng.random_range(0..10_000);
                match rng.random_range(0..4) {
                    0 => {
                        file.set_len(offset as u64).unwrap();
                        model.resize(offset, 0);
                    }
                    1 => {
                        let data = vec![rng.random(); count];
                        file.write(offset as u64, &data).unwrap();
                        if count > 0 {
                            model.resize(model.len().max(offset + count), 0);
                            model[offset..offset + count].copy_from_slice(&data);
                        }
                    }
                    _ => {
                        let mut read = vec![0; count];
                        let done = file.read(offset as u64, &mut read);
                        let expected = model.get(offset..offset + count);
                        assert_eq!(done.ok().map(|()| read.as_slice()), expected, "{seed}");
                    }
                }
                assert_eq!(file.len().unwrap(), model.len() as u64);
            }
        }
        assert_eq!(fs::read(&path).unwrap(), original);
        directory.set_aside(FileName::Log).unwrap();
        assert_eq!(directory.open(FileName::Log).unwrap().len().unwrap(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

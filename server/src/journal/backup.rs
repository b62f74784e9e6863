//! Backups: writes the pages of a copy as one stream of bytes, checks such a stream, and restores the state from it.
//!
//! The stream begins with [`MAGIC`]. The pages follow, each after its length in four bytes, the lowest first.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use prost::bytes::Bytes;

use super::error::OpenError;
use super::pages::{PageReader, PageWriter, Restored, contents_digest_of};
use super::stored::{Damaged, Header};
use crate::machine::{CopyHead, CopySlice, Revision, StateMachine, StoreLimits, Time};
use crate::progress::{Progress, Unit};

/// The first bytes of a backup.
const MAGIC: &[u8] = b"soloist backup 1\n";

/// Largest length of a page: twice as much as the largest entry can take.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// Encodes the slices of a copy as chunks of a backup.
#[derive(Debug)]
pub(crate) struct BackupWriter {
    pages: PageWriter,
    begun: bool,
}

impl BackupWriter {
    pub(crate) fn new(store_id: &str, time: Time, copy: &CopyHead) -> Self {
        let header = Header::of(store_id, copy.revision, time);
        Self {
            pages: PageWriter::with_contents_digest(header, copy),
            begun: false,
        }
    }

    /// Writes the next slice. After the last one, returns the digest of the contents and the number of keys.
    pub(crate) fn write(&mut self, slice: &CopySlice) -> Option<(Bytes, u64)> {
        let (_, key_count) = self.pages.write(slice)?;
        Some((self.pages.contents_digest()?, key_count))
    }

    /// The number of keys that were written so far.
    pub(crate) fn key_count(&self) -> u64 {
        self.pages.key_count()
    }

    /// Takes the chunks that are ready.
    pub(crate) fn take_chunks(&mut self) -> Vec<Vec<u8>> {
        let pages = self.pages.take_pages().into_iter();
        let chunk = |page: Vec<u8>| {
            let magic = match std::mem::replace(&mut self.begun, true) {
                true => &[][..],
                false => MAGIC,
            };
            let len = u32::try_from(page.len()).expect("a page is shorter than PAGE_BYTES_MAX");
            [magic, &len.to_le_bytes(), &page].concat()
        };
        pages.map(chunk).collect()
    }
}

/// What a complete backup says of itself.
#[derive(Debug)]
pub(crate) struct Backup {
    /// The store revision of the copy.
    pub(crate) revision: Revision,
    /// The number of keys.
    pub(crate) key_count: u64,
    /// SHA-256 of the contents: a store that is restored from the backup has the same.
    pub(crate) contents_digest: Bytes,
    /// The store that was copied.
    pub(crate) store_id: String,
}

impl Backup {
    pub(super) fn of(restored: &mut Restored, progress: &Progress) -> Self {
        Self {
            revision: restored.header.revision,
            key_count: restored.key_count,
            contents_digest: contents_digest_of(&mut restored.machine, progress),
            store_id: restored.header.store_id.clone(),
        }
    }
}

/// Reads a backup to its end, and checks it, in steps of `progress`.
///
/// # Errors
/// [`OpenError::Io`] if the file cannot be read, [`OpenError::BadBackup`] if it is not a backup, or damaged.
pub(crate) fn check(
    path: &Path,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<Backup, OpenError> {
    let mut restored = read(path, limits, progress)?;
    Ok(Backup::of(&mut restored, progress))
}

/// Restores the state of a backup in memory, in a step of `progress`.
///
/// # Errors
/// Those of [`check`].
pub(super) fn read(
    path: &Path,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<Restored, OpenError> {
    let failed = |error: io::Error| OpenError::Io {
        what: format!("cannot read {}", path.display()),
        error,
    };
    let bad = |what: String| OpenError::BadBackup {
        path: path.into(),
        what,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // A pipe has no length.
    let file_len = metadata.is_file().then_some(metadata.len());
    progress.begin("reading the backup", Unit::Bytes, file_len);
    let mut file = BufReader::new(file);
    if read_up_to(&mut file, MAGIC.len()).map_err(failed)? != MAGIC {
        return Err(bad("not a backup of a Soloist server".into()));
    }
    let mut reader = PageReader::new(StateMachine::new(limits.clone()));
    let mut offset = MAGIC.len();
    loop {
        let damaged = |what: &str| bad(format!("damaged at byte {offset}: {what}"));
        let len = read_up_to(&mut file, 4).map_err(failed)?;
        let len = match <[u8; 4]>::try_from(len.as_slice()) {
            Ok(len) => u32::from_le_bytes(len) as usize,
            Err(_) if len.is_empty() => break,
            Err(_) => return Err(damaged("the file is cut off")),
        };
        if len > PAGE_BYTES_MAX {
            let what = format!("a page has {len} bytes, but may have at most {PAGE_BYTES_MAX}");
            return Err(damaged(&what));
        }
        let page = read_up_to(&mut file, len).map_err(failed)?;
        if page.len() < len {
            return Err(damaged("the file is cut off"));
        }
        reader.read(&page).map_err(|Damaged(what)| damaged(&what))?;
        offset += 4 + len;
        progress.set(offset as u64);
    }
    reader
        .finish()
        .map_err(|Damaged(what)| bad(format!("damaged at byte {offset}: {what}")))
}

/// Reads `len` bytes, or fewer at the end of the file.
fn read_up_to(file: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

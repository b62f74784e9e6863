//! Backups: the pages of a copy as one stream of bytes, and what is done with it.
//!
//! The stream begins with [`MAGIC`]; then come the pages, each after its length, four bytes, the lowest first.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use prost::bytes::Bytes;

use super::create::create;
use super::directory::{Directory, IfMissing};
use super::disk;
use super::error::OpenError;
use super::file_name::FileName;
use super::pages::{PageReader, PageWriter, Restored};
use super::stored::{self, Damaged, Header};
use crate::config::REVISIONS_SKIPPED_UNSYNCED;
use crate::machine::{CopyHead, CopySlice, Revision, StateMachine, StoreLimits, Time};

const MAGIC: &[u8] = b"soloist backup 1\n";

/// No page is larger: the largest entry there can be, and as much again.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// Makes the chunks of a backup.
#[derive(Debug)]
pub(crate) struct BackupWriter {
    pages: PageWriter,
    begun: bool,
}

impl BackupWriter {
    pub(crate) fn new(store_id: &str, time: Time, copy: &CopyHead) -> Self {
        let head = Header::of(store_id, copy.revision, time);
        Self {
            pages: PageWriter::new(head, copy),
            begun: false,
        }
    }

    /// Writes what comes next in the copy. At its end returns the digest and how many keys there are.
    pub(crate) fn slice(&mut self, slice: &CopySlice) -> Option<(Bytes, u64)> {
        self.pages.slice(slice)
    }

    /// The chunks that are ready.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        let pages = self.pages.take().into_iter();
        let chunk = |page: Vec<u8>| {
            let head = match std::mem::replace(&mut self.begun, true) {
                true => &[][..],
                false => MAGIC,
            };
            let len = u32::try_from(page.len()).expect("a page is short");
            [head, &len.to_le_bytes(), &page].concat()
        };
        pages.map(chunk).collect()
    }
}

/// A backup, as it was read to its end.
#[derive(Debug)]
pub(crate) struct Backup {
    /// The revision as of which it is.
    pub(crate) revision: Revision,
    /// How many keys it has.
    pub(crate) key_count: u64,
    /// SHA-256 of its state.
    pub(crate) digest: Vec<u8>,
    /// The store that it is of.
    pub(crate) store_id: String,
}

/// Reads a backup to its end, and checks it.
///
/// # Errors
/// [`OpenError::Io`] if it cannot be read, [`OpenError::BadBackup`] if it is none, or damaged.
pub(crate) fn check(path: &Path, limits: &StoreLimits) -> Result<Backup, OpenError> {
    read(path, limits).map(|restored| shown(&restored))
}

fn shown(restored: &Restored) -> Backup {
    Backup {
        revision: restored.head.revision,
        key_count: restored.key_count,
        digest: restored.digest.to_vec(),
        store_id: restored.head.store_id.clone(),
    }
}

fn read(path: &Path, limits: &StoreLimits) -> Result<Restored, OpenError> {
    let failed = |error: io::Error| OpenError::Io {
        what: format!("cannot read {}", path.display()),
        error,
    };
    let bad = |what: String| OpenError::BadBackup {
        path: path.into(),
        what,
    };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut magic = Vec::new();
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut magic)
        .map_err(failed)?;
    if magic != MAGIC {
        return Err(bad("it is no backup of a Soloist server".into()));
    }
    let mut reader = PageReader::new(StateMachine::new(limits.clone()));
    let mut offset = MAGIC.len();
    loop {
        let damaged = |what: &str| bad(format!("it is damaged at byte {offset}: {what}"));
        let mut len = Vec::new();
        file.by_ref()
            .take(4)
            .read_to_end(&mut len)
            .map_err(failed)?;
        let len = match <[u8; 4]>::try_from(len.as_slice()) {
            Ok(len) => u32::from_le_bytes(len) as usize,
            Err(_) if len.is_empty() => break,
            Err(_) => return Err(damaged("it is cut off")),
        };
        if len > PAGE_BYTES_MAX {
            return Err(damaged("a page cannot be so long"));
        }
        let mut page = Vec::new();
        file.by_ref()
            .take(len as u64)
            .read_to_end(&mut page)
            .map_err(failed)?;
        if page.len() < len {
            return Err(damaged("it is cut off"));
        }
        reader.page(&page).map_err(|Damaged(what)| damaged(&what))?;
        offset += 4 + len;
    }
    reader
        .end()
        .map_err(|Damaged(what)| bad(format!("it is damaged at byte {offset}: {what}")))
}

/// Makes a store in a directory of a backup. It gets a store_id of its own, and its revisions go on far after those of the
/// backup. Returns what was restored, and the revision that the store goes on from.
///
/// # Errors
/// As [`check`]; [`OpenError::NotEmpty`] if there is a store in the directory; others if it cannot be used.
pub(crate) fn restore(
    path: &Path,
    data_dir: &Path,
    limits: &StoreLimits,
    now: Time,
    store_id: &str,
) -> Result<(Backup, Revision), OpenError> {
    // Before the directory is touched.
    let mut restored = read(path, limits)?;
    let directory = Directory::acquire(data_dir, IfMissing::Create)?;
    for name in FileName::ALL {
        if disk::len(&directory, name)? > 0 {
            return Err(OpenError::StoreExists {
                path: data_dir.into(),
            });
        }
    }
    let backup = shown(&restored);
    let revision = backup.revision + REVISIONS_SKIPPED_UNSYNCED;
    let machine = &mut restored.machine;
    machine.restore_revision_floor(revision);
    let time = stored::from_nanos(restored.head.time).max(now);
    create(&directory, machine, time, store_id)?;
    Ok((backup, revision))
}

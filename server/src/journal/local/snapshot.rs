//! A snapshot file: the pages of a copy, in a table of the storage engine.

use std::collections::VecDeque;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use super::disk::{self, Disk};
use super::engine::{Check, guarded, open, open_file};
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use crate::journal::pages::{PageReader, Restored, header_of, key_count_of};
use crate::journal::stored::{Damaged, Header, SnapshotMeta, StoreMeta};
use crate::machine::StateMachine;
use crate::progress::{Progress, Unit};

/// Encoded pages with their checksums, by page number from 0.
const PAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pages");

/// Bytes of pages after which they are written in one transaction. The engine keeps them in memory until then, and a commit
/// of the log may have to wait while they are written.
const TRANSACTION_BYTES: usize = 1 << 20;

/// A part of the file that is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    /// One phase suffices: after a crash, nobody uses an incomplete snapshot.
    Intermediate,
    /// The last one, which makes the snapshot complete.
    Final,
}

/// A complete snapshot.
#[derive(Debug)]
pub(crate) struct NewSnapshot {
    pub(super) meta: SnapshotMeta,
    /// Bytes of the pages.
    pub(super) bytes: u64,
    pub(super) key_count: u64,
    /// How long it took.
    pub(super) took: Duration,
}

/// Writes a snapshot file.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    name: FileName,
    db: Database,
    /// Pages that were not written yet, and their bytes.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Pages that were written, and the bytes of all of them.
    pages: u64,
    bytes: u64,
}

impl SnapshotWriter {
    /// Empties the file, and begins a new snapshot in it.
    pub(crate) fn create(disk: &dyn Disk, slot: SnapshotSlot) -> Result<Self, FileError> {
        let name = FileName::Snapshot(slot);
        let file = disk
            .open(name)
            .map_err(|error| FileError::io(name, error))?;
        file.set_len(0)
            .map_err(|error| FileError::io(name, error))?;
        // Without this sync, a power loss could bring old blocks back between the new ones.
        file.sync_data()
            .map_err(|error| FileError::io(name, error))?;
        Ok(Self {
            name,
            db: open_file(file, name, Check::All)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pages: 0,
            bytes: 0,
        })
    }

    /// Adds pages. They may not be durable before [`finish`](Self::finish).
    pub(crate) fn write(&mut self, pages: Vec<Vec<u8>>) -> Result<(), FileError> {
        for page in pages {
            self.waiting_bytes += page.len();
            self.waiting.push_back(page);
        }
        if self.waiting_bytes >= TRANSACTION_BYTES {
            self.write_transaction(Transaction::Intermediate)?;
        }
        Ok(())
    }

    /// Bytes of the pages that were written, and will be.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.bytes + self.waiting_bytes as u64
    }

    /// Makes the snapshot complete and durable. Returns the bytes of its pages.
    pub(crate) fn finish(mut self) -> Result<u64, FileError> {
        self.write_transaction(Transaction::Final)?;
        Ok(self.bytes)
    }

    fn write_transaction(&mut self, kind: Transaction) -> Result<(), FileError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let first = self.pages;
        self.pages += waiting.len() as u64;
        self.bytes += waiting.iter().map(|page| page.len() as u64).sum::<u64>();
        guarded(self.name, || {
            let mut transaction = self.db.begin_write()?;
            transaction.set_two_phase_commit(kind == Transaction::Final);
            {
                let mut table = transaction.open_table(PAGES)?;
                for (number, page) in (first..).zip(&waiting) {
                    table.insert(number, page.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }
}

/// Reads the header of a snapshot, whether the snapshot is complete or not; `None` if it cannot be read.
pub(super) fn read_header(
    disk: &dyn Disk,
    slot: SnapshotSlot,
) -> Result<Option<Header>, FileError> {
    let name = FileName::Snapshot(slot);
    let error = |error| FileError::io(name, error);
    let file = disk.open(name).map_err(error)?;
    if file.len().map_err(error)? == 0 {
        return Ok(None);
    }
    let read = open_file(file, name, Check::AsRead).and_then(|db| {
        guarded(name, || {
            let table = db.begin_read()?.open_table(PAGES)?;
            let first = table.get(0)?;
            Ok(first.and_then(|page| header_of(page.value()).ok()))
        })
    });
    match read {
        Ok(header) => Ok(header),
        Err(FileError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file is what a server leaves that ended while it made a snapshot there, in the place of an older one of record
/// `replaced`. A kill leaves such files; a power loss may leave more, which looks like damage.
pub(super) fn is_unfinished(
    disk: &dyn Disk,
    slot: SnapshotSlot,
    replaced: u64,
) -> Result<bool, FileError> {
    let name = FileName::Snapshot(slot);
    let error = |error| FileError::io(name, error);
    let file = disk.open(name).map_err(error)?;
    // The engine writes the first bytes of a new file last.
    let mut first = vec![0; file.len().map_err(error)?.min(9) as usize];
    file.read(0, &mut first).map_err(error)?;
    if first.iter().all(|byte| *byte == 0) {
        return Ok(true);
    }
    let has_pages = open_file(file, name, Check::AsRead).and_then(|db| {
        guarded(name, || match db.begin_read()?.open_table(PAGES) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        })
    });
    match has_pages {
        Ok(false) => Ok(true),
        Ok(true) => Ok(read_header(disk, slot)?.is_some_and(|header| header.seq > replaced)),
        Err(FileError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Empties the files of snapshots that `meta` does not name: what is left of snapshots that were not finished.
pub(super) fn discard_unfinished(disk: &dyn Disk, meta: &StoreMeta) {
    for slot in [SnapshotSlot::A, SnapshotSlot::B] {
        let named = meta.snapshots.iter().any(|of| of.slot == slot.number());
        let name = FileName::Snapshot(slot);
        if named || !disk::len(disk, name).is_ok_and(|len| len > 0) {
            continue;
        }
        // A failure does no harm: the next snapshot empties the file.
        match disk.open(name).and_then(|file| file.set_len(0)) {
            Ok(()) => tracing::info!("removed what was left of an unfinished snapshot"),
            Err(error) => tracing::warn!(%error, "cannot empty {}", name.as_str()),
        }
    }
}

/// Restores the state of a snapshot into `empty`, an empty state: two steps of `progress`.
pub(crate) fn read(
    disk: &dyn Disk,
    slot: SnapshotSlot,
    empty: StateMachine,
    progress: &Progress,
) -> Result<Restored, FileError> {
    let name = FileName::Snapshot(slot);
    let db = open(disk, name, progress)?;
    let mut reader = PageReader::new(empty);
    let mut expected = 0;
    let mut damaged = None;
    guarded(name, || {
        let table = db.begin_read()?.open_table(PAGES)?;
        let key_count = table
            .last()?
            .and_then(|(_, page)| key_count_of(page.value()));
        progress.begin(
            format!("reading {}", name.as_str()),
            Unit::Things("keys"),
            key_count,
        );
        for page in table.iter()? {
            let (number, bytes) = page?;
            let number = number.value();
            let read = match number == expected {
                true => reader.read(bytes.value()),
                false => Err(Damaged(format!("page {expected} is missing"))),
            };
            if let Err(error) = read {
                damaged = Some((number, error));
                break;
            }
            expected += 1;
            progress.set(reader.key_count());
        }
        Ok(())
    })?;
    let at_page = |number: u64, Damaged(what): Damaged| {
        FileError::damaged(name, format!("at page {number}"), what)
    };
    match damaged {
        Some((number, error)) => Err(at_page(number, error)),
        None => reader.finish().map_err(|error| at_page(expected, error)),
    }
}

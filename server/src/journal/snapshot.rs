//! A snapshot file: the pages of a copy, in the storage engine.

use std::collections::VecDeque;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::disk::Disk;
use super::engine::{guarded, open, open_file};
use super::error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::pages::{PageReader, Restored};
use super::stored::{Damaged, SnapshotMeta};
use crate::machine::StateMachine;

/// By number, from 0: a page, encoded, and its checksum.
const PAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pages");

/// Bytes of pages that are written in one transaction: what the engine keeps in memory until then, and what a commit of
/// the log that comes meanwhile has to wait for.
const TRANSACTION_BYTES: usize = 1 << 20;

/// Whether more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    /// The file is of no use before its last part: nothing has to be told after a crash, so one phase is enough.
    Intermediate,
    Final,
}

/// A snapshot that was written.
#[derive(Debug)]
pub(crate) struct NewSnapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) bytes: u64,
    pub(super) key_count: u64,
    pub(super) took: Duration,
}

/// Writes a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    name: FileName,
    db: Database,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    pages: u64,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begins anew in this file: what was in it is of no more use.
    pub(crate) fn create(disk: &dyn Disk, slot: SnapshotSlot) -> Result<Self, FileError> {
        let name = FileName::Snapshot(slot);
        let file = disk
            .open(name)
            .map_err(|error| FileError::io(name, error))?;
        file.set_len(0)
            .map_err(|error| FileError::io(name, error))?;
        // What was there must not come back among the new.
        file.sync_data()
            .map_err(|error| FileError::io(name, error))?;
        Ok(Self {
            name,
            db: open_file(file, name)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pages: 0,
            bytes: 0,
        })
    }

    pub(crate) fn pages(&mut self, pages: Vec<Vec<u8>>) -> Result<(), FileError> {
        for page in pages {
            self.waiting_bytes += page.len();
            self.waiting.push_back(page);
        }
        if self.waiting_bytes >= TRANSACTION_BYTES {
            self.write(Transaction::Intermediate)?;
        }
        Ok(())
    }

    /// Completes it; it is on disk then. Returns its bytes.
    pub(crate) fn end(mut self) -> Result<u64, FileError> {
        self.write(Transaction::Final)?;
        Ok(self.bytes)
    }

    fn write(&mut self, kind: Transaction) -> Result<(), FileError> {
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

/// Reads a snapshot to its end, into an empty state.
pub(crate) fn read(
    disk: &dyn Disk,
    slot: SnapshotSlot,
    empty: StateMachine,
) -> Result<Restored, FileError> {
    let name = FileName::Snapshot(slot);
    let db = open(disk, name)?;
    let mut reader = PageReader::new(empty);
    let mut expected = 0;
    let mut damaged = None;
    guarded(name, || {
        let table = db.begin_read()?.open_table(PAGES)?;
        for page in table.iter()? {
            let (number, bytes) = page?;
            let number = number.value();
            let read = match number == expected {
                true => reader.page(bytes.value()),
                false => Err(Damaged(format!("page {expected} is missing"))),
            };
            if let Err(error) = read {
                damaged = Some((number, error));
                break;
            }
            expected += 1;
        }
        Ok(())
    })?;
    let at_page = |number: u64, Damaged(what): Damaged| {
        FileError::damaged(name, format!("at page {number}"), what)
    };
    match damaged {
        Some((number, error)) => Err(at_page(number, error)),
        None => reader.end().map_err(|error| at_page(expected, error)),
    }
}

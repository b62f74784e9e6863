//! The log: one record a commit, in order. The newest records are in the [write-ahead log](super::wal), older ones in a table
//! of the storage engine. Readers of the log see both as one sequence.

use prost::Message as _;
use redb::{
    AccessGuard, Database, ReadableDatabase as _, ReadableTable as _, StorageError, Table,
    TableDefinition, TableError,
};

use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::engine::{guarded, open};
use super::file_error::FileError;
use super::file_name::FileName;
use super::wal::{Appended, Found, Wal, WalDamage};
use crate::journal::record::{EncodedRecord, Position, START, seal, unseal};
use crate::journal::stored::{Damaged, FORMAT, StoreMeta, unknown_format};
use crate::progress::Progress;

/// Encoded records with their checksums, by record number.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// A single row: the encoded [`StoreMeta`] and its checksum.
const META: TableDefinition<'_, (), &[u8]> = TableDefinition::new("meta");

/// Most records that one transaction removes, so that it takes hardly longer. A transaction that adds many records removes
/// up to twice as many, so that the log gets shorter under any load.
pub(super) const PRUNE_RECORDS_MAX: u64 = 256;

/// When an appended record is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncWhen {
    /// Before [`Log::append`] returns.
    Now,
    /// With the next sync or checkpoint.
    Later,
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Log {
    db: Database,
    wal: Wal,
    /// The last record that the engine has. This record is never removed, so that the log's end is known.
    checkpointed: Position,
    /// Records up to this number are to be removed.
    prune_upto: Option<u64>,
    /// Most records that one transaction removes.
    prune_records_max: u64,
}

impl Log {
    /// Opens the log, and has the engine check its file. The write-ahead log takes up to `wal_bytes_max` bytes.
    pub(crate) fn open(disk: &dyn Disk, wal_bytes_max: u64) -> Result<Self, FileError> {
        Self::open_watched(disk, wal_bytes_max, &Progress::default())
    }

    /// Opens the log as [`open`](Self::open) does. The check is a step of `progress`.
    pub(super) fn open_watched(
        disk: &dyn Disk,
        wal_bytes_max: u64,
        progress: &Progress,
    ) -> Result<Self, FileError> {
        let db = open(disk, FileName::Log, progress)?;
        let checkpointed = guarded(FileName::Log, || {
            if !has_tables(&db)? {
                let mut transaction = db.begin_write()?;
                transaction.set_two_phase_commit(true);
                transaction.open_table(RECORDS)?;
                transaction.open_table(META)?;
                transaction.commit()?;
            }
            let table = db.begin_read()?.open_table(RECORDS)?;
            let last = table.last()?;
            Ok(last.map_or(START, |(seq, bytes)| Position {
                seq: seq.value(),
                crc: checksum_of(bytes.value()),
            }))
        })?;
        Ok(Self {
            wal: Wal::open(disk, wal_bytes_max, checkpointed)?,
            db,
            checkpointed,
            prune_upto: None,
            prune_records_max: PRUNE_RECORDS_MAX,
        })
    }

    /// Appends a record. If the write-ahead log has no room, a checkpoint writes the record to the engine, durably.
    pub(crate) fn append(
        &mut self,
        record: &EncodedRecord,
        sync: SyncWhen,
    ) -> Result<(), FileError> {
        debug_assert!(record.position.seq > self.end());
        match (self.wal.append(record)?, sync) {
            (Appended::NoRoom, _) => {
                // So the base of the write-ahead log is at most one record behind the engine.
                self.wal.note_base()?;
                self.checkpoint_with(Some(record), None)
            }
            (Appended::Written, SyncWhen::Now) => self.wal.sync(),
            (Appended::Written, SyncWhen::Later) => Ok(()),
        }
    }

    /// Makes every appended record durable.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        self.wal.sync()
    }

    /// Whether every appended record is durable.
    pub(crate) fn is_synced(&self) -> bool {
        !self.wal.is_unsynced()
    }

    /// Replaces the meta record, and makes a checkpoint in the same transaction.
    pub(crate) fn set_meta(&mut self, meta: &StoreMeta) -> Result<(), FileError> {
        self.checkpoint_with(None, Some(meta))
    }

    /// Moves every record of the write-ahead log to the engine, durably, and removes some records that are to be removed.
    pub(crate) fn checkpoint(&mut self) -> Result<(), FileError> {
        self.checkpoint_with(None, None)
    }

    /// Makes a checkpoint, and begins the write-ahead log anew with the number of a directory, so that the frames that are in
    /// the file are never read again.
    pub(crate) fn begin_wal(&mut self, directory: DirectoryId) -> Result<(), FileError> {
        self.checkpoint()?;
        self.wal.begin(directory)
    }

    /// Whether the write-ahead log can take records of the directory that has this number.
    pub(crate) fn wal_is_of(&self, directory: DirectoryId) -> bool {
        self.wal.is_of(directory)
    }

    /// What the write-ahead log said of itself when it was opened.
    pub(super) fn wal_found(&self) -> Found {
        self.wal.found()
    }

    /// Forgets the records of the write-ahead log, because they are of another store.
    pub(super) fn ignore_wal(&mut self) {
        self.wal.ignore_records();
    }

    /// The last record of the engine.
    pub(super) fn checkpointed(&self) -> Position {
        self.checkpointed
    }

    /// Has the records up to `seq` removed, few at a time, by the transactions that follow.
    pub(crate) fn prune(&mut self, seq: u64) -> Result<(), FileError> {
        let first = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            Ok(table.first()?.map(|(seq, _)| seq.value()))
        })?;
        let seq = seq.min(self.checkpointed.seq.saturating_sub(1));
        self.prune_upto = first.is_some_and(|first| first <= seq).then_some(seq);
        Ok(())
    }

    /// Whether there are records to remove.
    pub(crate) fn has_to_prune(&self) -> bool {
        self.prune_upto.is_some()
    }

    /// Moves the pages of the engine's file together, and cuts off its end. Takes as long as reading what is in the file, and
    /// hardly any space.
    pub(crate) fn compact(&mut self) -> Result<(), FileError> {
        let db = &mut self.db;
        guarded(FileName::Log, || Ok(db.compact().map(drop)?))
    }

    /// Has each of the transactions that follow remove up to this many records.
    pub(crate) fn set_prune_records_max(&mut self, count: u64) {
        self.prune_records_max = count;
    }

    /// Writes the records of the write-ahead log, `record` and `meta` to the engine, in one durable transaction.
    fn checkpoint_with(
        &mut self,
        record: Option<&EncodedRecord>,
        meta: Option<&StoreMeta>,
    ) -> Result<(), FileError> {
        // Should the base of the write-ahead log be lost with the power, the frames tell what this checkpoint moves.
        self.wal.sync()?;
        let records = self.wal.pending().iter().chain(record);
        let checkpointed = records.clone().last().map(|last| last.position);
        let (prune, prune_max) = (self.prune_upto, self.prune_records_max);
        let work = || -> Result<bool, redb::Error> {
            let mut transaction = self.db.begin_write()?;
            // With two phases, the engine need not guess after a crash which commit was the last complete one.
            transaction.set_two_phase_commit(true);
            let mut more = false;
            if checkpointed.is_some() || prune.is_some() {
                let mut table = transaction.open_table(RECORDS)?;
                let mut added = 0;
                for record in records {
                    table.insert(record.position.seq, &*record.bytes)?;
                    added += 1;
                }
                if let Some(upto) = prune {
                    more = remove_records(&mut table, upto, prune_max.max(2 * added))?;
                }
            }
            if let Some(meta) = meta {
                let mut table = transaction.open_table(META)?;
                let mut bytes = meta.encode_to_vec();
                seal(&mut bytes, 0);
                table.insert((), bytes.as_slice())?;
            }
            transaction.commit()?;
            Ok(more)
        };
        let more = guarded(FileName::Log, work)?;
        if !more {
            self.prune_upto = None;
        }
        self.checkpointed = checkpointed.unwrap_or(self.checkpointed);
        self.wal.restart(self.checkpointed);
        Ok(())
    }

    /// The meta record; `None` in a new log.
    pub(crate) fn meta(&self) -> Result<Option<StoreMeta>, FileError> {
        let bytes = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(META)?;
            Ok(table.get(())?.map(|bytes| bytes.value().to_vec()))
        })?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let damaged = |Damaged(what)| FileError::damaged(FileName::Log, "in its meta record", what);
        let (bytes, _) = unseal(&bytes, 0).map_err(damaged)?;
        let meta = StoreMeta::decode(bytes).map_err(|error| damaged(error.into()))?;
        if meta.format != FORMAT {
            return Err(damaged(Damaged(unknown_format(meta.format))));
        }
        Ok(Some(meta))
    }

    /// The damage in the write-ahead log. The records before the damage are read as if the log ended there.
    pub(super) fn damage(&self) -> Option<&WalDamage> {
        self.wal.damage()
    }

    /// The name of the file that contains the record, or would contain it.
    pub(crate) fn file_of(&self, seq: u64) -> &'static str {
        match seq <= self.checkpointed.seq {
            true => FileName::Log.as_str(),
            false => FileName::Wal.as_str(),
        }
    }

    /// Passes the records after `seq` to `each`, in order, until it returns false.
    pub(crate) fn records_after(
        &self,
        seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        let goes_on = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            for_each_row(table.range(seq + 1..)?, &mut each)
        })?;
        let mut pending = self.wal.pending().iter();
        if goes_on {
            pending.all(|of| of.position.seq <= seq || each(of.position.seq, &of.bytes));
        }
        Ok(())
    }

    /// Passes the records up to `seq` to `each`, the last first, until it returns false.
    pub(crate) fn records_back_from(
        &self,
        seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        let mut pending = self.wal.pending().iter().rev();
        if !pending.all(|of| of.position.seq > seq || each(of.position.seq, &of.bytes)) {
            return Ok(());
        }
        guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            for_each_row(table.range(..=seq)?.rev(), each).map(|_| ())
        })
    }

    /// The checksum of a record, if the log has the record.
    pub(super) fn checksum(&self, seq: u64) -> Result<Option<u32>, FileError> {
        let mut found = None;
        self.records_back_from(seq, |of, bytes| {
            found = (of == seq).then(|| checksum_of(bytes));
            false
        })?;
        Ok(found)
    }

    /// The number of the first record.
    pub(crate) fn first(&self) -> Result<Option<u64>, FileError> {
        let first = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            Ok(table.first()?.map(|(seq, _)| seq.value()))
        })?;
        Ok(first.or_else(|| self.wal.pending().first().map(|of| of.position.seq)))
    }

    /// The number of the last record; 0 if there is none.
    pub(crate) fn end(&self) -> u64 {
        let last = self.wal.pending().last();
        last.map_or(self.checkpointed.seq, |last| last.position.seq)
    }
}

/// The checksum of an encoded record: its last four bytes.
fn checksum_of(bytes: &[u8]) -> u32 {
    let crc = bytes.last_chunk().copied();
    crc.map_or(0, u32::from_le_bytes)
}

fn has_tables(db: &Database) -> Result<bool, redb::Error> {
    let transaction = db.begin_read()?;
    let exists = |opened: Result<(), TableError>| match opened {
        Ok(()) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error),
    };
    Ok(exists(transaction.open_table(RECORDS).map(drop))?
        && exists(transaction.open_table(META).map(drop))?)
}

/// Removes up to `count_max` records up to number `upto`, but never the last record of the table. Returns whether there are
/// more to remove.
fn remove_records(
    table: &mut Table<'_, u64, &'static [u8]>,
    upto: u64,
    count_max: u64,
) -> Result<bool, redb::Error> {
    let first = table.first()?.map_or(0, |(seq, _)| seq.value());
    let last = table.last()?.map_or(0, |(seq, _)| seq.value());
    let upto = upto.min(last.saturating_sub(1));
    let end = upto.min(first.saturating_add(count_max - 1));
    // This removes whole pages. Removing records one by one takes longer than adding as many.
    table.retain_in(..=end, |_, _| false)?;
    Ok(end < upto)
}

type Row<'a> = (AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>);

/// Passes rows to `each` until it returns false. Returns whether it never did.
fn for_each_row<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, StorageError>>,
    mut each: impl FnMut(u64, &[u8]) -> bool,
) -> Result<bool, redb::Error> {
    for row in rows {
        let (seq, bytes) = row?;
        if !each(seq.value(), bytes.value()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::local::sim_disk::SimDisk;
    use crate::journal::stored::LogRecord;

    fn record(seq: u64, previous: Position) -> EncodedRecord {
        let record = LogRecord {
            format: FORMAT,
            epoch: 1,
            seq,
            revision: 7,
            time: 1,
            previous_crc: previous.crc,
            effects: Vec::new(),
            ..LogRecord::default()
        };
        EncodedRecord::of(&record, previous)
    }

    #[test]
    fn pruning_removes_few_records_at_a_time_and_never_the_last() {
        let disk = SimDisk::new(1);
        // The write-ahead log has room for two records: every third append makes a checkpoint.
        let mut log = Log::open(&disk, 3 << 12).unwrap();
        let mut last = START;
        let mut append = |log: &mut Log| {
            let record = record(last.seq + 1, last);
            last = record.position;
            log.append(&record, SyncWhen::Now).unwrap();
        };
        let count = 3 * PRUNE_RECORDS_MAX;
        (0..count).for_each(|_| append(&mut log));
        log.prune(u64::MAX).unwrap();
        let mut times = 0;
        while log.has_to_prune() {
            log.checkpoint().unwrap();
            times += 1;
        }
        assert_eq!(times, 3);
        assert_eq!((log.first().unwrap(), log.end()), (Some(count), count));
        log.prune(u64::MAX).unwrap();
        assert!(!log.has_to_prune());
        // A record that is appended later is read after the last one, and no record is read twice.
        append(&mut log);
        drop(log);
        let log = Log::open(&disk, 3 << 12).unwrap();
        let mut seen = Vec::new();
        log.records_after(0, |seq, _| {
            seen.push(seq);
            true
        })
        .unwrap();
        assert_eq!(seen, [count, count + 1]);
        log.records_back_from(count + 1, |seq, _| {
            seen.push(seq);
            seq > count + 1
        })
        .unwrap();
        assert_eq!(seen, [count, count + 1, count + 1]);
        assert_eq!(log.file_of(count), "log.redb");
        assert_eq!(log.file_of(count + 1), "tail");
    }
}

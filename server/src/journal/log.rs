//! The log: one record a commit, in order, each with the checksum of the one before. The newest are in the
//! [tail](super::wal), those before them in the engine's table; who reads the log sees one after the other.

use prost::Message as _;
use redb::{
    AccessGuard, Database, ReadableDatabase as _, ReadableTable as _, StorageError, Table,
    TableDefinition, TableError,
};

use super::disk::Disk;
use super::engine::{guarded, open};
use super::error::FileError;
use super::file_name::FileName;
use super::record::{EncodedRecord, seal, unseal};
use super::stored::{Damaged, FORMAT, StoreMeta, unknown_format};
use super::wal::{Appended, Wal, WalDamage};

/// By sequence number: the record, encoded, and its checksum.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// One line: what is known of the store as a whole, encoded, and its checksum.
const META: TableDefinition<'_, (), &[u8]> = TableDefinition::new("meta");

/// Most records that are taken away in one transaction, so that it takes hardly longer for it. Or twice as many as it
/// adds: so the log gets shorter under any load.
const PRUNE_RECORDS_MAX: u64 = 256;

/// Whether a record is on disk when it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncWhen {
    Now,
    /// With the next one that is.
    Later,
}

/// The log, open.
#[derive(Debug)]
pub(crate) struct Log {
    db: Database,
    wal: Wal,
    /// The last record that the engine has: what the tail follows. It is never taken away.
    checkpointed: u64,
    /// Records up to this one are no more needed.
    prune_upto: Option<u64>,
}

impl Log {
    /// Opens the log and checks that it is whole, as far as the engine can tell. At most `tail_bytes` of it are kept in
    /// front of the engine.
    pub(crate) fn open(disk: &dyn Disk, wal_bytes_max: u64) -> Result<Self, FileError> {
        let db = open(disk, FileName::Log)?;
        let checkpointed = guarded(FileName::Log, || {
            if !has_tables(&db)? {
                let mut transaction = db.begin_write()?;
                transaction.set_two_phase_commit(true);
                transaction.open_table(RECORDS)?;
                transaction.open_table(META)?;
                transaction.commit()?;
            }
            let table = db.begin_read()?.open_table(RECORDS)?;
            Ok(table.last()?.map_or(0, |(seq, _)| seq.value()))
        })?;
        Ok(Self {
            wal: Wal::open(disk, wal_bytes_max, checkpointed)?,
            db,
            checkpointed,
            prune_upto: None,
        })
    }

    /// Adds a record.
    pub(crate) fn append(
        &mut self,
        record: &EncodedRecord,
        sync: SyncWhen,
    ) -> Result<(), FileError> {
        debug_assert!(record.position.seq > self.end());
        match (self.wal.append(record)?, sync) {
            (Appended::NoRoom, _) => self.checkpoint_with(Some(record), None),
            (Appended::Written, SyncWhen::Now) => self.wal.sync(),
            (Appended::Written, SyncWhen::Later) => Ok(()),
        }
    }

    /// Waits until everything that was appended is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        self.wal.sync()
    }

    /// Whether everything that was appended is on disk.
    pub(crate) fn is_synced(&self) -> bool {
        !self.wal.is_unsynced()
    }

    /// Notes what is known of the store, with everything that was appended before.
    pub(crate) fn set_meta(&mut self, meta: &StoreMeta) -> Result<(), FileError> {
        self.checkpoint_with(None, Some(meta))
    }

    /// Moves everything to the engine, and takes away some of what is no more needed.
    pub(crate) fn checkpoint(&mut self) -> Result<(), FileError> {
        self.checkpoint_with(None, None)
    }

    /// Empties the tail of all that is left in it, so that it is never taken for records.
    pub(crate) fn discard_wal(&mut self) -> Result<(), FileError> {
        self.checkpoint()?;
        self.wal.truncate()
    }

    /// Records up to `seq` are no more needed. They are taken away little by little, by what the engine has to do anyway.
    pub(crate) fn prune(&mut self, seq: u64) -> Result<(), FileError> {
        let first = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            Ok(table.first()?.map(|(seq, _)| seq.value()))
        })?;
        let seq = seq.min(self.checkpointed.saturating_sub(1));
        self.prune_upto = first.is_some_and(|first| first <= seq).then_some(seq);
        Ok(())
    }

    /// Whether there is something to take away.
    pub(crate) fn has_to_prune(&self) -> bool {
        self.prune_upto.is_some()
    }

    /// Has the engine take over what is in the tail, and whatever else comes: whole or not at all, and on disk.
    fn checkpoint_with(
        &mut self,
        record: Option<&EncodedRecord>,
        meta: Option<&StoreMeta>,
    ) -> Result<(), FileError> {
        let records = self.wal.pending().iter().chain(record);
        let checkpointed = records.clone().last().map(|last| last.position.seq);
        let prune = self.prune_upto;
        let work = || -> Result<bool, redb::Error> {
            let mut transaction = self.db.begin_write()?;
            // Two phases: the engine need not guess after a crash which commit was the last whole one.
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
                    more = remove_records(&mut table, upto, PRUNE_RECORDS_MAX.max(2 * added))?;
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
        self.wal.restart();
        Ok(())
    }

    /// What is known of the store; none if it is new.
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

    /// What is wrong with the tail. The records before that are read as if there were no more.
    pub(super) fn damage(&self) -> Option<&WalDamage> {
        self.wal.damage()
    }

    /// In which file a record is, if it is in any.
    pub(crate) fn file_of(&self, seq: u64) -> &'static str {
        match seq <= self.checkpointed {
            true => FileName::Log.as_str(),
            false => FileName::Wal.as_str(),
        }
    }

    /// The records after `seq`, in order, until `each` returns false.
    pub(crate) fn records_after(
        &self,
        seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        let goes_on = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            show_each(table.range(seq + 1..)?, &mut each)
        })?;
        let mut pending = self.wal.pending().iter();
        if goes_on {
            pending.all(|of| of.position.seq <= seq || each(of.position.seq, &of.bytes));
        }
        Ok(())
    }

    /// The records up to `seq`, the last first, until `each` returns false.
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
            show_each(table.range(..=seq)?.rev(), each).map(|_| ())
        })
    }

    /// The first record.
    pub(crate) fn first(&self) -> Result<Option<u64>, FileError> {
        let first = guarded(FileName::Log, || {
            let table = self.db.begin_read()?.open_table(RECORDS)?;
            Ok(table.first()?.map(|(seq, _)| seq.value()))
        })?;
        Ok(first.or_else(|| self.wal.pending().first().map(|of| of.position.seq)))
    }

    /// The last record, 0 if there is none.
    pub(crate) fn end(&self) -> u64 {
        let last = self.wal.pending().last();
        last.map_or(self.checkpointed, |last| last.position.seq)
    }
}

fn has_tables(db: &Database) -> Result<bool, redb::Error> {
    let transaction = db.begin_read()?;
    let is_there = |opened: Result<(), TableError>| match opened {
        Ok(()) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error),
    };
    Ok(is_there(transaction.open_table(RECORDS).map(drop))?
        && is_there(transaction.open_table(META).map(drop))?)
}

/// Takes away records up to `upto`, but never the last of all. Returns whether there are more.
fn remove_records(
    table: &mut Table<'_, u64, &'static [u8]>,
    upto: u64,
    count_max: u64,
) -> Result<bool, redb::Error> {
    let first = table.first()?.map_or(0, |(seq, _)| seq.value());
    let last = table.last()?.map_or(0, |(seq, _)| seq.value());
    let upto = upto.min(last.saturating_sub(1));
    let end = upto.min(first.saturating_add(count_max - 1));
    // Page by page: one by one takes longer than adding as many.
    table.retain_in(..=end, |_, _| false)?;
    Ok(end < upto)
}

type Row<'a> = (AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>);

/// Shows rows until `each` returns false. Returns whether it never did.
fn show_each<'a>(
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
    use crate::journal::record::{Position, START};
    use crate::journal::sim_disk::SimDisk;
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
        };
        EncodedRecord::of(&record, previous)
    }

    #[test]
    fn it_is_shortened_little_by_little_and_never_to_nothing() {
        let disk = SimDisk::new(1);
        // A record a page, and a move to the engine with every third.
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
        // What comes later is found behind it, and nothing twice.
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

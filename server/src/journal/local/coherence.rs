//! Checks that the files of a directory belong together: that they are of one store, and of one time.
//!
//! Each file names its directory. Each also names a record: `log.redb` ends with one, `tail` continues one, a snapshot is of
//! one, and the watermark names one. A file that was brought back from another time contradicts the others. Then acknowledged
//! records may be missing, so a contradiction is a loss, and its message names both files.
//!
//! If all files are of the same earlier time, nothing contradicts: a directory that was brought back as a whole is a store
//! like any other.

use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::snapshot;
use super::watermark::Named;
use crate::config::Durability;
use crate::journal::stored::{Header, StoreMeta};

/// The contradiction if the write-ahead log is of another store than `log.redb`. Its records must not be replayed.
pub(super) fn wal_of_other_store(log: &Log, meta: &StoreMeta) -> Option<String> {
    other_store(FileName::Wal, log.wal_found().directory?, meta.directory()?)
}

fn other_store(name: FileName, found: DirectoryId, expected: DirectoryId) -> Option<String> {
    (found != expected).then(|| {
        format!(
            "{} is of another store than log.redb: one has the number {found}, the other {expected}",
            name.as_str()
        )
    })
}

/// The first contradiction between the files, if there is any.
pub(super) fn check(
    disk: &dyn Disk,
    log: &Log,
    meta: &StoreMeta,
    named: Named,
) -> Result<Option<String>, FileError> {
    if let Some(what) = check_watermark(log, meta, named).or_else(|| check_wal(log, meta)) {
        return Ok(Some(what));
    }
    for slot in [SnapshotSlot::A, SnapshotSlot::B] {
        if let Some(header) = snapshot::read_header(disk, slot)?
            && let Some(what) = check_snapshot(log, meta, slot, &header)?
        {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

fn check_watermark(log: &Log, meta: &StoreMeta, named: Named) -> Option<String> {
    let unknown =
        "so nothing tells whether log.redb and tail have all records that were acknowledged";
    match named {
        // A server writes the watermark before it handles the first call. It may have been killed before.
        Named::Nothing if log.end() == 0 && meta.epoch <= 1 => None,
        Named::Nothing => Some(format!("watermark is missing or empty, {unknown}")),
        Named::Damaged => Some(format!("watermark is damaged, {unknown}")),
        // A server of this version was killed at its first start, before it replaced the watermark of the first servers.
        Named::Record {
            directory: None, ..
        } => None,
        Named::Record {
            directory: Some(found),
            epoch,
            ..
        } => match meta.directory() {
            Some(expected) => other_store(FileName::Watermark, found, expected)
                .or_else(|| check_epoch(epoch?, meta)),
            None => Some(
                "log.redb is older than watermark: only a later version of the server wrote watermark".into(),
            ),
        },
    }
}

/// A start writes the watermark first, then log.redb.
fn check_epoch(epoch: u64, meta: &StoreMeta) -> Option<String> {
    (epoch < meta.epoch).then(|| {
        format!(
            "watermark is of start {epoch} of the server, but log.redb of start {}: watermark is older than log.redb, and tail may be, too",
            meta.epoch
        )
    })
}

fn check_wal(log: &Log, meta: &StoreMeta) -> Option<String> {
    let (found, last) = (log.wal_found(), log.checkpointed());
    let end = log.end();
    if meta.closed && end > last.seq {
        return Some(format!(
            "log.redb was closed in order after record {}, but tail has record {end}: log.redb is older than tail",
            last.seq
        ));
    }
    let Some(base) = found.base else {
        // A damaged file is reported as such. The first servers wrote no base, and closing a store makes a checkpoint.
        let needed = meta.directory().is_some() && !meta.closed && log.damage().is_none();
        return needed.then(|| {
            "tail is missing or empty, or older than log.redb: it may have had records that log.redb has not".into()
        });
    };
    if base.seq > last.seq {
        return Some(format!(
            "log.redb ends at record {}, but tail continues record {}: log.redb is older than tail",
            last.seq, base.seq
        ));
    }
    if base.seq == last.seq && base.crc != last.crc {
        return Some(format!(
            "tail continues another record {} than log.redb has: they are of different pasts",
            base.seq
        ));
    }
    // After a checkpoint, until the next record, the file still has the records that the checkpoint moved: all of them, or all but
    // the last, for which it had no room.
    let wal_end = found.last.unwrap_or(0).max(base.seq);
    (wal_end + 1 < last.seq && !meta.closed).then(|| {
        format!(
            "tail ends at record {wal_end}, but log.redb at record {}: tail is older than log.redb",
            last.seq
        )
    })
}

fn check_snapshot(
    log: &Log,
    meta: &StoreMeta,
    slot: SnapshotSlot,
    header: &Header,
) -> Result<Option<String>, FileError> {
    let name = FileName::Snapshot(slot).as_str();
    let (seq, end) = (header.seq, log.end());
    let of_slot = |of: &&crate::journal::stored::SnapshotMeta| of.slot == slot.number();
    let named = meta.snapshots.iter().find(of_slot).map(|of| of.seq);
    let expected = match (header.directory(), meta.directory()) {
        (Some(found), Some(expected)) => {
            if let Some(what) = other_store(FileName::Snapshot(slot), found, expected) {
                return Ok(Some(what));
            }
            true
        }
        (Some(_), None) => {
            return Ok(Some(format!(
                "log.redb is older than {name}: only a later version of the server wrote {name}"
            )));
        }
        // The first servers made snapshots of records that were not durable yet.
        (None, Some(_)) => named == Some(seq),
        (None, None) => meta.durability == Durability::Sync.to_string(),
    };
    if !expected {
        return Ok(None);
    }
    if seq > end {
        return Ok(Some(format!(
            "{name} is of record {seq}, but log.redb and tail end at record {end}: they are older than {name}"
        )));
    }
    if header.directory().is_none() {
        return Ok(None);
    }
    // A later one than named is a snapshot that was not complete, or not noted, when the server ended.
    if let Some(named) = named.filter(|named| *named > seq) {
        return Ok(Some(format!(
            "{name} is of record {seq}, but log.redb names one of record {named}: {name} is older than log.redb"
        )));
    }
    let other = log.checksum(seq)?.filter(|crc| *crc != header.record_crc);
    Ok(other.map(|_| {
        format!("{name} is of another record {seq} than log.redb and tail have: they are of different pasts")
    }))
}

/// The newest record of which a file tells, whatever the other files tell; `None` if it tells nothing.
#[cfg(test)]
pub(crate) fn newest_record(disk: &super::sim_disk::SimDisk, name: FileName) -> Option<u64> {
    use super::wal::Wal;
    use crate::journal::record::START;
    let alone = super::sim_disk::SimDisk::new(1);
    alone.tamper(name, |bytes| *bytes = disk.bytes(name));
    if alone.len(name) == 0 {
        return None;
    }
    match name {
        FileName::Log => Some(Log::open(&alone, 0).unwrap().end()),
        FileName::Wal => {
            let wal = Wal::open(&alone, 0, START).unwrap();
            let found = wal.found();
            found.base.map(|base| base.seq.max(found.last.unwrap_or(0)))
        }
        FileName::Snapshot(slot) => {
            let header = snapshot::read_header(&alone, slot).unwrap();
            header.map(|header| header.seq)
        }
        FileName::Watermark => match super::watermark::Watermark::read(&alone).unwrap() {
            Named::Record { seq, .. } => Some(seq),
            Named::Nothing | Named::Damaged => None,
        },
    }
}

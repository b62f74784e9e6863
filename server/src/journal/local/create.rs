//! Creates a store with a given state.

use super::directory_id::DirectoryId;
use super::disk::{self, Disk};
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::snapshot::{self, SnapshotWriter};
use super::watermark::{Named, Watermark};
use crate::config::{Durability, WAL_BYTES_MAX};
use crate::journal::error::OpenError;
use crate::journal::pages::{begin, write_all};
use crate::journal::record::START;
use crate::journal::stored::{self, FORMAT, Header, SnapshotMeta, StoreMeta};
use crate::machine::{StateMachine, Time};
use crate::progress::Progress;

/// Largest length in bytes of `log.redb` before its meta record. It is the last of the files that make a store.
const UNFINISHED_LOG_BYTES_MAX: u64 = 1 << 20;

/// Whether a disk has no more than the copy with which a store begins: its creation was interrupted, or all other files are
/// lost. The disk has no meta record then: that is for the caller to know.
pub(super) fn is_unfinished(disk: &dyn Disk) -> Result<bool, FileError> {
    let copy = FileName::Snapshot(SnapshotSlot::A);
    Ok(disk::len(disk, copy)? > 0 && has_beginning_only(disk)?)
}

/// Whether a disk has no more than what the creation of a store begins with: a part of a copy, or of a log without records.
fn has_beginning_only(disk: &dyn Disk) -> Result<bool, FileError> {
    let [a, b] = [SnapshotSlot::A, SnapshotSlot::B].map(FileName::Snapshot);
    Ok(Watermark::read(disk)? == Named::Nothing
        && disk::len(disk, FileName::Log)? <= UNFINISHED_LOG_BYTES_MAX
        && disk::len(disk, FileName::Wal)? <= 4 << 10
        && disk::len(disk, b)? == 0
        // An incomplete file may have no header yet.
        && (disk::len(disk, a)? == 0
            || snapshot::read_header(disk, SnapshotSlot::A)?.is_none_or(|header| header.seq == 0)))
}

/// Whether a disk has no store. Empties the files of a store whose creation was interrupted.
pub(crate) fn make_room(disk: &dyn Disk) -> Result<bool, FileError> {
    let mut in_use = false;
    for name in FileName::ALL {
        in_use |= disk::len(disk, name)? > 0;
    }
    if !in_use {
        return Ok(true);
    }
    let has_meta = || match Log::open(disk, WAL_BYTES_MAX).and_then(|log| log.meta()) {
        Ok(meta) => Ok(meta.is_some()),
        Err(FileError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    if !has_beginning_only(disk)? || has_meta()? {
        return Ok(false);
    }
    // The snapshot last: without it, the others would look like a new store.
    for name in [
        FileName::Log,
        FileName::Wal,
        FileName::Snapshot(SnapshotSlot::A),
    ] {
        let emptied = disk.open(name).and_then(|file| {
            file.set_len(0)?;
            file.sync_data()
        });
        emptied.map_err(|error| FileError::io(name, error))?;
    }
    Ok(true)
}

/// Creates a store on a disk without one: a snapshot of the state, an empty log, and the watermark last. The
/// directory gets a new number. The snapshot is a step of `progress`.
pub(crate) fn create(
    disk: &dyn Disk,
    machine: &mut StateMachine,
    time: Time,
    store_id: &str,
    progress: &Progress,
) -> Result<(), OpenError> {
    let directory = DirectoryId::random();
    let mut writer = SnapshotWriter::create(disk, SnapshotSlot::A)?;
    let revision = machine.revision();
    let header = Header {
        directory_id: directory.as_bytes().to_vec().into(),
        ..Header::of(store_id, revision, time)
    };
    begin(progress, "writing snapshot-a.redb", machine);
    let digest = write_all(machine, header, progress, |page| writer.write(vec![page]))?;
    writer.finish()?;
    let meta = StoreMeta {
        format: FORMAT,
        store_id: store_id.into(),
        epoch: 0,
        closed: true,
        used_revision: revision,
        time: stored::to_nanos(time),
        snapshots: vec![SnapshotMeta {
            slot: SnapshotSlot::A.number(),
            seq: START.seq,
            revision,
            digest,
        }],
        durability: Durability::Sync.to_string(),
        directory_id: directory.as_bytes().to_vec().into(),
        began_with_copy: true,
    };
    let mut log = Log::open(disk, WAL_BYTES_MAX)?;
    log.begin_wal(directory)?;
    log.set_meta(&meta)?;
    Watermark::open(disk, directory, meta.epoch)?.set_durably(START.seq)?;
    Ok(())
}

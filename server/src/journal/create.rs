//! Creates a store with a given state.

use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::error::OpenError;
use super::file_name::SnapshotSlot;
use super::log::Log;
use super::pages::write_all;
use super::record::START;
use super::snapshot::SnapshotWriter;
use super::stored::{self, FORMAT, Header, SnapshotMeta, StoreMeta};
use super::watermark::Watermark;
use crate::config::{Durability, WAL_BYTES_MAX};
use crate::machine::{StateMachine, Time};

/// Creates a store on a disk without one: a snapshot of the state, an empty log, and the watermark last. The
/// directory gets a new number.
pub(crate) fn create(
    disk: &dyn Disk,
    machine: &mut StateMachine,
    time: Time,
    store_id: &str,
) -> Result<(), OpenError> {
    let directory = DirectoryId::random();
    let mut writer = SnapshotWriter::create(disk, SnapshotSlot::A)?;
    let revision = machine.revision();
    let header = Header {
        directory_id: directory.as_bytes().to_vec().into(),
        ..Header::of(store_id, revision, time)
    };
    let digest = write_all(machine, header, |page| writer.write(vec![page]))?;
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
    let watermark = Watermark::open(disk, directory)?;
    watermark.set(START.seq);
    watermark.sync()?;
    Ok(())
}

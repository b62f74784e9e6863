//! Creates a store with a given state.

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

/// Creates a store on a disk without one: a snapshot of the state, an empty log, and the watermark last. Until the watermark
/// is written, no server takes the disk for a complete store.
pub(super) fn create(
    disk: &dyn Disk,
    machine: &mut StateMachine,
    time: Time,
    store_id: &str,
) -> Result<(), OpenError> {
    let mut writer = SnapshotWriter::create(disk, SnapshotSlot::A)?;
    let revision = machine.revision();
    let header = Header::of(store_id, revision, time);
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
    };
    let mut log = Log::open(disk, WAL_BYTES_MAX)?;
    log.set_meta(&meta)?;
    let watermark = Watermark::open(disk)?;
    watermark.set(START.seq);
    watermark.sync()?;
    Ok(())
}

//! Makes a store of a state.

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

/// Makes a store on an empty disk, of a state.
pub(super) fn create(
    disk: &dyn Disk,
    machine: &mut StateMachine,
    time: Time,
    store_id: &str,
) -> Result<(), OpenError> {
    let mut writer = SnapshotWriter::create(disk, SnapshotSlot::A)?;
    let revision = machine.revision();
    let head = Header::of(store_id, revision, time);
    let digest = write_all(machine, head, |page| writer.pages(vec![page]))?;
    writer.end()?;
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

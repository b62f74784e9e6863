//! Opens a store: reads what is on disk, and starts the thread that goes on writing there.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::create::create;
use super::directory::{Directory, IfMissing};
use super::disk::Disk;
use super::error::{FileError, OpenError};
use super::file_name::FileName;
use super::interface::Journal;
use super::persister::OpenStore;
use super::recover::{Recovered, recover};
use super::stored::{self, FORMAT, StoreMeta};
use crate::config::{Durability, REVISIONS_SKIPPED, REVISIONS_SKIPPED_UNSYNCED};
use crate::machine::{Revision, StateMachine, StoreLimits, Time};
use crate::mutants::mutant;

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    pub(crate) limits: StoreLimits,
    pub(crate) durability: Durability,
    /// Go on without what is lost, if what is left ends at this revision.
    pub(crate) accept_data_loss: Option<Revision>,
    /// The present time.
    pub(crate) now: Time,
    /// For a store that is new, or whose history cannot go on.
    pub(crate) new_store_id: String,
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) min_free_bytes: u64,
    /// What the log's tail may have.
    pub(crate) wal_bytes_max: u64,
}

/// A store, ready to go on.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    pub(crate) machine: StateMachine,
    pub(crate) store_id: String,
    /// The time to go on from: never before what was.
    pub(crate) time: Time,
    pub(crate) epoch: u64,
    pub(crate) journal: Journal,
    pub(crate) persister: std::thread::JoinHandle<()>,
}

/// Opens the store in a directory, which is made if there is none.
///
/// # Errors
/// [`OpenError`] if it cannot be used, or something is lost.
pub(crate) fn open_directory(path: &Path, options: StoreOptions) -> Result<OpenedStore, OpenError> {
    let directory = Directory::acquire(path, IfMissing::Create)?;
    open(Arc::new(directory), options)
}

/// Opens a store, or makes a new one.
///
/// # Errors
/// [`OpenError`] if something is missing that may have been acknowledged, or the disk cannot be used.
pub(crate) fn open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<OpenedStore, OpenError> {
    let began = Instant::now();
    let mut recovered = recover(&*disk, &options.limits, options.wal_bytes_max)?;
    if let Some(what) = recovered.loss.take() {
        accept_loss(&*disk, recovered, what, &options)?;
        let accept_data_loss = None;
        return open(
            disk,
            StoreOptions {
                accept_data_loss,
                ..options
            },
        );
    }
    if options.accept_data_loss.is_some() {
        warn!("nothing is lost: --accept-data-loss has nothing to do");
    }
    if let Some(what) = &recovered.harmless_damage {
        warn!(%what, "damaged, but nothing is missed: everything it had is there without it");
    }
    resume(disk, recovered, options, began)
}

/// Makes a store of what is left, in the place of the one that has lost something.
///
/// # Errors
/// [`OpenError::Lost`] if that was not accepted; others if the disk cannot be used.
fn accept_loss(
    disk: &dyn Disk,
    recovered: Recovered,
    what: String,
    options: &StoreOptions,
) -> Result<(), OpenError> {
    let revision = recovered.machine.revision();
    if options.accept_data_loss != Some(revision) {
        return Err(OpenError::DataLoss {
            what,
            revision,
            accepted: options.accept_data_loss,
        });
    }
    warn!(%what, revision, "going on without what is lost, as told");
    let time = recovered.time.max(options.now);
    let used = recovered.meta.map_or(0, |meta| meta.used_revision);
    drop((recovered.log, recovered.watermark));
    // But for the watermark, which is written last: until then, nobody takes this for a store that is new.
    for name in FileName::ALL
        .into_iter()
        .filter(|name| *name != FileName::Watermark)
    {
        disk.set_aside(name)
            .map_err(|error| FileError::io(name, error))?;
    }
    let mut machine = recovered.machine;
    machine.restore_revision_floor(revision.max(used) + REVISIONS_SKIPPED_UNSYNCED);
    create(disk, &mut machine, time, &options.new_store_id)
}

/// Begins the next epoch of a store that lacks nothing.
fn resume(
    disk: Arc<dyn Disk>,
    recovered: Recovered,
    options: StoreOptions,
    began: Instant,
) -> Result<OpenedStore, OpenError> {
    let mut log = recovered.log.expect("without a log there is a loss");
    if log.damage().is_some() && !mutant("wal-keeps-leftovers") {
        // Before anything is noted: what is left in it is only so long known not to be missed.
        log.discard_wal()?;
    }
    let mut machine = recovered.machine;
    let revision = machine.revision();
    let time = recovered.time.max(options.now);
    let meta = StoreMeta {
        epoch: recovered.meta.as_ref().map_or(0, |meta| meta.epoch) + 1,
        closed: false,
        time: stored::to_nanos(time),
        durability: options.durability.to_string(),
        ..next_meta(recovered.meta, revision, options.new_store_id)
    };
    log.set_meta(&meta)?;
    recovered.watermark.set(recovered.position.seq);
    recovered.watermark.sync()?;
    machine.resume(time, meta.used_revision);

    let usage = machine.usage();
    info!(
        keys = usage.key_count,
        revision = usage.revision,
        records = recovered.record_count,
        epoch = meta.epoch,
        store_id = meta.store_id,
        ended = if meta.epoch == 1 { "never before" } else if meta.used_revision == revision { "in order" } else { "abruptly" },
        took = ?began.elapsed(),
        "opened {}", disk.name()
    );
    let (store_id, epoch) = (meta.store_id.clone(), meta.epoch);
    let (journal, persister) = OpenStore {
        disk,
        log,
        wal_bytes_max: options.wal_bytes_max,
        watermark: recovered.watermark,
        meta,
        position: recovered.position,
        log_bytes: match recovered.harmless_damage {
            // A snapshot is due at once, in the place of the one that is damaged.
            Some(_) => u64::MAX / 2,
            None => recovered.log_bytes,
        },
        durability: options.durability,
        min_free_bytes: options.min_free_bytes,
    }
    .start(options.snapshot_log_bytes);
    Ok(OpenedStore {
        machine,
        store_id,
        time,
        epoch,
        journal,
        persister,
    })
}

/// What is known of the store as it goes on: under which id, and which revisions are not given again.
fn next_meta(previous: Option<StoreMeta>, revision: Revision, new_store_id: String) -> StoreMeta {
    match previous {
        None => StoreMeta {
            format: FORMAT,
            store_id: new_store_id,
            ..StoreMeta::default()
        },
        Some(meta) if meta.closed => meta,
        // Answers may have told of more than was kept.
        Some(meta) if meta.durability != Durability::Sync.to_string() => StoreMeta {
            used_revision: revision.max(meta.used_revision) + REVISIONS_SKIPPED_UNSYNCED,
            store_id: match mutant("same-history") {
                true => meta.store_id.clone(),
                false => new_store_id,
            },
            ..meta
        },
        Some(meta) if mutant("revisions-again") => StoreMeta {
            used_revision: 0,
            ..meta
        },
        // What was not acknowledged may have been seen as an outcome that is unknown.
        Some(meta) => StoreMeta {
            used_revision: revision.max(meta.used_revision) + REVISIONS_SKIPPED,
            ..meta
        },
    }
}

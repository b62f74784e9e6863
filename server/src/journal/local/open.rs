//! Opens a store: recovers its state from disk, and starts the persister.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::create::create;
use super::directory::{Directory, IfMissing};
use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::file_error::{FileError, is_full};
use super::file_name::FileName;
use super::log::Log;
use super::persister::OpenStore;
use super::recover::{Recovered, recover};
use super::snapshot;
use super::space::{SpaceWanted, give_up_reserve};
use super::watermark::Watermark;
use crate::config::{CLOCK_AHEAD_MIN, Durability, REVISIONS_SKIPPED, REVISIONS_SKIPPED_UNSYNCED};
use crate::journal::error::OpenError;
use crate::journal::interface::Journal;
use crate::journal::stored::{self, FORMAT, StoreMeta};
use crate::machine::{Revision, StateMachine, StoreLimits, Time};
use crate::metrics::JournalCells;
use crate::mutants::mutant;
use crate::progress::Progress;

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    pub(crate) limits: StoreLimits,
    pub(crate) durability: Durability,
    /// Accepts a loss of data if the remaining data ends at exactly this revision.
    pub(crate) accept_data_loss: Option<Revision>,
    /// What to do if there is no store: create one, or refuse.
    pub(crate) if_missing: IfMissing,
    /// Reads the system's clock. It is read after the recovery, which may take long.
    pub(crate) now: fn() -> Time,
    /// The store_id for a new store, and for one whose history may have lost answered changes.
    pub(crate) new_store_id: String,
    /// See [`Journal::snapshot_log_bytes`].
    pub(crate) snapshot_log_bytes: u64,
    /// Bytes that must be free on the disk for changes to be accepted.
    pub(crate) min_free_bytes: u64,
    /// Bytes that are kept in reserve for a full disk.
    pub(crate) reserve_bytes: u64,
    /// Largest length of the write-ahead log, in bytes.
    pub(crate) wal_bytes_max: u64,
    /// How far the recovery is.
    pub(crate) progress: Progress,
    /// Where the journal counts.
    pub(crate) cells: Arc<JournalCells>,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    pub(crate) machine: StateMachine,
    pub(crate) store_id: String,
    /// The time from which the owner's clock continues: never before a time in the store.
    pub(crate) time: Time,
    /// How often a server opened the store; 1 for a new one.
    pub(crate) epoch: u64,
    pub(crate) journal: Journal,
    pub(crate) persister: std::thread::JoinHandle<()>,
}

/// Opens the store in a directory. Creates the directory and the store if they are missing.
///
/// # Errors
/// [`OpenError`] if the directory cannot be used, or data is lost.
pub(crate) fn open_directory(path: &Path, options: StoreOptions) -> Result<OpenedStore, OpenError> {
    let directory = Directory::acquire(path, options.if_missing)?;
    let directory = directory.counting(Arc::clone(&options.cells));
    open(Arc::new(directory), options)
}

/// Opens the store on a disk, or creates one.
///
/// # Errors
/// [`OpenError`] if acknowledged data may be lost and that is not accepted, or the disk cannot be used.
pub(crate) fn open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<OpenedStore, OpenError> {
    loop {
        let opened = try_open(Arc::clone(&disk), options.clone());
        match opened {
            Err(OpenError::Io { what, error }) if is_full(&error) => {
                if give_up_reserve(&*disk) {
                    continue;
                }
                return Err(OpenError::DiskFull {
                    what,
                    path: disk.name().into(),
                    free: disk.free_bytes().unwrap_or(0),
                    needed: options.reserve_bytes,
                });
            }
            opened => return opened,
        }
    }
}

fn try_open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<OpenedStore, OpenError> {
    let began = Instant::now();
    let mut recovered = recover(
        &*disk,
        &options.limits,
        options.wal_bytes_max,
        &options.progress,
    )?;
    if let Some(what) = recovered.loss.take() {
        accept_loss(&*disk, recovered, what, &options)?;
        let accept_data_loss = None;
        return try_open(
            disk,
            StoreOptions {
                accept_data_loss,
                ..options
            },
        );
    }
    if recovered.meta.is_none() && options.if_missing == IfMissing::Refuse {
        return Err(OpenError::NoStore {
            path: disk.name().into(),
        });
    }
    if options.accept_data_loss.is_some() {
        warn!("no data is lost: ignoring --accept-data-loss");
    }
    if let Some(what) = &recovered.harmless_damage {
        warn!(%what, "found damage, but no data is lost: the same data is in other files");
    }
    resume(disk, recovered, options, began)
}

/// Sets the damaged files aside, and creates a store with the remaining data.
///
/// # Errors
/// [`OpenError::DataLoss`] if the options do not accept this loss; others if the disk cannot be used.
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
    warn!(%what, revision, "accepting a loss of data, as --accept-data-loss says");
    let time = recovered.time.max((options.now)());
    let used = recovered.meta.map_or(0, |meta| meta.used_revision);
    drop(recovered.log);
    // Keep the watermark until the new store is complete: after a crash, a disk without it would look like a new one.
    for name in FileName::ALL
        .into_iter()
        .filter(|name| *name != FileName::Watermark)
    {
        disk.set_aside(name)
            .map_err(|error| FileError::io(name, error))?;
    }
    let mut machine = recovered.machine;
    machine.restore_revision_floor(revision.max(used) + REVISIONS_SKIPPED_UNSYNCED);
    create(
        disk,
        &mut machine,
        time,
        &options.new_store_id,
        &options.progress,
    )
}

/// Begins the next epoch of a store that has lost no data.
fn resume(
    disk: Arc<dyn Disk>,
    recovered: Recovered,
    options: StoreOptions,
    began: Instant,
) -> Result<OpenedStore, OpenError> {
    let mut log = recovered.log.expect("a log, as there is no loss");
    let known = recovered.meta.as_ref().and_then(StoreMeta::directory);
    let directory = known.unwrap_or_else(DirectoryId::random);
    let damaged = log.damage().is_some() && !mutant("wal-keeps-leftovers");
    if damaged || !log.wal_is_of(directory) {
        // Do this before the meta record is written: only the present one tells that the damaged records are not needed.
        log.begin_wal(directory)?;
    }
    let mut machine = recovered.machine;
    let revision = machine.revision();
    let present = (options.now)();
    let time = recovered.time.max(present);
    warn_if_ahead(time.since(present));
    let meta = StoreMeta {
        epoch: recovered.meta.as_ref().map_or(0, |meta| meta.epoch) + 1,
        closed: false,
        time: stored::to_nanos(time),
        durability: options.durability.to_string(),
        directory_id: directory.as_bytes().to_vec().into(),
        began_with_copy: recovered.began_with_copy,
        ..next_meta(recovered.meta, revision, options.new_store_id)
    };
    let mut watermark = Watermark::open(&*disk, directory, meta.epoch)?;
    if known.is_some() {
        // Before the meta record, and only with a record that was named before, because later ones may not be durable yet. So a
        // watermark of an earlier start than the meta record's is one that was brought back.
        watermark.set_durably(recovered.watermark)?;
    }
    let meta_waits = !set_meta(&*disk, &mut log, &meta, options.wal_bytes_max)?;
    watermark.set_durably(recovered.position.seq)?;
    if recovered.harmless_damage.is_none() {
        snapshot::discard_unfinished(&*disk, &meta);
    }
    machine.resume(time, meta.used_revision);

    let usage = machine.usage();
    info!(
        keys = usage.key_count,
        revision = usage.revision,
        records = recovered.record_count,
        epoch = meta.epoch,
        store_id = meta.store_id,
        ended = if meta.epoch == 1 {
            "never before"
        } else if meta.used_revision == revision {
            "in order"
        } else {
            "abruptly"
        },
        took_ms = began.elapsed().as_millis() as u64,
        "opened {}",
        disk.name()
    );
    let (store_id, epoch) = (meta.store_id.clone(), meta.epoch);
    let (journal, persister) = OpenStore {
        disk,
        log,
        wal_bytes_max: options.wal_bytes_max,
        watermark,
        meta,
        position: recovered.position,
        log_bytes: match recovered.harmless_damage {
            // Make a snapshot due at once: it replaces a damaged one.
            Some(_) => u64::MAX / 2,
            None => recovered.log_bytes,
        },
        durability: options.durability,
        space: SpaceWanted {
            least: options.min_free_bytes,
            reserve: options.reserve_bytes,
        },
        meta_waits,
        cells: options.cells,
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

/// Writes the meta record. On a full disk, gives up the reserve for it. Returns false if that does not suffice: the persister
/// writes it when there is space, and nothing before it.
fn set_meta(
    disk: &dyn Disk,
    log: &mut Log,
    meta: &StoreMeta,
    wal_bytes_max: u64,
) -> Result<bool, FileError> {
    for _ in 0..2 {
        match log.set_meta(meta) {
            Ok(()) => return Ok(true),
            Err(error) if error.is_full() && meta.epoch > 1 => {}
            Err(error) => return Err(error),
        }
        let gave_up = give_up_reserve(disk);
        // After an error the engine accepts no more writes.
        *log = Log::open(disk, wal_bytes_max)?;
        if !gave_up {
            break;
        }
    }
    warn!("the disk is full: serving reads, and nothing can be changed until there is space");
    Ok(false)
}

/// Warns if the store's time is `ahead` of the system's clock. The store's time never goes back, and it passes as fast as
/// the system's, so what it is ahead stays until the server was stopped for as long.
fn warn_if_ahead(ahead: Duration) {
    if let Some(warning) = ahead_warning(ahead) {
        warn!(ahead_ms = ahead.as_millis() as u64, "{warning}");
    }
}

fn ahead_warning(ahead: Duration) -> Option<String> {
    let shown = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
    (ahead >= CLOCK_AHEAD_MIN).then(|| format!(
        "the store's time is ahead of the system's clock by {shown}: keys and sessions still live as long as their ttl says, but \
         every expire_time is that much ahead. If the system's clock is behind, set it and restart. If it was ahead at an \
         earlier start, stop the server for as long as the store's time is ahead, or live with it"
    ))
}

/// The meta record of the next epoch, with the store_id and the revisions that may not be assigned again.
fn next_meta(previous: Option<StoreMeta>, revision: Revision, new_store_id: String) -> StoreMeta {
    match previous {
        None => StoreMeta {
            format: FORMAT,
            store_id: new_store_id,
            ..StoreMeta::default()
        },
        Some(meta) if meta.closed => meta,
        // Changes that were answered may be lost, so this is another history.
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
        // Changes that were not answered may be lost. Their callers got OUTCOME_UNKNOWN, which can name a revision.
        Some(meta) => StoreMeta {
            used_revision: revision.max(meta.used_revision) + REVISIONS_SKIPPED,
            ..meta
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_ahead_of_the_clock_says_so_and_what_to_do() {
        assert_eq!(ahead_warning(Duration::ZERO), None);
        assert_eq!(
            ahead_warning(CLOCK_AHEAD_MIN - Duration::from_nanos(1)),
            None
        );
        let warning = ahead_warning(Duration::from_millis(7_200_300)).unwrap();
        for part in [
            "by 2h:",
            "expire_time",
            "set it and restart",
            "stop the server",
        ] {
            assert!(warning.contains(part), "{warning:?} lacks {part:?}");
        }
    }
}

//! Recovers the state from disk, or finds what is lost.
//!
//! Recovery checks everything: the engine's checksums, the checksums of the records and their chain, the digest of the
//! snapshot, the write-ahead log, and the watermark. Whatever contradicts is a loss. A server refuses to start after a loss,
//! unless its operator accepts it.

use tracing::info;

use super::coherence;
use super::create::is_unfinished;
use super::disk::{self, Disk};
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::replay::{Replay, ReplaySource, Replayed};
use super::snapshot;
use super::wal::WalDamage;
use super::watermark::{Named, Watermark};
use crate::config::Durability;
use crate::journal::error::OpenError;
use crate::journal::record::{Position, START};
use crate::journal::stored::{self, SnapshotMeta, StoreMeta};
use crate::machine::{StateMachine, StoreLimits, Time};
use crate::progress::Progress;

/// Largest length in bytes of `log.redb` before the first record.
const NEW_LOG_BYTES_MAX: u64 = 256 << 10;

/// Largest length in bytes of `tail` before the first record.
const NEW_WAL_BYTES_MAX: u64 = 4 << 10;

/// The data that could be recovered from a disk.
pub(super) struct Recovered {
    pub(super) machine: StateMachine,
    /// The latest time in the store.
    pub(super) time: Time,
    /// The last record.
    pub(super) position: Position,
    /// The meta record; `None` if the store is new, or its log cannot be read.
    pub(super) meta: Option<StoreMeta>,
    /// `None` if the log cannot be read.
    pub(super) log: Option<Log>,
    /// The record that the watermark names; 0 for none.
    pub(super) watermark: u64,
    /// Whether record 1 continues a copy, with which the store began.
    pub(super) began_with_copy: bool,
    /// Bytes of the records since the newest snapshot.
    pub(super) log_bytes: u64,
    /// The number of records that were replayed.
    pub(super) record_count: u64,
    /// What is lost, if anything.
    pub(super) loss: Option<String>,
    /// Damage that lost no data, because the same data is elsewhere.
    pub(super) harmless_damage: Option<String>,
    /// The file of a snapshot that was not finished when the server ended. Nothing needs it, and that is no damage.
    pub(super) unfinished_snapshot: Option<&'static str>,
}

/// Recovers the state from a disk, in steps of `progress`.
///
/// # Errors
/// If the disk cannot be used. Damage is not an error, but a [loss](Recovered::loss).
pub(super) fn recover(
    disk: &dyn Disk,
    limits: &StoreLimits,
    wal_bytes_max: u64,
    progress: &Progress,
) -> Result<Recovered, OpenError> {
    let named = Watermark::read(disk)?;
    match open_log(disk, named, wal_bytes_max, progress) {
        Ok((log, Some(meta))) => from_log(disk, limits, log, meta, named, progress),
        Ok((log, None)) if never_served(disk, named)? => Ok(new_store(limits, log)),
        Ok((_, None)) | Err(FileError::Damaged { .. }) if is_unfinished(disk)? => {
            Err(OpenError::Unfinished {
                path: disk.name().into(),
            })
        }
        Ok((_, None)) => {
            let what = "log.redb is empty, but the other files are not".into();
            without_log(disk, limits, what, progress)
        }
        Err(error @ FileError::Io { .. }) => Err(error.into()),
        Err(damaged) => without_log(disk, limits, damaged.to_string(), progress),
    }
}

/// Opens the log, and reads its meta record.
fn open_log(
    disk: &dyn Disk,
    named: Named,
    wal_bytes_max: u64,
    progress: &Progress,
) -> Result<(Log, Option<StoreMeta>), FileError> {
    let log = match Log::open_watched(disk, wal_bytes_max, progress) {
        Err(FileError::Damaged { .. }) if never_served(disk, named)? => {
            // A crash interrupted the creation of the file.
            let name = FileName::Log;
            disk.set_aside(name)
                .map_err(|error| FileError::io(name, error))?;
            Log::open(disk, wal_bytes_max)?
        }
        opened => opened?,
    };
    let meta = log.meta()?;
    Ok((log, meta))
}

/// Whether no server has ever accepted a call with this disk: a server syncs the watermark before the first call.
fn never_served(disk: &dyn Disk, named: Named) -> Result<bool, FileError> {
    if named != Named::Nothing {
        return Ok(false);
    }
    // A write-ahead log without a record is at most one page, its header.
    Ok(disk::len(disk, FileName::Log)? <= NEW_LOG_BYTES_MAX
        && disk::len(disk, FileName::Wal)? <= NEW_WAL_BYTES_MAX
        && disk::len(disk, FileName::Snapshot(SnapshotSlot::A))? == 0
        && disk::len(disk, FileName::Snapshot(SnapshotSlot::B))? == 0)
}

fn new_store(limits: &StoreLimits, log: Log) -> Recovered {
    Recovered {
        machine: StateMachine::new(limits.clone()),
        time: Time::MIN,
        position: START,
        meta: None,
        log: Some(log),
        watermark: 0,
        began_with_copy: false,
        log_bytes: 0,
        record_count: 0,
        loss: None,
        harmless_damage: None,
        unfinished_snapshot: None,
    }
}

/// Recovers the newest snapshot that can be read, where the log cannot be read.
fn without_log(
    disk: &dyn Disk,
    limits: &StoreLimits,
    what: String,
    progress: &Progress,
) -> Result<Recovered, OpenError> {
    let empty = || StateMachine::new(limits.clone());
    let mut recovered = Recovered {
        machine: empty(),
        time: Time::MIN,
        position: START,
        meta: None,
        log: None,
        watermark: 0,
        began_with_copy: false,
        log_bytes: 0,
        record_count: 0,
        loss: Some(what),
        harmless_damage: None,
        unfinished_snapshot: None,
    };
    for slot in [SnapshotSlot::A, SnapshotSlot::B] {
        match snapshot::read(disk, slot, empty(), progress) {
            Ok(restored) if restored.header.revision >= recovered.machine.revision() => {
                recovered.time = stored::from_nanos(restored.header.time);
                recovered.machine = restored.machine;
            }
            Ok(_) | Err(FileError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(recovered)
}

/// Recovers the state from the snapshots and the log.
fn from_log(
    disk: &dyn Disk,
    limits: &StoreLimits,
    mut log: Log,
    meta: StoreMeta,
    named: Named,
    progress: &Progress,
) -> Result<Recovered, OpenError> {
    let wal_of_other = coherence::wal_of_other_store(&log, &meta);
    if wal_of_other.is_some() {
        log.ignore_wal();
    }
    let (wal_loss, mut harmless_damage) = match assess_wal_damage(&log, &meta) {
        Assessment::Loss(what) => (Some(what), None),
        Assessment::Harmless(what) => (None, Some(what)),
        Assessment::Nothing => (None, None),
    };
    let mixed = match wal_of_other {
        None => coherence::check(disk, &log, &meta, named)?,
        mixed => mixed,
    };
    let unfinished = unfinished_snapshot(disk, &meta)?;
    let meta = StoreMeta {
        snapshots: without(unfinished, &meta.snapshots),
        ..meta
    };
    let source = ReplaySource {
        disk,
        limits,
        log: &log,
        meta: &meta,
        progress,
    };
    let Some((best, base)) = best_replay(
        &source,
        mixed.or(wal_loss).as_deref(),
        named,
        &mut harmless_damage,
    )?
    else {
        let what = harmless_damage.unwrap_or_else(|| {
            "log.redb has lost its first records, and there is no snapshot".into()
        });
        drop(log);
        return without_log(disk, limits, what, progress);
    };
    let began_with_copy = source.began_with_copy()?;
    let mut loss = best.loss;
    if loss.is_some() {
        let both = harmless_damage.take().into_iter().chain(loss);
        loss = both.reduce(|a, b| format!("{a}; {b}"));
    }
    // A snapshot newer than the base could not be read.
    let is_used = |snapshot: &SnapshotMeta| base.is_some_and(|base| snapshot.seq <= base.seq);
    let snapshots = meta.snapshots.iter().filter(|of| is_used(of)).cloned();
    Ok(Recovered {
        time: best.state.time.max(stored::from_nanos(meta.time)),
        position: best.state.position,
        meta: Some(StoreMeta {
            snapshots: snapshots.collect(),
            ..meta.clone()
        }),
        log: Some(log),
        watermark: match named {
            Named::Record { seq, .. } => seq,
            Named::Nothing | Named::Damaged => 0,
        },
        began_with_copy,
        log_bytes: best.state.log_bytes,
        record_count: best.state.record_count,
        machine: best.state.machine,
        loss,
        harmless_damage,
        unfinished_snapshot: unfinished.map(|slot| FileName::Snapshot(slot).as_str()),
    })
}

/// The file of a snapshot that was not finished when the server ended. A snapshot replaces the older one of two, so it is
/// never in the place of the newest.
fn unfinished_snapshot(
    disk: &dyn Disk,
    meta: &StoreMeta,
) -> Result<Option<SnapshotSlot>, FileError> {
    let slot = match meta.snapshots.last() {
        Some(newest) => SnapshotSlot::of_number(newest.slot).other(),
        None => SnapshotSlot::A,
    };
    let older = meta.snapshots.iter().find(|of| of.slot == slot.number());
    let is_unfinished = match older {
        Some(older) => snapshot::is_unfinished(disk, slot, older.seq)?,
        None => disk::len(disk, FileName::Snapshot(slot))? > 0,
    };
    Ok(is_unfinished.then_some(slot))
}

fn without(slot: Option<SnapshotSlot>, snapshots: &[SnapshotMeta]) -> Vec<SnapshotMeta> {
    let number = slot.map(SnapshotSlot::number);
    let others = snapshots.iter().filter(|of| Some(of.slot) != number);
    others.cloned().collect()
}

/// A replay and its base: a snapshot, or `None` for an empty state.
type ReplayFrom<'a> = (Box<Replayed>, Option<&'a SnapshotMeta>);

/// The first replay without a loss, or else the replay that came farthest. Notes the first snapshot that cannot be read in
/// `harmless_damage`.
fn best_replay<'a>(
    source: &ReplaySource<'a>,
    wal_loss: Option<&str>,
    named: Named,
    harmless_damage: &mut Option<String>,
) -> Result<Option<ReplayFrom<'a>>, OpenError> {
    let mut best: Option<ReplayFrom<'a>> = None;
    let mut stop_before = u64::MAX;
    for base in source.bases()? {
        let mut replayed = loop {
            match source.replay(base, stop_before)? {
                Replay::Unreadable(what) => {
                    harmless_damage.get_or_insert(what);
                    break None;
                }
                // The state has a part of the record's effects: replay again, without this record.
                Replay::Contradiction { seq } if seq < stop_before => stop_before = seq,
                Replay::Contradiction { .. } => unreachable!("a replay stops before it"),
                Replay::Done(replayed) => break Some(replayed),
            }
        };
        let Some(mut replayed) = replayed.take() else {
            continue;
        };
        let last = replayed.state.position.seq;
        replayed.loss = replayed
            .loss
            .or_else(|| wal_loss.map(Into::into))
            .or_else(|| behind_watermark(last, named));
        let whole = replayed.loss.is_none();
        let is_better = |(best, _): &ReplayFrom<'_>| best.state.position.seq < last;
        if whole || best.as_ref().is_none_or(is_better) {
            best = Some((replayed, base));
        }
        if whole {
            break;
        }
    }
    Ok(best)
}

/// The loss if the log ends before the watermark.
fn behind_watermark(last: u64, named: Named) -> Option<String> {
    let Named::Record { seq, .. } = named else {
        return None;
    };
    (seq > last).then(|| format!(
        "log.redb and tail end at record {last}, but watermark names record {seq}: the disk has gone back to an older state, or lost data that it had acknowledged"
    ))
}

/// What damage in the write-ahead log means.
enum Assessment {
    /// Acknowledged records are lost.
    Loss(String),
    /// The engine has all records.
    Harmless(String),
    /// There is no damage, or only records are lost that were never reported as durable.
    Nothing,
}

fn assess_wal_damage(log: &Log, meta: &StoreMeta) -> Assessment {
    match log.damage() {
        None => Assessment::Nothing,
        Some(WalDamage::Gap(what)) if meta.durability != Durability::Sync.to_string() => {
            info!(%what, "records are lost that were answered before they were durable");
            Assessment::Nothing
        }
        // Closing the store made a checkpoint.
        Some(WalDamage::Unreadable(what)) if meta.closed => Assessment::Harmless(what.clone()),
        Some(WalDamage::Gap(what) | WalDamage::Unreadable(what)) => Assessment::Loss(what.clone()),
    }
}

//! Makes the state again from what is on disk, or says why it cannot.
//!
//! Everything is checked: the engine's own checksums, those of our records and their chain, the snapshot's digest, the
//! tail, and the watermark. What does not fit is a loss, and nothing is served then unless somebody decides to go on without it.

use tracing::info;

use super::disk::{self, Disk};
use super::error::{FileError, OpenError};
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::record::{Position, START};
use super::replay::{Replay, ReplaySource, Replayed};
use super::snapshot;
use super::stored::{self, SnapshotMeta, StoreMeta};
use super::wal::WalDamage;
use super::watermark::Watermark;
use crate::config::Durability;
use crate::machine::{StateMachine, StoreLimits, Time};

/// No log is larger that has no record yet.
const NEW_LOG_BYTES_MAX: u64 = 256 << 10;

/// What is on a disk.
pub(super) struct Recovered {
    pub(super) machine: StateMachine,
    pub(super) time: Time,
    pub(super) position: Position,
    /// None in a store that is new, or whose log cannot be read.
    pub(super) meta: Option<StoreMeta>,
    pub(super) log: Option<Log>,
    pub(super) watermark: Watermark,
    /// Bytes of the records since the newest snapshot.
    pub(super) log_bytes: u64,
    /// Records that were done again.
    pub(super) record_count: u64,
    /// Why it is not everything.
    pub(super) loss: Option<String>,
    /// What is damaged and not missed: all of it was found elsewhere.
    pub(super) harmless_damage: Option<String>,
}

/// Reads what is on a disk.
///
/// # Errors
/// If the disk cannot be used. What is damaged is no error, but a [loss](Recovered::loss).
pub(super) fn recover(
    disk: &dyn Disk,
    limits: &StoreLimits,
    wal_bytes_max: u64,
) -> Result<Recovered, OpenError> {
    let watermark = Watermark::open(disk)?;
    let watermark_seq = watermark.get()?;
    match open_log(disk, &watermark, wal_bytes_max) {
        Ok((log, Some(meta))) => from_log(disk, limits, log, meta, watermark, watermark_seq),
        Ok((log, None)) if never_served(disk, &watermark)? => Ok(new_store(limits, log, watermark)),
        Ok((_, None)) => {
            let what = "log.redb is empty, and the other files are not".into();
            without_log(disk, limits, watermark, what)
        }
        Err(error @ FileError::Io { .. }) => Err(error.into()),
        Err(damaged) => without_log(disk, limits, watermark, damaged.to_string()),
    }
}

/// Opens the log, and reads what it says of the store as a whole.
fn open_log(
    disk: &dyn Disk,
    watermark: &Watermark,
    wal_bytes_max: u64,
) -> Result<(Log, Option<StoreMeta>), FileError> {
    let log = match Log::open(disk, wal_bytes_max) {
        Err(FileError::Damaged { .. }) if never_served(disk, watermark)? => {
            // It was torn while it was made.
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

/// Whether no server has ever used the disk: the watermark is synced before the first call is taken.
fn never_served(disk: &dyn Disk, watermark: &Watermark) -> Result<bool, FileError> {
    if !watermark.is_blank()? {
        return Ok(false);
    }
    // The tail gets its header with the first record.
    Ok(disk::len(disk, FileName::Log)? <= NEW_LOG_BYTES_MAX
        && disk::len(disk, FileName::Wal)? == 0
        && disk::len(disk, FileName::Snapshot(SnapshotSlot::A))? == 0
        && disk::len(disk, FileName::Snapshot(SnapshotSlot::B))? == 0)
}

fn new_store(limits: &StoreLimits, log: Log, watermark: Watermark) -> Recovered {
    Recovered {
        machine: StateMachine::new(limits.clone()),
        time: Time::MIN,
        position: START,
        meta: None,
        log: Some(log),
        watermark,
        log_bytes: 0,
        record_count: 0,
        loss: None,
        harmless_damage: None,
    }
}

/// What the snapshots alone have.
fn without_log(
    disk: &dyn Disk,
    limits: &StoreLimits,
    watermark: Watermark,
    what: String,
) -> Result<Recovered, OpenError> {
    let empty = || StateMachine::new(limits.clone());
    let mut recovered = Recovered {
        machine: empty(),
        time: Time::MIN,
        position: START,
        meta: None,
        log: None,
        watermark,
        log_bytes: 0,
        record_count: 0,
        loss: Some(what),
        harmless_damage: None,
    };
    for slot in [SnapshotSlot::A, SnapshotSlot::B] {
        match snapshot::read(disk, slot, empty()) {
            Ok(restored) if restored.head.revision >= recovered.machine.revision() => {
                recovered.time = stored::from_nanos(restored.head.time);
                recovered.machine = restored.machine;
            }
            Ok(_) | Err(FileError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(recovered)
}

/// What the snapshots and the log have together.
fn from_log(
    disk: &dyn Disk,
    limits: &StoreLimits,
    log: Log,
    meta: StoreMeta,
    watermark: Watermark,
    watermark_seq: Option<u64>,
) -> Result<Recovered, OpenError> {
    let (damage, mut harmless_damage) = match assess_wal_damage(&log, &meta) {
        Assessment::Loss(what) => (Some(what), None),
        Assessment::Harmless(what) => (None, Some(what)),
        Assessment::Nothing => (None, None),
    };
    let source = ReplaySource {
        disk,
        limits,
        log: &log,
        meta: &meta,
    };
    let Some((best, base)) = best_replay(
        &source,
        damage.as_deref(),
        watermark_seq,
        &mut harmless_damage,
    )?
    else {
        let what = harmless_damage.unwrap_or_else(|| {
            "log.redb has lost its first records, and there is no snapshot".into()
        });
        drop(log);
        return without_log(disk, limits, watermark, what);
    };
    let mut loss = best.loss;
    if loss.is_some() {
        let both = harmless_damage.take().into_iter().chain(loss);
        loss = both.reduce(|a, b| format!("{a}; {b}"));
    }
    // Those after it are of no use.
    let is_used = |snapshot: &SnapshotMeta| base.is_some_and(|base| snapshot.seq <= base.seq);
    let snapshots = meta.snapshots.iter().filter(|of| is_used(of)).cloned();
    Ok(Recovered {
        machine: best.machine,
        time: best.time.max(stored::from_nanos(meta.time)),
        position: best.position,
        meta: Some(StoreMeta {
            snapshots: snapshots.collect(),
            ..meta.clone()
        }),
        log: Some(log),
        watermark,
        log_bytes: best.log_bytes,
        record_count: best.record_count,
        loss,
        harmless_damage,
    })
}

/// A replay that came to an end, and where it began.
type ReplayFrom<'a> = (Box<Replayed>, Option<&'a SnapshotMeta>);

/// The first replay that lacks nothing, or the one that came farthest. Snapshots that cannot be read are noted in `spared`.
fn best_replay<'a>(
    source: &ReplaySource<'a>,
    damage: Option<&str>,
    watermark_seq: Option<u64>,
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
                // What was half done is done again without it.
                Replay::Contradiction { seq } if seq < stop_before => stop_before = seq,
                Replay::Contradiction { .. } => unreachable!("it stops before"),
                Replay::Done(replayed) => break Some(replayed),
            }
        };
        let Some(mut replayed) = replayed.take() else {
            continue;
        };
        let last = replayed.position.seq;
        replayed.loss = replayed
            .loss
            .or_else(|| damage.map(Into::into))
            .or_else(|| behind_watermark(last, watermark_seq));
        let whole = replayed.loss.is_none();
        let is_better = |(best, _): &ReplayFrom<'_>| best.position.seq < last;
        if whole || best.as_ref().is_none_or(is_better) {
            best = Some((replayed, base));
        }
        if whole {
            break;
        }
    }
    Ok(best)
}

/// The loss, if the log ends before the watermark.
fn behind_watermark(last: u64, watermark_seq: Option<u64>) -> Option<String> {
    let watermark_seq = watermark_seq.filter(|watermark_seq| *watermark_seq > last)?;
    Some(format!(
        "log.redb and tail end at record {last}, and watermark says that there was a record {watermark_seq}: the disk has gone back, or lost what it had acknowledged"
    ))
}

/// What harm to the tail means.
enum Assessment {
    /// Records are missing.
    Loss(String),
    /// The engine has everything.
    Harmless(String),
    /// What was not synced is not whole, and nobody was told that it was.
    Nothing,
}

fn assess_wal_damage(log: &Log, meta: &StoreMeta) -> Assessment {
    match log.damage() {
        None => Assessment::Nothing,
        Some(WalDamage::Gap(what)) if meta.durability != Durability::Sync.to_string() => {
            info!(%what, "not everything was on disk that was answered early");
            Assessment::Nothing
        }
        // What it had is in the engine since then.
        Some(WalDamage::Unreadable(what)) if meta.closed => Assessment::Harmless(what.clone()),
        Some(WalDamage::Gap(what) | WalDamage::Unreadable(what)) => Assessment::Loss(what.clone()),
    }
}

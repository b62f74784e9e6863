//! Makes the state again from what is on disk, or says why it cannot.
//!
//! Everything is checked: the engine's own checksums, those of our records and their chain, the snapshot's digest, the
//! tail, and the watermark. What does not fit is a loss, and nothing is served then unless somebody decides to go on without it.

use tracing::info;

use super::disk::{self, Disk};
use super::error::{Fault, OpenError};
use super::file_name::{FileName, Slot};
use super::log::Log;
use super::record::{Position, START};
use super::replay::{Replay, ReplaySource, Replayed};
use super::snapshot;
use super::stored::{self, SnapshotMeta, StoreMeta};
use super::wal::Harm;
use super::watermark::Watermark;
use crate::config::Durability;
use crate::machine::{StateMachine, StoreLimits, Time};
use crate::mutants::mutant;

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
    pub(super) replayed: u64,
    /// Why it is not everything.
    pub(super) loss: Option<String>,
    /// What is damaged and not missed: all of it was found elsewhere.
    pub(super) spared: Option<String>,
}

/// Reads what is on a disk.
///
/// # Errors
/// If the disk cannot be used. What is damaged is no error, but a [loss](Recovered::loss).
pub(super) fn recover(
    disk: &dyn Disk,
    limits: &StoreLimits,
    tail_bytes: u64,
) -> Result<Recovered, OpenError> {
    let watermark = Watermark::open(disk)?;
    let mark = watermark.get()?;
    match open_log(disk, &watermark, tail_bytes) {
        Ok((log, Some(meta))) => from_log(disk, limits, log, meta, watermark, mark),
        Ok((log, None)) if never_served(disk, &watermark)? => Ok(new_store(limits, log, watermark)),
        Ok((_, None)) => {
            let what = "log.redb is empty, and the other files are not".into();
            without_log(disk, limits, watermark, what)
        }
        Err(error @ Fault::Io { .. }) => Err(error.into()),
        Err(damaged) => without_log(disk, limits, watermark, damaged.to_string()),
    }
}

/// Opens the log, and reads what it says of the store as a whole.
fn open_log(
    disk: &dyn Disk,
    watermark: &Watermark,
    tail_bytes: u64,
) -> Result<(Log, Option<StoreMeta>), Fault> {
    let log = match Log::open(disk, tail_bytes) {
        Err(Fault::Damaged { .. }) if never_served(disk, watermark)? => {
            // It was torn while it was made.
            let name = FileName::Log;
            disk.set_aside(name)
                .map_err(|error| Fault::io(name, error))?;
            Log::open(disk, tail_bytes)?
        }
        opened => opened?,
    };
    let meta = log.meta()?;
    Ok((log, meta))
}

/// Whether no server has ever used the disk: the watermark is synced before the first call is taken.
fn never_served(disk: &dyn Disk, watermark: &Watermark) -> Result<bool, Fault> {
    if !watermark.is_blank()? {
        return Ok(false);
    }
    // The tail gets its header with the first record.
    Ok(disk::len(disk, FileName::Log)? <= NEW_LOG_BYTES_MAX
        && disk::len(disk, FileName::Tail)? == 0
        && disk::len(disk, FileName::Snapshot(Slot::A))? == 0
        && disk::len(disk, FileName::Snapshot(Slot::B))? == 0)
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
        replayed: 0,
        loss: None,
        spared: None,
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
        replayed: 0,
        loss: Some(what),
        spared: None,
    };
    for slot in [Slot::A, Slot::B] {
        match snapshot::read(disk, slot, empty()) {
            Ok(restored) if restored.head.revision >= recovered.machine.revision() => {
                recovered.time = stored::time(restored.head.time);
                recovered.machine = restored.machine;
            }
            Ok(_) | Err(Fault::Damaged { .. }) => {}
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
    mark: Option<u64>,
) -> Result<Recovered, OpenError> {
    let (harm, mut spared) = match weigh_harm(&log, &meta) {
        Weighed::Loss(what) => (Some(what), None),
        Weighed::Spared(what) => (None, Some(what)),
        Weighed::Nothing => (None, None),
    };
    let source = ReplaySource {
        disk,
        limits,
        log: &log,
        meta: &meta,
    };
    let Some((best, base)) = best_replay(&source, harm.as_deref(), mark, &mut spared)? else {
        let what = spared.unwrap_or_else(|| {
            "log.redb has lost its first records, and there is no snapshot".into()
        });
        drop(log);
        return without_log(disk, limits, watermark, what);
    };
    let mut loss = best.loss;
    if loss.is_some() {
        let both = spared.take().into_iter().chain(loss);
        loss = both.reduce(|a, b| format!("{a}; {b}"));
    }
    // Those after it are of no use.
    let is_used = |snapshot: &SnapshotMeta| base.is_some_and(|base| snapshot.seq <= base.seq);
    let snapshots = meta.snapshots.iter().filter(|of| is_used(of)).cloned();
    Ok(Recovered {
        machine: best.machine,
        time: best.time.max(stored::time(meta.time)),
        position: best.position,
        meta: Some(StoreMeta {
            snapshots: snapshots.collect(),
            ..meta.clone()
        }),
        log: Some(log),
        watermark,
        log_bytes: best.log_bytes,
        replayed: best.replayed,
        loss,
        spared,
    })
}

/// A replay that came to an end, and where it began.
type ReplayFrom<'a> = (Box<Replayed>, Option<&'a SnapshotMeta>);

/// The first replay that lacks nothing, or the one that came farthest. Snapshots that cannot be read are noted in `spared`.
fn best_replay<'a>(
    source: &ReplaySource<'a>,
    harm: Option<&str>,
    mark: Option<u64>,
    spared: &mut Option<String>,
) -> Result<Option<ReplayFrom<'a>>, OpenError> {
    let mut best: Option<ReplayFrom<'a>> = None;
    let mut stop_before = u64::MAX;
    for base in source.bases()? {
        let mut replayed = loop {
            match source.replay(base, stop_before)? {
                Replay::Unreadable(what) => {
                    spared.get_or_insert(what);
                    break None;
                }
                // What was half done is done again without it.
                Replay::Unfit { seq } if seq < stop_before => stop_before = seq,
                Replay::Unfit { .. } => unreachable!("it stops before"),
                Replay::Done(replayed) => break Some(replayed),
            }
        };
        let Some(mut replayed) = replayed.take() else {
            continue;
        };
        let last = replayed.position.seq;
        replayed.loss = replayed
            .loss
            .or_else(|| harm.map(Into::into))
            .or_else(|| behind_watermark(last, mark));
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
fn behind_watermark(last: u64, mark: Option<u64>) -> Option<String> {
    let mark = mark.filter(|mark| *mark > last && !mutant("no-watermark"))?;
    Some(format!(
        "log.redb and tail end at record {last}, and watermark says that there was a record {mark}: the disk has gone back, or lost what it had acknowledged"
    ))
}

/// What harm to the tail means.
enum Weighed {
    /// Records are missing.
    Loss(String),
    /// The engine has everything.
    Spared(String),
    /// What was not synced is not whole, and nobody was told that it was.
    Nothing,
}

fn weigh_harm(log: &Log, meta: &StoreMeta) -> Weighed {
    match log.harm() {
        None => Weighed::Nothing,
        Some(Harm::Gap(what)) if meta.durability != Durability::Sync.to_string() => {
            info!(%what, "not everything was on disk that was answered early");
            Weighed::Nothing
        }
        // What it had is in the engine since then.
        Some(Harm::Unreadable(what)) if meta.closed => Weighed::Spared(what.clone()),
        Some(Harm::Gap(what) | Harm::Unreadable(what)) => Weighed::Loss(what.clone()),
    }
}

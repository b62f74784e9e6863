//! Makes the state again from what is on disk, or says why it cannot.
//!
//! Everything is checked: the engine's own checksums, those of our records and their chain, the snapshot's digest, the
//! tail, and the watermark. What does not fit is a loss, and nothing is served then unless somebody decides to go on without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::disk::{self, Disk, FileName, Slot};
use super::log::{self, Log, START};
use super::pages::write_all;
use super::persister::Persister;
use super::snapshot::{self, SnapshotWriter};
use super::stored::{self, FORMAT, Head, Meta, SnapshotMeta};
use super::tail::Harm;
use super::watermark::Watermark;
use super::{Fault, Journal, OpenError, Position};
use crate::config::{Durability, REVISIONS_SKIPPED, REVISIONS_SKIPPED_UNSYNCED, TAIL_BYTES};
use crate::machine::{Revision, StateMachine, StoreLimits, Time};
use crate::mutants::mutant;

/// No log is larger that has no record yet.
const NEW_LOG_BYTES_MAX: u64 = 256 << 10;

/// How often a long recovery says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) limits: StoreLimits,
    pub(crate) durability: Durability,
    /// Go on without what is lost, if what is left ends at this revision.
    pub(crate) accept_data_loss: Option<Revision>,
    /// The present time.
    pub(crate) now: Time,
    /// For a store that is new, or whose history cannot go on.
    pub(crate) new_store_id: String,
    pub(crate) snapshot_bytes: u64,
    pub(crate) least_free_bytes: u64,
    /// What the log's tail may have.
    pub(crate) tail_bytes: u64,
}

/// A store, ready to go on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) machine: StateMachine,
    pub(crate) store_id: String,
    /// The time to go on from: never before what was.
    pub(crate) time: Time,
    pub(crate) epoch: u64,
    pub(crate) journal: Journal,
    pub(crate) persister: std::thread::JoinHandle<()>,
}

/// What is on a disk.
pub(super) struct Look {
    pub(super) machine: StateMachine,
    pub(super) time: Time,
    pub(super) position: Position,
    /// None in a store that is new, or whose log cannot be read.
    pub(super) meta: Option<Meta>,
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

/// Opens a store, or makes a new one.
///
/// # Errors
/// [`OpenError`] if something is missing that may have been acknowledged, or the disk cannot be used.
pub(crate) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Opened, OpenError> {
    let began = Instant::now();
    let look = look(&*disk, &options.limits, options.tail_bytes)?;
    let revision = look.machine.revision();
    if let Some(what) = look.loss {
        if options.accept_data_loss != Some(revision) {
            return Err(OpenError::Lost {
                what,
                revision,
                accepted: options.accept_data_loss,
            });
        }
        warn!(%what, revision, "going on without what is lost, as told");
        let time = look.time.max(options.now);
        let used = look.meta.map_or(0, |meta| meta.used_revision);
        drop((look.log, look.watermark));
        // But for the watermark, which is written last: until then, nobody takes this for a store that is new.
        for name in FileName::ALL
            .into_iter()
            .filter(|name| *name != FileName::Watermark)
        {
            disk.set_aside(name)
                .map_err(|error| Fault::io(name, error))?;
        }
        let mut machine = look.machine;
        machine.restore_revision_floor(revision.max(used) + REVISIONS_SKIPPED_UNSYNCED);
        initialize(&*disk, &mut machine, time, &options.new_store_id)?;
        return open(
            disk,
            Options {
                accept_data_loss: None,
                ..options
            },
        );
    }
    if options.accept_data_loss.is_some() {
        warn!("nothing is lost: --accept-data-loss has nothing to do");
    }
    if let Some(what) = &look.spared {
        warn!(%what, "damaged, but nothing is missed: everything it had is there without it");
    }
    let mut log = look.log.expect("without a log there is a loss");
    if log.harm().is_some() && !mutant("tail-keeps-leftovers") {
        // Before anything is noted: what is left in it is only so long known not to be missed.
        log.renew_tail()?;
    }
    let mut machine = look.machine;
    let time = look.time.max(options.now);
    let (mut meta, floor) = match look.meta {
        None => (
            Meta {
                format: FORMAT,
                store_id: options.new_store_id,
                ..Meta::default()
            },
            0,
        ),
        Some(meta) if meta.closed => {
            let floor = meta.used_revision;
            (meta, floor)
        }
        // Answers may have told of more than was kept.
        Some(meta) if meta.durability != Durability::Sync.to_string() => {
            let floor = revision.max(meta.used_revision) + REVISIONS_SKIPPED_UNSYNCED;
            let store_id = match mutant("same-history") {
                true => meta.store_id.clone(),
                false => options.new_store_id,
            };
            (Meta { store_id, ..meta }, floor)
        }
        Some(meta) if mutant("revisions-again") => (meta, 0),
        // What was not acknowledged may have been seen as an outcome that is unknown.
        Some(meta) => {
            let floor = revision.max(meta.used_revision) + REVISIONS_SKIPPED;
            (meta, floor)
        }
    };
    meta.epoch += 1;
    meta.closed = false;
    meta.used_revision = floor;
    meta.time = stored::nanos(time);
    meta.durability = options.durability.to_string();
    log.set_meta(&meta)?;
    look.watermark.set(look.position.seq);
    look.watermark.sync()?;
    machine.resume(time, floor);

    let usage = machine.usage();
    info!(
        keys = usage.key_count,
        revision = usage.revision,
        records = look.replayed,
        epoch = meta.epoch,
        store_id = meta.store_id,
        ended = if meta.epoch == 1 { "never before" } else if floor == revision { "in order" } else { "abruptly" },
        took = ?began.elapsed(),
        "opened {}", disk.name()
    );
    let (store_id, epoch) = (meta.store_id.clone(), meta.epoch);
    let (journal, persister) = Persister {
        disk,
        log,
        tail_bytes: options.tail_bytes,
        watermark: look.watermark,
        meta,
        position: look.position,
        log_bytes: match look.spared {
            // A snapshot is due at once, in the place of the one that is damaged.
            Some(_) => u64::MAX / 2,
            None => look.log_bytes,
        },
        durability: options.durability,
        least_free_bytes: options.least_free_bytes,
    }
    .start(options.snapshot_bytes);
    Ok(Opened {
        machine,
        store_id,
        time,
        epoch,
        journal,
        persister,
    })
}

/// Makes a store on an empty disk, of a state.
pub(super) fn initialize(
    disk: &dyn Disk,
    machine: &mut StateMachine,
    time: Time,
    store_id: &str,
) -> Result<(), OpenError> {
    let mut writer = SnapshotWriter::create(disk, Slot::A)?;
    let revision = machine.revision();
    let head = Head::of(store_id, revision, time);
    let digest = write_all(machine, head, |page| writer.pages(vec![page]))?;
    writer.end()?;
    let meta = Meta {
        format: FORMAT,
        store_id: store_id.into(),
        epoch: 0,
        closed: true,
        used_revision: revision,
        time: stored::nanos(time),
        snapshots: vec![SnapshotMeta {
            slot: Slot::A.number(),
            seq: START.seq,
            revision,
            digest,
        }],
        durability: Durability::Sync.to_string(),
    };
    let mut log = Log::open(disk, TAIL_BYTES)?;
    log.set_meta(&meta)?;
    let watermark = Watermark::open(disk)?;
    watermark.set(START.seq);
    watermark.sync()?;
    Ok(())
}

/// Reads what is on a disk.
///
/// # Errors
/// If the disk cannot be used. What is damaged is no error, but a [loss](Look::loss).
pub(super) fn look(
    disk: &dyn Disk,
    limits: &StoreLimits,
    tail_bytes: u64,
) -> Result<Look, OpenError> {
    let watermark = Watermark::open(disk)?;
    let mark = watermark.get()?;
    let log = match Log::open(disk, tail_bytes) {
        Err(Fault::Damaged { .. }) if never_served(disk, &watermark)? => {
            // It was torn while it was made.
            let name = FileName::Log;
            disk.set_aside(name)
                .map_err(|error| Fault::io(name, error))?;
            Log::open(disk, tail_bytes)
        }
        opened => opened,
    };
    let opened = log.and_then(|log| {
        let meta = log.meta()?;
        Ok((log, meta))
    });
    let (log, meta) = match opened {
        Ok(opened) => opened,
        Err(error @ Fault::Io { .. }) => return Err(error.into()),
        Err(damaged) => return without_log(disk, limits, watermark, damaged.to_string()),
    };
    let Some(meta) = meta else {
        if !never_served(disk, &watermark)? {
            let what = "log.redb is empty, and the other files are not".into();
            return without_log(disk, limits, watermark, what);
        }
        return Ok(Look {
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
        });
    };

    let (harm, mut spared) = match weighed(&log, &meta) {
        Weighed::Loss(what) => (Some(what), None),
        Weighed::Spared(what) => (None, Some(what)),
        Weighed::Nothing => (None, None),
    };
    // The way that came farthest, and where it began.
    let mut best: Option<(Box<Read>, Option<&SnapshotMeta>)> = None;
    let mut stop_before = u64::MAX;
    for base in bases(&meta, &log)? {
        let read = loop {
            match from_base(disk, limits, &log, base, &meta, stop_before)? {
                FromBase::Unreadable(what) => {
                    spared.get_or_insert(what);
                    break None;
                }
                // What was half done is done again without it.
                FromBase::Unfit { seq } if seq < stop_before => stop_before = seq,
                FromBase::Unfit { .. } => unreachable!("it stops before"),
                FromBase::Read(read) => break Some(read),
            }
        };
        let Some(mut read) = read else { continue };
        let last = read.position.seq;
        read.loss = read.loss.or_else(|| harm.clone());
        if let Some(mark) = mark
            && mark > last
            && read.loss.is_none()
            && !mutant("no-watermark")
        {
            read.loss = Some(format!(
                "log.redb and tail end at record {last}, and watermark says that there was a record {mark}: the disk has gone back, or lost what it had acknowledged"
            ));
        }
        let whole = read.loss.is_none();
        if whole
            || best
                .as_ref()
                .is_none_or(|(best, _)| best.position.seq < last)
        {
            best = Some((read, base));
        }
        if whole {
            break;
        }
    }
    let Some((read, base)) = best else {
        let what = spared.unwrap_or_else(|| {
            "log.redb has lost its first records, and there is no snapshot".into()
        });
        drop(log);
        return without_log(disk, limits, watermark, what);
    };
    let mut loss = read.loss;
    if loss.is_some() {
        let both = spared.take().into_iter().chain(loss);
        loss = both.reduce(|a, b| format!("{a}; {b}"));
    }
    // Those after it are of no use.
    let is_used = |snapshot: &SnapshotMeta| base.is_some_and(|base| snapshot.seq <= base.seq);
    let snapshots = meta.snapshots.iter().filter(|of| is_used(of)).cloned();
    Ok(Look {
        machine: read.machine,
        time: read.time.max(stored::time(meta.time)),
        position: read.position,
        meta: Some(Meta {
            snapshots: snapshots.collect(),
            ..meta.clone()
        }),
        log: Some(log),
        watermark,
        log_bytes: read.log_bytes,
        replayed: read.replayed,
        loss,
        spared,
    })
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

fn weighed(log: &Log, meta: &Meta) -> Weighed {
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

/// Where the way through the log can begin: at each snapshot, the latest first, and at nothing.
pub(super) fn bases<'a>(
    meta: &'a Meta,
    log: &Log,
) -> Result<impl Iterator<Item = Option<&'a SnapshotMeta>>, Fault> {
    // The log has everything from the first record on, unless the store was made of something.
    let from_nothing = match log.first()? {
        None => meta.snapshots.is_empty(),
        Some(first) => first == 1 && meta.snapshots.iter().all(|snapshot| snapshot.seq > 0),
    };
    let snapshots = meta.snapshots.iter().rev().map(Some);
    Ok(snapshots.chain(from_nothing.then_some(None)))
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

/// What the snapshots alone have.
fn without_log(
    disk: &dyn Disk,
    limits: &StoreLimits,
    watermark: Watermark,
    what: String,
) -> Result<Look, OpenError> {
    let empty = || StateMachine::new(limits.clone());
    let mut look = Look {
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
            Ok(restored) if restored.head.revision >= look.machine.revision() => {
                look.time = stored::time(restored.head.time);
                look.machine = restored.machine;
            }
            Ok(_) | Err(Fault::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(look)
}

pub(super) enum FromBase {
    Read(Box<Read>),
    /// The snapshot cannot be read.
    Unreadable(String),
    /// A record cannot have happened; the state is of no use.
    Unfit {
        seq: u64,
    },
}

pub(super) struct Read {
    pub(super) machine: StateMachine,
    time: Time,
    position: Position,
    log_bytes: u64,
    replayed: u64,
    pub(super) loss: Option<String>,
}

/// Goes from a snapshot, or from nothing, through the log.
pub(super) fn from_base(
    disk: &dyn Disk,
    limits: &StoreLimits,
    log: &Log,
    base: Option<&SnapshotMeta>,
    meta: &Meta,
    stop_before: u64,
) -> Result<FromBase, OpenError> {
    let empty = StateMachine::new(limits.clone());
    let (mut machine, mut time, from) = match base {
        None => (empty, Time::MIN, START),
        Some(base) => {
            let slot = Slot::of_number(base.slot);
            let restored = match snapshot::read(disk, slot, empty) {
                Ok(restored) => restored,
                Err(error @ Fault::Io { .. }) => return Err(error.into()),
                Err(damaged) => return Ok(FromBase::Unreadable(damaged.to_string())),
            };
            let head = restored.head;
            if (head.seq, restored.digest) != (base.seq, base.digest.clone()) {
                let name = FileName::Snapshot(slot).as_str();
                return Ok(FromBase::Unreadable(format!(
                    "{name} is another one than log.redb has noted"
                )));
            }
            let position = Position {
                seq: head.seq,
                crc: head.record_crc,
            };
            (restored.machine, stored::time(head.time), position)
        }
    };
    // What is damaged here is met again below, or was taken away from the log since.
    match fill_history(log, &mut machine, from, limits) {
        Err(error @ Fault::Io { .. }) => return Err(error.into()),
        Ok(()) | Err(Fault::Damaged { .. }) => {}
    }

    let mut position = from;
    let (mut replayed, mut log_bytes) = (0, 0);
    let mut loss = None;
    let mut unfit = None;
    let mut said = Instant::now();
    let read = log.records_after(from.seq, |seq, bytes| {
        if seq >= stop_before {
            let file = log.file_of(seq);
            loss = Some(format!(
                "{file} is damaged at record {seq}: it does not fit what was before it"
            ));
            return false;
        }
        let expected = position.seq + 1;
        if seq != expected {
            let file = log.file_of(seq);
            loss = Some(format!(
                "log.redb has no record {expected}, and {file} has {seq}"
            ));
            return false;
        }
        let decoded = log::decode(seq, bytes, position).and_then(|(record, position)| {
            let (revision, time) = (record.revision, record.time);
            Ok((record.into_effects()?, revision, time, position))
        });
        let (effects, revision, at, next) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                let file = log.file_of(seq);
                loss = Some(format!("{file} is damaged at record {seq}: {error}"));
                return false;
            }
        };
        let effects = match mutant("replay-out-of-order") {
            true => effects.into_iter().rev().collect(),
            false => effects,
        };
        if machine.replay(effects).is_err() {
            unfit = Some(seq);
            return false;
        }
        machine.restore_revision_floor(revision);
        time = time.max(stored::time(at));
        position = next;
        replayed += 1;
        log_bytes += bytes.len() as u64;
        if said.elapsed() >= PROGRESS_INTERVAL {
            said = Instant::now();
            info!(record = seq, keys = machine.usage().key_count, "recovering");
        }
        true
    });
    match read {
        Ok(()) => {}
        Err(error @ Fault::Io { .. }) => return Err(error.into()),
        Err(damaged) => loss = Some(damaged.to_string()),
    }
    if let Some(seq) = unfit {
        return Ok(FromBase::Unfit { seq });
    }
    // A start that skipped revisions leaves no record of it.
    machine.restore_revision_floor(meta.used_revision);
    Ok(FromBase::Read(Box::new(Read {
        machine,
        time,
        position,
        log_bytes,
        replayed,
        loss,
    })))
}

/// Fills what is kept for watches with what happened before the snapshot, as far as the log still has it.
fn fill_history(
    log: &Log,
    machine: &mut StateMachine,
    upto: Position,
    limits: &StoreLimits,
) -> Result<(), Fault> {
    let mut records = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    log.records_back_from(upto.seq, |seq, encoded| {
        let Ok((record, _)) = log::decode_alone(seq, encoded) else {
            return false;
        };
        count += record.effects.len();
        bytes += encoded.len();
        records.push(record);
        count < limits.ring_changes && bytes < limits.ring_bytes
    })?;
    // Only of what comes after it is it known that nothing is missing.
    let Some(first) = records.pop() else {
        return Ok(());
    };
    let effects = records.into_iter().rev().flat_map(|record| record.effects);
    let effects = effects.filter_map(|effect| effect.try_into().ok());
    machine.restore_history(first.revision, effects);
    Ok(())
}

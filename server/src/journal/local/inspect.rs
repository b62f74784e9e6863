//! Verifies and shows a data directory that no server uses: for `soloist-server verify` and `inspect`.

use std::path::Path;

use bytes::Bytes;

use super::disk::{self, Disk};
use super::file_name::FileName;
use super::log::Log;
use super::read_only::ReadOnlyDirectory;
use super::recover::{Recovered, recover};
use super::replay::{Replay, ReplaySource};
use crate::config::WAL_BYTES_MAX;
use crate::journal::error::OpenError;
use crate::journal::pages::{contents_digest_of, digest_of};
use crate::journal::record;
use crate::journal::stored;
use crate::machine::{
    CopySlice, Effect, Entry, Key, Machine, OpenedSession, Revision, StoreLimits, Time,
};
use crate::progress::Progress;

/// What a data directory contains.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Names the store's history.
    pub(crate) store_id: String,
    /// How often a server opened the store.
    pub(crate) epoch: u64,
    /// The value of `--durability` when the store was last opened.
    pub(crate) durability: String,
    /// Whether the last server closed the store in order.
    pub(crate) closed: bool,
    /// The store revision.
    pub(crate) revision: Revision,
    /// The number of keys.
    pub(crate) key_count: usize,
    /// The complete snapshots, the oldest first: the last record and the revision of each.
    pub(crate) snapshots: Vec<(u64, Revision)>,
    /// The numbers of the first and the last record of the log.
    pub(crate) records: Option<(u64, u64)>,
    /// Bytes of the records.
    pub(crate) record_bytes: u64,
    /// SHA-256 of the contents: the same as that of a backup from which the store was restored, or that was made of it.
    pub(crate) contents_digest: Bytes,
    /// Every replay: where it began, and the digest of its state with the store revision.
    pub(crate) replays: Vec<(String, Vec<u8>)>,
    /// The file of a snapshot that was not finished, which the next start removes. That is no damage.
    pub(crate) unfinished_snapshot: Option<&'static str>,
    /// Damage that lost no data, because the same data is elsewhere.
    pub(crate) harmless_damage: Option<String>,
}

/// Recovers the state of a store.
///
/// # Errors
/// [`OpenError`] if data is lost, there is no store, or the directory cannot be used.
fn recover_undamaged(
    disk: &dyn Disk,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<Recovered, OpenError> {
    // The recovery sets a log aside that was not created to its end.
    let log_bytes = disk::len(disk, FileName::Log)?;
    let recovered = recover(disk, limits, WAL_BYTES_MAX, progress)?;
    if let Some(what) = recovered.loss {
        return Err(OpenError::DataLoss {
            what,
            revision: recovered.machine.revision(),
            accepted: None,
        });
    }
    if recovered.meta.is_none() {
        let path = disk.name().into();
        return Err(match log_bytes {
            0 => OpenError::NoStore { path },
            _ => OpenError::NotCreated { path },
        });
    }
    Ok(recovered)
}

/// Reads everything, and restores the state in every possible way: from each snapshot, and from an empty state if the log
/// goes back to its first record. All replays must end in the same state. All of it is in steps of `progress`.
///
/// # Errors
/// [`OpenError`] if data is damaged or missing, two replays differ, or the directory cannot be used.
pub(crate) fn verify(
    path: &Path,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<Summary, OpenError> {
    verify_disk(&ReadOnlyDirectory::open(path)?, limits, progress)
}

/// [`verify`] for the store on a disk.
pub(crate) fn verify_disk(
    disk: &dyn Disk,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<Summary, OpenError> {
    let mut recovered = recover_undamaged(disk, limits, progress)?;
    let log = recovered.log.expect("a log, as there is no loss");
    let meta = recovered.meta.expect("a meta record, as there is a store");
    let mut harmless_damage = recovered.harmless_damage;
    let replays = replay_all(
        &ReplaySource {
            disk,
            limits,
            log: &log,
            meta: &meta,
            progress,
        },
        &mut harmless_damage,
    )?;
    if let [(first, digest), rest @ ..] = &replays[..]
        && let Some((other, _)) = rest.iter().find(|(_, of)| of != digest)
    {
        return Err(inconsistent(format!(
            "the replay from {first} ends in another state than the replay from {other}"
        )));
    }
    let (records, record_bytes) = extent(&log)?;
    let usage = recovered.machine.usage();
    Ok(Summary {
        store_id: meta.store_id,
        epoch: meta.epoch,
        durability: meta.durability,
        closed: meta.closed,
        revision: usage.revision,
        key_count: usage.key_count,
        snapshots: meta
            .snapshots
            .iter()
            .map(|snapshot| (snapshot.seq, snapshot.revision))
            .collect(),
        records,
        record_bytes,
        contents_digest: contents_digest_of(&mut recovered.machine, progress),
        replays,
        unfinished_snapshot: recovered.unfinished_snapshot,
        harmless_damage,
    })
}

/// Replays the log from each base. Returns the name of each base, and the digest of the state.
fn replay_all(
    source: &ReplaySource<'_>,
    harmless_damage: &mut Option<String>,
) -> Result<Vec<(String, Vec<u8>)>, OpenError> {
    let mut replays = Vec::new();
    for base in source.bases()? {
        let name = match base {
            Some(base) => format!("the snapshot of record {}", base.seq),
            None => "the first record".into(),
        };
        match source.replay(base, u64::MAX)? {
            Replay::Done(mut replayed) => match replayed.loss {
                Some(loss) => return Err(inconsistent(loss)),
                None => {
                    let digest = digest_of(&mut replayed.state.machine, source.progress);
                    replays.push((name, digest.to_vec()));
                }
            },
            Replay::Unreadable(what) => {
                harmless_damage.get_or_insert(what);
            }
            Replay::Contradiction { seq } => {
                return Err(inconsistent(format!(
                    "record {seq} contradicts the state before it"
                )));
            }
        }
    }
    Ok(replays)
}

fn inconsistent(what: String) -> OpenError {
    OpenError::Inconsistent { what }
}

/// The first and last record of the log, and the bytes of all its records.
fn extent(log: &Log) -> Result<(Option<(u64, u64)>, u64), OpenError> {
    let (mut first, mut last, mut bytes) = (None, 0, 0);
    log.records_after(0, |seq, record| {
        first.get_or_insert(seq);
        last = seq;
        bytes += record.len() as u64;
        true
    })?;
    Ok((first.map(|first| (first, last)), bytes))
}

/// A record of the log.
#[derive(Debug)]
pub(crate) struct InspectedRecord {
    /// The record's number.
    pub(crate) seq: u64,
    /// Which start of the server wrote the record.
    pub(crate) epoch: u64,
    /// The store revision after the record.
    pub(crate) revision: Revision,
    /// The owner's time when it sent the record.
    pub(crate) time: Time,
    /// What happened, in order.
    pub(crate) effects: Vec<Effect>,
}

/// Passes the records of the log to `each`, in order, until it returns false.
///
/// # Errors
/// [`OpenError`] if data is damaged or missing, or the directory cannot be used.
pub(crate) fn records(
    path: &Path,
    limits: &StoreLimits,
    progress: &Progress,
    mut each: impl FnMut(InspectedRecord) -> bool,
) -> Result<(), OpenError> {
    let directory = ReadOnlyDirectory::open(path)?;
    let recovered = recover_undamaged(&directory, limits, progress)?;
    progress.end();
    let log = recovered.log.expect("a log, as there is no loss");
    let mut damaged = None;
    log.records_after(0, |seq, bytes| {
        let record = record::decode_alone(seq, bytes).and_then(|(record, _)| {
            Ok(InspectedRecord {
                seq,
                epoch: record.epoch,
                revision: record.revision,
                time: stored::from_nanos(record.time),
                effects: record.into_effects()?,
            })
        });
        match record {
            Ok(record) => each(record),
            Err(error) => {
                let file = log.file_of(seq);
                damaged = Some(format!("{file} is damaged at record {seq}: {error}"));
                false
            }
        }
    })?;
    damaged.map_or(Ok(()), |what| Err(inconsistent(what)))
}

/// One item of the state.
#[derive(Debug)]
pub(crate) enum StateItem {
    /// A machine.
    Machine(Machine),
    /// A session.
    Session(OpenedSession),
    /// A key.
    Entry(Key, Entry),
}

/// Passes the machines, the sessions, and the keys in order to `each`, until it returns false.
///
/// # Errors
/// [`OpenError`] if data is damaged or missing, or the directory cannot be used.
pub(crate) fn state(
    path: &Path,
    limits: &StoreLimits,
    progress: &Progress,
    mut each: impl FnMut(StateItem) -> bool,
) -> Result<(), OpenError> {
    let directory = ReadOnlyDirectory::open(path)?;
    let recovered = recover_undamaged(&directory, limits, progress)?;
    progress.end();
    let mut machine = recovered.machine;
    let (id, head) = machine.begin_copy(0);
    let machines = head.machines.into_iter().map(StateItem::Machine);
    let sessions = head.sessions.into_iter().map(StateItem::Session);
    if !machines.chain(sessions).all(&mut each) {
        return Ok(());
    }
    while let Ok(CopySlice::Entries(entries)) = machine.next_copy_slice(id, 1_000, usize::MAX) {
        let mut entries = entries.into_iter();
        if !entries.all(|(key, entry)| each(StateItem::Entry(key, entry))) {
            return Ok(());
        }
    }
    Ok(())
}

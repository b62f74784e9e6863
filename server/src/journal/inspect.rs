//! Looks at a data directory that no server uses.

use std::path::Path;

use prost::bytes::Bytes;

use super::directory::{Directory, IfMissing};
use super::error::OpenError;
use super::log::Log;
use super::pages::digest_of;
use super::record;
use super::recover::{Recovered, recover};
use super::replay::{Replay, ReplaySource};
use super::stored;
use crate::config::WAL_BYTES_MAX;
use crate::machine::{
    CopySlice, Effect, Entry, Key, Machine, OpenedSession, Revision, StoreLimits, Time,
};

/// What there is in a data directory.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Names the history.
    pub(crate) store_id: String,
    /// How often it was opened.
    pub(crate) epoch: u64,
    /// When changes were answered, as `--durability` says it.
    pub(crate) durability: String,
    /// Whether the last server shut down in order.
    pub(crate) closed: bool,
    /// The store revision.
    pub(crate) revision: Revision,
    /// How many keys there are.
    pub(crate) key_count: usize,
    /// Snapshots that are complete: record and revision of each, the latest last.
    pub(crate) snapshots: Vec<(u64, Revision)>,
    /// The first record of the log and the last.
    pub(crate) records: Option<(u64, u64)>,
    /// Bytes of the records.
    pub(crate) record_bytes: u64,
    /// The ways from a snapshot, or from nothing, through the log: where each began, and the digest that it came to.
    pub(crate) replays: Vec<(String, Vec<u8>)>,
    /// What is damaged and not missed.
    pub(crate) harmless_damage: Option<String>,
}

fn recover_undamaged(
    path: &Path,
    limits: &StoreLimits,
) -> Result<(Directory, Recovered), OpenError> {
    let directory = Directory::acquire(path, IfMissing::Refuse)?;
    let recovered = recover(&directory, limits, WAL_BYTES_MAX)?;
    if let Some(what) = recovered.loss {
        return Err(OpenError::DataLoss {
            what,
            revision: recovered.machine.revision(),
            accepted: None,
        });
    }
    if recovered.meta.is_none() {
        return Err(OpenError::NoStore { path: path.into() });
    }
    Ok((directory, recovered))
}

/// Reads everything, and makes the state again in every way there is: from each snapshot, and from nothing if the log
/// has it all. All must come to the same.
///
/// # Errors
/// [`OpenError`] if anything is damaged or missing, or the directory cannot be used.
pub(crate) fn verify(path: &Path, limits: &StoreLimits) -> Result<Summary, OpenError> {
    let (directory, recovered) = recover_undamaged(path, limits)?;
    let (log, meta) = (
        recovered.log.expect("no loss"),
        recovered.meta.expect("no loss"),
    );
    let mut replays: Vec<(String, Bytes)> = Vec::new();
    let mut unreadable = recovered.harmless_damage;
    let source = ReplaySource {
        disk: &directory,
        limits,
        log: &log,
        meta: &meta,
    };
    for base in source.bases()? {
        let name = match base {
            Some(base) => format!("snapshot of record {}", base.seq),
            None => "the first record".into(),
        };
        match source.replay(base, u64::MAX)? {
            Replay::Done(read) if read.loss.is_some() => {
                return Err(bad(read.loss.unwrap_or_default()));
            }
            Replay::Done(mut read) => {
                replays.push((name, digest_of(&mut read.machine)));
            }
            Replay::Unreadable(what) => {
                unreadable.get_or_insert(what);
            }
            Replay::Contradiction { seq } => {
                return Err(bad(format!("record {seq} does not fit what was before it")));
            }
        }
    }
    if let [(first, digest), rest @ ..] = &replays[..]
        && let Some((other, _)) = rest.iter().find(|(_, of)| of != digest)
    {
        return Err(bad(format!(
            "the way from {first} comes to another state than the way from {other}"
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
        replays: replays
            .into_iter()
            .map(|(name, digest)| (name, digest.to_vec()))
            .collect(),
        harmless_damage: unreadable,
    })
}

fn bad(what: String) -> OpenError {
    OpenError::Inconsistent { what }
}

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
    /// Its number.
    pub(crate) seq: u64,
    /// Which start of the server wrote it.
    pub(crate) epoch: u64,
    /// The store revision after it.
    pub(crate) revision: Revision,
    /// The owner's time.
    pub(crate) time: Time,
    /// What happened.
    pub(crate) effects: Vec<Effect>,
}

/// Shows the records of the log, in order, until `each` returns false.
///
/// # Errors
/// [`OpenError`] if anything is damaged or missing, or the directory cannot be used.
pub(crate) fn records(
    path: &Path,
    limits: &StoreLimits,
    mut each: impl FnMut(InspectedRecord) -> bool,
) -> Result<(), OpenError> {
    let (_directory, recovered) = recover_undamaged(path, limits)?;
    let log = recovered.log.expect("no loss");
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
    damaged.map_or(Ok(()), |what| Err(bad(what)))
}

/// A part of the state.
#[derive(Debug)]
pub(crate) enum StateItem {
    /// A machine.
    Machine(Machine),
    /// A session.
    Session(OpenedSession),
    /// A key.
    Entry(Key, Entry),
}

/// Shows the state: machines, sessions, and keys in order, until `each` returns false.
///
/// # Errors
/// [`OpenError`] if anything is damaged or missing, or the directory cannot be used.
pub(crate) fn state(
    path: &Path,
    limits: &StoreLimits,
    mut each: impl FnMut(StateItem) -> bool,
) -> Result<(), OpenError> {
    let (_directory, recovered) = recover_undamaged(path, limits)?;
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

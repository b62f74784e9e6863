//! Looks at a data directory that no server uses.

use std::path::Path;

use prost::bytes::Bytes;

use super::directory::{Directory, Missing};
use super::error::OpenError;
use super::log::Log;
use super::pages::digest_of;
use super::record;
use super::recover::{Recovered, recover};
use super::replay::{Replay, ReplaySource};
use super::stored;
use crate::config::TAIL_BYTES;
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
    pub(crate) ways: Vec<(String, Vec<u8>)>,
    /// What is damaged and not missed.
    pub(crate) spared: Option<String>,
}

fn look(path: &Path, limits: &StoreLimits) -> Result<(Directory, Recovered), OpenError> {
    let directory = Directory::take(path, Missing::Refuse)?;
    let look = recover(&directory, limits, TAIL_BYTES)?;
    if let Some(what) = look.loss {
        return Err(OpenError::Lost {
            what,
            revision: look.machine.revision(),
            accepted: None,
        });
    }
    if look.meta.is_none() {
        return Err(OpenError::Empty { path: path.into() });
    }
    Ok((directory, look))
}

/// Reads everything, and makes the state again in every way there is: from each snapshot, and from nothing if the log
/// has it all. All must come to the same.
///
/// # Errors
/// [`OpenError`] if anything is damaged or missing, or the directory cannot be used.
pub(crate) fn verify(path: &Path, limits: &StoreLimits) -> Result<Summary, OpenError> {
    let (directory, look) = look(path, limits)?;
    let (log, meta) = (look.log.expect("no loss"), look.meta.expect("no loss"));
    let mut ways: Vec<(String, Bytes)> = Vec::new();
    let mut unreadable = look.spared;
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
                ways.push((name, digest_of(&mut read.machine)));
            }
            Replay::Unreadable(what) => {
                unreadable.get_or_insert(what);
            }
            Replay::Unfit { seq } => {
                return Err(bad(format!("record {seq} does not fit what was before it")));
            }
        }
    }
    if let [(first, digest), rest @ ..] = &ways[..]
        && let Some((other, _)) = rest.iter().find(|(_, of)| of != digest)
    {
        return Err(bad(format!(
            "the way from {first} comes to another state than the way from {other}"
        )));
    }
    let (records, record_bytes) = extent(&log)?;
    let usage = look.machine.usage();
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
        ways: ways
            .into_iter()
            .map(|(name, digest)| (name, digest.to_vec()))
            .collect(),
        spared: unreadable,
    })
}

fn bad(what: String) -> OpenError {
    OpenError::Bad { what }
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
pub(crate) struct LoggedRecord {
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
    mut each: impl FnMut(LoggedRecord) -> bool,
) -> Result<(), OpenError> {
    let (_directory, look) = look(path, limits)?;
    let log = look.log.expect("no loss");
    let mut damaged = None;
    log.records_after(0, |seq, bytes| {
        let record = record::decode_alone(seq, bytes).and_then(|(record, _)| {
            Ok(LoggedRecord {
                seq,
                epoch: record.epoch,
                revision: record.revision,
                time: stored::time(record.time),
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
pub(crate) enum Part {
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
    mut each: impl FnMut(Part) -> bool,
) -> Result<(), OpenError> {
    let (_directory, look) = look(path, limits)?;
    let mut machine = look.machine;
    let (id, head) = machine.begin_copy(0);
    let machines = head.machines.into_iter().map(Part::Machine);
    let sessions = head.sessions.into_iter().map(Part::Session);
    if !machines.chain(sessions).all(&mut each) {
        return Ok(());
    }
    while let Ok(CopySlice::Entries(entries)) = machine.next_copy_slice(id, 1_000, usize::MAX) {
        let mut entries = entries.into_iter();
        if !entries.all(|(key, entry)| each(Part::Entry(key, entry))) {
            return Ok(());
        }
    }
    Ok(())
}

//! Replays the log from a base: a snapshot, or an empty state.

use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::snapshot;
use crate::config::REVISIONS_SKIPPED_UNSYNCED;
use crate::journal::error::OpenError;
use crate::journal::record::{self, Position};
use crate::journal::replaying::{Misfit, Replaying, restore_history};
use crate::journal::stored::{LogRecord, SnapshotMeta, StoreMeta};
use crate::machine::{StateMachine, StoreLimits};
use crate::progress::{Progress, Unit};

/// What a replay counts.
const RECORDS: Unit = Unit::Things("records");

/// The files of a store, for replays.
pub(super) struct ReplaySource<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) limits: &'a StoreLimits,
    pub(super) log: &'a Log,
    pub(super) meta: &'a StoreMeta,
    pub(super) progress: &'a Progress,
}

/// How a replay ended.
pub(super) enum Replay {
    /// At the end of the log, or before a record that is lost.
    Done(Box<Replayed>),
    /// Before it began: the snapshot cannot be read.
    Unreadable(String),
    /// In the middle of record `seq`, which contradicts the state before it. The state has a part of its effects.
    Contradiction { seq: u64 },
}

/// A replayed state.
pub(super) struct Replayed {
    pub(super) state: Replaying,
    /// Why the records after the last one could not be replayed, if there are any.
    pub(super) loss: Option<String>,
}

impl<'a> ReplaySource<'a> {
    /// The bases from which the log can be replayed: each snapshot, the newest first, then `None` for an empty state if the
    /// log goes back to the first change.
    pub(super) fn bases(
        &self,
    ) -> Result<impl Iterator<Item = Option<&'a SnapshotMeta>>, FileError> {
        let snapshots = &self.meta.snapshots;
        let from_nothing = match self.log.first()? {
            None => snapshots.is_empty(),
            Some(first) => first == 1 && !self.began_with_copy()?,
        };
        let snapshots = snapshots.iter().rev().map(Some);
        Ok(snapshots.chain(from_nothing.then_some(None)))
    }

    /// Whether record 1 continues a copy, so that the log alone does not have everything.
    pub(super) fn began_with_copy(&self) -> Result<bool, FileError> {
        if self.meta.directory().is_some() {
            return Ok(self.meta.began_with_copy);
        }
        // The first servers did not note it. The snapshot of record 0 is the copy, until later snapshots replace it. A store that
        // began with a copy also skipped revisions, so the revision of its first record tells.
        let snapshots = &self.meta.snapshots;
        if snapshots.is_empty() {
            return Ok(false);
        }
        let mut revision = None;
        self.log.records_after(0, |seq, bytes| {
            let decoded = record::decode_alone(seq, bytes);
            revision = decoded.ok().map(|(record, _)| record.revision);
            false
        })?;
        let from_nothing = revision.is_some_and(|of| of < REVISIONS_SKIPPED_UNSYNCED)
            && snapshots.iter().all(|snapshot| snapshot.seq > 0);
        Ok(!from_nothing)
    }

    /// Replays the log from a base. Takes record `stop_before` for damaged, and stops before it.
    pub(super) fn replay(
        &self,
        base: Option<&SnapshotMeta>,
        stop_before: u64,
    ) -> Result<Replay, OpenError> {
        let mut replayer = match self.read_base(base) {
            Ok(base) => Replayer {
                log: self.log,
                stop_before,
                progress: self.progress,
                state: base,
            },
            Err(BaseError::Io(error)) => return Err(error.into()),
            Err(BaseError::Unreadable(what)) => return Ok(Replay::Unreadable(what)),
        };
        let from = replayer.state.position;
        // Ignore damage: either the replay below meets it again, or it is in records before the snapshot.
        match self.fill_history(&mut replayer.state.machine, from) {
            Err(error @ FileError::Io { .. }) => return Err(error.into()),
            Ok(()) | Err(FileError::Damaged { .. }) => {}
        }
        let total = self.log.end().saturating_sub(from.seq);
        self.progress
            .begin("replaying the log", RECORDS, Some(total));
        let mut stopped = None;
        let read = self.log.records_after(from.seq, |seq, bytes| {
            stopped = replayer.record(seq, bytes).err();
            stopped.is_none()
        });
        let mut loss = None;
        let mut state = replayer.state;
        match read {
            Ok(()) => {}
            Err(error @ FileError::Io { .. }) => return Err(error.into()),
            Err(damaged) => stopped = Some(Stop::Loss(damaged.to_string())),
        }
        match stopped {
            None => {}
            Some(Stop::Loss(what)) => loss = Some(what),
            Some(Stop::Contradiction { seq }) => return Ok(Replay::Contradiction { seq }),
        }
        // A start that skips revisions writes no record, only the meta record.
        let floor = self.meta.used_revision;
        state.machine.restore_revision_floor(floor);
        Ok(Replay::Done(Box::new(Replayed { state, loss })))
    }

    /// Reads a base.
    fn read_base(&self, base: Option<&SnapshotMeta>) -> Result<Replaying, BaseError> {
        let Some(base) = base else {
            return Ok(Replaying::from_nothing(self.limits.clone()));
        };
        let empty = StateMachine::new(self.limits.clone());
        let slot = SnapshotSlot::of_number(base.slot);
        let restored = match snapshot::read(self.disk, slot, empty, self.progress) {
            Ok(restored) => restored,
            Err(error @ FileError::Io { .. }) => return Err(BaseError::Io(error)),
            Err(damaged) => return Err(BaseError::Unreadable(damaged.to_string())),
        };
        if (restored.header.seq, &restored.digest) != (base.seq, &base.digest) {
            let name = FileName::Snapshot(slot).as_str();
            return Err(BaseError::Unreadable(format!(
                "{name} is not the snapshot that log.redb names"
            )));
        }
        Ok(Replaying::from_copy(restored))
    }

    /// Fills the change history for watches with the changes before the snapshot, as far back as the log goes.
    fn fill_history(&self, machine: &mut StateMachine, upto: Position) -> Result<(), FileError> {
        let limits = self.limits;
        let mut records: Vec<LogRecord> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        self.progress
            .begin("reading the changes for watches", RECORDS, None);
        self.log.records_back_from(upto.seq, |seq, encoded| {
            let Ok((record, _)) = record::decode_alone(seq, encoded) else {
                return false;
            };
            count += record.effects.len();
            bytes += encoded.len();
            records.push(record);
            self.progress.add(1);
            count < limits.ring_changes && bytes < limits.ring_bytes
        })?;
        restore_history(machine, records.into_iter().rev());
        Ok(())
    }
}

/// Why a base cannot be read.
enum BaseError {
    Io(FileError),
    Unreadable(String),
}

/// Why a replay stops before the end of the log.
enum Stop {
    Loss(String),
    Contradiction { seq: u64 },
}

/// A running replay.
struct Replayer<'a> {
    log: &'a Log,
    stop_before: u64,
    progress: &'a Progress,
    state: Replaying,
}

impl Replayer<'_> {
    /// Replays the next record.
    fn record(&mut self, seq: u64, bytes: &[u8]) -> Result<(), Stop> {
        let file = self.log.file_of(seq);
        if seq >= self.stop_before {
            return Err(Stop::Loss(format!(
                "{file} is damaged at record {seq}: the record contradicts the state before it"
            )));
        }
        let replayed = self.state.record(seq, bytes);
        replayed.map_err(|misfit| match misfit {
            Misfit::Missing(expected) => Stop::Loss(format!(
                "log.redb has no record {expected}, but {file} has record {seq}"
            )),
            Misfit::Damaged(error) => {
                Stop::Loss(format!("{file} is damaged at record {seq}: {error}"))
            }
            Misfit::Contradiction => Stop::Contradiction { seq },
        })?;
        self.progress.add(1);
        Ok(())
    }
}

//! Goes from a snapshot through the log.

use std::time::{Duration, Instant};

use tracing::info;

use super::disk::Disk;
use super::error::{FileError, OpenError};
use super::file_name::{FileName, SnapshotSlot};
use super::log::Log;
use super::record::{self, Position, START};
use super::snapshot;
use super::stored::{self, LogRecord, SnapshotMeta, StoreMeta};
use crate::machine::{StateMachine, StoreLimits, Time};

/// How often a long recovery says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Where a state is made from.
pub(super) struct ReplaySource<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) limits: &'a StoreLimits,
    pub(super) log: &'a Log,
    pub(super) meta: &'a StoreMeta,
}

pub(super) enum Replay {
    Done(Box<Replayed>),
    /// The snapshot cannot be read.
    Unreadable(String),
    /// A record cannot have happened; the state is of no use.
    Contradiction {
        seq: u64,
    },
}

pub(super) struct Replayed {
    pub(super) machine: StateMachine,
    pub(super) time: Time,
    pub(super) position: Position,
    pub(super) log_bytes: u64,
    pub(super) record_count: u64,
    pub(super) loss: Option<String>,
}

impl<'a> ReplaySource<'a> {
    /// Where the way through the log can begin: at each snapshot, the latest first, and at nothing.
    pub(super) fn bases(
        &self,
    ) -> Result<impl Iterator<Item = Option<&'a SnapshotMeta>>, FileError> {
        let snapshots = &self.meta.snapshots;
        // The log has everything from the first record on, unless the store was made of something.
        let from_nothing = match self.log.first()? {
            None => snapshots.is_empty(),
            Some(first) => first == 1 && snapshots.iter().all(|snapshot| snapshot.seq > 0),
        };
        let snapshots = snapshots.iter().rev().map(Some);
        Ok(snapshots.chain(from_nothing.then_some(None)))
    }

    /// Goes from a snapshot, or from nothing, through the log. Stops before the record `stop_before`, as if that were
    /// damaged.
    pub(super) fn replay(
        &self,
        base: Option<&SnapshotMeta>,
        stop_before: u64,
    ) -> Result<Replay, OpenError> {
        let mut replayer = match self.read_base(base) {
            Ok(base) => Replayer {
                log: self.log,
                stop_before,
                reported_at: Instant::now(),
                state: base,
            },
            Err(BaseError::Io(error)) => return Err(error.into()),
            Err(BaseError::Unreadable(what)) => return Ok(Replay::Unreadable(what)),
        };
        let from = replayer.state.position;
        // What is damaged here is met again below, or was taken away from the log since.
        match self.fill_history(&mut replayer.state.machine, from) {
            Err(error @ FileError::Io { .. }) => return Err(error.into()),
            Ok(()) | Err(FileError::Damaged { .. }) => {}
        }
        let mut stopped = None;
        let read = self.log.records_after(from.seq, |seq, bytes| {
            stopped = replayer.record(seq, bytes).err();
            stopped.is_none()
        });
        let mut replayed = replayer.state;
        match read {
            Ok(()) => {}
            Err(error @ FileError::Io { .. }) => return Err(error.into()),
            Err(damaged) => stopped = Some(Stop::Loss(damaged.to_string())),
        }
        match stopped {
            None => {}
            Some(Stop::Loss(what)) => replayed.loss = Some(what),
            Some(Stop::Contradiction { seq }) => return Ok(Replay::Contradiction { seq }),
        }
        // A start that skipped revisions leaves no record of it.
        replayed
            .machine
            .restore_revision_floor(self.meta.used_revision);
        Ok(Replay::Done(Box::new(replayed)))
    }

    /// The state to begin with: an empty one, or that of a snapshot.
    fn read_base(&self, base: Option<&SnapshotMeta>) -> Result<Replayed, BaseError> {
        let empty = StateMachine::new(self.limits.clone());
        let (machine, time, position) = match base {
            None => (empty, Time::MIN, START),
            Some(base) => {
                let slot = SnapshotSlot::of_number(base.slot);
                let restored = match snapshot::read(self.disk, slot, empty) {
                    Ok(restored) => restored,
                    Err(error @ FileError::Io { .. }) => return Err(BaseError::Io(error)),
                    Err(damaged) => return Err(BaseError::Unreadable(damaged.to_string())),
                };
                let head = restored.head;
                if (head.seq, &restored.digest) != (base.seq, &base.digest) {
                    let name = FileName::Snapshot(slot).as_str();
                    return Err(BaseError::Unreadable(format!(
                        "{name} is another one than log.redb has noted"
                    )));
                }
                let position = Position {
                    seq: head.seq,
                    crc: head.record_crc,
                };
                (restored.machine, stored::from_nanos(head.time), position)
            }
        };
        Ok(Replayed {
            machine,
            time,
            position,
            log_bytes: 0,
            record_count: 0,
            loss: None,
        })
    }

    /// Fills what is kept for watches with what happened before the snapshot, as far as the log still has it.
    fn fill_history(&self, machine: &mut StateMachine, upto: Position) -> Result<(), FileError> {
        let limits = self.limits;
        let mut records: Vec<LogRecord> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        self.log.records_back_from(upto.seq, |seq, encoded| {
            let Ok((record, _)) = record::decode_alone(seq, encoded) else {
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
}

/// There is nothing to begin with.
enum BaseError {
    Io(FileError),
    Unreadable(String),
}

/// Why a replay goes no further.
enum Stop {
    Loss(String),
    Contradiction { seq: u64 },
}

/// A replay that is under way.
struct Replayer<'a> {
    log: &'a Log,
    stop_before: u64,
    reported_at: Instant,
    state: Replayed,
}

impl Replayer<'_> {
    /// Does again what the next record says.
    fn record(&mut self, seq: u64, bytes: &[u8]) -> Result<(), Stop> {
        let file = self.log.file_of(seq);
        if seq >= self.stop_before {
            return Err(Stop::Loss(format!(
                "{file} is damaged at record {seq}: it does not fit what was before it"
            )));
        }
        let state = &mut self.state;
        let expected = state.position.seq + 1;
        if seq != expected {
            return Err(Stop::Loss(format!(
                "log.redb has no record {expected}, and {file} has {seq}"
            )));
        }
        let decoded = record::decode(seq, bytes, state.position).and_then(|(record, position)| {
            let (revision, time) = (record.revision, record.time);
            Ok((record.into_effects()?, revision, time, position))
        });
        let (effects, revision, time, position) = decoded
            .map_err(|error| Stop::Loss(format!("{file} is damaged at record {seq}: {error}")))?;
        if state.machine.replay(effects).is_err() {
            return Err(Stop::Contradiction { seq });
        }
        state.machine.restore_revision_floor(revision);
        state.time = state.time.max(stored::from_nanos(time));
        state.position = position;
        state.record_count += 1;
        state.log_bytes += bytes.len() as u64;
        if self.reported_at.elapsed() >= PROGRESS_INTERVAL {
            self.reported_at = Instant::now();
            info!(
                record = seq,
                keys = state.machine.usage().key_count,
                "recovering"
            );
        }
        Ok(())
    }
}

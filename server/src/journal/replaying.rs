//! Replays records one after another: the recovery from disk does so, and a standby that follows the log of an owner.

use super::pages::Restored;
use super::record::{self, Position, START};
use super::stored::{self, Damaged, LogRecord};
use crate::machine::{Effect, Revision, StateMachine, StoreLimits, Time};

/// A state, and how far its records were replayed.
#[derive(Debug)]
pub(crate) struct Replaying {
    pub(crate) machine: StateMachine,
    /// The latest time in the copy and the records.
    pub(crate) time: Time,
    /// The last record.
    pub(crate) position: Position,
    /// Bytes of the records that were replayed, and their number.
    pub(crate) log_bytes: u64,
    pub(crate) record_count: u64,
}

/// Why a record cannot be replayed.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// The record of this number must come first, and is not there.
    Missing(u64),
    /// No server wrote this after the record before.
    Damaged(Damaged),
    /// The record contradicts the state before it. The state has a part of its effects, and is of no use.
    Contradiction,
}

/// A record that continues the state, and is not applied yet.
#[derive(Debug)]
pub(crate) struct NextRecord {
    pub(crate) position: Position,
    /// Which owner wrote it.
    pub(crate) epoch: u64,
    pub(crate) revision: Revision,
    pub(crate) time: Time,
    /// Whether it is the last record of an owner that ended in order.
    pub(crate) closed: bool,
    /// Whether a snapshot is of the state before this record.
    pub(crate) snapshot_before: bool,
    effects: Vec<Effect>,
    bytes: u64,
}

impl NextRecord {
    /// How many things happened, and the bytes of the record.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.effects.len(), self.bytes as usize)
    }
}

impl Replaying {
    /// Begins with an empty state.
    pub(crate) fn from_nothing(limits: StoreLimits) -> Self {
        Self::from(StateMachine::new(limits), Time::MIN, START)
    }

    /// Begins with a copy, which is of one record.
    pub(crate) fn from_copy(restored: Restored) -> Self {
        let header = restored.header;
        let position = Position {
            seq: header.seq,
            crc: header.record_crc,
        };
        let time = stored::from_nanos(header.time);
        Self::from(restored.machine, time, position)
    }

    fn from(machine: StateMachine, time: Time, position: Position) -> Self {
        Self {
            machine,
            time,
            position,
            log_bytes: 0,
            record_count: 0,
        }
    }

    /// Reads record `seq`, which must be the next one. Changes nothing.
    ///
    /// # Errors
    /// Every [`Misfit`] but a contradiction.
    pub(crate) fn read(&self, seq: u64, bytes: &[u8]) -> Result<NextRecord, Misfit> {
        let expected = self.position.seq + 1;
        if seq != expected {
            return Err(Misfit::Missing(expected));
        }
        let read = || {
            let (record, position) = record::decode(seq, bytes, self.position)?;
            Ok(NextRecord {
                position,
                epoch: record.epoch,
                revision: record.revision,
                time: stored::from_nanos(record.time),
                closed: record.closed,
                snapshot_before: record.snapshot_before,
                effects: record.into_effects()?,
                bytes: bytes.len() as u64,
            })
        };
        read().map_err(Misfit::Damaged)
    }

    /// Applies a record that was read.
    ///
    /// # Errors
    /// [`Misfit::Contradiction`].
    pub(crate) fn apply(&mut self, next: NextRecord) -> Result<(), Misfit> {
        if self.machine.replay(next.effects).is_err() {
            return Err(Misfit::Contradiction);
        }
        self.machine.restore_revision_floor(next.revision);
        self.time = self.time.max(next.time);
        self.position = next.position;
        self.record_count += 1;
        self.log_bytes += next.bytes;
        Ok(())
    }

    /// Reads and applies record `seq`, which must be the next one.
    ///
    /// # Errors
    /// See [`Misfit`].
    pub(crate) fn record(&mut self, seq: u64, bytes: &[u8]) -> Result<(), Misfit> {
        self.apply(self.read(seq, bytes)?)
    }
}

/// Fills the change history for watches with records that led to a restored state, the oldest first: without gaps, and the
/// last of them is the record that the state is of.
pub(crate) fn restore_history(
    machine: &mut StateMachine,
    records: impl IntoIterator<Item = LogRecord>,
) {
    let mut records = records.into_iter();
    // The history is complete only after the first of these records.
    let Some(first) = records.next() else {
        return;
    };
    let effects = records.flat_map(|record| record.effects);
    let effects = effects.filter_map(|effect| effect.try_into().ok());
    machine.restore_history(first.revision, effects);
}

//! What the owner counts of itself. Only its task counts, and only if somebody can look.

use tokio::time::Instant;

use super::state::Owner;
use super::watches::NextBatch;
use crate::machine::{Operation, Outcome, Rejection, WatchError};
use crate::metrics::{DISK_ENOUGH, OperationKind, OwnerCells};

impl Owner {
    /// Counts an operation.
    #[inline]
    pub(super) fn count(&self, kind: OperationKind, is_ok: bool) {
        if let Some(cells) = &self.metrics {
            cells.count(kind, is_ok, 1);
        }
    }

    /// Counts what a watch is sent next, or its end.
    pub(super) fn count_next_batch(&self, next: &Result<NextBatch, WatchError>) {
        let Some(cells) = &self.metrics else {
            return;
        };
        match next {
            Ok(NextBatch::Batch(batch, _)) => cells.watch_events.add(batch.updates.len() as u64),
            Ok(NextBatch::QuotaUsedUp) => {}
            Err(WatchError::Compacted { .. }) => cells.watches_lagged.add(1),
            Err(WatchError::Unknown { .. }) => {}
        }
    }

    /// Counts how long a message has waited, if that is measured.
    #[inline]
    pub(super) fn count_wait(&self, sent: Option<Instant>) {
        if let (Some(cells), Some(sent)) = (&self.metrics, sent) {
            cells.mailbox_wait.add(sent.elapsed());
        }
    }

    /// Counts the time since `since`, in which the owner has worked.
    pub(super) fn count_busy(&self, since: Instant) {
        if let Some(cells) = &self.metrics {
            let nanos = since.elapsed().as_nanos();
            cells
                .busy_nanos
                .add(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }

    /// Publishes the numbers that a batch of so many messages has changed.
    pub(super) fn publish(&mut self, messages: usize) {
        let Some(cells) = &self.metrics else {
            return;
        };
        cells.batches.add(1);
        cells.messages.add(messages as u64);
        let usage = self.machine.usage();
        let unsigned = |revision: i64| revision.cast_unsigned();
        cells.revision.set(unsigned(usage.revision));
        cells
            .durable_revision
            .set(unsigned(self.durable_revision()));
        cells.oldest_revision.set(unsigned(usage.oldest_revision));
        cells.keys.set(usage.key_count as u64);
        cells.store_bytes.set(usage.used_bytes);
        cells.sessions.set(usage.session_count as u64);
        cells.machines.set(usage.machine_count as u64);
        cells.request_ids.set(usage.request_id_count as u64);
        cells.watches.set(self.watches.len() as u64);
        let ended = self.machine.ended();
        let by_cause = [ended.expired, ended.session_ended, ended.timed_out];
        for (cell, count) in cells.ended.iter().zip(by_cause) {
            cell.set(count);
        }
        let commits = self.commits.as_ref();
        let (unsynced, disk) = commits.map_or((0, DISK_ENOUGH), |commits| {
            (commits.unsynced_operations() as u64, commits.disk_level())
        });
        cells.unsynced_operations.set(unsynced);
        cells.disk.set(disk);
    }
}

/// The operations of a frame, by kind, from before they are handed to the machine.
pub(super) struct Tally<'a> {
    cells: &'a OwnerCells,
    operations: [u64; KINDS.len()],
}

/// The kinds of operations that frames have.
const KINDS: [OperationKind; 5] = [
    OperationKind::Read,
    OperationKind::Write,
    OperationKind::Add,
    OperationKind::Transition,
    OperationKind::Delete,
];

impl<'a> Tally<'a> {
    /// None if nobody counts.
    #[inline]
    pub(super) fn of(cells: Option<&'a OwnerCells>, operations: &[Operation]) -> Option<Self> {
        let mut tally = Self {
            cells: cells?,
            operations: [0; KINDS.len()],
        };
        for operation in operations {
            tally.operations[kind_of(operation) as usize] += 1;
        }
        Some(tally)
    }

    /// Counts operations that stood alone.
    #[inline]
    pub(super) fn count_each(self, results: &[Result<Outcome, Box<Rejection>>]) {
        let mut done = [0; KINDS.len()];
        for outcome in results.iter().flatten() {
            done[kind_of_outcome(outcome) as usize] += 1;
        }
        for ((kind, all), done) in KINDS.into_iter().zip(self.operations).zip(done) {
            if done > 0 {
                self.cells.count(kind, true, done);
            }
            if all > done {
                self.cells.count(kind, false, all - done);
            }
        }
    }

    /// Counts operations that were all done, or all refused.
    pub(super) fn count_all(self, is_ok: bool) {
        for (kind, all) in KINDS.into_iter().zip(self.operations) {
            if all > 0 {
                self.cells.count(kind, is_ok, all);
            }
        }
    }
}

fn kind_of(operation: &Operation) -> OperationKind {
    match operation {
        Operation::Read(_) => OperationKind::Read,
        Operation::Write(_) => OperationKind::Write,
        Operation::Add(_) => OperationKind::Add,
        Operation::Transition(_) => OperationKind::Transition,
        Operation::Delete(_) => OperationKind::Delete,
    }
}

fn kind_of_outcome(outcome: &Outcome) -> OperationKind {
    match outcome {
        Outcome::Read(_) => OperationKind::Read,
        Outcome::Write(_) => OperationKind::Write,
        Outcome::Add(_) => OperationKind::Add,
        Outcome::Transition(_) => OperationKind::Transition,
        Outcome::Delete(_) => OperationKind::Delete,
    }
}

//! What the owner counts of itself. Only its task counts, and only if somebody can look.

use tokio::time::Instant;

use super::state::Owner;
use super::watches::NextBatch;
use crate::machine::{Operation, PlainTally, WatchError};
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

/// The kinds of operations that frames have, in the order of [`PlainTally`].
const KINDS: [OperationKind; 5] = [
    OperationKind::Read,
    OperationKind::Write,
    OperationKind::Add,
    OperationKind::Transition,
    OperationKind::Delete,
];

/// The operations of an atomic frame, by kind, from before they are handed to the machine.
pub(super) struct Tally([u64; KINDS.len()]);

impl Tally {
    /// None if nobody counts.
    #[inline]
    pub(super) fn of(cells: Option<&OwnerCells>, operations: &[Operation]) -> Option<Self> {
        cells?;
        let mut tally = [0; KINDS.len()];
        for operation in operations {
            tally[kind_of(operation) as usize] += 1;
        }
        Some(Self(tally))
    }
}

impl Owner {
    /// Counts operations that stood alone.
    #[inline]
    pub(super) fn count_each(&self, tally: &PlainTally) {
        if let Some(cells) = &self.metrics {
            count_all(cells, true, &tally.done);
            count_all(cells, false, &tally.refused);
        }
    }

    /// Counts operations that were all done, or all refused.
    pub(super) fn count_all(&self, tally: Option<Tally>, is_ok: bool) {
        if let (Some(cells), Some(Tally(operations))) = (&self.metrics, tally) {
            count_all(cells, is_ok, &operations);
        }
    }
}

/// Counts operations of all kinds.
fn count_all(cells: &OwnerCells, is_ok: bool, operations: &[u64; KINDS.len()]) {
    for (kind, count) in KINDS.into_iter().zip(operations) {
        if *count > 0 {
            cells.count(kind, is_ok, *count);
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

//! What the threads of the journal count. Each takes at least as long as a write to disk, so several may share a cell.

use super::cells::{Cell, Times};

/// The files that are synced: values of the label `file`.
pub(crate) const FILES: [&str; 5] = [
    "tail",
    "log.redb",
    "watermark",
    "snapshot-a.redb",
    "snapshot-b.redb",
];

/// The counts of the journal.
#[derive(Debug, Default)]
pub(crate) struct JournalCells {
    /// From when the journal takes a batch to when it is committed.
    pub(crate) commits: Times,
    pub(crate) commit_bytes: Cell,
    pub(crate) commit_operations: Cell,
    /// Syncs, by file, in the order of [`FILES`].
    pub(crate) syncs: [Times; FILES.len()],
    /// Bytes of the records since the last snapshot.
    pub(crate) log_bytes: Cell,
    pub(crate) disk_free_bytes: Cell,
    pub(crate) snapshots: Times,
    /// When the last snapshot was complete, in nanoseconds since 1970; 0 before the first of this process.
    pub(crate) snapshot_at: Cell,
    pub(crate) snapshot_failures: Cell,

    // Only a journal that another process can take over has these.
    /// The number of the last record that was committed.
    pub(crate) seq: Cell,
    /// From when the journal is asked whether this process still owns the store to when it knows.
    pub(crate) confirms: Times,
    /// Commits and other changes that were sent again, because there was no answer.
    pub(crate) commit_retries: Cell,
}

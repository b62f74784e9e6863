//! What the owner counts: only its task writes these cells.

use super::cells::{Cell, Times};

/// What the owner is asked to do, as operations are counted by: each operation of a frame counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationKind {
    Read,
    Write,
    Add,
    Transition,
    Delete,
    DeletePrefix,
    List,
    OpenSession,
    RenewSession,
    CloseSession,
    ListSessions,
    DefineMachine,
    GetMachine,
    ListMachines,
    DeleteMachine,
}

/// The names of the kinds, in their order: values of the label `operation`.
pub(crate) const OPERATIONS: [&str; 15] = [
    "read",
    "write",
    "add",
    "transition",
    "delete",
    "delete_prefix",
    "list",
    "open_session",
    "renew_session",
    "close_session",
    "list_sessions",
    "define_machine",
    "get_machine",
    "list_machines",
    "delete_machine",
];

/// Why a key or a session ended, or a key moved on, by itself: values of the label `cause`.
pub(crate) const ENDED: [&str; 3] = ["expired", "session_ended", "timed_out"];

/// The counts of the owner.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct OwnerCells {
    /// Nanoseconds that the owner did not wait.
    pub(crate) busy_nanos: Cell,
    pub(crate) messages: Cell,
    pub(crate) batches: Cell,
    /// One of 64 waits in the mailbox.
    pub(crate) mailbox_wait: Times,
    /// Operations that were done, and that were refused.
    pub(crate) operations: [OperationCells; OPERATIONS.len()],
    pub(crate) ended: [Cell; ENDED.len()],
    /// Changes and initial entries that watches were sent.
    pub(crate) watch_events: Cell,
    /// Watches that ended because they fell behind the history.
    pub(crate) watches_lagged: Cell,

    // As of the end of the last batch.
    pub(crate) revision: Cell,
    pub(crate) durable_revision: Cell,
    pub(crate) oldest_revision: Cell,
    pub(crate) keys: Cell,
    pub(crate) store_bytes: Cell,
    pub(crate) sessions: Cell,
    pub(crate) machines: Cell,
    pub(crate) watches: Cell,
    pub(crate) request_ids: Cell,
    /// Changes that are not on disk yet.
    pub(crate) unsynced_operations: Cell,
    /// [`DISK_ENOUGH`], [`DISK_LOW`] or [`DISK_FULL`].
    pub(crate) disk: Cell,
}

/// There is enough space on the disk.
pub(crate) const DISK_ENOUGH: u64 = 0;
/// There is too little for changes that make the store larger.
pub(crate) const DISK_LOW: u64 = 1;
/// There is none.
pub(crate) const DISK_FULL: u64 = 2;

/// Operations of one kind.
#[derive(Debug, Default)]
pub(crate) struct OperationCells {
    pub(crate) ok: Cell,
    pub(crate) refused: Cell,
}

impl OwnerCells {
    /// Counts operations of a kind that were done, or that were refused.
    #[inline]
    pub(crate) fn count(&self, kind: OperationKind, is_ok: bool, count: u64) {
        let cells = &self.operations[kind as usize];
        match is_ok {
            true => cells.ok.add(count),
            false => cells.refused.add(count),
        }
    }
}

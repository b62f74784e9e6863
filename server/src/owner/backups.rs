//! The open backups. The caller holds a backup open; it ends when the caller drops it.

use std::sync::mpsc;

use crate::config::{BACKUPS_MAX, COPY_ASIDE_BYTES_MAX};
use crate::machine::{CopyHead, CopyId, StateMachine, Time};

use super::error::CallError;
use super::quota::ConnectionQuota;
use super::shares::{Limited, Open};

/// An open backup: a copy of the whole state at one revision. Dropping it ends the backup.
#[derive(Debug)]
pub struct OpenBackup {
    /// Identifies the copy.
    pub id: CopyId,
    /// What the copy begins with.
    pub head: CopyHead,
    /// The owner's time when the backup began.
    pub time: Time,
    on_drop: mpsc::Sender<CopyId>,
    _share: Open,
}

impl Drop for OpenBackup {
    fn drop(&mut self) {
        // A failed send means that the owner is gone, and the copy with it.
        let _ = self.on_drop.send(self.id);
    }
}

/// All open backups.
#[derive(Debug)]
pub(super) struct OpenBackups {
    count: usize,
    /// Ids of backups that were dropped and are still counted. Bounded: each open backup sends its id once.
    dropped: mpsc::Receiver<CopyId>,
    /// Cloned for every backup, which sends its id when it is dropped.
    on_drop: mpsc::Sender<CopyId>,
}

impl OpenBackups {
    pub(super) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "each open backup sends once, and how many are open is limited"
        )]
        let (on_drop, dropped) = mpsc::channel();
        Self {
            count: 0,
            dropped,
            on_drop,
        }
    }

    /// Begins a backup of the state as it is now.
    pub(super) fn begin(
        &mut self,
        quota: &ConnectionQuota,
        machine: &mut StateMachine,
        time: Time,
    ) -> Result<OpenBackup, CallError> {
        self.end_dropped(machine);
        let share = quota.shares().backups.open(&Limited {
            what: "backups",
            of_one: "backups of one connection",
            open: self.count,
            limit: BACKUPS_MAX,
        })?;
        self.count += 1;
        let (id, head) = machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        Ok(OpenBackup {
            id,
            head,
            time,
            on_drop: self.on_drop.clone(),
            _share: share,
        })
    }

    /// Ends the copies of backups that were dropped. Until then the machine keeps values aside for them.
    pub(super) fn end_dropped(&mut self, machine: &mut StateMachine) {
        if self.count == 0 {
            return;
        }
        while let Ok(id) = self.dropped.try_recv() {
            machine.end_copy(id);
            self.count -= 1;
        }
    }
}

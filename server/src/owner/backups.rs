//! The backups that are being made: who asks for one holds it open, and it ends when that is dropped.

use std::sync::mpsc;

use crate::config::{BACKUPS_MAX, COPY_ASIDE_BYTES_MAX};
use crate::machine::{CopyHead, CopyId, StateMachine, Time};

use super::error::CallError;

/// A copy that has begun. Dropping it gives it up.
#[derive(Debug)]
pub struct OpenBackup {
    /// Its name.
    pub id: CopyId,
    /// What it begins with.
    pub head: CopyHead,
    /// The owner's time.
    pub time: Time,
    ended: mpsc::Sender<CopyId>,
}

impl Drop for OpenBackup {
    fn drop(&mut self) {
        // An error means that the owner is gone, and the copy with it.
        let _ = self.ended.send(self.id);
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct OpenBackups {
    open: usize,
    /// Never more than were open.
    ended: mpsc::Receiver<CopyId>,
    /// Given to every copy.
    end: mpsc::Sender<CopyId>,
}

impl OpenBackups {
    pub(super) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "each open copy sends once, and how many are open is limited"
        )]
        let (end, ended) = mpsc::channel();
        Self {
            open: 0,
            ended,
            end,
        }
    }

    pub(super) fn begin(
        &mut self,
        machine: &mut StateMachine,
        time: Time,
    ) -> Result<OpenBackup, CallError> {
        self.forget_ended(machine);
        if self.open == BACKUPS_MAX {
            return Err(CallError::TooManyOpen {
                what: "backups",
                limit: BACKUPS_MAX,
            });
        }
        self.open += 1;
        let (id, head) = machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        Ok(OpenBackup {
            id,
            head,
            time,
            ended: self.end.clone(),
        })
    }

    /// Lets go of those that nobody makes any more: until then the state puts things aside for them.
    pub(super) fn forget_ended(&mut self, machine: &mut StateMachine) {
        if self.open == 0 {
            return;
        }
        while let Ok(id) = self.ended.try_recv() {
            machine.end_copy(id);
            self.open -= 1;
        }
    }
}

//! The persister's queue: the owner's commands, and the end of each snapshot.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Weak};

use super::file_error::FileError;
use super::snapshot::NewSnapshot;
use crate::journal::interface::{Command, CommandSink, Gone, QUEUE_CAPACITY};

/// What the persister receives.
#[derive(Debug)]
pub(super) enum Work {
    /// From the owner.
    Command(Command),
    /// From the snapshot thread: the snapshot is complete, or failed.
    SnapshotDone(Result<NewSnapshot, FileError>),
}

/// The owner's end of the persister's queue.
#[derive(Debug)]
pub(super) struct Commands(Arc<SyncSender<Work>>);

impl CommandSink for Commands {
    fn send(&self, command: Command) -> Result<(), Gone> {
        match self.0.try_send(Work::Command(command)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                unreachable!("the queue has room for every command that can be in it")
            }
            Err(TrySendError::Disconnected(_)) => Err(Gone),
        }
    }
}

/// Makes a queue: the owner's end, the persister's own for the snapshot thread, and where the persister receives. The queue
/// ends with the owner's end.
pub(super) fn queue() -> (Commands, Weak<SyncSender<Work>>, Receiver<Work>) {
    // Room for the end of a snapshot, too.
    let (sender, receiver) = mpsc::sync_channel(QUEUE_CAPACITY + 1);
    let sender = Arc::new(sender);
    let own = Arc::downgrade(&sender);
    (Commands(sender), own, receiver)
}

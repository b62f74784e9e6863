//! Snapshots: when one is due, and the slices that the owner gives to the journal for it.

use std::sync::mpsc;

use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::config::{COPY_ASIDE_BYTES_MAX, COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{CopyHead, CopyId, CopySlice, StateMachine};

/// How long to wait after the start of a snapshot before the next one, if the first one fails.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// When a snapshot is due, and the snapshot being made.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// A snapshot is due when the log has grown by this many bytes, and by as many as the state uses.
    log_bytes_min: u64,
    /// Bytes of the log since the last snapshot.
    log_bytes: u64,
    /// The snapshot being made.
    running: Option<Snapshot>,
    due: bool,
    /// No snapshot is due before this.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Snapshot {
    copy: CopyId,
    slices: mpsc::SyncSender<CopySlice>,
}

impl Snapshots {
    pub(super) fn new(log_bytes_min: u64) -> Self {
        Self {
            log_bytes_min,
            log_bytes: 0,
            running: None,
            due: false,
            not_before: None,
        }
    }

    /// Takes note that the log has `bytes` bytes since the last snapshot.
    pub(super) fn set_log_bytes(&mut self, bytes: u64, machine: &StateMachine) {
        self.log_bytes = bytes;
        self.check_due(machine);
    }

    /// Works out whether a snapshot is due.
    pub(super) fn check_due(&mut self, machine: &StateMachine) {
        let due_bytes = self.log_bytes_min.max(machine.usage().used_bytes);
        let rested = self.not_before.is_none_or(|at| at <= Instant::now());
        self.due = self.log_bytes >= due_bytes && rested;
    }

    /// Begins a snapshot, if one is due and none is being made. Returns its head, and the queue of its slices.
    pub(super) fn begin_if_due(
        &mut self,
        machine: &mut StateMachine,
    ) -> Option<(CopyHead, mpsc::Receiver<CopySlice>)> {
        if !self.due || self.running.is_some() {
            return None;
        }
        self.due = false;
        // Capacity 1: the journal asks for one slice at a time.
        let (sender, slices) = mpsc::sync_channel(1);
        let (copy, head) = machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        self.running = Some(Snapshot {
            copy,
            slices: sender,
        });
        // If this snapshot fails, the next one must not start at once.
        self.not_before = Some(Instant::now() + SNAPSHOT_PAUSE);
        Some((head, slices))
    }

    /// Sends the next slice of the snapshot being made to the journal.
    pub(super) fn send_next_slice(&mut self, machine: &mut StateMachine) {
        let Some(snapshot) = &self.running else {
            return;
        };
        match machine.next_copy_slice(snapshot.copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES) {
            // A failed send means that the snapshot has failed; an event will say so.
            Ok(slice) => drop(snapshot.slices.try_send(slice)),
            Err(error) => {
                warn!(
                    limit = error.limit,
                    "snapshot given up: too many changes while it was made"
                );
                self.running = None;
            }
        }
    }

    /// Takes note that the journal has finished the snapshot, or failed to make it.
    pub(super) fn ended(&mut self, made: bool, machine: &mut StateMachine) {
        if made {
            self.not_before = None;
            self.log_bytes = 0;
        }
        if let Some(snapshot) = self.running.take() {
            machine.end_copy(snapshot.copy);
        }
    }

    /// Gives up the snapshot being made, and starts no other for now.
    pub(super) fn stop(&mut self) {
        self.not_before = Some(Instant::now() + SNAPSHOT_PAUSE);
        self.running = None;
        self.due = false;
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

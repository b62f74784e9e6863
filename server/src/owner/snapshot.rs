//! Snapshots: when one is due, and the slices that the owner gives to the journal for it.

use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::config::{COPY_ASIDE_BYTES_MAX, COPY_ENTRIES_MAX, COPY_SLICE_BYTES, SHRINK_SLACK_BYTES};
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
    /// Bytes on disk that are not needed when another snapshot is made.
    removable: u64,
    /// Whether there is little space on the disk.
    is_space_low: bool,
    /// The snapshot being made.
    running: Option<Snapshot>,
    due: bool,
    /// No snapshot is due before this, unless the state has become much smaller.
    not_before: Option<Instant>,
    /// Bytes that the state used when the last snapshot began.
    used_before: u64,
}

#[derive(Debug)]
struct Snapshot {
    copy: CopyId,
    slices: mpsc::Sender<CopySlice>,
}

impl Snapshots {
    pub(super) fn new(log_bytes_min: u64, is_space_low: bool) -> Self {
        Self {
            log_bytes_min,
            log_bytes: 0,
            removable: 0,
            is_space_low,
            used_before: 0,
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

    /// Takes note of whether there is little space on the disk.
    pub(super) fn set_space_low(&mut self, is_low: bool, machine: &StateMachine) {
        self.is_space_low = is_low;
        self.check_due(machine);
    }

    /// Takes note that `bytes` bytes on disk are not needed when another snapshot is made.
    pub(super) fn set_removable(&mut self, bytes: u64, machine: &StateMachine) {
        self.removable = bytes;
        self.check_due(machine);
    }

    /// Works out whether a snapshot is due.
    fn check_due(&mut self, machine: &StateMachine) {
        let used = machine.usage().used_bytes;
        let is_log_long = self.log_bytes >= self.log_bytes_min.max(used);
        // A snapshot takes up to twice the bytes of the state. Where space is not needed, leave what the log takes in the
        // normal course of things.
        let worth = match self.is_space_low {
            true => (2 * used).saturating_add(SHRINK_SLACK_BYTES.min(self.log_bytes_min)),
            false => used.max(self.log_bytes_min).saturating_mul(16),
        };
        let rested = self.not_before.is_none_or(|at| at <= Instant::now());
        self.due =
            (is_log_long || self.removable > worth) && (rested || used < self.used_before / 2);
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
        self.removable = 0;
        self.used_before = machine.usage().used_bytes;
        // Capacity 1: the journal asks for one slice at a time.
        let (sender, slices) = mpsc::channel(1);
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

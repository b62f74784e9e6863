//! The snapshots that the journal makes of a copy: when one is due, and what the owner gives to it.

use std::sync::mpsc;

use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::config::{COPY_ASIDE_BYTES_MAX, COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{CopyHead, CopyId, CopySlice, StateMachine};

/// How long to wait after a snapshot that could not be made.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// When a snapshot is due, and the one that is being made.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// One is due when the log has grown by so much, and by as much as the state takes.
    log_bytes_min: u64,
    /// Bytes of the log since the last one.
    log_bytes: u64,
    under_way: Option<Snapshot>,
    due: bool,
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
            under_way: None,
            due: false,
            not_before: None,
        }
    }

    /// The log has so many bytes since the last snapshot.
    pub(super) fn log_has(&mut self, bytes: u64, machine: &StateMachine) {
        self.log_bytes = bytes;
        self.look_at_log(machine);
    }

    /// Whether it is time for a snapshot.
    pub(super) fn look_at_log(&mut self, machine: &StateMachine) {
        let due = self.log_bytes_min.max(machine.usage().used_bytes);
        let rested = self.not_before.is_none_or(|at| at <= Instant::now());
        self.due = self.log_bytes >= due && rested;
    }

    /// Begins a snapshot, if one is due and none is under way.
    pub(super) fn begin_if_due(
        &mut self,
        machine: &mut StateMachine,
    ) -> Option<(CopyHead, mpsc::Receiver<CopySlice>)> {
        if !self.due || self.under_way.is_some() {
            return None;
        }
        self.due = false;
        // One at a time is asked for.
        let (sender, slices) = mpsc::sync_channel(1);
        let (copy, head) = machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        self.under_way = Some(Snapshot {
            copy,
            slices: sender,
        });
        // Not tried again at once if it fails.
        self.not_before = Some(Instant::now() + SNAPSHOT_PAUSE);
        Some((head, slices))
    }

    pub(super) fn next_slice(&mut self, machine: &mut StateMachine) {
        let Some(snapshot) = &self.under_way else {
            return;
        };
        match machine.next_copy_slice(snapshot.copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES) {
            // That nobody takes it is told by the end of the snapshot.
            Ok(slice) => drop(snapshot.slices.try_send(slice)),
            Err(lost) => {
                warn!(
                    limit = lost.limit,
                    "gave a snapshot up: too much changes while it is made"
                );
                self.under_way = None;
            }
        }
    }

    pub(super) fn ended(&mut self, made: bool, machine: &mut StateMachine) {
        if made {
            self.not_before = None;
            self.log_bytes = 0;
        }
        if let Some(snapshot) = self.under_way.take() {
            machine.end_copy(snapshot.copy);
        }
    }

    /// Gives up what is under way, and begins nothing more for now.
    pub(super) fn stop(&mut self) {
        self.not_before = Some(Instant::now() + SNAPSHOT_PAUSE);
        self.under_way = None;
        self.due = false;
    }

    #[cfg(test)]
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

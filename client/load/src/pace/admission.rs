//! The limit of operations in flight in an open loop, and the count of those beyond it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::pace::pacer::Handover;
use crate::pace::stop::Stop;

/// Lets operations through as they become due, as long as there is room. All threads of a run share it.
///
/// Each operation that is due counts as one, even if it is a frame of many. The counters order nothing: the operations
/// themselves go another way.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Let through, and neither answered nor given back.
    in_flight: AtomicU64,
    in_flight_max: u64,
    /// Due in the measured time.
    due: AtomicU64,
    /// Due in the measured time, and not let through.
    dropped: AtomicU64,
    /// Let through, and never sent.
    unsent: AtomicU64,
}

impl Admission {
    pub(crate) fn new(in_flight_max: u64) -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            in_flight_max,
            due: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
        }
    }

    /// Lets the operation through that is due at `intended`, if there is room and `take` takes it.
    ///
    /// Returns [`Handover::Closed`] when the time or the count of the run is used up.
    pub(crate) fn offer(
        &self,
        intended: Instant,
        frame_ops: u64,
        stop: &Stop,
        take: impl FnOnce() -> Handover,
    ) -> Handover {
        if stop.admit(intended, frame_ops) < frame_ops {
            return Handover::Closed;
        }
        let is_measured = stop.is_measured(intended);
        if is_measured {
            self.due.fetch_add(1, Ordering::Relaxed);
        }
        let handover = match self.in_flight.load(Ordering::Relaxed) < self.in_flight_max {
            true => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                let handover = take();
                if handover != Handover::Accepted {
                    self.answered();
                }
                handover
            }
            false => Handover::Dropped,
        };
        if handover != Handover::Accepted && is_measured {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        handover
    }

    /// Makes room, because an operation that was let through is answered or has failed.
    pub(crate) fn answered(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Makes room, because an operation that was let through will never be sent. It counts as dropped.
    pub(crate) fn give_back(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        self.answered();
    }

    /// Returns how much was due in the measured time so far.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Returns how much was due so far and never sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.unsent.load(Ordering::Relaxed)
    }
}

//! The limit of operations in flight in an open loop, and the count of those beyond it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::pace::pacer::Handover;
use crate::pace::stop::Stop;

/// Why an operation of an open loop was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// As many operations were in flight as are allowed.
    NoCapacity,
    /// There was no connection to send it on.
    NoConnection,
    /// It was due before the end, and this tool or its workers did not come round to it in time.
    LateStart,
}

impl DropReason {
    pub(crate) const ALL: [Self; 3] = [Self::NoCapacity, Self::NoConnection, Self::LateStart];

    /// Returns the name that reports use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoCapacity => "no_capacity",
            Self::NoConnection => "no_connection",
            Self::LateStart => "late_start",
        }
    }
}

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
    /// Due in the measured time, and never sent, by [`DropReason`].
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Admission {
    pub(crate) fn new(in_flight_max: u64) -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            in_flight_max,
            due: AtomicU64::new(0),
            dropped: Default::default(),
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
        if stop.is_measured(intended) {
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
        match handover {
            Handover::Accepted => {}
            Handover::Dropped => self.drop_due(intended, DropReason::NoCapacity, stop),
            Handover::Closed => self.drop_due(intended, DropReason::LateStart, stop),
        }
        handover
    }

    /// Makes room, because an operation that was let through is answered or has failed.
    pub(crate) fn answered(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Makes room, because the operation that was due at `intended` and let through will never be sent. It counts as
    /// dropped, unless it belongs to the warm-up.
    pub(crate) fn give_back(&self, intended: Instant, reason: DropReason, stop: &Stop) {
        self.drop_due(intended, reason, stop);
        self.answered();
    }

    fn drop_due(&self, intended: Instant, reason: DropReason, stop: &Stop) {
        if stop.is_measured(intended) {
            self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how much was due in the measured time so far.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Returns how much was due in the measured time so far and never sent, for one reason.
    pub(crate) fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Returns how much was due in the measured time so far and never sent.
    pub(crate) fn dropped(&self) -> u64 {
        let reasons = DropReason::ALL.into_iter();
        reasons.map(|reason| self.dropped_for(reason)).sum()
    }
}

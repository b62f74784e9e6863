//! The account of an open loop: what was due, what of it is under way, and what was never sent. All threads share it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pace::pacer::Handover;
use crate::pace::stop::Stop;

/// Counts arrivals; each is a frame. Nothing is ordered by it: what is handed over goes another way.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Let through and not answered.
    outstanding: AtomicU64,
    /// Under way at most; what is due beyond is dropped.
    most: u64,
    /// Due in the window.
    due: AtomicU64,
    /// Due in the window, and not let through.
    dropped: AtomicU64,
    /// Let through, and never sent.
    unsent: AtomicU64,
    /// CPU time of the pacer's thread.
    cpu_nanos: AtomicU64,
}

impl Admission {
    /// Nothing yet, and at most so much under way.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            outstanding: AtomicU64::new(0),
            most,
            due: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
        }
    }

    /// Lets what is due through, if there is room and `take` takes it. Closed when the run's time or count is over.
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
        let handover = match self.outstanding.load(Ordering::Relaxed) < self.most {
            true => {
                self.outstanding.fetch_add(1, Ordering::Relaxed);
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

    /// What was let through is answered, or has failed.
    pub(crate) fn answered(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    /// What was let through will never be sent.
    pub(crate) fn give_back(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        self.answered();
    }

    /// How much was due in the window.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// How much was due and never sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.unsent.load(Ordering::Relaxed)
    }

    /// CPU time of the pacer's thread, when it has ended.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Notes the CPU time of the pacer's thread.
    pub(crate) fn set_cpu(&self, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.store(nanos, Ordering::Relaxed);
    }
}

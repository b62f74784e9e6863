//! The owner's clock. The owner reads it once for a batch of messages, and passes the time down as data.

use tokio::time::Instant;

use crate::machine::Time;

/// Tells the owner's time. It advances evenly from the time it was set to, even if the system's clock is changed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    set_at: Instant,
    set_to: Time,
}

/// One moment on both clocks: the monotonic one for deadlines, the owner's time for the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Time,
}

impl Clock {
    /// Returns a clock that shows `time` now.
    #[must_use]
    pub fn set(time: Time) -> Self {
        Self {
            set_at: Instant::now(),
            set_to: time,
        }
    }

    pub(super) fn now(&self) -> Now {
        let instant = Instant::now();
        Now {
            instant,
            time: self.set_to + (instant - self.set_at),
        }
    }

    /// Returns the instant at which this clock shows `time`.
    pub(super) fn at(&self, time: Time) -> Instant {
        self.set_at + time.since(self.set_to)
    }
}

//! What time it is, for everything that the owner does in one go.

use tokio::time::Instant;

use crate::machine::Time;

/// Tells the time. It runs evenly from where it was set, whatever becomes of the system's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    set_at: Instant,
    set_to: Time,
}

/// A moment, for deadlines and for the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Time,
}

impl Clock {
    /// A clock that shows `time` now.
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

    /// When it will show `time`.
    pub(super) fn at(&self, time: Time) -> Instant {
        self.set_at + time.since(self.set_to)
    }
}

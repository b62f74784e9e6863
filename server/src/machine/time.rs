//! Time, which the state machine is told and never asks for.

use std::ops::Add;
use std::time::Duration;

/// A moment: nanoseconds since 1970-01-01 00:00 UTC. Enough for the next five hundred years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// Before everything.
    pub const MIN: Self = Self(0);

    /// After everything.
    pub(super) const MAX: Self = Self(u64::MAX);

    /// This long after 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn since_epoch(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after 1970-01-01 00:00 UTC it is.
    #[must_use]
    pub fn to_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long it is from `earlier` until now; nothing if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

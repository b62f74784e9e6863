//! Time. The state machine is told the present time and never asks a clock.

use std::ops::Add;
use std::time::Duration;

/// A moment, in nanoseconds since 1970-01-01 00:00 UTC. The type lasts until the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The earliest moment: 1970-01-01 00:00 UTC.
    pub const MIN: Self = Self(0);

    /// The latest moment.
    pub(super) const MAX: Self = Self(u64::MAX);

    /// The moment this long after 1970-01-01 00:00 UTC; the latest moment if that is too late for the type.
    #[must_use]
    pub fn since_epoch(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long this moment is after 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn to_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long this moment is after `earlier`; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// The moment `span` later; the latest moment if that is too late for the type.
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

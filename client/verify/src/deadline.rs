//! When a check has to end. Nothing in this crate reads a clock: the caller passes one in.

use std::time::Duration;

/// A time at which to stop, by a clock that the caller passes in.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    /// Returns the time since some fixed moment.
    clock: &'a dyn Fn() -> Duration,
    /// By the clock.
    end: Duration,
}

impl std::fmt::Debug for Deadline<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Deadline({:?})", self.end)
    }
}

impl<'a> Deadline<'a> {
    /// A deadline that never passes.
    pub const NONE: Self = Self {
        clock: &|| Duration::ZERO,
        end: Duration::MAX,
    };

    /// A deadline `timeout` from now. `clock` returns the time since some fixed moment, such as
    /// `|| started.elapsed()` of an [`Instant`](std::time::Instant); it must not go back.
    pub fn new(clock: &'a dyn Fn() -> Duration, timeout: Duration) -> Self {
        let end = clock().saturating_add(timeout);
        Self { clock, end }
    }

    /// Tells whether it has passed.
    pub fn has_passed(&self) -> bool {
        (self.clock)() >= self.end
    }

    /// The first of `parts` equal shares of the time that is left. What its user does not need is left for the others.
    pub(crate) fn share(&self, parts: usize) -> Self {
        let now = (self.clock)();
        let left = self.end.saturating_sub(now);
        let parts = u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        let end = match self.end {
            Duration::MAX => Duration::MAX,
            _ => now + left / parts,
        };
        Self { end, ..*self }
    }

    /// A deadline `timeout` from now, by the same clock.
    pub(crate) fn restart(&self, timeout: Duration) -> Self {
        Self::new(self.clock, timeout)
    }
}

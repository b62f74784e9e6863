//! How long a check may take. Nothing here reads a clock: it is handed in.

use std::time::Duration;

/// A time until which to go on, by a clock that was handed in.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The time since the check began.
    clock: &'a dyn Fn() -> Duration,
    until: Duration,
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "until {:?}", self.until)
    }
}

impl<'a> Patience<'a> {
    /// That of whoever waits as long as it takes.
    pub const ENDLESS: Self = Self {
        clock: &|| Duration::ZERO,
        until: Duration::MAX,
    };

    /// For so long from now on.
    pub fn new(clock: &'a dyn Fn() -> Duration, limit: Duration) -> Self {
        let until = clock().saturating_add(limit);
        Self { clock, until }
    }

    pub fn is_over(&self) -> bool {
        (self.clock)() >= self.until
    }

    /// The first of so many equal parts of what is left. What it leaves over is there for the others.
    pub fn part(&self, of: usize) -> Self {
        let now = (self.clock)();
        let left = self.until.saturating_sub(now);
        let parts = u32::try_from(of.max(1)).unwrap_or(u32::MAX);
        let until = match self.until {
            Duration::MAX => Duration::MAX,
            _ => now + left / parts,
        };
        Self { until, ..*self }
    }

    /// As long again as the whole was to take, from now on.
    pub fn again(&self, limit: Duration) -> Self {
        Self::new(self.clock, limit)
    }
}

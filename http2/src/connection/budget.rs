//! How often something may still happen.

use std::time::Duration;

use crate::limits::Rate;

/// A rate, of which a part is used. Time is only looked at when nothing is left.
#[derive(Debug)]
pub(super) struct Budget {
    rate: Rate,
    left: u32,
    /// When `left` was filled up last.
    filled: Duration,
}

impl Budget {
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self {
            rate,
            left: rate.burst,
            filled: now,
        }
    }

    /// Takes `cost` from the budget. `false` if there is not as much left.
    #[inline]
    #[must_use]
    pub(super) fn spend(&mut self, cost: u32, now: Duration) -> bool {
        if self.left < cost {
            self.fill(now);
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Adds to the budget.
    #[inline]
    pub(super) fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.rate.burst);
    }

    #[cold]
    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_millis();
        let more = passed * u128::from(self.rate.per_second) / 1_000;
        // A part of one stays for the next time.
        if more > 0 {
            self.filled = now;
            self.earn(u32::try_from(more).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time_and_by_work() {
        let rate = Rate {
            burst: 3,
            per_second: 10,
        };
        let at = Duration::from_millis;
        let mut budget = Budget::new(rate, at(1_000));
        assert!(budget.spend(2, at(1_000)) && budget.spend(1, at(1_000)));
        assert!(!budget.spend(1, at(1_099)));
        assert!(budget.spend(1, at(1_100)) && !budget.spend(1, at(1_100)));
        budget.earn(1);
        assert!(budget.spend(1, at(1_100)) && !budget.spend(1, at(1_100)));
        // Never more than at once, and never for a time that goes back.
        assert!(!budget.spend(4, at(90_000)) && budget.spend(3, at(90_000)));
        assert!(!budget.spend(1, at(1_000)));
    }
}

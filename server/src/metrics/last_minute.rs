//! How long something took in the last minute, for whoever asks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::cells::{Times, TimesSum};
use super::history::{Quantiles, between};

/// How far back it goes, about.
const MINUTE: Duration = Duration::from_secs(60);

/// How long something took, of all that ended within a while. The times are estimates: counts are kept in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// How many there were.
    pub(crate) count: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Looks at a histogram from time to time, and tells what was counted in it in the last minute.
#[derive(Debug, Default)]
pub(crate) struct LastMinute {
    /// The sums at the looks of the last minute, and one that is older, the newest last.
    looks: VecDeque<(Instant, TimesSum)>,
}

impl LastMinute {
    /// Looks at `times`, which must be the same at each look. Returns what was counted in the minute before; in less, if the first
    /// look is no minute ago. None if nothing was. Look every few seconds.
    pub(crate) fn look(&mut self, now: Instant, times: &Times) -> Option<Latency> {
        let sum = TimesSum::from(times);
        // The second look is old enough, so that nobody needs the first.
        while (self.looks.get(1)).is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, sum.clone()));
        let (_, oldest) = self.looks.front()?;
        let recent = between(oldest, &sum);
        let Quantiles { p50, p99 } = Quantiles::of(&recent)?;
        let micros = |micros: f64| Duration::from_secs_f64(micros / 1e6);
        Some(Latency {
            count: recent.count(),
            p50: micros(p50),
            p99: micros(p99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_does_not_count() {
        let (times, mut minute) = (Times::default(), LastMinute::default());
        let start = Instant::now();
        let mut look = |second| minute.look(start + Duration::from_secs(second), &times);
        assert_eq!(look(0), None);
        times.add(Duration::from_millis(700));
        let slow = look(5).unwrap();
        assert_eq!(slow.count, 1);
        assert!(slow.p50 > Duration::from_millis(500), "{slow:?}");
        for second in [10, 20, 30, 40, 50, 60] {
            assert_eq!(look(second), Some(slow), "{second}");
        }
        times.add(Duration::from_micros(60));
        let fast = look(66).unwrap();
        assert_eq!(fast.count, 1, "{fast:?}");
        assert!(fast.p99 <= Duration::from_micros(100), "{fast:?}");
        assert_eq!(look(200), None);
        assert!(minute.looks.len() <= 3);
    }
}

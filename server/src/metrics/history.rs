//! The course of the last minutes, a sample for each second, so that a page that was just opened shows more than this moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::cells::{BOUNDS_SECONDS, TimesSum};

/// What was counted so far, of everything that samples tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Operations that the owner has done, each of a frame by itself.
    pub(crate) operations: u64,
    /// Errors that clients were sent.
    pub(crate) refusals: u64,
    /// Unary calls that have ended.
    pub(crate) calls: u64,
    /// How long they took.
    pub(crate) handling: TimesSum,
    pub(crate) busy_nanos: u64,
    /// How long messages waited in the mailbox.
    pub(crate) waits: TimesSum,
    /// How long commits took.
    pub(crate) commits: TimesSum,
    /// How long confirmations took.
    pub(crate) confirms: TimesSum,
}

/// What happened in about a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Operations in a second.
    pub(crate) operations: f64,
    /// Refusals in a second.
    pub(crate) refusals: f64,
    /// Unary calls in a second.
    pub(crate) calls: f64,
    /// The part of the time that the owner worked.
    pub(crate) busy: f64,
    /// Unary calls; none if there were none.
    pub(crate) latency: Option<Quantiles>,
    /// Messages in the mailbox; none if no wait was measured.
    pub(crate) waits: Option<Quantiles>,
    /// Commits; none if there were none.
    pub(crate) commits: Option<Quantiles>,
    /// Confirmations that a node still owned the store; none if there were none.
    pub(crate) confirms: Option<Quantiles>,
}

/// Times in microseconds. They are estimates: counts are kept in buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Quantiles {
    /// Those of the times in `sum`; none if it has none.
    pub(crate) fn of(sum: &TimesSum) -> Option<Self> {
        Some(Self {
            p50: quantile(sum, 0.5)?,
            p99: quantile(sum, 0.99)?,
        })
    }
}

/// The time in microseconds that a part `q` of the times do not exceed, if they lie evenly in their buckets.
fn quantile(sum: &TimesSum, q: f64) -> Option<f64> {
    let wanted = q * sum.count() as f64;
    let mut below = 0.0;
    let mut from = 0.0;
    for (count, bound) in sum.counts.iter().zip(BOUNDS_SECONDS) {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            // The last bucket has no end: what is in it took longer than its beginning.
            let to = if bound.is_finite() { bound } else { from };
            let seconds = from + (to - from) * (wanted - below) / count;
            return Some(seconds * 1e6);
        }
        below += count;
        from = bound;
    }
    None
}

/// The last samples, of which the oldest make room for new ones.
#[derive(Debug)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    length: usize,
    /// How many samples there were so far.
    taken: u64,
    before: Option<(Instant, Totals)>,
}

impl History {
    /// Keeps `length` samples.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            samples: VecDeque::with_capacity(length),
            length,
            taken: 0,
            before: None,
        }
    }

    /// Adds what was counted since the totals before. The first totals are only a beginning.
    pub(crate) fn add(&mut self, now: Instant, totals: Totals) {
        if let Some((then, before)) = self.before.replace((now, totals))
            && let Some((_, totals)) = &self.before
        {
            if self.samples.len() == self.length {
                self.samples.pop_front();
            }
            self.samples
                .push_back(sample(&before, totals, now.duration_since(then)));
            self.taken += 1;
        }
    }

    /// How many samples there were so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The samples after the first `known`, as far as they are kept. All that are kept, if there were never so many.
    pub(crate) fn after(&self, known: u64) -> impl Iterator<Item = &Sample> {
        let fresh = match self.taken.checked_sub(known) {
            Some(fresh) => usize::try_from(fresh).unwrap_or(usize::MAX),
            None => self.length,
        };
        let skipped = self.samples.len().saturating_sub(fresh);
        self.samples.iter().skip(skipped)
    }
}

fn sample(before: &Totals, after: &Totals, time: Duration) -> Sample {
    let seconds = time.as_secs_f64().max(0.001);
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Sample {
        operations: rate(before.operations, after.operations),
        refusals: rate(before.refusals, after.refusals),
        calls: rate(before.calls, after.calls),
        busy: (rate(before.busy_nanos, after.busy_nanos) / 1e9).min(1.0),
        latency: Quantiles::of(&between(&before.handling, &after.handling)),
        waits: Quantiles::of(&between(&before.waits, &after.waits)),
        commits: Quantiles::of(&between(&before.commits, &after.commits)),
        confirms: Quantiles::of(&between(&before.confirms, &after.confirms)),
    }
}

/// The times that were counted after `before`.
pub(super) fn between(before: &TimesSum, after: &TimesSum) -> TimesSum {
    let mut fresh = after.clone();
    for (count, before) in fresh.counts.iter_mut().zip(before.counts) {
        *count = count.saturating_sub(before);
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn totals(operations: u64) -> Totals {
        Totals {
            operations,
            ..Totals::default()
        }
    }

    #[test]
    fn samples_are_rates_and_the_oldest_make_room() {
        let mut history = History::new(3);
        let start = Instant::now();
        for second in 0..6 {
            history.add(start + second * SECOND, totals(u64::from(second * second)));
        }
        assert_eq!(history.taken(), 5);
        let rates = |known| {
            let samples = history.after(known);
            samples.map(|sample| sample.operations).collect::<Vec<_>>()
        };
        assert_eq!(rates(0), [5.0, 7.0, 9.0]);
        assert_eq!(rates(4), [9.0]);
        assert_eq!(rates(5), Vec::<f64>::new());
        // The page knows a server that was restarted since.
        assert_eq!(rates(100), [5.0, 7.0, 9.0]);
    }

    #[test]
    fn a_late_sample_is_a_rate_over_its_own_time() {
        let mut history = History::new(3);
        let start = Instant::now();
        history.add(start, totals(0));
        history.add(start + 4 * SECOND, totals(100));
        let samples: Vec<_> = history.after(0).collect();
        assert_eq!(samples[0].operations, 25.0);
        assert_eq!(samples[0].latency, None);
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_time() {
        let mut sum = TimesSum::default();
        // 90 up to 50 us, 10 up to 1 ms.
        sum.counts[0] = 90;
        sum.counts[4] = 10;
        let quantiles = Quantiles::of(&sum).unwrap();
        assert!(quantiles.p50 < 50.0, "{quantiles:?}");
        assert!((500.0..1000.0).contains(&quantiles.p99), "{quantiles:?}");
        // The last bucket has no end.
        sum.counts = [0; BOUNDS_SECONDS.len()];
        *sum.counts.last_mut().unwrap() = 1;
        assert_eq!(Quantiles::of(&sum).unwrap().p50, 10_000_000.0);
        assert_eq!(Quantiles::of(&TimesSum::default()), None);
    }
}

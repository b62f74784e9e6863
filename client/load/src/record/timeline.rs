//! The intervals of the measured time, of all threads together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pace::stop::Stop;
use crate::record::live::{Interval, LiveCounters, Totals};

/// The most intervals: one a second for a day. Everything after that goes into the last interval.
const INTERVALS_MAX: u64 = 86_400;

/// The intervals so far, with counts that must be sampled while the run lasts.
#[derive(Debug)]
pub(crate) struct Timeline {
    threads: Vec<Arc<LiveCounters>>,
    interval_length: Duration,
    intervals: BTreeMap<u64, TimelineInterval>,
}

/// One interval of all threads.
#[derive(Debug)]
pub(crate) struct TimelineInterval {
    pub(crate) sum: Interval,
    /// Operations in flight at the last sample within the interval.
    pub(crate) in_flight: u64,
    /// Operations dropped from the start of the run to the last sample within the interval.
    pub(crate) dropped_so_far: u64,
}

impl Timeline {
    pub(crate) fn new(threads: Vec<Arc<LiveCounters>>, interval_length: Duration) -> Self {
        Self {
            threads,
            interval_length,
            intervals: BTreeMap::new(),
        }
    }

    /// Collects the intervals that are over, and samples the counts at `now`. `dropped` is the number of operations
    /// dropped so far.
    pub(crate) fn sample(&mut self, now: Instant, stop: &Stop, dropped: u64) {
        self.collect();
        if now < stop.window_start() || stop.is_over(now) {
            return;
        }
        let since = now.saturating_duration_since(stop.window_start());
        let index = since.as_nanos() / self.interval_length.as_nanos();
        let in_flight = self.totals().in_flight;
        let interval = self.interval(u64::try_from(index).unwrap_or(INTERVALS_MAX));
        interval.in_flight = in_flight;
        interval.dropped_so_far = dropped;
    }

    /// Collects the intervals that are over.
    pub(crate) fn collect(&mut self) {
        let taken: Vec<Interval> = self
            .threads
            .iter()
            .flat_map(|thread| thread.take_intervals())
            .collect();
        for interval in taken {
            self.interval(interval.index).sum.add(&interval);
        }
    }

    fn interval(&mut self, index: u64) -> &mut TimelineInterval {
        let index = index.min(INTERVALS_MAX - 1);
        self.intervals
            .entry(index)
            .or_insert_with(|| TimelineInterval {
                sum: Interval::new(index),
                in_flight: 0,
                dropped_so_far: 0,
            })
    }

    /// Returns the counts of all threads since the warm-up.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for thread in &self.threads {
            totals.add(thread);
        }
        totals
    }

    /// Returns the intervals in order, without those in which nothing happened.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = &TimelineInterval> {
        self.intervals.values()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::kind::Kind;
    use crate::record::recorder::Recorder;
    use crate::workload::operation::InFlight;

    #[test]
    fn threads_add_up_interval_by_interval() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let stop = Stop::new(start, Duration::ZERO, Some(30 * ms), None);
        let live: Vec<Arc<LiveCounters>> = vec![Arc::default(), Arc::default()];
        let mut timeline = Timeline::new(live.clone(), 10 * ms);
        for (thread, live) in (1u32..).zip(&live) {
            let mut recorder = Recorder::new(Arc::clone(live), 10 * ms);
            let sent = InFlight {
                ops: Vec::new(),
                calls: Vec::new(),
                intended: start,
                started: start,
            };
            for at in [5, 12 * thread, 29] {
                recorder.done(Kind::Read, 2, 0, &sent, start + at * ms, &stop);
            }
            timeline.sample(start + 15 * ms, &stop, 7);
            recorder.finish();
        }
        timeline.collect();
        let seen: Vec<_> = timeline
            .intervals()
            .map(|slot| (slot.sum.index, slot.sum.completed, slot.dropped_so_far))
            .collect();
        assert_eq!(seen, [(0, 4, 0), (1, 2, 7), (2, 6, 0)]);
        assert_eq!(timeline.totals().completed, 12);
    }
}

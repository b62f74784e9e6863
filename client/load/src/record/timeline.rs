//! What happened in each interval of the window, of all threads together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::pace::stop::Stop;
use crate::record::live::{Interval, LiveCounters};

/// Intervals that are kept at most: those of a day, a second each. What comes after goes into the last.
const INTERVALS_MAX: u64 = 86_400;

/// The intervals so far, and what only samples can tell of them.
#[derive(Debug)]
pub(crate) struct Timeline {
    live: Vec<Arc<LiveCounters>>,
    length: std::time::Duration,
    intervals: BTreeMap<u64, TimelineInterval>,
}

/// One interval.
#[derive(Debug)]
pub(crate) struct TimelineInterval {
    pub(crate) sum: Interval,
    /// Operations under way when it was looked at last.
    pub(crate) in_flight: u64,
    /// Operations dropped since the start of the run, when it was looked at last.
    pub(crate) dropped_so_far: u64,
}

/// Counts since the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) in_flight: u64,
}

impl Timeline {
    pub(crate) fn new(live: Vec<Arc<LiveCounters>>, length: std::time::Duration) -> Self {
        Self {
            live,
            length,
            intervals: BTreeMap::new(),
        }
    }

    /// Takes in what is over, and notes what is true at `now`.
    pub(crate) fn look(&mut self, now: Instant, stop: &Stop, dropped: u64) {
        self.collect();
        if now < stop.window_start() || stop.is_over(now) {
            return;
        }
        let since = now.saturating_duration_since(stop.window_start());
        let index = since.as_nanos() / self.length.as_nanos();
        let in_flight = self.totals().in_flight;
        let slot = self.slot(u64::try_from(index).unwrap_or(INTERVALS_MAX));
        slot.in_flight = in_flight;
        slot.dropped_so_far = dropped;
    }

    /// Takes in what is over.
    pub(crate) fn collect(&mut self) {
        let taken: Vec<Interval> = self
            .live
            .iter()
            .flat_map(|live| live.take_intervals())
            .collect();
        for interval in taken {
            self.slot(interval.index).sum.add(&interval);
        }
    }

    fn slot(&mut self, index: u64) -> &mut TimelineInterval {
        let index = index.min(INTERVALS_MAX - 1);
        self.intervals
            .entry(index)
            .or_insert_with(|| TimelineInterval {
                sum: Interval::new(index),
                in_flight: 0,
                dropped_so_far: 0,
            })
    }

    pub(crate) fn totals(&self) -> Totals {
        let sum = |count: fn(&LiveCounters) -> u64| self.live.iter().map(|one| count(one)).sum();
        Totals {
            completed: sum(|live| live.completed.load(Ordering::Relaxed)),
            failed: sum(|live| live.failed.load(Ordering::Relaxed)),
            in_flight: sum(|live| live.in_flight.load(Ordering::Relaxed)),
        }
    }

    /// The intervals, in order; those in which nothing happened are not among them.
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
            timeline.look(start + 15 * ms, &stop, 7);
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

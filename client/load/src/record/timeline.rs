//! The intervals of the measured time, of all threads together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::histogram::{PackedHistogram, add, histogram};
use crate::pace::stop::Stop;
use crate::record::links::Links;
use crate::record::live::{Interval, LiveCounters, Totals};

/// The most intervals: one a second for a day. Everything after that goes into the last interval.
const INTERVALS_MAX: u64 = 86_400;

/// The intervals so far, with counts that must be sampled while the run lasts.
#[derive(Debug)]
pub(crate) struct Timeline {
    threads: Vec<Arc<LiveCounters>>,
    links: Arc<Links>,
    interval_length: Duration,
    intervals: BTreeMap<u64, TimelineInterval>,
}

/// How many of the latest intervals are kept as they are recorded. Older ones seldom change: they are packed.
const OPEN_INTERVALS: u64 = 3;

/// One interval of all threads.
#[derive(Debug)]
pub(crate) struct TimelineInterval {
    /// Counted from 0.
    pub(crate) index: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    response: Response,
    /// Operations in flight at the last sample within the interval.
    pub(crate) in_flight: u64,
    /// Operations dropped from the start of the run to the last sample within the interval.
    pub(crate) dropped_so_far: u64,
}

/// The response times of an interval.
#[derive(Debug)]
enum Response {
    Open(Histogram<u64>),
    Packed(PackedHistogram),
}

impl TimelineInterval {
    fn new(index: u64) -> Self {
        Self {
            index,
            completed: 0,
            failed: 0,
            response: Response::Open(histogram()),
            in_flight: 0,
            dropped_so_far: 0,
        }
    }

    /// Returns the response times.
    pub(crate) fn response(&self) -> Cow<'_, Histogram<u64>> {
        match &self.response {
            Response::Open(response) => Cow::Borrowed(response),
            Response::Packed(packed) => Cow::Owned(packed.unpack()),
        }
    }

    /// Adds what one thread was answered.
    fn add(&mut self, of_thread: &Interval) {
        self.completed += of_thread.completed;
        self.failed += of_thread.failed;
        match &mut self.response {
            Response::Open(response) => add(response, &of_thread.response),
            Response::Packed(packed) => {
                let mut response = packed.unpack();
                add(&mut response, &of_thread.response);
                *packed = PackedHistogram::of(&response);
            }
        }
    }

    fn pack(&mut self) {
        if let Response::Open(response) = &self.response {
            self.response = Response::Packed(PackedHistogram::of(response));
        }
    }
}

impl Timeline {
    pub(crate) fn new(
        threads: Vec<Arc<LiveCounters>>,
        interval_length: Duration,
        links: Arc<Links>,
    ) -> Self {
        Self {
            threads,
            links,
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
            self.interval(interval.index).add(&interval);
        }
        self.pack_old();
    }

    /// Packs the intervals that are no longer among the latest. Those before them are packed already.
    fn pack_old(&mut self) {
        let Some((&latest, _)) = self.intervals.last_key_value() else {
            return;
        };
        let old = self
            .intervals
            .range_mut(..latest.saturating_sub(OPEN_INTERVALS - 1));
        for (_, interval) in old.rev() {
            if let Response::Packed(_) = interval.response {
                return;
            }
            interval.pack();
        }
    }

    fn interval(&mut self, index: u64) -> &mut TimelineInterval {
        let index = index.min(INTERVALS_MAX - 1);
        self.intervals
            .entry(index)
            .or_insert_with(|| TimelineInterval::new(index))
    }

    /// Returns the counts of all threads since the warm-up.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for thread in &self.threads {
            totals.add(thread);
        }
        totals
    }

    /// Returns the connections of all threads.
    pub(crate) fn links(&self) -> &Links {
        &self.links
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
        let mut timeline = Timeline::new(live.clone(), 10 * ms, Arc::default());
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
            .map(|slot| (slot.index, slot.completed, slot.dropped_so_far))
            .collect();
        assert_eq!(seen, [(0, 4, 0), (1, 2, 7), (2, 6, 0)]);
        assert_eq!(timeline.totals().completed, 12);
    }

    /// A thread that was idle adds to an interval long after it.
    #[test]
    fn old_intervals_are_packed_and_still_added_to() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let stop = Stop::new(start, Duration::ZERO, Some(1_000 * ms), None);
        let live: Vec<Arc<LiveCounters>> = vec![Arc::default(), Arc::default()];
        let mut timeline = Timeline::new(live.clone(), 10 * ms, Arc::default());
        let sent = InFlight {
            ops: Vec::new(),
            calls: Vec::new(),
            intended: start,
            started: start,
        };
        let mut recorders = live
            .iter()
            .map(|live| Recorder::new(Arc::clone(live), 10 * ms));
        let (mut busy, mut idle) = (recorders.next().unwrap(), recorders.next().unwrap());
        idle.done(Kind::Read, 1, 0, &sent, start + 5 * ms, &stop);
        for at in 0..50 {
            busy.done(Kind::Read, 1, 0, &sent, start + (at * 10 + 5) * ms, &stop);
            timeline.collect();
            let open = timeline
                .intervals()
                .filter(|of| matches!(of.response, Response::Open(_)));
            assert!(open.count() as u64 <= OPEN_INTERVALS);
        }
        idle.done(Kind::Read, 1, 0, &sent, start + 496 * ms, &stop);
        busy.finish();
        idle.finish();
        timeline.collect();
        let counts = timeline
            .intervals()
            .map(|of| (of.completed, of.response().len()));
        let counts: Vec<_> = counts.collect();
        assert_eq!(
            (counts.len(), counts[0], counts[1], counts[49]),
            (50, (2, 2), (1, 1), (2, 2))
        );
    }
}

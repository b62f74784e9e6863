//! What is kept of a run: every latency, every failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::grpc::code_name;
use crate::histogram::{add, histogram, record};
use crate::pace::stop::Stop;
use crate::plan::kind::Kind;
use crate::record::live::{Interval, LiveCounters, publish};
use crate::workload::operation::{Failure, InFlight};

/// What the workers of one thread have seen, and in the end all of them.
#[derive(Debug)]
pub(crate) struct Recorder {
    kinds: BTreeMap<Kind, KindStats>,
    /// Warm-up and drain: what the window leaves out.
    pub(crate) warmup: PhaseStats,
    pub(crate) drain: PhaseStats,
    messages: BTreeMap<&'static str, String>,
    workers_lost: u64,
    first_lost: Option<Instant>,
    late_max: Duration,
    /// How late operations started that no answer was waited for.
    pub(crate) lateness: Histogram<u64>,
    interval_length: Duration,
    interval: Interval,
    /// None: nothing was answered yet.
    interval_end: Option<Instant>,
    live: Arc<LiveCounters>,
    /// In a closed loop every operation starts when it is meant to: its service time is its response time, and is not
    /// recorded twice.
    is_closed_loop: bool,
    /// What the next flush records.
    pending: Option<Pending>,
}

/// Operations of one kind that started together and were done together: whatever is recorded of one is recorded of all.
#[derive(Clone, Copy, Debug)]
struct Pending {
    kind: Kind,
    intended: Instant,
    started: Instant,
    now: Instant,
    ops: u64,
    misses: u64,
}

/// A part of the run outside of the window.
#[derive(Clone, Debug)]
pub(crate) struct PhaseStats {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Histogram<u64>,
}

/// One kind of operation: latencies in nanoseconds of all that started in the window, also where the answer came after
/// its end, since the slowest are the most likely to. Nothing is sampled, and no value is cut off.
#[derive(Clone, Debug)]
pub(crate) struct KindStats {
    /// Answered in the window, refusals among them. The histograms hold the late ones as well.
    pub(crate) completed: u64,
    pub(crate) late: u64,
    pub(crate) misses: u64,
    /// From the intended start to the answer, and from the actual one: of what was done.
    pub(crate) response: Histogram<u64>,
    pub(crate) service: Histogram<u64>,
    /// The same of what was refused.
    pub(crate) refused_response: Histogram<u64>,
    pub(crate) refused_service: Histogram<u64>,
    /// By reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// By code: how many, and their response times. Failures count whenever they happen: the warm-up must not hide them.
    pub(crate) failed: BTreeMap<&'static str, Histogram<u64>>,
}

impl PhaseStats {
    fn new() -> Self {
        Self {
            completed: 0,
            failed: 0,
            response: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        add(&mut self.response, &other.response);
    }
}

impl KindStats {
    fn new() -> Self {
        Self {
            completed: 0,
            late: 0,
            misses: 0,
            response: histogram(),
            service: histogram(),
            refused_response: histogram(),
            refused_service: histogram(),
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.late += other.late;
        self.misses += other.misses;
        add(&mut self.response, &other.response);
        add(&mut self.service, &other.service);
        add(&mut self.refused_response, &other.refused_response);
        add(&mut self.refused_service, &other.refused_service);
        for (reason, ops) in &other.refused {
            *self.refused.entry(reason).or_default() += ops;
        }
        for (code, failed) in &other.failed {
            add(self.failed.entry(code).or_insert_with(histogram), failed);
        }
    }

    pub(crate) fn failed_ops(&self) -> u64 {
        self.failed.values().map(Histogram::len).sum()
    }
}

impl Recorder {
    pub(crate) fn new(live: Arc<LiveCounters>, interval_length: Duration) -> Self {
        Self {
            kinds: BTreeMap::new(),
            warmup: PhaseStats::new(),
            drain: PhaseStats::new(),
            messages: BTreeMap::new(),
            workers_lost: 0,
            first_lost: None,
            late_max: Duration::ZERO,
            lateness: histogram(),
            interval_length,
            interval: Interval::new(0),
            interval_end: None,
            live,
            is_closed_loop: false,
            pending: None,
        }
    }

    /// Of a closed loop. The service times are there when it is [finished](Self::finish).
    pub(crate) fn of_closed_loop(live: Arc<LiveCounters>, interval_length: Duration) -> Self {
        Self {
            is_closed_loop: true,
            ..Self::new(live, interval_length)
        }
    }

    /// Records an operation that was done at `now`, and whether it counts as a miss, by the next [`flush`](Self::flush).
    /// Many that go out in one write and are answered in one read are recorded as one.
    pub(crate) fn done_soon(
        &mut self,
        kind: Kind,
        misses: u64,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        if let Some(of) = &mut self.pending
            && of.kind == kind
            && of.now == now
            && of.started == sent.started
            && of.intended == sent.intended
        {
            of.ops += 1;
            of.misses += misses;
            return;
        }
        self.flush(stop);
        self.pending = Some(Pending {
            kind,
            intended: sent.intended,
            started: sent.started,
            now,
            ops: 1,
            misses,
        });
    }

    /// Records what was left to be recorded soon.
    pub(crate) fn flush(&mut self, stop: &Stop) {
        if let Some(of) = self.pending.take() {
            self.record_done(of, stop);
        }
    }

    /// Records operations of one kind that were done at `now`, and how many of them found nothing.
    pub(crate) fn done(
        &mut self,
        kind: Kind,
        ops: u64,
        misses: u64,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        let pending = Pending {
            kind,
            intended: sent.intended,
            started: sent.started,
            now,
            ops,
            misses,
        };
        self.record_done(pending, stop);
    }

    fn record_done(&mut self, pending: Pending, stop: &Stop) {
        let Pending {
            kind,
            intended,
            started,
            now,
            ops,
            misses,
        } = pending;
        let Some((response, is_late)) = self.answered(ops, intended, now, stop) else {
            return;
        };
        let of = self.kinds.entry(kind).or_insert_with(KindStats::new);
        of.count(ops, is_late);
        if !is_late {
            of.misses += misses;
        }
        record(&mut of.response, response, ops);
        if !self.is_closed_loop {
            let service = now.saturating_duration_since(started);
            record(&mut of.service, service, ops);
        }
    }

    /// Records an operation that was refused at `now`.
    pub(crate) fn refused(
        &mut self,
        kind: Kind,
        reason: &'static str,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        let Some((response, is_late)) = self.answered(1, sent.intended, now, stop) else {
            return;
        };
        let of = self.kinds.entry(kind).or_insert_with(KindStats::new);
        of.count(1, is_late);
        if !is_late {
            *of.refused.entry(reason).or_default() += 1;
        }
        record(&mut of.refused_response, response, 1);
        if !self.is_closed_loop {
            let service = now.saturating_duration_since(sent.started);
            record(&mut of.refused_service, service, 1);
        }
    }

    /// Counts what was answered, in the window and its interval or in the phase that it belongs to. Returns the response
    /// time and whether it is late; `None` if it is of the warm-up.
    fn answered(
        &mut self,
        ops: u64,
        intended: Instant,
        now: Instant,
        stop: &Stop,
    ) -> Option<(Duration, bool)> {
        let response = now.saturating_duration_since(intended);
        if !stop.is_measured(intended) {
            self.warmup.completed += ops;
            record(&mut self.warmup.response, response, ops);
            return None;
        }
        let is_late = stop.is_over(now);
        if is_late {
            self.late_max = self.late_max.max(response);
            self.drain.completed += ops;
            record(&mut self.drain.response, response, ops);
        } else {
            publish(&self.live.completed, ops, 0);
            let interval = self.interval_at(now, stop);
            interval.completed += ops;
            record(&mut interval.response, response, ops);
        }
        Some((response, is_late))
    }

    /// Records an operation that failed at `now`. It counts whenever that is.
    pub(crate) fn failed(
        &mut self,
        kind: Kind,
        failure: Failure,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        publish(&self.live.failed, 1, 0);
        let code = code_name(failure.code);
        self.messages.entry(code).or_insert(failure.message);
        let response = now.saturating_duration_since(sent.intended);
        let of = self.kinds.entry(kind).or_insert_with(KindStats::new);
        let failed = of.failed.entry(code).or_insert_with(histogram);
        record(failed, response, 1);
        if !stop.is_measured(sent.intended) {
            self.warmup.failed += 1;
        } else if stop.is_over(now) {
            self.drain.failed += 1;
        } else {
            self.interval_at(now, stop).failed += 1;
        }
    }

    /// Records what a watch was told at `now` of a write that was to start at `intended`.
    pub(crate) fn event(&mut self, intended: Instant, now: Instant, stop: &Stop) {
        let sent = InFlight {
            ops: Vec::new(),
            calls: Vec::new(),
            intended,
            started: intended,
        };
        self.done(Kind::Event, 1, 0, &sent, now, stop);
    }

    /// Says that operations are not under way any more.
    pub(crate) fn landed(&self, ops: u64) {
        publish(&self.live.in_flight, 0, ops);
    }

    /// Says that operations are under way.
    pub(crate) fn sent(&self, ops: u64) {
        self.live.sent(ops);
    }

    /// Says how many operations are under way, all together.
    pub(crate) fn under_way(&self, ops: u64) {
        self.live.in_flight.store(ops, Ordering::Relaxed);
    }

    /// Records how late an operation started for which there was room all the time.
    pub(crate) fn late_start(&mut self, lateness: Duration, started: Instant, stop: &Stop) {
        if stop.is_measured(started) {
            record(&mut self.lateness, lateness, 1);
        }
    }

    /// Records that a worker cannot go on from `now` on, unless it was done anyway.
    pub(crate) fn lose_worker(&mut self, now: Instant, stop: &Stop) {
        if !stop.is_over(now) {
            self.workers_lost += 1;
            self.first_lost = earlier(self.first_lost, Some(now));
        }
    }

    /// Records that a watch was not told of everything.
    pub(crate) fn lose_watch(&mut self, now: Instant) {
        self.workers_lost += 1;
        self.first_lost = earlier(self.first_lost, Some(now));
    }

    /// The interval that `now` lies in; those before it are over.
    fn interval_at(&mut self, now: Instant, stop: &Stop) -> &mut Interval {
        // Most answers come in the interval of the one before.
        if self.interval_end.is_none_or(|end| now >= end) {
            let since = now.saturating_duration_since(stop.window_start());
            let index = since.as_nanos() / self.interval_length.as_nanos();
            let index = u64::try_from(index).expect("intervals of a run that ends");
            let end = self
                .interval_length
                .saturating_mul(u32::try_from(index + 1).unwrap_or(u32::MAX));
            self.interval_end = Some(stop.window_start() + end);
            if index != self.interval.index {
                let over = std::mem::replace(&mut self.interval, Interval::new(index));
                self.live.lock().push(over);
            }
        }
        &mut self.interval
    }

    /// Ends the last interval, and completes what is the same twice. Everything was flushed before.
    pub(crate) fn finish(&mut self) {
        debug_assert!(self.pending.is_none(), "a flush is missing");
        if self.is_closed_loop {
            for of in self.kinds.values_mut() {
                of.service = of.response.clone();
                of.refused_service = of.refused_response.clone();
            }
        }
        let next = Interval::new(self.interval.index + 1);
        let last = std::mem::replace(&mut self.interval, next);
        self.live.lock().push(last);
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, record) in &other.kinds {
            let of = self.kinds.entry(*kind).or_insert_with(KindStats::new);
            of.add(record);
        }
        self.warmup.add(&other.warmup);
        self.drain.add(&other.drain);
        for (code, message) in &other.messages {
            let seen = self.messages.entry(code);
            seen.or_insert_with(|| message.clone());
        }
        self.workers_lost += other.workers_lost;
        self.first_lost = earlier(self.first_lost, other.first_lost);
        self.late_max = self.late_max.max(other.late_max);
        add(&mut self.lateness, &other.lateness);
    }

    /// Every kind of operation that there was.
    pub(crate) fn kinds(&self) -> &BTreeMap<Kind, KindStats> {
        &self.kinds
    }

    /// What the first failure of each code said.
    pub(crate) fn failure_messages(&self) -> &BTreeMap<&'static str, String> {
        &self.messages
    }

    /// Workers whose stream or connection was gone before the end, and when the first of them was.
    pub(crate) fn lost(&self) -> (u64, Option<Instant>) {
        (self.workers_lost, self.first_lost)
    }

    /// How long the slowest operation took that was in flight at the end and answered after it.
    pub(crate) fn late_max(&self) -> Duration {
        self.late_max
    }
}

impl KindStats {
    fn count(&mut self, ops: u64, is_late: bool) {
        match is_late {
            true => self.late += ops,
            false => self.completed += ops,
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;

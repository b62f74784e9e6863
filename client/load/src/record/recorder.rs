//! Records the answers of one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tonic::Code;

use crate::grpc::code_name;
use crate::histogram::{add, histogram, record};
use crate::pace::admission::DropReason;
use crate::pace::stop::Stop;
use crate::plan::kind::Kind;
use crate::record::gaps::{Completed, Gap, Gaps};
use crate::record::live::{Interval, LiveCounters};
use crate::record::losses::Losses;
use crate::record::stats::{KindStats, PhaseStats};
use crate::workload::operation::InFlight;
use crate::workload::outcome::Failure;

/// What the workers of one thread have seen; in the end, those of all threads.
#[derive(Debug)]
pub(crate) struct Recorder {
    kinds: BTreeMap<Kind, KindStats>,
    pub(crate) warmup: PhaseStats,
    /// Operations that started in the measured time and were answered after its end.
    pub(crate) drain: PhaseStats,
    /// The message of the first failure with each gRPC code.
    failure_messages: BTreeMap<&'static str, String>,
    workers_lost: u64,
    first_lost: Option<Instant>,
    /// Operations of a closed loop that were taken to be sent in the measured time. In an open loop the admission knows.
    taken: u64,
    /// Operations of the measured time that were given up at its end and do not count.
    unanswered: u64,
    gaps: Gaps,
    /// The gaps of the threads that were added.
    thread_gaps: Vec<Vec<Gap>>,
    losses: Losses,
    late_max: Duration,
    /// How late operations started although a worker was free, in nanoseconds.
    pub(crate) lateness: Histogram<u64>,
    interval_length: Duration,
    interval: Interval,
    /// `None` until the first answer.
    interval_end: Option<Instant>,
    live: Arc<LiveCounters>,
    /// In a closed loop every operation starts when it is meant to. So its service time is its response time, and is not
    /// recorded twice.
    is_closed_loop: bool,
    /// Operations to record with the next [`flush`](Self::flush).
    pending: Option<Pending>,
}

/// Operations of one kind that started together and were answered together. They have the same latencies, so that all of
/// them are recorded at once.
#[derive(Clone, Copy, Debug)]
struct Pending {
    kind: Kind,
    intended: Instant,
    started: Instant,
    answered: Instant,
    ops: u64,
    misses: u64,
}

impl Recorder {
    /// Returns the recorder of a thread. It shows its counts in `live`.
    pub(crate) fn new(live: Arc<LiveCounters>, interval_length: Duration) -> Self {
        Self {
            kinds: BTreeMap::new(),
            warmup: PhaseStats::new(),
            drain: PhaseStats::new(),
            failure_messages: BTreeMap::new(),
            workers_lost: 0,
            first_lost: None,
            taken: 0,
            unanswered: 0,
            gaps: Gaps::new(),
            thread_gaps: Vec::new(),
            losses: Losses::default(),
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

    /// Returns the recorder of a thread in a closed loop. Service times are there once it is [finished](Self::finish).
    pub(crate) fn of_closed_loop(live: Arc<LiveCounters>, interval_length: Duration) -> Self {
        Self {
            is_closed_loop: true,
            ..Self::new(live, interval_length)
        }
    }

    /// Counts operations of a closed loop that were taken to be sent at `now`.
    #[inline]
    pub(crate) fn take(&mut self, ops: u64, now: Instant, stop: &Stop) {
        if stop.is_measured(now) {
            self.taken += ops;
        }
    }

    /// Counts operations that were due at `intended` and will never be sent, as is known at `now`.
    pub(crate) fn dropped(&mut self, ops: u64, reason: DropReason, now: Instant) {
        if reason == DropReason::NoConnection {
            self.losses.add(now, 0, ops, self.live.all_completed());
        }
    }

    /// Counts operations that are given up at the end and do not count.
    pub(crate) fn forget(&mut self, ops: u64, intended: Instant, stop: &Stop) {
        if stop.is_measured(intended) {
            self.unanswered += ops;
        }
    }

    /// Records an operation that was done at `now`, with the next [`flush`](Self::flush). `misses` is 1 if the operation
    /// found nothing, and otherwise 0.
    ///
    /// Operations that go out in one write and are answered in one read are recorded at once.
    pub(crate) fn done_soon(
        &mut self,
        kind: Kind,
        misses: u64,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        if let Some(pending) = &mut self.pending
            && pending.kind == kind
            && pending.answered == now
            && pending.started == sent.started
            && pending.intended == sent.intended
        {
            pending.ops += 1;
            pending.misses += misses;
            return;
        }
        self.flush(stop);
        self.pending = Some(Pending {
            kind,
            intended: sent.intended,
            started: sent.started,
            answered: now,
            ops: 1,
            misses,
        });
    }

    /// Records the operations that [`done_soon`](Self::done_soon) has put off.
    pub(crate) fn flush(&mut self, stop: &Stop) {
        if let Some(pending) = self.pending.take() {
            self.record_done(pending, stop);
        }
    }

    /// Records operations of one kind that were done at `now`. `misses` of them found nothing.
    pub(crate) fn done(
        &mut self,
        kind: Kind,
        ops: u64,
        misses: u64,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        let done = Pending {
            kind,
            intended: sent.intended,
            started: sent.started,
            answered: now,
            ops,
            misses,
        };
        self.record_done(done, stop);
    }

    fn record_done(&mut self, done: Pending, stop: &Stop) {
        let Pending {
            kind,
            intended,
            started,
            answered,
            ops,
            misses,
        } = done;
        let Some((response, is_late)) = self.answered(kind, ops, intended, answered, stop) else {
            return;
        };
        let stats = self.kinds.entry(kind).or_insert_with(KindStats::new);
        stats.count(ops, is_late);
        if !is_late {
            stats.misses += misses;
        }
        record(&mut stats.response, response, ops);
        if !self.is_closed_loop {
            let service = answered.saturating_duration_since(started);
            record(&mut stats.service, service, ops);
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
        let Some((response, is_late)) = self.answered(kind, 1, sent.intended, now, stop) else {
            return;
        };
        let stats = self.kinds.entry(kind).or_insert_with(KindStats::new);
        stats.count(1, is_late);
        if !is_late {
            *stats.refused.entry(reason).or_default() += 1;
        }
        record(&mut stats.refused_response, response, 1);
        if !self.is_closed_loop {
            let service = now.saturating_duration_since(sent.started);
            record(&mut stats.refused_service, service, 1);
        }
    }

    /// Counts operations that were answered, in the phase and the interval to which they belong. Returns their response
    /// time, and whether it is late; `None` if they belong to the warm-up.
    fn answered(
        &mut self,
        kind: Kind,
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
            self.live.completed(ops);
            let completed = Completed {
                kind,
                intended,
                at: now,
            };
            self.gaps.completed(completed, stop.window_start());
            let interval = self.interval_at(now, stop);
            interval.completed += ops;
            record(&mut interval.response, response, ops);
        }
        Some((response, is_late))
    }

    /// Records an operation that failed at `now`. Failures of the warm-up count too.
    pub(crate) fn failed(
        &mut self,
        kind: Kind,
        failure: Failure,
        sent: &InFlight,
        now: Instant,
        stop: &Stop,
    ) {
        self.live.failed();
        if failure.code == Code::Unavailable {
            self.losses.add(now, 1, 0, self.live.all_completed());
        }
        let code = code_name(failure.code);
        self.failure_messages.entry(code).or_insert(failure.message);
        let response = now.saturating_duration_since(sent.intended);
        let stats = self.kinds.entry(kind).or_insert_with(KindStats::new);
        let failed = stats.failed.entry(code).or_insert_with(histogram);
        record(failed, response, 1);
        if !stop.is_measured(sent.intended) {
            self.warmup.failed += 1;
        } else if stop.is_over(now) {
            self.drain.failed += 1;
        } else {
            self.interval_at(now, stop).failed += 1;
        }
    }

    /// Records an event that a watch received at `now`, of a write that was meant to start at `intended`.
    pub(crate) fn event(&mut self, intended: Instant, now: Instant, stop: &Stop) {
        let event = Pending {
            kind: Kind::Event,
            intended,
            started: intended,
            answered: now,
            ops: 1,
            misses: 0,
        };
        self.record_done(event, stop);
    }

    /// Records how late an operation started although a worker was free when it was due.
    pub(crate) fn late_start(&mut self, lateness: Duration, started: Instant, stop: &Stop) {
        if stop.is_measured(started) {
            record(&mut self.lateness, lateness, 1);
        }
    }

    /// Records that a worker lost its stream or connection at `now`, unless the measured time was over.
    pub(crate) fn lose_worker(&mut self, now: Instant, stop: &Stop) {
        if !stop.is_over(now) {
            self.workers_lost += 1;
            self.first_lost = earlier(self.first_lost, Some(now));
        }
    }

    /// Records that a watch had not received every event by `now`, when its time was over.
    pub(crate) fn lose_watch(&mut self, now: Instant) {
        self.workers_lost += 1;
        self.first_lost = earlier(self.first_lost, Some(now));
    }

    /// Returns where the counts of this thread are shown.
    pub(crate) fn live(&self) -> &LiveCounters {
        &self.live
    }

    /// Returns the interval in which `now` lies. The intervals before it are over, and are shown.
    fn interval_at(&mut self, now: Instant, stop: &Stop) -> &mut Interval {
        // Most answers come in the same interval as the answer before.
        if self.interval_end.is_none_or(|end| now >= end) {
            let since = now.saturating_duration_since(stop.window_start());
            let index = since.as_nanos() / self.interval_length.as_nanos();
            let index = u64::try_from(index).expect("a run has fewer intervals");
            let end = self
                .interval_length
                .saturating_mul(u32::try_from(index + 1).unwrap_or(u32::MAX));
            self.interval_end = Some(stop.window_start() + end);
            if index != self.interval.index {
                let over = std::mem::replace(&mut self.interval, Interval::new(index));
                self.live.push_interval(over);
            }
        }
        &mut self.interval
    }

    /// Ends the last interval, and fills in the service times of a closed loop. Everything must be
    /// [flushed](Self::flush).
    pub(crate) fn finish(&mut self) {
        debug_assert!(self.pending.is_none(), "a flush is missing");
        if self.is_closed_loop {
            for stats in self.kinds.values_mut() {
                stats.service = stats.response.clone();
                stats.refused_service = stats.refused_response.clone();
            }
        }
        let next = Interval::new(self.interval.index + 1);
        let last = std::mem::replace(&mut self.interval, next);
        self.live.push_interval(last);
    }

    /// Ends the last gap with the measured time, once it is known when that ended.
    pub(crate) fn end_window(&mut self, window_start: Instant, window_end: Instant) {
        self.gaps.end(window_start, window_end);
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.thread_gaps.push(other.gaps.gaps().to_vec());
        self.losses.extend(&other.losses);
        self.taken += other.taken;
        self.unanswered += other.unanswered;
        for (kind, stats) in &other.kinds {
            let sum = self.kinds.entry(*kind).or_insert_with(KindStats::new);
            sum.add(stats);
        }
        self.warmup.add(&other.warmup);
        self.drain.add(&other.drain);
        for (code, message) in &other.failure_messages {
            let first = self.failure_messages.entry(code);
            first.or_insert_with(|| message.clone());
        }
        self.workers_lost += other.workers_lost;
        self.first_lost = earlier(self.first_lost, other.first_lost);
        self.late_max = self.late_max.max(other.late_max);
        add(&mut self.lateness, &other.lateness);
    }

    /// Returns the operations of each kind that there was.
    pub(crate) fn kinds(&self) -> &BTreeMap<Kind, KindStats> {
        &self.kinds
    }

    /// Returns the message of the first failure with each gRPC code.
    pub(crate) fn failure_messages(&self) -> &BTreeMap<&'static str, String> {
        &self.failure_messages
    }

    /// Returns how many workers lost their stream or connection before the end, and when the first of them did.
    pub(crate) fn lost(&self) -> (u64, Option<Instant>) {
        (self.workers_lost, self.first_lost)
    }

    /// Returns how many operations a closed loop took to be sent in the measured time.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns how many operations of the measured time were given up at its end and do not count.
    pub(crate) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Returns the times in which each of the threads completed nothing.
    pub(crate) fn thread_gaps(&self) -> &[Vec<Gap>] {
        &self.thread_gaps
    }

    /// Returns when operations were lost because there was no server to take them.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Returns the longest response time of an operation that was answered after the end.
    pub(crate) fn late_max(&self) -> Duration {
        self.late_max
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;

//! What is kept of a run: every latency, every failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tonic::Code;

use super::answer::{Answer, Failure};
use super::stop::Stop;
use super::workload::Kind;
use crate::error::code_name;

/// Significant digits of a recorded latency: none is off by more than 0.1%.
const DIGITS: u8 = 3;

/// Counts of one thread, for who watches. Only that thread changes them, so that they cost it next to nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What the workers of one thread have seen, and in the end all of them.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) read: Latency,
    pub(crate) write: Latency,
    read_misses: u64,
    failed: BTreeMap<&'static str, Failed>,
    workers_lost: u64,
    first_lost: Option<Instant>,
    /// Operations answered after the end, and how long the slowest of them took.
    late: u64,
    late_max: Duration,
    counters: Arc<Counters>,
}

/// Operations that failed with one code.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) ops: u64,
    /// What the first of them said.
    pub(crate) message: String,
}

/// The latencies of one kind of operation, in nanoseconds: of all that started in the window, also where the answer
/// came after its end, since the slowest are the most likely to. Nothing is sampled, and no value is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    /// Operations answered in the window. The histograms hold the late ones as well.
    completed: u64,
    /// From the intended start to the answer.
    pub(crate) response: Histogram<u64>,
    /// From the actual start to the answer.
    pub(crate) service: Histogram<u64>,
}

impl Latency {
    fn new() -> Self {
        // Grows with the largest value.
        let histogram = || Histogram::new(DIGITS).expect("as many digits as it can keep");
        Self {
            completed: 0,
            response: histogram(),
            service: histogram(),
        }
    }

    fn record(&mut self, response: Duration, service: Duration, ops: u64) {
        record(&mut self.response, response, ops);
        record(&mut self.service, service, ops);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        let grows = "a histogram that grows takes any other";
        self.response.add(&other.response).expect(grows);
        self.service.add(&other.service).expect(grows);
    }

    /// How many operations were answered in the window.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration, ops: u64) {
    let nanos = u64::try_from(latency.as_nanos()).expect("an answer within 584 years");
    histogram
        .record_n(nanos, ops)
        .expect("a histogram that grows takes any value");
}

impl Recorder {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self {
            read: Latency::new(),
            write: Latency::new(),
            read_misses: 0,
            workers_lost: 0,
            first_lost: None,
            failed: BTreeMap::new(),
            late: 0,
            late_max: Duration::ZERO,
            counters,
        }
    }

    /// Records what a worker received at `now`. Failures count whenever they happen; the warm-up must not hide them.
    pub(crate) fn record(&mut self, answer: Answer, now: Instant, stop: &Stop) {
        let Answer {
            sent,
            succeeded,
            misses,
            failures,
        } = answer;
        for (failure, ops) in failures {
            self.fail(failure, ops);
        }
        if succeeded == 0 || !stop.is_warm(sent.started) {
            return;
        }
        let response = now.saturating_duration_since(sent.intended);
        let service = now.saturating_duration_since(sent.started);
        let latency = match sent.kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
        };
        latency.record(response, service, succeeded);
        if stop.is_over(now) {
            self.late += succeeded;
            self.late_max = self.late_max.max(response);
            return;
        }
        latency.completed += succeeded;
        self.read_misses += misses;
        publish(&self.counters.completed, succeeded);
    }

    /// Records that a worker cannot go on from `now` on, unless it was done anyway.
    pub(crate) fn lose_worker(&mut self, now: Instant, stop: &Stop) {
        if !stop.is_over(now) {
            self.workers_lost += 1;
            self.first_lost = earlier(self.first_lost, Some(now));
        }
    }

    fn fail(&mut self, failure: Failure, ops: u64) {
        publish(&self.counters.failed, ops);
        self.failed
            .entry(code_name(failure.code))
            .or_insert(Failed {
                ops: 0,
                message: failure.message,
            })
            .ops += ops;
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.read.add(&other.read);
        self.write.add(&other.write);
        for (code, failed) in &other.failed {
            self.failed
                .entry(code)
                .and_modify(|seen| seen.ops += failed.ops)
                .or_insert_with(|| failed.clone());
        }
        self.read_misses += other.read_misses;
        self.workers_lost += other.workers_lost;
        self.first_lost = earlier(self.first_lost, other.first_lost);
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
    }

    /// Failed operations by the name of their code.
    pub(crate) fn failed(&self) -> &BTreeMap<&'static str, Failed> {
        &self.failed
    }

    /// Reads of `read.completed()` that found no key.
    pub(crate) fn read_misses(&self) -> u64 {
        self.read_misses
    }

    /// Workers whose stream or connection was gone before the end, and when the first of them was.
    pub(crate) fn lost(&self) -> (u64, Option<Instant>) {
        (self.workers_lost, self.first_lost)
    }

    /// Operations that were in flight at the end and answered after it, and how long the slowest of them took.
    pub(crate) fn late(&self) -> (u64, Duration) {
        (self.late, self.late_max)
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// A plain addition: there is one writer.
fn publish(counter: &AtomicU64, ops: u64) {
    counter.store(counter.load(Ordering::Relaxed) + ops, Ordering::Relaxed);
}

/// The code of operations that nobody answered.
pub(crate) fn unanswered(waited: Duration) -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("no answer within {waited:.1?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::lane::Sent;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Case {
        start: Instant,
        stop: Stop,
        recorder: Recorder,
    }

    impl Case {
        /// Measures from 10 ms to 20 ms after its start.
        fn new() -> Self {
            let start = Instant::now();
            Self {
                start,
                stop: Stop::new(start, 10 * MS, Some(10 * MS), None),
                recorder: Recorder::new(Arc::default()),
            }
        }

        fn answer(
            &mut self,
            intended: u32,
            started: u32,
            answered: u32,
            failures: &[(Failure, u64)],
        ) {
            let failed: u64 = failures.iter().map(|(_, ops)| ops).sum();
            let answer = Answer {
                sent: Sent {
                    kind: Kind::Read,
                    ops: 4,
                    intended: self.start + intended * MS,
                    started: self.start + started * MS,
                },
                succeeded: 4 - failed,
                misses: 1,
                failures: failures.to_vec(),
            };
            let now = self.start + answered * MS;
            self.recorder.record(answer, now, &self.stop);
        }
    }

    #[test]
    fn only_the_window_is_measured_and_the_rest_is_told() {
        let mut case = Case::new();
        case.answer(0, 0, 1, &[]); // warm-up
        case.answer(9, 9, 11, &[]); // begun in the warm-up
        case.answer(11, 11, 20, &[]); // measured
        case.answer(15, 15, 45, &[]); // late
        assert_eq!(case.recorder.read.completed(), 4);
        assert_eq!(case.recorder.write.completed(), 0);
        assert_eq!(case.recorder.read_misses(), 1);
        assert_eq!(case.recorder.late(), (4, 30 * MS));
    }

    #[test]
    fn a_late_answer_shows_in_the_latencies() {
        let mut case = Case::new();
        case.answer(15, 15, 45, &[]);
        let ms = |histogram: &Histogram<u64>| (histogram.max() as f64 / 1e6).round();
        assert_eq!(case.recorder.read.completed(), 0);
        assert_eq!(case.recorder.read.response.len(), 4);
        assert_eq!(ms(&case.recorder.read.response), 30.0);
        assert_eq!(ms(&case.recorder.read.service), 30.0);
    }

    #[test]
    fn workers_are_lost_until_the_end() {
        let mut case = Case::new();
        for lost in [15, 12, 21] {
            let now = case.start + lost * MS;
            case.recorder.lose_worker(now, &case.stop);
        }
        let mut sum = Recorder::new(Arc::default());
        sum.add(&case.recorder);
        sum.add(&case.recorder);
        assert_eq!(sum.lost(), (4, Some(case.start + 12 * MS)));
    }

    #[test]
    fn response_time_counts_from_the_intended_start() {
        let mut case = Case::new();
        case.answer(11, 16, 18, &[]);
        let ms = |histogram: &Histogram<u64>| (histogram.max() as f64 / 1e6).round();
        assert_eq!(ms(&case.recorder.read.response), 7.0);
        assert_eq!(ms(&case.recorder.read.service), 2.0);
    }

    #[test]
    fn failures_count_always_and_keep_their_first_words() {
        let mut case = Case::new();
        let failure = |message: &str| Failure::new(Code::Aborted, message);
        case.answer(0, 0, 1, &[(failure("one"), 1), (failure("two"), 1)]);
        case.answer(30, 30, 31, &[(failure("three"), 4)]);

        let mut sum = Recorder::new(Arc::default());
        sum.add(&case.recorder);
        sum.add(&case.recorder);
        let aborted = &sum.failed()["ABORTED"];
        assert_eq!((aborted.ops, aborted.message.as_str()), (12, "one"));
        assert_eq!(sum.read.completed(), 0);
    }

    #[test]
    fn threads_add_up() {
        let mut one = Case::new();
        one.answer(11, 11, 12, &[]);
        let mut other = Case::new();
        other.answer(11, 11, 19, &[]);
        one.recorder.add(&other.recorder);
        assert_eq!(one.recorder.read.completed(), 8);
        assert_eq!((one.recorder.read.response.max() as f64 / 1e6).round(), 8.0);
    }
}

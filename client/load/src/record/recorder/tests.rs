use soloist_client::Outcome;
use tonic::Code;

use crate::record::live::Totals;
use crate::record::recorder::*;
use crate::workload::operation::SentOp;

const MS: Duration = Duration::from_millis(1);

struct Case {
    start: Instant,
    stop: Stop,
    recorder: Recorder,
}

impl Case {
    /// The measured time is from 10 ms to 20 ms after the start.
    fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            stop: Stop::new(start, 10 * MS, Some(10 * MS), None),
            recorder: Recorder::new(Arc::default(), 4 * MS),
        }
    }

    fn sent(&self, intended: u32, started: u32) -> InFlight {
        let kind = Kind::Read;
        InFlight {
            ops: vec![SentOp { kind, key: 0 }; 4],
            calls: Vec::new(),
            intended: self.start + intended * MS,
            started: self.start + started * MS,
        }
    }

    /// Answers four Reads, one of which found nothing.
    fn answer(&mut self, intended: u32, started: u32, answered: u32) {
        let sent = self.sent(intended, started);
        let now = self.start + answered * MS;
        self.recorder.done(Kind::Read, 4, 1, &sent, now, &self.stop);
    }

    fn fail(&mut self, started: u32, answered: u32, message: &str) {
        let sent = self.sent(started, started);
        let now = self.start + answered * MS;
        let failure = Failure::new(Code::Aborted, message, Outcome::NotApplied);
        self.recorder
            .failed(Kind::Read, failure, &sent, now, &self.stop);
    }

    fn read(&self) -> &KindStats {
        &self.recorder.kinds[&Kind::Read]
    }
}

/// The operations that are recorded so far.
fn completed(recorder: &Recorder) -> u64 {
    let mut totals = Totals::default();
    totals.add(recorder.live());
    totals.completed
}

fn ms(histogram: &Histogram<u64>) -> f64 {
    (histogram.max() as f64 / 1e6).round()
}

#[test]
fn only_the_measured_time_counts_and_the_rest_is_reported() {
    let mut case = Case::new();
    case.answer(0, 0, 1); // warm-up
    case.answer(9, 9, 11); // started in the warm-up
    case.answer(11, 11, 20); // measured
    case.answer(15, 15, 45); // late
    let read = case.read();
    assert_eq!((read.completed, read.late, read.misses), (4, 4, 1));
    assert_eq!(case.recorder.kinds.len(), 1);
    assert_eq!(case.recorder.late_max(), 30 * MS);
    assert_eq!(case.recorder.warmup.completed, 8);
    assert_eq!(case.recorder.drain.completed, 4);
}

#[test]
fn a_late_answer_shows_in_the_latencies() {
    let mut case = Case::new();
    case.answer(15, 15, 45);
    let read = case.read();
    assert_eq!(read.completed, 0);
    assert_eq!(read.response.len(), 4);
    assert_eq!((ms(&read.response), ms(&read.service)), (30.0, 30.0));
}

#[test]
fn workers_that_are_lost_after_the_end_do_not_count() {
    let mut case = Case::new();
    for lost in [15, 12, 21] {
        let now = case.start + lost * MS;
        case.recorder.lose_worker(now, &case.stop);
    }
    let mut sum = Recorder::new(Arc::default(), MS);
    sum.add(&case.recorder);
    sum.add(&case.recorder);
    assert_eq!(sum.lost(), (4, Some(case.start + 12 * MS)));
}

#[test]
fn response_time_counts_from_the_intended_start() {
    let mut case = Case::new();
    case.answer(11, 16, 18);
    let read = case.read();
    assert_eq!((ms(&read.response), ms(&read.service)), (7.0, 2.0));
}

#[test]
fn failures_always_count_and_keep_the_first_message() {
    let mut case = Case::new();
    case.fail(0, 1, "one");
    case.fail(0, 1, "two");
    case.fail(12, 13, "three");
    case.fail(15, 31, "four");

    let mut sum = Recorder::new(Arc::default(), MS);
    sum.add(&case.recorder);
    sum.add(&case.recorder);
    let read = &sum.kinds[&Kind::Read];
    assert_eq!((read.completed, read.failed_ops()), (0, 8));
    assert_eq!(ms(&read.failed["ABORTED"]), 16.0);
    assert_eq!(sum.failure_messages()["ABORTED"], "one");
    assert_eq!((sum.warmup.failed, sum.drain.failed), (4, 2));
}

#[test]
fn a_refusal_is_an_answer_with_latencies_of_its_own() {
    let mut case = Case::new();
    case.answer(11, 11, 12);
    let sent = case.sent(11, 12);
    let now = case.start + 16 * MS;
    let (recorder, stop) = (&mut case.recorder, &case.stop);
    recorder.refused(Kind::Read, "KEY_EXISTS", &sent, now, stop);
    let read = case.read();
    assert_eq!((read.completed, read.refused["KEY_EXISTS"]), (5, 1));
    assert_eq!((ms(&read.response), ms(&read.refused_response)), (1.0, 5.0));
}

#[test]
fn only_operations_with_the_same_times_are_recorded_together() {
    let mut case = Case::new();
    let mut one = |kind, misses, [intended, started, answered]: [u32; 3]| {
        let sent = case.sent(intended, started);
        let now = case.start + answered * MS;
        let recorder = &mut case.recorder;
        recorder.done_soon(kind, misses, &sent, now, &case.stop);
        completed(recorder)
    };
    assert_eq!(one(Kind::Read, 0, [11, 11, 13]), 0);
    assert_eq!(one(Kind::Read, 1, [11, 11, 13]), 0);
    assert_eq!(one(Kind::Write, 0, [11, 11, 13]), 2);
    assert_eq!(one(Kind::Write, 0, [11, 11, 14]), 3);
    assert_eq!(one(Kind::Write, 0, [11, 12, 14]), 4);
    assert_eq!(one(Kind::Write, 0, [12, 12, 14]), 5);
    case.recorder.flush(&case.stop);
    let read = case.read();
    assert_eq!((read.completed, read.misses), (2, 1));
    assert_eq!((read.response.len(), ms(&read.response)), (2, 2.0));
    let write = &case.recorder.kinds[&Kind::Write];
    assert_eq!((write.completed, write.response.len()), (4, 4));
}

#[test]
fn intervals_add_up_to_the_measured_time() {
    let mut case = Case::new();
    for answered in [11, 12, 14, 19, 20, 25] {
        case.answer(10, 10, answered);
    }
    case.fail(12, 19, "why");
    case.recorder.finish();
    let intervals = case.recorder.live.take_intervals();
    let counts: Vec<_> = intervals
        .iter()
        .map(|of| (of.index, of.completed, of.failed))
        .collect();
    // From 10, 14 and 18 ms on.
    assert_eq!(counts, [(0, 8, 0), (1, 4, 0), (2, 8, 1)]);
    assert_eq!(case.read().completed, 20);
}

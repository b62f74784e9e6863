//! The one loop: what to send, when to send and when to stop, put together.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::answer::Answer;
use super::lane::{Lane, Sent};
use super::recorder::Recorder;
use super::schedule::Schedule;
use super::stop::Stop;
use super::workload::Workload;

/// How often a worker looks whether it has waited for too long.
const TICK: Duration = Duration::from_millis(100);

/// How long answers are waited for beyond the time that the server has for them, so that its own refusal arrives.
const GRACE: Duration = Duration::from_millis(500);

/// How long answers are waited for after Ctrl-C.
const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// One concurrent stream of operations.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    pub(crate) lane: Lane,
    pub(crate) workload: Workload,
    pub(crate) schedule: S,
    /// Operations in each frame.
    pub(crate) frame_ops: u64,
    /// How long the server may take.
    pub(crate) patience: Duration,
}

impl<S: Schedule> Worker<S> {
    /// Sends and receives until it is time to stop and everything is answered, or nothing can be any more. Returns
    /// when that was.
    pub(crate) async fn run(mut self, stop: Arc<Stop>, recorder: Rc<RefCell<Recorder>>) -> Instant {
        // One clock read for each answer: what it frees starts at the same instant.
        let mut now = Instant::now();
        let mut due = None;
        let mut stopped = false;
        let mut alarm = pin!(sleep_until((now + TICK).into()));
        loop {
            while !stopped && self.lane.has_room() {
                let intended = *due.get_or_insert_with(|| self.schedule.next_start(now));
                if intended > now {
                    let alarm_at = alarm.deadline().min(intended.into());
                    alarm.as_mut().reset(alarm_at);
                    break;
                }
                let ops = stop.admit(now, self.frame_ops);
                if ops == 0 {
                    stopped = true;
                    break;
                }
                let sent = Sent {
                    kind: self.workload.kind(),
                    ops,
                    intended,
                    started: now,
                };
                self.lane.send(sent, &mut self.workload);
                due = None;
            }
            let is_idle = self.lane.is_idle();
            if is_idle && self.lane.is_broken() {
                recorder.borrow_mut().lose_worker(now, &stop);
                return now;
            }
            if is_idle && stopped {
                return now;
            }
            tokio::select! {
                biased;
                answer = self.lane.recv(), if !is_idle => {
                    now = Instant::now();
                    recorder.borrow_mut().record(answer, now, &stop);
                }
                () = alarm.as_mut() => {
                    now = Instant::now();
                    for answer in self.give_up(now, &stop) {
                        recorder.borrow_mut().record(answer, now, &stop);
                    }
                    alarm.as_mut().reset((now + TICK).into());
                }
            }
        }
    }

    /// Stops waiting for what should have been answered by now.
    fn give_up(&mut self, now: Instant, stop: &Stop) -> Vec<Answer> {
        let is_last_call = stop
            .interrupted()
            .is_some_and(|interrupted| now >= interrupted + INTERRUPT_GRACE);
        let latest_start = match is_last_call {
            true => Some(now),
            // `None` in the first moments after the machine has started.
            false => now.checked_sub(self.patience + GRACE),
        };
        match latest_start {
            Some(latest_start) => self.lane.give_up(latest_start, now),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;
    use soloist_server::Server;
    use tokio::runtime::LocalRuntime;

    use super::super::args::Args;
    use super::super::connection::Connection;
    use super::super::keys::Keys;
    use super::super::schedule::ClosedLoop;
    use super::super::settings::Settings;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Runs one worker against a server of its own.
    fn run<S: Schedule + 'static>(line: &str, schedule: impl FnOnce(Instant) -> S) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, &Default::default()).unwrap();
        run_against(&server.local_addr().to_string(), line, schedule)
    }

    fn run_against<S: Schedule + 'static>(
        address: &str,
        line: &str,
        schedule: impl FnOnce(Instant) -> S,
    ) -> Recorder {
        let words = std::iter::once("soloist-load").chain(line.split_whitespace());
        let settings = Settings::new(&Args::parse_from(words)).unwrap();
        LocalRuntime::new().unwrap().block_on(async {
            let connection = Connection::open(address, 5_000 * MS).await.unwrap();
            let start = Instant::now();
            let stop = Stop::new(start, settings.warmup, settings.duration, settings.requests);
            let worker = Worker {
                lane: Lane::open(&connection, address, &settings).await.unwrap(),
                workload: Workload::new(&settings, Keys::new(5, settings.key_dist), 0),
                schedule: schedule(start),
                frame_ops: settings.frame_ops,
                patience: settings.patience(),
            };
            let recorder = Rc::new(RefCell::new(Recorder::new(Arc::default())));
            worker.run(Arc::new(stop), Rc::clone(&recorder)).await;
            Rc::into_inner(recorder).unwrap().into_inner()
        })
    }

    #[test]
    fn a_closed_loop_starts_when_it_means_to() {
        for flags in [
            "",
            "-P 4",
            "--frame-ops 8",
            "--engine unary",
            "--engine unary -P 4",
        ] {
            let recorder = run(&format!("-n 1000 {flags}"), |_| ClosedLoop);
            assert_eq!(recorder.read.completed(), 1_000, "{flags}");
            assert_eq!(recorder.read.response, recorder.read.service, "{flags}");
        }
    }

    #[test]
    fn a_call_without_an_answer_fails_alone() {
        // Connections are made by the system; nobody accepts them.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let line = "-n 6 --engine unary -P 3 --timeout 50ms";
        let recorder = run_against(&address, line, |_| ClosedLoop);
        let failed = &recorder.failed()["DEADLINE_EXCEEDED"];
        assert_eq!(failed.ops, 6);
        let message = &failed.message;
        assert!(message.starts_with("no answer within "), "{message}");
        // It went on after the first three.
        assert_eq!(recorder.lost(), (0, None));
    }

    /// One operation each millisecond.
    struct Paced(Instant);

    impl Schedule for Paced {
        fn next_start(&mut self, _: Instant) -> Instant {
            self.0 += MS;
            self.0
        }
    }

    #[test]
    fn a_pace_is_kept() {
        let before = Instant::now();
        let recorder = run("-n 20", Paced);
        assert_eq!(recorder.read.completed(), 20);
        assert!(before.elapsed() >= 20 * MS);
    }

    #[test]
    fn operations_that_start_late_are_late_by_the_schedule() {
        // As if the worker had been held up for a second.
        let recorder = run("-n 20", |start| Paced(start - 1_000 * MS));
        let fastest = |histogram: &hdrhistogram::Histogram<u64>| histogram.min();
        assert!(fastest(&recorder.read.response) > 900_000_000);
        assert!(fastest(&recorder.read.service) < 900_000_000);
    }
}

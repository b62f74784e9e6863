//! The one loop: what to send, when to send and when to stop, put together.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::engines::lane::Lane;
use crate::pace::arrival_queue::ArrivalQueue;
use crate::pace::stop::Stop;
use crate::plan::choices::DurationStop;
use crate::record::recorder::Recorder;
use crate::record::settle::{Completion, HistorySink, Settling};
use crate::workload::generator::Workload;
use crate::workload::operation::{InFlight, given_up};

/// How often a worker looks whether it has waited for too long.
const TICK: Duration = Duration::from_millis(100);

/// When operations start.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// As soon as the worker is free: the server sets the pace.
    Closed,
    /// When they are due, whatever becomes of those before. Response time is counted from then on: a server that stalls
    /// must not hide the operations that would have been sent meanwhile.
    Open(Rc<ArrivalQueue>),
}

/// One concurrent stream of operations.
pub(crate) struct Worker {
    pub(crate) lane: Lane,
    pub(crate) workload: Workload,
    pub(crate) schedule: Schedule,
    /// Operations in each frame.
    pub(crate) frame_ops: u64,
    /// How long the server may take.
    pub(crate) timeout: Duration,
    pub(crate) duration_stop: DurationStop,
    pub(crate) history: Option<Box<dyn HistorySink>>,
}

impl Worker {
    /// Sends and receives until it is time to stop and everything is answered, or nothing can be any more. Returns
    /// when that was.
    pub(crate) async fn run(mut self, stop: Arc<Stop>, recorder: Rc<RefCell<Recorder>>) -> Instant {
        // One clock read for each answer: what it frees starts at the same instant.
        let mut now = Instant::now();
        let mut stopped = false;
        // Since when there is room.
        let mut free_since = now;
        let mut alarm = pin!(sleep_until(self.next_look(now, &stop).into()));
        let queue = match &self.schedule {
            Schedule::Closed => None,
            Schedule::Open(queue) => Some(Rc::clone(queue)),
        };
        loop {
            while queue.is_none() && !stopped && self.lane.has_room() {
                let ops = stop.admit(now, self.frame_ops);
                if ops == 0 {
                    stopped = true;
                    break;
                }
                self.send(now, now, ops, &stop, &recorder);
            }
            let is_idle = self.lane.is_idle();
            if is_idle && self.lane.is_broken() {
                recorder.borrow_mut().lose_worker(now, &stop);
                return now;
            }
            if is_idle && stopped {
                return now;
            }
            let takes_more = !stopped && self.lane.has_room();
            let next_due = async {
                match &queue {
                    Some(queue) if takes_more => queue.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                (sent, answer) = self.lane.recv(), if !is_idle => {
                    now = Instant::now();
                    if !takes_more {
                        free_since = now;
                    }
                    self.settle(sent, answer, now, &stop, &recorder);
                }
                due = next_due => {
                    now = Instant::now();
                    let Some(intended) = due else {
                        stopped = true;
                        continue;
                    };
                    if stop.is_too_late(now, self.duration_stop, self.timeout) {
                        queue.iter().for_each(|queue| queue.admission.give_back());
                        continue;
                    }
                    // It could have been sent in time: if it is late, that is the generator's doing.
                    if free_since <= intended {
                        recorder.borrow_mut().late_start(now - intended, now, &stop);
                    }
                    self.send(intended, now, self.frame_ops, &stop, &recorder);
                }
                () = alarm.as_mut() => {
                    now = Instant::now();
                    for (sent, answer) in self.give_up(now, &stop) {
                        self.settle(sent, answer, now, &stop, &recorder);
                    }
                    if self.duration_stop != DurationStop::Wait && stop.is_over(now) {
                        self.abandon(now, &stop, &recorder);
                        stopped = true;
                    }
                    alarm.as_mut().reset(self.next_look(now, &stop).into());
                }
            }
        }
    }

    fn send(
        &mut self,
        intended: Instant,
        started: Instant,
        ops: u64,
        stop: &Stop,
        recorder: &Rc<RefCell<Recorder>>,
    ) {
        let intended_nanos = stop.nanos_of(intended);
        let mut asked = self.lane.take_spare();
        let mut calls = Vec::with_capacity(usize::try_from(ops).unwrap_or(0));
        for _ in 0..ops {
            let (one, call) = self.workload.next(intended_nanos);
            asked.push(one);
            calls.push(call);
        }
        let sent = InFlight {
            ops: asked,
            calls: match self.history {
                Some(_) => calls.clone(),
                None => Vec::new(),
            },
            intended,
            started,
        };
        recorder.borrow().sent(ops);
        self.lane.send(sent, calls);
    }

    fn settle(
        &mut self,
        sent: InFlight,
        answer: Completion<'_>,
        now: Instant,
        stop: &Stop,
        recorder: &Rc<RefCell<Recorder>>,
    ) {
        let mut recorder = recorder.borrow_mut();
        recorder.landed(sent.count());
        if let Schedule::Open(queue) = &self.schedule {
            queue.admission.answered();
        }
        let mut settling = Settling {
            workload: &mut self.workload,
            recorder: &mut recorder,
            history: match &mut self.history {
                Some(history) => Some(&mut **history),
                None => None,
            },
            stop,
        };
        settling.settle(&sent, answer, now);
        recorder.flush(stop);
        let mut spare = sent.ops;
        spare.clear();
        self.lane.give_spare(spare);
    }

    /// Gives up everything that is under way when the time is over.
    fn abandon(&mut self, now: Instant, stop: &Stop, recorder: &Rc<RefCell<Recorder>>) {
        for sent in self.lane.abandon() {
            match self.duration_stop {
                DurationStop::Ignore => {
                    recorder.borrow().landed(sent.count());
                    if let Schedule::Open(queue) = &self.schedule {
                        queue.admission.give_back();
                    }
                    if let Some(history) = &mut self.history {
                        history.lose(&sent, now);
                    }
                }
                DurationStop::Wait | DurationStop::Close => {
                    self.settle(
                        sent,
                        Completion::Unanswered(given_up()),
                        now,
                        stop,
                        recorder,
                    );
                }
            }
        }
    }

    /// When to look after what is under way.
    fn next_look(&self, now: Instant, stop: &Stop) -> Instant {
        let tick = now + TICK;
        match stop.end() {
            Some(end) if self.duration_stop != DurationStop::Wait && end > now => {
                // The instant of the end itself still belongs to the window.
                tick.min(end + Duration::from_nanos(1))
            }
            _ => tick,
        }
    }

    /// Stops waiting for what should have been answered by now.
    fn give_up(&mut self, now: Instant, stop: &Stop) -> Vec<(InFlight, Completion<'static>)> {
        match stop.latest_start(now, self.timeout) {
            Some(latest_start) => self.lane.give_up(latest_start, now),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use soloist_server::Server;
    use tokio::runtime::LocalRuntime;
    use tokio::sync::mpsc;

    use super::*;
    use crate::command_line::resolve::tests::settings;
    use crate::engines::connection::Connection;
    use crate::pace::admission::Admission;
    use crate::pace::pacer::Handover;
    use crate::plan::kind::Kind;
    use crate::workload::keys::Keys;

    const MS: Duration = Duration::from_millis(1);

    /// Runs one worker against a server of its own. In an open loop, `due` says what is due and when.
    fn run(line: &str, due: Option<fn(Instant) -> Vec<Instant>>) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, &Default::default()).unwrap();
        run_against(&server.local_addr().to_string(), line, due)
    }

    fn run_against(
        address: &str,
        line: &str,
        due: Option<fn(Instant) -> Vec<Instant>>,
    ) -> Recorder {
        let settings = settings(line).unwrap();
        LocalRuntime::new().unwrap().block_on(async {
            let connection = Connection::open(address, 5_000 * MS).await.unwrap();
            let start = Instant::now();
            // What is due may have been so for long.
            let begun = start - due.map_or(Duration::ZERO, |_| 2_000 * MS);
            let stop = Stop::new(begun, settings.warmup, settings.duration, settings.requests);
            let schedule = match due {
                None => Schedule::Closed,
                Some(due) => {
                    let due = due(start);
                    let admission = Arc::new(Admission::new(due.len() as u64));
                    let (sender, receiver) = mpsc::channel(due.len());
                    for intended in due {
                        admission.offer(intended, settings.frame_ops, &stop, || {
                            sender.try_send(intended).unwrap();
                            Handover::Accepted
                        });
                    }
                    Schedule::Open(Rc::new(ArrivalQueue::new(receiver, admission)))
                }
            };
            let worker = Worker {
                lane: Lane::open(&connection, address, &settings).await.unwrap(),
                workload: Workload::new(
                    &settings,
                    Keys::new(5, settings.key_dist, settings.part),
                    0,
                ),
                schedule,
                frame_ops: settings.frame_ops,
                timeout: settings.answer_timeout(),
                duration_stop: settings.duration_stop,
                history: None,
            };
            let recorder = Rc::new(RefCell::new(Recorder::new(Arc::default(), 1_000 * MS)));
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
            let recorder = run(&format!("-n 1000 {flags}"), None);
            let read = &recorder.kinds()[&Kind::Read];
            assert_eq!(read.completed, 1_000, "{flags}");
            assert_eq!(read.response, read.service, "{flags}");
        }
    }

    #[test]
    fn a_call_without_an_answer_fails_alone() {
        // Connections are made by the system; nobody accepts them.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let line = "-n 6 --engine unary -P 3 --timeout 50ms";
        let recorder = run_against(&address, line, None);
        assert_eq!(recorder.kinds()[&Kind::Read].failed_ops(), 6);
        let message = &recorder.failure_messages()["DEADLINE_EXCEEDED"];
        assert!(message.starts_with("no answer within "), "{message}");
        // It went on after the first three.
        assert_eq!(recorder.lost(), (0, None));
    }

    #[test]
    fn what_is_under_way_at_the_end_is_given_up_where_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        for (how, failed) in [("close", 3), ("ignore", 0)] {
            let line = format!("-z 50ms --engine unary -P 3 --duration-stop {how}");
            let recorder = run_against(&address, &line, None);
            let of = recorder.kinds().get(&Kind::Read);
            assert_eq!(of.map_or(0, |of| of.failed_ops()), failed, "{how}");
        }
    }

    #[test]
    fn what_is_due_is_sent_and_late_by_the_schedule() {
        // As if the worker had been held up for a second.
        let due = |start| (0..20).map(|n| start - 1_000 * MS + n * MS).collect();
        let recorder = run("-z 5s", Some(due));
        let read = &recorder.kinds()[&Kind::Read];
        assert_eq!(read.completed, 20);
        assert!(read.response.min() > 900_000_000);
        assert!(read.service.min() < 900_000_000);
    }

    #[test]
    fn frames_of_an_open_loop_carry_as_much_as_any() {
        let due = |start| vec![start; 20];
        let recorder = run("-z 5s --frame-ops 8 -P 2", Some(due));
        assert_eq!(recorder.kinds()[&Kind::Read].completed, 160);
    }
}

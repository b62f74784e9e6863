//! One worker of the engines `unary` and `pipeline`: what to send, when to send and when to stop, put together.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use tokio::time::sleep_until;

use crate::engines::lane::Lane;
use crate::engines::rules::Rules;
use crate::pace::admission::DropReason;
use crate::pace::arrival_queue::ArrivalQueue;
use crate::record::recorder::Recorder;
use crate::record::settle::Completion;
use crate::record::worker_history::WorkerHistory;
use crate::workload::generator::Workload;
use crate::workload::operation::InFlight;

/// One concurrent stream of operations.
pub(crate) struct Worker {
    pub(crate) lane: Lane,
    pub(crate) workload: Workload,
    /// `None` in a closed loop: the worker starts its next operation as soon as it is free, and the server sets the pace.
    ///
    /// In an open loop operations start when they are due, whatever became of those before. Their response time counts
    /// from then on: a server that stalls must not hide the operations that would have been sent meanwhile.
    pub(crate) arrivals: Option<Rc<ArrivalQueue>>,
    /// Operations in each frame.
    pub(crate) frame_ops: u64,
    pub(crate) history: Option<WorkerHistory>,
}

/// A worker whose loop runs.
struct RunningWorker {
    worker: Worker,
    rules: Rules,
    recorder: Rc<RefCell<Recorder>>,
    /// The time of the last event: the clock is read once for each. An operation that an answer makes room for starts at
    /// the instant of the answer.
    now: Instant,
    /// Since when there is room in the lane.
    free_since: Instant,
    /// Whether no operation will start any more.
    is_stopped: bool,
    /// Whether operations were lost with a stream or connection.
    has_lost: bool,
}

impl Worker {
    /// Sends and receives until the run is over and everything is answered or has failed. Returns when that was.
    pub(crate) async fn run(self, rules: Rules, recorder: Rc<RefCell<Recorder>>) -> Instant {
        let now = Instant::now();
        let running = RunningWorker {
            worker: self,
            rules,
            recorder,
            now,
            free_since: now,
            is_stopped: false,
            has_lost: false,
        };
        running.run().await
    }
}

impl RunningWorker {
    async fn run(mut self) -> Instant {
        let arrivals = self.worker.arrivals.clone();
        let mut alarm = pin!(sleep_until(self.rules.next_look(self.now).into()));
        loop {
            if arrivals.is_none() {
                self.start_while_there_is_room();
            }
            if self.is_stopped && self.worker.lane.is_idle() {
                return self.now;
            }
            let takes_more = !self.is_stopped && self.worker.lane.has_room();
            let next_due = async {
                match &arrivals {
                    Some(arrivals) if takes_more => arrivals.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = self.worker.lane.recv() => {
                    self.now = Instant::now();
                    if !takes_more {
                        self.free_since = self.now;
                    }
                    if let Some((sent, completion)) = ended {
                        self.settle(sent, completion);
                    }
                }
                due = next_due => {
                    self.now = Instant::now();
                    match due {
                        Some(intended) => self.start_due(intended),
                        None => self.is_stopped = true,
                    }
                }
                () = alarm.as_mut() => {
                    self.now = Instant::now();
                    self.give_up();
                    if !takes_more {
                        self.stop_if_over();
                    }
                    alarm.as_mut().reset(self.rules.next_look(self.now).into());
                }
            }
        }
    }

    /// Stops if no operation will start any more. A worker without a connection takes none, and does not find out by that.
    fn stop_if_over(&mut self) {
        self.is_stopped |= match &self.worker.arrivals {
            None => self.rules.stop().is_closed(self.now),
            Some(arrivals) => arrivals.has_ended() || self.rules.is_too_late(self.now),
        };
    }

    /// Starts operations of a closed loop.
    fn start_while_there_is_room(&mut self) {
        while !self.is_stopped && self.worker.lane.has_room() {
            let stop = self.rules.stop();
            match stop.admit(self.now, self.worker.frame_ops) {
                0 => self.is_stopped = true,
                ops => {
                    self.recorder.borrow_mut().take(ops, self.now, stop);
                    self.send(self.now, ops);
                }
            }
        }
    }

    /// Starts operations of an open loop that were due at `intended`.
    fn start_due(&mut self, intended: Instant) {
        if self.rules.is_too_late(self.now) {
            let recorder = &mut self.recorder.borrow_mut();
            return self
                .rules
                .give_back(intended, DropReason::LateStart, self.now, recorder);
        }
        self.rules.record_late_start(
            intended,
            self.free_since,
            self.now,
            &mut self.recorder.borrow_mut(),
        );
        self.send(intended, self.worker.frame_ops);
    }

    fn send(&mut self, intended: Instant, count: u64) {
        let intended_nanos = self.rules.stop().nanos_of(intended);
        let worker = &mut self.worker;
        let mut ops = worker.lane.take_spare();
        let mut calls = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            let (op, call) = worker.workload.next(intended_nanos);
            ops.push(op);
            calls.push(call);
        }
        let sent = InFlight {
            ops,
            calls: match worker.history {
                Some(_) => calls.clone(),
                None => Vec::new(),
            },
            intended,
            started: self.now,
        };
        self.recorder.borrow().live().sent(count);
        worker.lane.send(sent, calls);
    }

    fn settle(&mut self, sent: InFlight, completion: Completion<'_>) {
        let worker = &mut self.worker;
        let mut recorder = self.recorder.borrow_mut();
        recorder.live().landed(sent.count());
        if worker.lane.take_lost() && !self.has_lost {
            self.has_lost = true;
            recorder.lose_worker(self.now, self.rules.stop());
        }
        self.rules.settle(
            &sent,
            completion,
            self.now,
            &mut worker.workload,
            worker.history.as_mut(),
            &mut recorder,
        );
        recorder.flush(self.rules.stop());
        let mut spare = sent.ops;
        spare.clear();
        worker.lane.give_spare(spare);
    }

    /// Gives up operations that have been in flight for too long, and at the end, if nobody is to wait, all of them.
    fn give_up(&mut self) {
        if let Some(latest_start) = self.rules.latest_start(self.now) {
            for (sent, completion) in self.worker.lane.give_up(latest_start, self.now) {
                self.settle(sent, completion);
            }
        }
        if self.rules.gives_up_all(self.now) {
            self.is_stopped = true;
            for sent in self.worker.lane.abandon() {
                match self.rules.failure_at_end() {
                    Some(failure) => self.settle(sent, Completion::Unanswered(failure)),
                    None => self.forget(&sent),
                }
            }
        }
    }

    fn forget(&mut self, sent: &InFlight) {
        let recorder = &mut self.recorder.borrow_mut();
        recorder.live().landed(sent.count());
        self.rules
            .forget(sent, self.now, self.worker.history.as_mut(), recorder);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use prost::Message as _;
    use soloist::v1::{OpResult, PipelineRequest, PipelineResponse, op_result};
    use soloist_server::Server;
    use tokio::runtime::LocalRuntime;
    use tokio::sync::mpsc;

    use super::*;
    use crate::command_line::resolve::tests::settings;
    use crate::connect::destination::Destination;
    use crate::engines::backoff::Backoff;
    use crate::engines::link::Link;
    use crate::pace::admission::Admission;
    use crate::pace::pacer::Handover;
    use crate::pace::stop::Stop;
    use crate::plan::kind::Kind;
    use crate::workload::keys::Keys;

    const MS: Duration = Duration::from_millis(1);

    /// Runs one worker against a server of its own. In an open loop, `due` returns when each operation is due.
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
            let destination = Destination::new(address, &settings.security).unwrap();
            let settings = Arc::new(settings);
            let backoff = Backoff::new(0, 1);
            let link = Link::open(&Arc::new(destination), 5_000 * MS, backoff, &Arc::default())
                .await
                .unwrap();
            tokio::task::spawn_local(Rc::clone(&link).maintain());
            let start = Instant::now();
            // Some of it may have been due for long.
            let begun = start - due.map_or(Duration::ZERO, |_| 2_000 * MS);
            let stop = Stop::new(begun, settings.warmup, settings.duration, settings.requests);
            let stop = Arc::new(stop);
            let (arrivals, admission) = match due {
                None => (None, None),
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
                    (Some(Rc::new(ArrivalQueue::new(receiver))), Some(admission))
                }
            };
            let keys = Keys::new(5, settings.key_dist, settings.part);
            let worker = Worker {
                lane: Lane::open(&link, &settings).await.unwrap(),
                workload: Workload::new(&settings, keys, 0),
                arrivals,
                frame_ops: settings.frame_ops,
                history: None,
            };
            let rules = Rules::new(&settings, &stop, admission);
            let recorder = Rc::new(RefCell::new(Recorder::new(Arc::default(), 1_000 * MS)));
            worker.run(rules, Rc::clone(&recorder)).await;
            Rc::into_inner(recorder).unwrap().into_inner()
        })
    }

    #[test]
    fn in_a_closed_loop_service_time_is_response_time() {
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

    /// A server that says nothing but its SETTINGS.
    fn silent_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
                open.push(stream);
            }
        });
        address
    }

    #[test]
    fn a_call_without_an_answer_fails_alone() {
        let address = silent_server();
        let line = "-n 6 --engine unary -P 3 --timeout 50ms";
        let recorder = run_against(&address, line, None);
        assert_eq!(recorder.kinds()[&Kind::Read].failed_ops(), 6);
        let message = &recorder.failure_messages()["DEADLINE_EXCEEDED"];
        assert!(message.starts_with("no answer within "), "{message}");
        // The worker went on after the first three calls.
        assert_eq!(recorder.lost(), (0, None));
    }

    #[test]
    fn operations_in_flight_at_the_end_are_given_up_if_so_asked() {
        let address = silent_server();
        for (how, failed) in [("close", 3), ("ignore", 0)] {
            let line = format!("-z 50ms --engine unary -P 3 --duration-stop {how}");
            let recorder = run_against(&address, &line, None);
            let of = recorder.kinds().get(&Kind::Read);
            assert_eq!(of.map_or(0, |of| of.failed_ops()), failed, "{how}");
        }
    }

    /// A node that answers the frames of streams until `turn` frames came. From then on the node at `owner` owns the store.
    fn node(turn: usize, owner: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let owner = owner.to_owned();
        thread::spawn(move || {
            LocalRuntime::new().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let answered = Rc::<std::cell::Cell<usize>>::default();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (owner, answered) = (owner.clone(), Rc::clone(&answered));
                    tokio::task::spawn_local(async move {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((request, mut respond))) = connection.accept().await {
                            let head = http::Response::builder()
                                .header("content-type", "application/grpc")
                                .body(())
                                .unwrap();
                            let answers = respond.send_response(head, false).unwrap();
                            let (owner, answered) = (owner.clone(), Rc::clone(&answered));
                            tokio::task::spawn_local(async move {
                                answer_frames(
                                    request.into_body(),
                                    answers,
                                    turn,
                                    &owner,
                                    &answered,
                                )
                                .await;
                            });
                        }
                    });
                }
            });
        });
        address
    }

    async fn answer_frames(
        mut frames: h2::RecvStream,
        mut answers: h2::SendStream<bytes::Bytes>,
        turn: usize,
        owner: &str,
        answered: &std::cell::Cell<usize>,
    ) {
        let mut arrived = Vec::new();
        while let Some(Ok(data)) = frames.data().await {
            frames.flow_control().release_capacity(data.len()).unwrap();
            arrived.extend_from_slice(&data);
            while let Some((head, rest)) = arrived.split_at_checked(5) {
                let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
                let Some((frame, rest)) = rest.split_at_checked(length) else {
                    break;
                };
                let frame = PipelineRequest::decode(frame).unwrap();
                let response = match answered.get() < turn {
                    true => read_nothing(frame.ops.len()),
                    false => PipelineResponse {
                        error: Some(not_owner(owner)),
                        ..PipelineResponse::default()
                    },
                };
                answered.set(answered.get() + 1);
                arrived = rest.to_vec();
                let mut message = vec![0];
                message.extend((response.encoded_len() as u32).to_be_bytes());
                message.extend(response.encode_to_vec());
                // A client that is done has left.
                let _ = answers.send_data(message.into(), false);
            }
        }
    }

    fn read_nothing(count: usize) -> PipelineResponse {
        let result = op_result::Result::Read(Default::default());
        let result = OpResult {
            result: Some(result),
        };
        PipelineResponse {
            results: vec![result; count],
            ..PipelineResponse::default()
        }
    }

    fn not_owner(owner: &str) -> tonic_types::pb::Status {
        let info = tonic_types::pb::ErrorInfo {
            reason: "NOT_OWNER".into(),
            domain: soloist::ERROR_DOMAIN.into(),
            metadata: [("owner".into(), owner.into())].into(),
        };
        tonic_types::pb::Status {
            code: tonic::Code::Unavailable as i32,
            message: String::new(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
                value: info.encode_to_vec(),
            }],
        }
    }

    #[test]
    fn frames_that_another_node_is_to_take_go_there_and_none_fails() {
        for flags in ["", "-P 4", "--frame-ops 8 -P 2"] {
            let second = node(usize::MAX, "nobody:1");
            let first = node(10, &second);
            let addresses = format!("{first},127.0.0.1:1");
            let recorder = run_against(&addresses, &format!("-n 400 {flags}"), None);
            let read = &recorder.kinds()[&Kind::Read];
            assert_eq!((read.completed, read.failed_ops()), (400, 0), "{flags}");
            assert_eq!(recorder.lost(), (0, None), "{flags}");
        }
    }

    #[test]
    fn response_time_counts_from_when_an_operation_was_due() {
        // As if the worker had been held up for a second.
        let due = |start| (0..20).map(|n| start - 1_000 * MS + n * MS).collect();
        let recorder = run("-z 5s", Some(due));
        let read = &recorder.kinds()[&Kind::Read];
        assert_eq!(read.completed, 20);
        assert!(read.response.min() > 900_000_000);
        assert!(read.service.min() < 900_000_000);
    }

    #[test]
    fn frames_of_an_open_loop_are_full() {
        let due = |start| vec![start; 20];
        let recorder = run("-z 5s --frame-ops 8 -P 2", Some(due));
        assert_eq!(recorder.kinds()[&Kind::Read].completed, 160);
    }
}

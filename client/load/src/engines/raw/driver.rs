//! The loop of a thread with the engine `raw`: sockets, timers and workers, all in one place and without a runtime.
//!
//! Workers are what they are with the other engines: a workload, and so many calls under way. Here a call under way is a
//! slot, which belongs to a worker, and a worker to a connection.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::engines::raw::calls::{AnswerCache, Methods, Requests};
use crate::engines::raw::workers::{CallSlot, UnderWay, UnsentCall, Worker, Workers};
use crate::engines::thread::{ReadySender, RunContext, ThreadResult, wait_for_start};
use crate::grpc::ANSWER_BYTES_MAX;
use crate::http2::{Config, Endpoint, Poller, READ_BYTES, SendError};
use crate::pace::cpu::thread_cpu_time;
use crate::pace::open_loop::{ArrivalSource, SelfPacing};
use crate::pace::pacer::wake_on_time;
use crate::pace::stop::Stop;
use crate::plan::choices::DurationStop;
use crate::plan::settings::Settings;
use crate::record::history::HistorySetup;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::record::settle::Completion;
use crate::workload::operation::{Call, Failure, given_up, unanswered};
use soloist_client::Outcome;
use soloist_verify::MessageKind;

/// How often a thread looks for calls that have waited for too long.
const TICK: Duration = Duration::from_millis(100);

/// Drives the workers of one thread from the start to the end of a run.
pub(crate) async fn drive(
    index: u64,
    mut context: RunContext,
    source: Option<ArrivalSource>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let opened = Thread::open(index, &context, source);
    let (mut thread, stop) = wait_for_start(opened, ready, &mut context).await?;
    wake_on_time();
    let history = context.history.take().map(HistorySetup::start);
    if let Some(history) = &history {
        for worker in &mut thread.workers.workers {
            worker.history = Some(history.sink(worker.number, MessageKind::Call, &stop));
        }
    }
    let interval = context.settings.interval;
    let mut recorder = match context.settings.open_loop {
        None => Recorder::of_closed_loop(live, interval),
        Some(_) => Recorder::new(live, interval),
    };
    let (finished, cpu) = thread.run(&stop, &mut recorder);
    recorder.finish();
    // The witnesses leave what they have.
    drop(thread);
    Some(ThreadResult {
        recorder,
        cpu,
        finished,
        history: history.map(crate::record::history::HistoryRecording::finish),
    })
}

struct Thread {
    settings: Arc<Settings>,
    poller: Poller,
    address: Vec<SocketAddr>,
    /// By the number that the poller calls them. None: it is gone.
    endpoints: Vec<Option<Open>>,
    lines: Vec<ConnectionSlot>,
    methods: Methods,
    requests: Requests,
    workers: Workers,
    schedule: Option<Box<SelfPacing>>,
    /// What is due and not sent yet.
    due: VecDeque<Instant>,
    buffer: Vec<u8>,
    stopped: bool,
}

/// A connection that is open.
struct Open {
    endpoint: Endpoint,
    line: usize,
}

/// A connection as the workers see it: when the server ends one in order, another takes its place.
struct ConnectionSlot {
    /// Where calls are begun; none if there is no connection any more.
    current: Option<u32>,
    /// Slots that could send.
    free: VecDeque<usize>,
    /// Why the connection before the present one ended.
    lost: Option<Failure>,
}

fn config() -> Config {
    Config {
        message_bytes_max: ANSWER_BYTES_MAX,
        ..Config::default()
    }
}

impl Thread {
    /// Connection number `c` belongs to thread `c % threads`, worker `w` to connection `w % connections`.
    fn open(
        index: u64,
        context: &RunContext,
        source: Option<ArrivalSource>,
    ) -> Result<Self, String> {
        let settings = &context.settings;
        let address: Vec<SocketAddr> = context
            .address
            .to_socket_addrs()
            .map_err(|error| format!("cannot connect to {}: {error}", context.address))?
            .collect();
        let poller = Poller::new().map_err(|error| format!("the system refuses: {error}"))?;
        let mut thread = Self {
            settings: Arc::clone(settings),
            poller,
            address,
            endpoints: Vec::new(),
            lines: Vec::new(),
            methods: Methods::new(&context.address, settings)?,
            requests: Requests::new(settings),
            workers: Workers {
                workers: Vec::new(),
                slots: Vec::new(),
                landed: Vec::new(),
                under_way: 0,
                answers: AnswerCache::new(settings),
            },
            schedule: match source {
                Some(ArrivalSource::Own(pace)) => Some(pace),
                _ => None,
            },
            due: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            stopped: false,
        };
        let numbers = (0..settings.connections).filter(|of| of % settings.threads == index);
        for (line, connection) in numbers.enumerate() {
            let current = thread
                .connect(line)
                .map_err(|error| format!("cannot connect to {}: {error}", context.address))?;
            thread.lines.push(ConnectionSlot {
                current: Some(current),
                free: VecDeque::new(),
                lost: None,
            });
            for number in 0..settings.workers() {
                if number % settings.connections == connection {
                    thread.add_worker(number, line, context);
                }
            }
        }
        Ok(thread)
    }

    fn connect(&mut self, line: usize) -> std::io::Result<u32> {
        let key = u32::try_from(self.endpoints.len()).expect("fewer connections than that");
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address");
        for address in &self.address {
            let timeout = self.settings.connect_timeout;
            match Endpoint::connect(*address, timeout, config(), &self.poller, key) {
                Ok(endpoint) => {
                    self.endpoints.push(Some(Open { endpoint, line }));
                    return Ok(key);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn add_worker(&mut self, number: u64, line: usize, context: &RunContext) {
        let worker = self.workers.workers.len();
        self.workers.workers.push(Worker {
            number,
            workload: context.workload(number),
            history: None,
            line,
            is_lost: false,
        });
        for _ in 0..self.settings.pipeline {
            self.lines[line].free.push_back(self.workers.slots.len());
            self.workers.slots.push(CallSlot::new(worker));
        }
    }

    /// Returns when the last answer came, and the CPU time from the warm-up on.
    fn run(&mut self, stop: &Stop, recorder: &mut Recorder) -> (Instant, Duration) {
        if let Some(schedule) = &mut self.schedule {
            schedule.start(stop);
        }
        let mut cpu_before = None;
        let mut next_look = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            if cpu_before.is_none() && now >= stop.window_start() {
                cpu_before = Some(thread_cpu_time());
            }
            self.begin(stop, recorder);
            recorder.under_way(self.workers.under_way as u64);
            self.flush();
            let is_idle = self.workers.under_way == 0;
            let nobody_is_left = self.workers.workers.iter().all(|worker| worker.is_lost);
            let nothing_is_due = self.stopped && self.due.is_empty();
            if is_idle && (nothing_is_due || nobody_is_left) {
                self.give_back();
                let cpu = cpu_before.unwrap_or_else(thread_cpu_time);
                return (
                    now.max(stop.window_start()),
                    thread_cpu_time().saturating_sub(cpu),
                );
            }
            let mut until = next_look;
            if let Some(next) = self.schedule.as_ref().and_then(|schedule| schedule.next()) {
                until = until.min(next);
            }
            if let Some(end) = stop.end().filter(|end| *end > now) {
                until = until.min(end + Duration::from_nanos(1));
            }
            let _ = self
                .poller
                .wait(Some(until.saturating_duration_since(Instant::now())));
            self.receive(stop, recorder);
            let now = Instant::now();
            if now >= next_look || stop.is_over(now) {
                next_look = now + TICK;
                self.look_after(now, stop, recorder);
            }
            recorder.flush(stop);
        }
    }

    /// Reads what has come.
    fn receive(&mut self, stop: &Stop, recorder: &mut Recorder) {
        let ready: Vec<u32> = self.poller.ready().map(|ready| ready.key).collect();
        for key in ready {
            let Some(open) = &mut self.endpoints[key as usize] else {
                continue;
            };
            let (workers, schedule) = (&mut self.workers, self.schedule.as_deref());
            open.endpoint.read(&mut self.buffer, |_, event, now| {
                workers.take(event, now, schedule, stop, recorder);
            });
            self.look_at_connection(key, stop, recorder);
        }
        self.free_landed();
    }

    /// Slots whose calls have ended can send again.
    fn free_landed(&mut self) {
        let now = Instant::now();
        for slot in self.workers.landed.drain(..) {
            let of = &mut self.workers.slots[slot];
            of.free_since = now;
            let worker = &self.workers.workers[of.worker];
            if !worker.is_lost {
                self.lines[worker.line].free.push_back(slot);
            }
        }
    }

    /// Takes another connection if this one ends in order, and loses its workers if it does not.
    fn look_at_connection(&mut self, key: u32, stop: &Stop, recorder: &mut Recorder) {
        let Some(open) = &mut self.endpoints[key as usize] else {
            return;
        };
        let line = open.line;
        let connection = open.endpoint.connection();
        let closed = connection.closed().map(|closed| closed.0.clone());
        let ends = connection.is_draining() || connection.is_exhausted();
        let is_current = self.lines[line].current == Some(key);
        if closed.is_none() && !(ends && is_current) {
            if ends && connection.open_calls() == 0 {
                self.remove(key);
            }
            return;
        }
        let was_ending = ends;
        if let Some(why) = &closed {
            self.lines[line].lost = Some(Failure::new(
                Code::Unavailable,
                format!("connection failed: {why}"),
                Outcome::Unknown,
            ));
            self.remove(key);
        }
        if !is_current {
            return;
        }
        self.lines[line].current = None;
        // What the server ended in order is taken up again; what broke is not, as with the other engines.
        if was_ending && !self.stopped {
            self.lines[line].current = self.connect(line).ok();
        }
        if self.lines[line].current.is_none() {
            let now = Instant::now();
            for worker in &mut self.workers.workers {
                if worker.line == line && !worker.is_lost {
                    worker.is_lost = true;
                    recorder.lose_worker(now, stop);
                }
            }
            self.lines[line].free.clear();
        }
    }

    fn remove(&mut self, key: u32) {
        if let Some(open) = self.endpoints[key as usize].take() {
            // It is closed with its socket in any case.
            let _ = open.endpoint.remove(&self.poller);
        }
    }

    /// Begins what can be begun.
    fn begin(&mut self, stop: &Stop, recorder: &mut Recorder) {
        let now = Instant::now();
        if let Some(mut schedule) = self.schedule.take() {
            if stop.interrupted().is_some() {
                schedule.end();
            }
            schedule.take_due(now, stop, &mut self.due);
            self.stopped = schedule.next().is_none();
            self.schedule = Some(schedule);
            let how = self.settings.duration_stop;
            if stop.is_too_late(now, how, self.settings.answer_timeout()) {
                self.give_back();
            }
        }
        for line in 0..self.lines.len() {
            self.begin_on(line, now, stop, recorder);
        }
    }

    /// Begins what one connection can take.
    fn begin_on(&mut self, line: usize, now: Instant, stop: &Stop, recorder: &mut Recorder) {
        let line = &mut self.lines[line];
        let Some(key) = line.current else {
            return;
        };
        let Some(open) = &mut self.endpoints[key as usize] else {
            return;
        };
        let connection = open.endpoint.connection();
        let now_nanos = stop.nanos_of(now);
        while let Some(&slot) = line.free.front() {
            // The rest of the check follows when the length is known.
            if connection.check_send(0).is_err() {
                return;
            }
            let of = &mut self.workers.slots[slot];
            let worker = &mut self.workers.workers[of.worker];
            let UnsentCall {
                asked,
                call,
                intended,
            } = match of.unsent.take() {
                Some(unsent) => *unsent,
                None => {
                    let (intended, nanos) = match &self.schedule {
                        None if self.stopped || stop.admit(now, 1) == 0 => {
                            self.stopped = true;
                            return;
                        }
                        None => (now, now_nanos),
                        Some(_) => match self.due.pop_front() {
                            None => return,
                            Some(intended) => {
                                if of.free_since <= intended {
                                    let late = now.saturating_duration_since(intended);
                                    recorder.late_start(late, now, stop);
                                }
                                (intended, stop.nanos_of(intended))
                            }
                        },
                    };
                    let (asked, call) = worker.workload.draw(nanos);
                    UnsentCall {
                        asked,
                        call,
                        intended,
                    }
                }
            };
            let (method, message) = self.requests.encode(asked, call.as_ref());
            match connection.send(self.methods.of(method), slot as u64, message) {
                Ok(stream) => {
                    line.free.pop_front();
                    of.under_way = Some(UnderWay {
                        method,
                        endpoint: key,
                        stream,
                    });
                    of.sent.ops.clear();
                    of.sent.ops.push(asked);
                    of.sent.intended = intended;
                    // In a closed loop it starts when it means to.
                    of.sent.started = now.max(intended);
                    if worker.history.is_some() {
                        let call = call
                            .unwrap_or_else(|| Call::read(self.settings.mix.key_name(asked.key)));
                        of.sent.calls = vec![call];
                    }
                    self.workers.under_way += 1;
                }
                Err(SendError::TooLarge) => {
                    unreachable!("the settings see to the size of messages")
                }
                Err(
                    SendError::StreamLimit
                    | SendError::Backlog
                    | SendError::Draining
                    | SendError::Closed,
                ) => {
                    of.unsent = Some(Box::new(UnsentCall {
                        asked,
                        call,
                        intended,
                    }));
                    return;
                }
            }
        }
    }

    /// Writes what waits.
    fn flush(&mut self) {
        for open in self.endpoints.iter_mut().flatten() {
            if !open.endpoint.connection().output().is_empty() {
                // Reading finds out what is wrong with a socket.
                let _ = open.endpoint.flush(&self.poller);
            }
        }
    }

    /// What is due will not be sent any more.
    fn give_back(&mut self) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        for _ in self.due.drain(..) {
            schedule.admission.give_back();
        }
        for slot in &mut self.workers.slots {
            if slot.unsent.take().is_some() {
                schedule.admission.give_back();
            }
        }
    }

    /// Gives up calls that should have been answered, and everything at the end if that is wanted.
    fn look_after(&mut self, now: Instant, stop: &Stop, recorder: &mut Recorder) {
        let latest_start = stop.latest_start(now, self.settings.answer_timeout());
        let how = self.settings.duration_stop;
        let ends = how != DurationStop::Wait && stop.is_over(now);
        if ends && self.schedule.is_none() {
            self.stopped = true;
        }
        if latest_start.is_none() && !ends {
            return;
        }
        let schedule = self.schedule.as_deref();
        for slot in 0..self.workers.slots.len() {
            let Some(under_way) = &self.workers.slots[slot].under_way else {
                continue;
            };
            let started = self.workers.slots[slot].sent.started;
            let is_overdue = latest_start.is_some_and(|latest| started <= latest);
            if !is_overdue && !ends {
                continue;
            }
            if let Some(open) = &mut self.endpoints[under_way.endpoint as usize] {
                open.endpoint.connection().cancel(under_way.stream);
            }
            match ends && how == DurationStop::Ignore {
                true => self.workers.forget(slot, schedule, now),
                false => {
                    let failure = match is_overdue {
                        true => unanswered(now.saturating_duration_since(started)),
                        false => given_up(),
                    };
                    let answer = Completion::Unanswered(failure);
                    self.workers
                        .settle(slot, answer, schedule, now, stop, recorder);
                }
            }
        }
        self.free_landed();
    }
}

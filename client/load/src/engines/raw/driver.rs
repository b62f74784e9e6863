//! The loop of a thread with the engine `raw`: sockets, timers and workers in one place, without a runtime.
//!
//! Workers are what they are with the other engines: a workload, and a number of calls that may be in flight. Here each of
//! these calls has a slot. The slot belongs to a worker, and the worker to a connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connect::destination::Destination;
use crate::engines::backoff::Backoff;
use crate::engines::raw::connections::Connections;
use crate::engines::raw::requests::Requests;
use crate::engines::raw::rpc::Methods;
use crate::engines::raw::starts::Starts;
use crate::engines::raw::workers::{CallOnWire, Workers};
use crate::engines::rules::Rules;
use crate::engines::thread::{ReadySender, RunContext, ThreadResult, wait_for_start};
use crate::http2::{Event, SendError};
use crate::pace::admission::DropReason;
use crate::pace::cpu::thread_cpu_time;
use crate::pace::open_loop::ArrivalSource;
use crate::pace::pacer::wake_on_time;
use crate::record::history::HistoryRecording;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::record::settle::Completion;
use crate::workload::outcome::Failure;

/// Runs the workers of thread `index`, from connecting to the end of the run.
pub(crate) async fn drive(
    index: u64,
    mut context: RunContext,
    source: Option<ArrivalSource>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let opened = match Thread::open(index, &context, source) {
        Ok(thread) => Ok(thread),
        Err(error) => Err(context.destination.explain(error).await),
    };
    let (mut thread, stop) = wait_for_start(opened, ready, &mut context).await?;
    wake_on_time();
    let recording = context.recording();
    if let Some(recording) = &recording {
        thread.workers.record(recording, &stop);
    }
    let rules = context.rules(&stop);
    let mut recorder = context.recorder(live);
    let (finished, cpu) = thread.run(&rules, &mut recorder);
    recorder.finish();
    // The workers leave their histories when they are dropped.
    drop(thread);
    Some(ThreadResult {
        recorder,
        cpu,
        finished,
        history: recording.map(HistoryRecording::finish),
    })
}

struct Thread {
    starts: Starts,
    workers: Workers,
    methods: Methods,
    requests: Requests,
    connections: Connections,
}

impl Thread {
    fn open(
        index: u64,
        context: &RunContext,
        source: Option<ArrivalSource>,
    ) -> Result<Self, String> {
        let (settings, destination) = (&context.settings, &context.destination);
        let mut connections = Connections::new(destination, settings, &context.links)?;
        let mut workers = Workers::new(settings, destination.is_searched());
        for connection in context.connections_of(index) {
            let backoff = Backoff::new(settings.seed ^ connection, settings.connections);
            let slot = connections.add_slot(backoff).map_err(|error| {
                let why = Destination::in_words(&error.to_string());
                format!("cannot connect to {}: {why}", destination.address())
            })?;
            for number in context.workers_of(connection) {
                let workload = context.workload(number);
                for call_slot in workers.add(number, workload, slot, settings.pipeline) {
                    connections.free(slot, call_slot);
                }
            }
        }
        let program = context.call.as_ref().map(|call| &call.program);
        Ok(Self {
            starts: Starts::new(source),
            workers,
            methods: Methods::new(destination, settings, program.map(|of| of.path.as_str()))?,
            requests: Requests::new(settings, program.cloned()),
            connections,
        })
    }

    /// Returns when the last answer came, and the CPU time from the end of the warm-up on.
    fn run(&mut self, rules: &Rules, recorder: &mut Recorder) -> (Instant, Duration) {
        let stop = rules.stop();
        self.starts.begin(stop);
        let mut cpu_before = None;
        let mut next_look = rules.next_look(Instant::now());
        loop {
            let now = Instant::now();
            if cpu_before.is_none() && now >= stop.window_start() {
                cpu_before = Some(thread_cpu_time());
            }
            if self.connections.is_any_down() {
                self.make_again(now, rules, recorder);
            }
            self.start_calls(now, rules, recorder);
            recorder
                .live()
                .set_in_flight(self.workers.in_flight() as u64);
            self.connections.flush();
            let is_idle = self.workers.in_flight() == 0 && !self.workers.has_unsent();
            if is_idle && self.starts.is_over() {
                let cpu = cpu_before.unwrap_or_else(thread_cpu_time);
                return (
                    now.max(stop.window_start()),
                    thread_cpu_time().saturating_sub(cpu),
                );
            }
            let until = self.starts.next_due();
            self.connections
                .wait(until.map_or(next_look, |due| due.min(next_look)));
            self.receive(rules, recorder);
            let now = Instant::now();
            if now >= next_look || stop.is_over(now) {
                next_look = rules.next_look(now);
                self.methods.renew();
                self.give_up(now, rules, recorder);
            }
            recorder.flush(stop);
        }
    }

    /// Starts the calls that may start at `now`, as far as the connections take them.
    fn start_calls(&mut self, now: Instant, rules: &Rules, recorder: &mut Recorder) {
        self.starts.collect_due(now, rules.stop());
        if rules.is_too_late(now) {
            self.give_back(now, rules, recorder);
        }
        if self.connections.is_any_down() && self.connections.are_all_out() {
            self.starts
                .give_back(DropReason::NoConnection, now, rules, recorder);
        }
        for slot in 0..self.connections.slot_count() {
            self.start_calls_on(slot, now, rules, recorder);
        }
    }

    fn start_calls_on(
        &mut self,
        slot: usize,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        let Some(current) = self.connections.current(slot) else {
            return;
        };
        let now_nanos = rules.stop().nanos_of(now);
        while let Some(&call_slot) = current.free.front() {
            // Only the length of the message is unknown yet; sending checks it.
            if current.connection.check_send(0).is_err() {
                return;
            }
            let call = match self.workers.take_unsent(call_slot) {
                Some(call) => call,
                None => {
                    let free_since = self.workers.free_since(call_slot);
                    let Some(intended) = self.starts.take(now, free_since, rules, recorder) else {
                        return;
                    };
                    let nanos = match intended == now {
                        true => now_nanos,
                        false => rules.stop().nanos_of(intended),
                    };
                    self.workers.draw(call_slot, intended, nanos)
                }
            };
            let (rpc, message) = self.requests.encode(call.op, call.call.as_ref());
            let method = self.methods.of(rpc);
            match current.connection.send(method, call_slot as u64, message) {
                Ok(stream) => {
                    current.free.pop_front();
                    let endpoint = current.endpoint;
                    let on_wire = CallOnWire {
                        rpc,
                        endpoint,
                        stream,
                    };
                    self.workers.sent(call_slot, call, on_wire, now);
                }
                Err(SendError::TooLarge) => unreachable!("the settings limit the size of messages"),
                Err(
                    SendError::StreamLimit
                    | SendError::Backlog
                    | SendError::Draining
                    | SendError::Closed,
                ) => {
                    self.workers.keep_unsent(call_slot, call);
                    return;
                }
            }
        }
    }

    /// Receives the responses that have come.
    fn receive(&mut self, rules: &Rules, recorder: &mut Recorder) {
        for key in self.connections.ready() {
            let workers = &mut self.workers;
            let mut has_answered = false;
            self.connections.read(key, |is_draining, event, now| {
                has_answered |= matches!(event, Event::Response { .. });
                workers.take(event, is_draining, now, rules, recorder);
            });
            if let Some(owner) = self.workers.take_owner() {
                self.connections.go_elsewhere(key, &owner);
            }
            self.look_after(key, has_answered, rules, recorder);
        }
        let refused = self.workers.take_refused();
        if refused > 0 {
            self.connections.links().refused(refused);
        }
        self.free_landed();
    }

    /// Makes the slots of calls that have ended free for other calls.
    fn free_landed(&mut self) {
        while let Some(slot) = self.connections.take_restored() {
            self.workers.free_from(slot, Instant::now());
        }
        let connections = &mut self.connections;
        self.workers.drain_landed(
            Instant::now(),
            |call_slot, connection, is_unsent| match is_unsent {
                true => connections.free_first(connection, call_slot),
                false => connections.free(connection, call_slot),
            },
        );
    }

    /// Gives up calls that have been in flight for too long, and at the end, if nobody is to wait, all of them.
    fn give_up(&mut self, now: Instant, rules: &Rules, recorder: &mut Recorder) {
        let latest_start = rules.latest_start(now);
        let gives_up_all = rules.gives_up_all(now);
        if gives_up_all {
            self.starts.stop_closed_loop();
        }
        if latest_start.is_none() && !gives_up_all {
            return;
        }
        let mut silent = BTreeSet::new();
        for slot in self.workers.slots() {
            let Some((call, started)) = self.workers.call(slot) else {
                continue;
            };
            let is_overdue = latest_start.is_some_and(|latest| started <= latest);
            let failure = match (is_overdue, gives_up_all) {
                (true, _) => {
                    let waited = now.saturating_duration_since(started);
                    Some(Failure::unanswered(waited))
                }
                (false, true) => rules.failure_at_end(),
                (false, false) => continue,
            };
            if is_overdue && self.connections.is_silent(call.endpoint, started) {
                silent.insert(call.endpoint);
            }
            self.connections.cancel(call.endpoint, call.stream);
            match failure {
                Some(failure) => {
                    let completion = Completion::Unanswered(failure);
                    self.workers.settle(slot, completion, now, rules, recorder);
                }
                None => self.workers.forget(slot, now, rules, recorder),
            }
        }
        // With an interrupt, calls are given up before their time.
        if rules.stop().interrupted().is_none() {
            for endpoint in silent {
                self.end_silent(endpoint, now, rules, recorder);
            }
        }
        self.free_landed();
    }

    /// Ends a connection on which nothing at all was heard for as long as a call may take: the server may be gone without a
    /// word, and another connection may work.
    fn end_silent(&mut self, endpoint: u32, now: Instant, rules: &Rules, recorder: &mut Recorder) {
        let workers = &mut self.workers;
        self.connections.end(endpoint, |_, event| {
            workers.take(event, false, now, rules, recorder);
        });
        self.look_after(endpoint, false, rules, recorder);
    }

    fn look_after(
        &mut self,
        endpoint: u32,
        has_answered: bool,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        if let Some(down) = self.connections.look_after(endpoint, has_answered) {
            let now = Instant::now();
            if down.is_lost {
                self.workers.lose(down.slot, now, rules, recorder);
            }
            if down.is_out {
                self.workers
                    .fail_unsent(Some(down.slot), now, rules, recorder);
            }
        }
    }

    /// Connects again where there is no connection.
    fn make_again(&mut self, now: Instant, rules: &Rules, recorder: &mut Recorder) {
        // Nothing can be taken to be sent, so nothing else finds out that the run is over.
        if rules.stop().is_closed(now) {
            self.starts.stop_closed_loop();
        }
        let workers = &mut self.workers;
        self.connections.make_again(now, |slot| {
            workers.fail_unsent(Some(slot), now, rules, recorder);
        });
    }

    /// Gives back every call that is due or drawn and will not be sent, because it is too late.
    fn give_back(&mut self, now: Instant, rules: &Rules, recorder: &mut Recorder) {
        match self.starts.is_open_loop() {
            true => {
                let reason = DropReason::LateStart;
                self.starts.give_back(reason, now, rules, recorder);
                self.workers.give_back(reason, now, rules, recorder);
            }
            false => self.workers.fail_unsent(None, now, rules, recorder),
        }
    }
}

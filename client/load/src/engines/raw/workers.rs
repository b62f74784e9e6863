//! The workers of a thread, and their calls.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use soloist_client::Outcome;
use soloist_verify::MessageKind;
use tonic::Status;

use crate::connect::nodes::other_owner;
use crate::engines::raw::answer_cache::AnswerCache;
use crate::engines::raw::rpc::Rpc;
use crate::engines::rules::Rules;
use crate::http2::{CallFailure, Event, Processed, StreamId};
use crate::pace::admission::DropReason;
use crate::pace::stop::Stop;
use crate::plan::key_names::KeyNames;
use crate::plan::kind::Kind;
use crate::plan::settings::Settings;
use crate::record::history::HistoryRecording;
use crate::record::recorder::Recorder;
use crate::record::settle::Completion;
use crate::record::worker_history::WorkerHistory;
use crate::workload::generator::Workload;
use crate::workload::operation::{Call, InFlight, SentOp};
use crate::workload::outcome::{Failure, OpOutcome};

/// The workers of a thread. Each has as many call slots as it may have calls in flight.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    slots: Vec<CallSlot>,
    /// Slots whose calls have ended since the last [`drain_landed`](Self::drain_landed).
    landed: Vec<usize>,
    in_flight: usize,
    /// How many slots have an unsent call.
    unsent: usize,
    answers: AnswerCache,
    names: KeyNames,
    /// Calls that the server has refused since this was [taken](Self::take_refused), and that are sent again.
    refused: u64,
    /// Whether there are several nodes, so that a call may have to go to another one.
    is_searched: bool,
    /// The owner of the store by an answer since this was [taken](Self::take_owner); empty if it is not known.
    owner: Option<String>,
}

struct Worker {
    number: u64,
    workload: Workload,
    history: Option<WorkerHistory>,
    /// The connection slot of all of its calls.
    connection: usize,
    /// Whether it has lost a connection.
    has_lost: bool,
}

/// A call in flight, or room for one.
struct CallSlot {
    worker: usize,
    /// `None` if no call is in flight.
    call: Option<CallOnWire>,
    /// The operation of the call in flight, or of the last one.
    sent: InFlight,
    /// The message of the call in flight, if it is no plain Read. If the server has not taken the call, it is sent again.
    message: Option<Call>,
    /// A call that was drawn and could not be sent yet, because the connection had no room, or there was none.
    unsent: Option<Box<UnsentCall>>,
    /// The server has refused the stream of this call once.
    was_refused: bool,
    free_since: Instant,
}

/// Where a call is in flight.
#[derive(Clone, Copy)]
pub(crate) struct CallOnWire {
    pub(crate) rpc: Rpc,
    /// The key of the endpoint.
    pub(crate) endpoint: u32,
    pub(crate) stream: StreamId,
}

/// A call that is drawn, and not sent.
pub(crate) struct UnsentCall {
    pub(crate) op: SentOp,
    /// `None` for a plain Read of the key.
    pub(crate) call: Option<Call>,
    pub(crate) intended: Instant,
}

impl Workers {
    pub(crate) fn new(settings: &Settings, is_searched: bool) -> Self {
        Self {
            is_searched,
            owner: None,
            workers: Vec::new(),
            slots: Vec::new(),
            landed: Vec::new(),
            in_flight: 0,
            unsent: 0,
            answers: AnswerCache::new(settings),
            names: settings.key_names(),
            refused: 0,
        }
    }

    /// Adds a worker with `calls` slots on a connection. Returns its slots.
    pub(crate) fn add(
        &mut self,
        number: u64,
        workload: Workload,
        connection: usize,
        calls: u64,
    ) -> Range<usize> {
        let (worker, first) = (self.workers.len(), self.slots.len());
        self.workers.push(Worker {
            number,
            workload,
            history: None,
            connection,
            has_lost: false,
        });
        self.slots.extend((0..calls).map(|_| CallSlot::new(worker)));
        first..self.slots.len()
    }

    /// Makes every worker record its history.
    pub(crate) fn record(&mut self, recording: &HistoryRecording, stop: &Arc<Stop>) {
        for worker in &mut self.workers {
            let history = WorkerHistory::new(recording, worker.number, MessageKind::Call, stop);
            worker.history = Some(history);
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns whether there are calls that were drawn and could not be sent yet.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Returns the slots.
    pub(crate) fn slots(&self) -> Range<usize> {
        0..self.slots.len()
    }

    #[inline]
    pub(crate) fn free_since(&self, slot: usize) -> Instant {
        self.slots[slot].free_since
    }

    /// Returns the call in flight of a slot, and when it started.
    pub(crate) fn call(&self, slot: usize) -> Option<(CallOnWire, Instant)> {
        let slot = &self.slots[slot];
        slot.call.map(|call| (call, slot.sent.started))
    }

    /// Draws the next call of the worker to which a slot belongs. `nanos` is the intended start in nanoseconds after the
    /// start of the run.
    #[inline]
    pub(crate) fn draw(&mut self, slot: usize, intended: Instant, nanos: u64) -> UnsentCall {
        let slot = &mut self.slots[slot];
        slot.was_refused = false;
        let worker = &mut self.workers[slot.worker];
        let (op, call) = worker.workload.draw(nanos);
        UnsentCall { op, call, intended }
    }

    /// Takes the call that was [kept](Self::keep_unsent) in a slot.
    #[inline]
    pub(crate) fn take_unsent(&mut self, slot: usize) -> Option<UnsentCall> {
        let unsent = self.slots[slot].unsent.take()?;
        self.unsent -= 1;
        Some(*unsent)
    }

    /// Keeps a call in its slot until the connection has room.
    pub(crate) fn keep_unsent(&mut self, slot: usize, call: UnsentCall) {
        self.slots[slot].unsent = Some(Box::new(call));
        self.unsent += 1;
    }

    /// Notes that a call was sent at `now`.
    #[inline]
    pub(crate) fn sent(
        &mut self,
        slot: usize,
        call: UnsentCall,
        on_wire: CallOnWire,
        now: Instant,
    ) {
        let slot = &mut self.slots[slot];
        slot.call = Some(on_wire);
        let has_history = self.workers[slot.worker].history.is_some();
        slot.set_sent(call, now, has_history.then_some(&self.names));
        self.in_flight += 1;
    }

    /// Takes the response to a call, or its failure, which was read at `now`. `is_draining` says whether the server has ended
    /// the connection in order: a call that it has not begun then goes to the next connection. On a connection that goes on, a
    /// call that the server has not begun is sent again once, as gRPC's clients do (gRFC A6, "transparent retries").
    pub(crate) fn take(
        &mut self,
        event: Event<'_>,
        is_draining: bool,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        match event {
            Event::Response { tag, message } => {
                self.answer(tag as usize, message, now, rules, recorder);
            }
            Event::Failed { tag, failure } if is_draining && failure.processed == Processed::No => {
                self.take_back(tag as usize);
            }
            Event::Failed { tag, failure }
                if failure.processed == Processed::No && !self.slots[tag as usize].was_refused =>
            {
                self.slots[tag as usize].was_refused = true;
                self.refused += 1;
                self.take_back(tag as usize);
            }
            Event::Failed { tag, failure } if self.is_elsewhere(&failure) => {
                self.take_back(tag as usize);
            }
            Event::Failed { tag, failure } => {
                let lost = |outcome| {
                    let message = failure.message.clone();
                    Completion::Unanswered(Failure::new(failure.code, message, outcome))
                };
                let completion = match failure.processed {
                    Processed::Answered => Completion::Call(Err(Status::with_details(
                        failure.code,
                        failure.message,
                        failure.details.into(),
                    ))),
                    Processed::No => lost(Outcome::NotApplied),
                    Processed::Unknown => lost(Outcome::Unknown),
                };
                self.settle(tag as usize, completion, now, rules, recorder);
            }
        }
    }

    /// Looks whether a call was refused because another node owns the store: then it goes to that one.
    fn is_elsewhere(&mut self, failure: &CallFailure) -> bool {
        if !self.is_searched || failure.processed != Processed::Answered {
            return false;
        }
        let owner = other_owner(failure.code, &failure.details);
        let is_elsewhere = owner.is_some();
        self.owner = owner.or_else(|| self.owner.take());
        is_elsewhere
    }

    /// Returns the owner of the store, if calls were refused because it is another node, since this was asked last.
    pub(crate) fn take_owner(&mut self) -> Option<String> {
        self.owner.take()
    }

    fn answer(
        &mut self,
        slot: usize,
        message: &[u8],
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        let sent = &self.slots[slot].sent;
        let Some(call) = &self.slots[slot].call else {
            return;
        };
        if call.rpc == Rpc::Call {
            let worker = self.slots[slot].worker;
            let outcome = self.workers[worker].workload.take_message(message);
            return self.settle(slot, Completion::Judged(outcome), now, rules, recorder);
        }
        // If there is a history, it needs every answer decoded.
        let is_plain_read = call.rpc == Rpc::Read && sent.calls.is_empty();
        let key = sent.ops[0].key;
        if is_plain_read && self.answers.contains(key, message) {
            let completion = Completion::Judged(OpOutcome::Done { is_miss: false });
            return self.settle(slot, completion, now, rules, recorder);
        }
        let decoded = call.rpc.decode(message);
        let completion = match &decoded {
            Ok(reply) => {
                if is_plain_read {
                    let outcome = OpOutcome::of_reply(Kind::Read, Some(reply));
                    if matches!(outcome, OpOutcome::Done { is_miss: false }) {
                        self.answers.keep(key, message);
                    }
                }
                Completion::Reply(reply)
            }
            Err(error) => Completion::Call(Err(Status::internal(format!(
                "the answer cannot be decoded: {error}"
            )))),
        };
        self.settle(slot, completion, now, rules, recorder);
    }

    /// Returns how many calls were refused and are sent again, since this was asked last.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Takes back the call of a slot, to send it again.
    fn take_back(&mut self, slot: usize) {
        if !self.land(slot) {
            return;
        }
        let of = &mut self.slots[slot];
        let call = UnsentCall {
            op: of.sent.ops[0],
            call: of.message.take(),
            intended: of.sent.intended,
        };
        self.keep_unsent(slot, call);
    }

    /// Fails every call that was drawn and not sent, of one connection slot or of all.
    pub(crate) fn fail_unsent(
        &mut self,
        connection: Option<usize>,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        if !self.has_unsent() {
            return;
        }
        for number in self.slots() {
            let worker = &self.workers[self.slots[number].worker];
            let has_history = worker.history.is_some();
            if connection.is_some_and(|connection| worker.connection != connection) {
                continue;
            }
            let Some(call) = self.take_unsent(number) else {
                continue;
            };
            let slot = &mut self.slots[number];
            slot.set_sent(call, now, has_history.then_some(&self.names));
            let worker = &mut self.workers[slot.worker];
            rules.settle(
                &slot.sent,
                Completion::Unanswered(Failure::no_connection()),
                now,
                &mut worker.workload,
                worker.history.as_mut(),
                recorder,
            );
        }
    }

    /// Settles the call of a slot, if one is in flight.
    pub(crate) fn settle(
        &mut self,
        slot: usize,
        completion: Completion<'_>,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        if !self.land(slot) {
            return;
        }
        let slot = &self.slots[slot];
        let worker = &mut self.workers[slot.worker];
        rules.settle(
            &slot.sent,
            completion,
            now,
            &mut worker.workload,
            worker.history.as_mut(),
            recorder,
        );
    }

    /// Gives up the call of a slot without recording it.
    pub(crate) fn forget(
        &mut self,
        slot: usize,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        if !self.land(slot) {
            return;
        }
        let slot = &self.slots[slot];
        let worker = &mut self.workers[slot.worker];
        rules.forget(&slot.sent, now, worker.history.as_mut(), recorder);
    }

    /// Ends the call of a slot. Returns whether one was in flight.
    fn land(&mut self, slot: usize) -> bool {
        let was_in_flight = self.slots[slot].call.take().is_some();
        if was_in_flight {
            self.in_flight -= 1;
            self.landed.push(slot);
        }
        was_in_flight
    }

    /// Notes that the calls of a connection can be sent from `now` on. That they could not before is no lateness of this tool.
    pub(crate) fn free_from(&mut self, connection: usize, now: Instant) {
        for slot in &mut self.slots {
            if self.workers[slot.worker].connection == connection {
                slot.free_since = now;
            }
        }
    }

    /// Calls `free` with each slot whose call has ended, the connection slot of its worker, and whether the call is to be sent
    /// again.
    /// The slots are free from `now` on.
    pub(crate) fn drain_landed(&mut self, now: Instant, mut free: impl FnMut(usize, usize, bool)) {
        for number in self.landed.drain(..) {
            let slot = &mut self.slots[number];
            slot.free_since = now;
            let connection = self.workers[slot.worker].connection;
            free(number, connection, slot.unsent.is_some());
        }
    }

    /// Notes that the workers of a connection have lost it.
    pub(crate) fn lose(
        &mut self,
        connection: usize,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        for worker in &mut self.workers {
            if worker.connection == connection && !worker.has_lost {
                worker.has_lost = true;
                recorder.lose_worker(now, rules.stop());
            }
        }
    }

    /// Gives back every call of an open loop that was drawn and not sent.
    pub(crate) fn give_back(
        &mut self,
        reason: DropReason,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        for slot in self.slots() {
            if let Some(unsent) = self.take_unsent(slot) {
                rules.give_back(unsent.intended, reason, now, recorder);
            }
        }
    }
}

impl CallSlot {
    fn new(worker: usize) -> Self {
        let now = Instant::now();
        Self {
            worker,
            call: None,
            sent: InFlight {
                ops: Vec::new(),
                calls: Vec::new(),
                intended: now,
                started: now,
            },
            message: None,
            unsent: None,
            was_refused: false,
            free_since: now,
        }
    }

    /// Notes the call that is sent at `now`. A history needs the message of a plain Read too, and the names know its key.
    #[inline]
    fn set_sent(&mut self, call: UnsentCall, now: Instant, history: Option<&KeyNames>) {
        let sent = &mut self.sent;
        sent.ops.clear();
        sent.ops.push(call.op);
        sent.intended = call.intended;
        sent.started = now.max(call.intended);
        if let Some(names) = history {
            let read = || Call::read(names.of(call.op.key));
            sent.calls = vec![call.call.clone().unwrap_or_else(read)];
        }
        self.message = call.call;
    }
}

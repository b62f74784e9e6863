//! The workers of a thread with the engine `raw`, what they have under way, and what becomes of it.

use std::time::Instant;

use tonic::Status;

use crate::engines::raw::calls::{AnswerCache, Kind};
use crate::http2::{Event, Processed, StreamId};
use crate::pace::open_loop::SelfPacing;
use crate::pace::stop::Stop;
use crate::plan::kind::Kind as Reported;
use crate::record::recorder::Recorder;
use crate::record::settle::{Completion, HistorySink, Settling};
use crate::workload::generator::Workload;
use crate::workload::operation::{Call, Failure, InFlight, OpOutcome, SentOp};
use soloist_client::Outcome;

/// The workers and what they have under way.
pub(crate) struct Workers {
    pub(crate) workers: Vec<Worker>,
    pub(crate) slots: Vec<CallSlot>,
    /// Slots whose calls have ended since it was looked at.
    pub(crate) landed: Vec<usize>,
    pub(crate) under_way: usize,
    pub(crate) answers: AnswerCache,
}

pub(crate) struct Worker {
    pub(crate) number: u64,
    pub(crate) workload: Workload,
    pub(crate) history: Option<Box<dyn HistorySink>>,
    pub(crate) line: usize,
    pub(crate) is_lost: bool,
}

/// A call under way, or room for one.
pub(crate) struct CallSlot {
    pub(crate) worker: usize,
    pub(crate) under_way: Option<UnderWay>,
    /// What was sent: by the call under way, or the last one.
    pub(crate) sent: InFlight,
    /// What could not be sent yet, because the connection had no room.
    pub(crate) unsent: Option<Box<UnsentCall>>,
    pub(crate) free_since: Instant,
}

/// How a call travels.
#[derive(Clone, Copy)]
pub(crate) struct UnderWay {
    pub(crate) method: Kind,
    pub(crate) endpoint: u32,
    pub(crate) stream: StreamId,
}

/// A call that is drawn, and not sent.
pub(crate) struct UnsentCall {
    pub(crate) asked: SentOp,
    pub(crate) call: Option<Call>,
    pub(crate) intended: Instant,
}

impl CallSlot {
    pub(crate) fn new(worker: usize) -> Self {
        let now = Instant::now();
        Self {
            worker,
            under_way: None,
            sent: InFlight {
                ops: Vec::new(),
                calls: Vec::new(),
                intended: now,
                started: now,
            },
            unsent: None,
            free_since: now,
        }
    }
}

impl Workers {
    /// Takes what became of a call, which was read at `now`.
    pub(crate) fn take(
        &mut self,
        event: Event<'_>,
        now: Instant,
        schedule: Option<&SelfPacing>,
        stop: &Stop,
        recorder: &mut Recorder,
    ) {
        let (slot, failure) = match event {
            Event::Response { tag, message } => {
                let slot = tag as usize;
                let of = &self.slots[slot];
                let Some(under_way) = &of.under_way else {
                    return;
                };
                // A witness wants to know what was read.
                let is_plain_read = under_way.method == Kind::Read && of.sent.calls.is_empty();
                let key = of.sent.ops[0].key;
                if is_plain_read && self.answers.know(key, message) {
                    let answer = Completion::Same(OpOutcome::Done { is_miss: false });
                    return self.settle(slot, answer, schedule, now, stop, recorder);
                }
                let decoded = under_way.method.decode(message);
                let answer = match &decoded {
                    Ok(reply) if is_plain_read => {
                        let outcome = OpOutcome::of_reply(Reported::Read, Some(reply));
                        if matches!(outcome, OpOutcome::Done { is_miss: false }) {
                            self.answers.keep(key, message);
                        }
                        Completion::Reply(reply)
                    }
                    Ok(reply) => Completion::Reply(reply),
                    Err(error) => Completion::Call(Err(Status::internal(format!(
                        "the answer cannot be decoded: {error}"
                    )))),
                };
                return self.settle(slot, answer, schedule, now, stop, recorder);
            }
            Event::Failed { tag, failure } => (tag as usize, failure),
        };
        let lost = |outcome| Failure::new(failure.code, failure.message.clone(), outcome);
        let answer = match failure.processed {
            Processed::Answered => Completion::Call(Err(Status::with_details(
                failure.code,
                failure.message,
                failure.details.into(),
            ))),
            Processed::No => Completion::Unanswered(lost(Outcome::NotApplied)),
            Processed::Unknown => Completion::Unanswered(lost(Outcome::Unknown)),
        };
        self.settle(slot, answer, schedule, now, stop, recorder);
    }

    pub(crate) fn settle(
        &mut self,
        slot: usize,
        answer: Completion<'_>,
        schedule: Option<&SelfPacing>,
        now: Instant,
        stop: &Stop,
        recorder: &mut Recorder,
    ) {
        if !self.land(slot) {
            return;
        }
        if let Some(schedule) = schedule {
            schedule.admission.answered();
        }
        let slot = &self.slots[slot];
        let worker = &mut self.workers[slot.worker];
        let mut settling = Settling {
            workload: &mut worker.workload,
            recorder,
            history: match &mut worker.history {
                Some(history) => Some(&mut **history),
                None => None,
            },
            stop,
        };
        settling.settle(&slot.sent, answer, now);
    }

    /// Gives a call up without a word to the recorder.
    pub(crate) fn forget(&mut self, slot: usize, schedule: Option<&SelfPacing>, now: Instant) {
        if !self.land(slot) {
            return;
        }
        if let Some(schedule) = schedule {
            schedule.admission.give_back();
        }
        let slot = &self.slots[slot];
        let worker = &mut self.workers[slot.worker];
        if let Some(history) = &mut worker.history {
            history.lose(&slot.sent, now);
        }
    }

    /// Whether the call of this slot was under way, which it is no longer.
    fn land(&mut self, slot: usize) -> bool {
        let was_under_way = self.slots[slot].under_way.take().is_some();
        if was_under_way {
            self.under_way -= 1;
            self.landed.push(slot);
        }
        was_under_way
    }
}

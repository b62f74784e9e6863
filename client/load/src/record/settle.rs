//! Settles operations: judges the answer to each, lets the workload learn from it, and records it. It is the same for all
//! engines.

use std::time::Instant;

use soloist::v1::{OpResult, PipelineResponse};
use soloist_client::Error;
use tonic::Status;

use crate::pace::stop::Stop;
use crate::plan::kind::Kind;
use crate::record::recorder::Recorder;
use crate::record::worker_history::WorkerHistory;
use crate::workload::generator::Workload;
use crate::workload::operation::{InFlight, Reply};
use crate::workload::outcome::{Failure, OpOutcome};

/// The answer to the operations that were sent together, or the reason why there is none.
#[derive(Debug)]
pub(crate) enum Completion<'a> {
    /// The result of a call.
    Call(Result<Reply, Status>),
    /// The reply to a call, if the caller keeps it.
    Reply(&'a Reply),
    /// The outcome of a call whose answer has been judged before. There is no history, which would need the reply.
    Judged(OpOutcome),
    /// The response to a frame.
    Frame(PipelineResponse),
    /// No answer will come.
    Unanswered(Failure),
}

/// Everything that wants to know about an answer.
pub(crate) struct Settling<'a> {
    pub(crate) workload: &'a mut Workload,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) history: Option<&'a mut WorkerHistory>,
    pub(crate) stop: &'a Stop,
}

impl Settling<'_> {
    /// Settles operations that were answered at `now`. Calls that were done are recorded with the recorder's next
    /// [`flush`](Recorder::flush), everything else at once.
    pub(crate) fn settle(&mut self, sent: &InFlight, completion: Completion<'_>, now: Instant) {
        match completion {
            Completion::Call(Ok(reply)) => self.reply(sent, &reply, now),
            Completion::Reply(reply) => self.reply(sent, reply, now),
            Completion::Judged(outcome) => self.call(sent, outcome, None, now),
            Completion::Call(Err(status)) => {
                let outcome = self.workload.judge_status(sent.ops[0].kind, &status);
                self.call(sent, outcome, None, now);
            }
            Completion::Frame(response) => self.frame(sent, response, now),
            Completion::Unanswered(failure) => self.fail_all(sent, &failure, now),
        }
        if let Some(history) = &mut self.history {
            history.end(sent, now);
        }
    }

    fn reply(&mut self, sent: &InFlight, reply: &Reply, now: Instant) {
        let outcome = match reply {
            Reply::Message(message) => self.workload.take_message(message),
            Reply::Stream(stream, last) => {
                let is_measured = self.stop.is_measured(sent.intended);
                let is_late = is_measured.then(|| self.stop.is_over(now));
                let workload = &mut self.workload;
                workload.take_stream(stream, last, sent.intended, is_late)
            }
            reply => OpOutcome::of_reply(sent.ops[0].kind, Some(reply)),
        };
        self.call(sent, outcome, Some(reply), now);
    }

    fn call(&mut self, sent: &InFlight, outcome: OpOutcome, reply: Option<&Reply>, now: Instant) {
        if let Some(misses) = self.operation(sent, 0, outcome, reply, now) {
            let kind = sent.ops[0].kind;
            self.recorder.done_soon(kind, misses, sent, now, self.stop);
        }
    }

    fn frame(&mut self, sent: &InFlight, response: PipelineResponse, now: Instant) {
        if let Some(error) = response.error {
            let failure = Error::from_rpc_status(&error).into();
            return self.fail_all(sent, &failure, now);
        }
        let results = response.results;
        if results.len() as u64 != sent.count() {
            let message = format!("{} results for {} operations", results.len(), sent.count());
            return self.fail_all(sent, &Failure::wrong_answer(message), now);
        }
        // By kind: the operations that were done, and how many of them found nothing.
        let mut done = [(0, 0); Kind::ALL.len()];
        for (index, OpResult { result }) in results.into_iter().enumerate() {
            let kind = sent.ops[index].kind;
            let reply = result.map(Reply::Op);
            let outcome = OpOutcome::of_reply(kind, reply.as_ref());
            if let Some(miss) = self.operation(sent, index, outcome, reply.as_ref(), now) {
                let (ops, misses) = &mut done[kind as usize];
                *ops += 1;
                *misses += miss;
            }
        }
        for (kind, (ops, misses)) in Kind::ALL.into_iter().zip(done) {
            if ops > 0 {
                self.recorder.done(kind, ops, misses, sent, now, self.stop);
            }
        }
    }

    fn fail_all(&mut self, sent: &InFlight, failure: &Failure, now: Instant) {
        for index in 0..sent.ops.len() {
            let outcome = OpOutcome::Failed(failure.clone());
            self.operation(sent, index, outcome, None, now);
        }
    }

    /// Settles one operation, except that its caller must record it if it was done. In that case returns 1 for a miss and
    /// 0 for a hit.
    fn operation(
        &mut self,
        sent: &InFlight,
        index: usize,
        outcome: OpOutcome,
        reply: Option<&Reply>,
        now: Instant,
    ) -> Option<u64> {
        let op = sent.ops[index];
        self.workload.answered(op, &outcome, reply);
        if let (Some(history), Some(call)) = (&mut self.history, sent.calls.get(index)) {
            history.take(call, &outcome, reply);
        }
        match outcome {
            OpOutcome::Done { is_miss } => return Some(u64::from(is_miss)),
            OpOutcome::Refused(_, reason) => {
                let reason = reason.as_str_name();
                self.recorder.refused(op.kind, reason, sent, now, self.stop);
            }
            OpOutcome::Expected(code) => {
                self.recorder.refused(op.kind, code, sent, now, self.stop);
            }
            OpOutcome::Failed(failure) => {
                self.recorder.failed(op.kind, failure, sent, now, self.stop);
            }
        }
        None
    }
}

//! What came back: each operation of it judged, learnt from and recorded, whichever the engine.

use std::time::Instant;

use soloist::v1::{OpResult, PipelineResponse};
use tonic::Status;

use crate::pace::stop::Stop;
use crate::plan::kind::Kind;
use crate::record::recorder::Recorder;
use crate::workload::generator::Workload;
use crate::workload::operation::{Call, Failure, InFlight, OpOutcome, Reply};
use soloist_client::Error;

/// What the operations that were sent together came to.
#[derive(Debug)]
pub(crate) enum Completion<'a> {
    /// Of a call.
    Call(Result<Reply, Status>),
    /// The same, which somebody else has.
    Reply(&'a Reply),
    /// Of a call: the very bytes of an answer that came to this, and of which nobody wants to know more.
    Same(OpOutcome),
    /// Of a frame.
    Frame(PipelineResponse),
    /// Nobody answered.
    Unanswered(Failure),
}

/// Who wants to know everything.
pub(crate) trait HistorySink {
    /// Takes a call of a message, and what it came to.
    fn take(&mut self, call: &Call, outcome: &OpOutcome, reply: Option<&Reply>);

    /// That was the last call of the message, which was answered at `now`.
    fn end(&mut self, sent: &InFlight, now: Instant);

    /// What was sent and is not waited for any more: nobody knows what became of it.
    fn lose(&mut self, sent: &InFlight, now: Instant) {
        let failure = Failure::new(tonic::Code::Cancelled, "", soloist_client::Outcome::Unknown);
        let outcome = OpOutcome::Failed(failure);
        for call in &sent.calls {
            self.take(call, &outcome, None);
        }
        self.end(sent, now);
    }
}

/// Where answers go.
pub(crate) struct Settling<'a> {
    pub(crate) workload: &'a mut Workload,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) history: Option<&'a mut (dyn HistorySink + 'a)>,
    pub(crate) stop: &'a Stop,
}

impl Settling<'_> {
    /// Judges, learns from and records what was answered at `now`: calls by the recorder's next
    /// [`flush`](Recorder::flush).
    pub(crate) fn settle(&mut self, sent: &InFlight, answer: Completion<'_>, now: Instant) {
        match answer {
            Completion::Call(Ok(reply)) => self.reply(sent, &reply, now),
            Completion::Reply(reply) => self.reply(sent, reply, now),
            Completion::Same(outcome) => self.call(sent, outcome, None, now),
            Completion::Call(Err(status)) => {
                let outcome = OpOutcome::of_status(sent.ops[0].kind, &status);
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
        let outcome = OpOutcome::of_reply(sent.ops[0].kind, Some(reply));
        self.call(sent, outcome, Some(reply), now);
    }

    fn call(&mut self, sent: &InFlight, outcome: OpOutcome, reply: Option<&Reply>, now: Instant) {
        if let Some(misses) = self.one(sent, 0, outcome, reply, now) {
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
            let failure = Failure::new(
                tonic::Code::Internal,
                message,
                soloist_client::Outcome::Unknown,
            );
            return self.fail_all(sent, &failure, now);
        }
        // Operations that were done, by kind, and those of them that found nothing.
        let mut done = [(0, 0); Kind::ALL.len()];
        for (index, OpResult { result }) in results.into_iter().enumerate() {
            let kind = sent.ops[index].kind;
            let reply = result.map(Reply::Op);
            let outcome = OpOutcome::of_reply(kind, reply.as_ref());
            if let Some(more) = self.one(sent, index, outcome, reply.as_ref(), now) {
                let (ops, misses) = &mut done[kind as usize];
                *ops += 1;
                *misses += more;
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
            self.one(sent, index, outcome, None, now);
        }
    }

    /// If it was done, that is left to be recorded: by how much it counts as a miss.
    fn one(
        &mut self,
        sent: &InFlight,
        index: usize,
        outcome: OpOutcome,
        reply: Option<&Reply>,
        now: Instant,
    ) -> Option<u64> {
        let asked = sent.ops[index];
        self.workload.answered(asked, &outcome, reply);
        if let (Some(history), Some(call)) = (&mut self.history, sent.calls.get(index)) {
            history.take(call, &outcome, reply);
        }
        match outcome {
            OpOutcome::Done { is_miss } => return Some(u64::from(is_miss)),
            OpOutcome::Refused(_, reason) => {
                let reason = reason.as_str_name();
                self.recorder
                    .refused(asked.kind, reason, sent, now, self.stop);
            }
            OpOutcome::Failed(failure) => {
                self.recorder
                    .failed(asked.kind, failure, sent, now, self.stop);
            }
        }
        None
    }
}

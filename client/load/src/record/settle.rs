//! What came back: each operation of it judged, learnt from and recorded, whichever the engine.

use std::time::Instant;

use soloist::v1::{OpResult, PipelineResponse};
use tonic::Status;

use crate::pace::stop::Stop;
use crate::plan::kind::Kind;
use crate::record::recorder::Recorder;
use crate::workload::generator::Workload;
use crate::workload::operation::{Call, Failure, Reply, Sent, Verdict};
use soloist_client::Error;

/// What the operations that were sent together came to.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// Of a call.
    Call(Result<Reply, Status>),
    /// The same, which somebody else has.
    Reply(&'a Reply),
    /// Of a call: the very bytes of an answer that came to this, and of which nobody wants to know more.
    Same(Verdict),
    /// Of a frame.
    Frame(PipelineResponse),
    /// Nobody answered.
    None(Failure),
}

/// Who wants to know everything.
pub(crate) trait Witness {
    /// Takes a call of a message, and what it came to.
    fn take(&mut self, call: &Call, verdict: &Verdict, reply: Option<&Reply>);

    /// That was the last call of the message, which was answered at `now`.
    fn end(&mut self, sent: &Sent, now: Instant);

    /// What was sent and is not waited for any more: nobody knows what became of it.
    fn lose(&mut self, sent: &Sent, now: Instant) {
        let failure = Failure::new(tonic::Code::Cancelled, "", soloist_client::Outcome::Unknown);
        let verdict = Verdict::Failed(failure);
        for call in &sent.calls {
            self.take(call, &verdict, None);
        }
        self.end(sent, now);
    }
}

/// Where answers go.
pub(crate) struct Settling<'a> {
    pub(crate) workload: &'a mut Workload,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) witness: Option<&'a mut (dyn Witness + 'a)>,
    pub(crate) stop: &'a Stop,
}

impl Settling<'_> {
    /// Judges, learns from and records what was answered at `now`: calls by the recorder's next
    /// [`flush`](Recorder::flush).
    pub(crate) fn settle(&mut self, sent: &Sent, answer: Answer<'_>, now: Instant) {
        match answer {
            Answer::Call(Ok(reply)) => self.reply(sent, &reply, now),
            Answer::Reply(reply) => self.reply(sent, reply, now),
            Answer::Same(verdict) => self.call(sent, verdict, None, now),
            Answer::Call(Err(status)) => {
                let verdict = Verdict::of_status(sent.asked[0].kind, &status);
                self.call(sent, verdict, None, now);
            }
            Answer::Frame(response) => self.frame(sent, response, now),
            Answer::None(failure) => self.fail_all(sent, &failure, now),
        }
        if let Some(witness) = &mut self.witness {
            witness.end(sent, now);
        }
    }

    fn reply(&mut self, sent: &Sent, reply: &Reply, now: Instant) {
        let verdict = Verdict::of_reply(sent.asked[0].kind, Some(reply));
        self.call(sent, verdict, Some(reply), now);
    }

    fn call(&mut self, sent: &Sent, verdict: Verdict, reply: Option<&Reply>, now: Instant) {
        if let Some(misses) = self.one(sent, 0, verdict, reply, now) {
            let kind = sent.asked[0].kind;
            self.recorder.done_soon(kind, misses, sent, now, self.stop);
        }
    }

    fn frame(&mut self, sent: &Sent, response: PipelineResponse, now: Instant) {
        if let Some(error) = response.error {
            let failure = Error::from_rpc_status(&error).into();
            return self.fail_all(sent, &failure, now);
        }
        let results = response.results;
        if results.len() as u64 != sent.ops() {
            let message = format!("{} results for {} operations", results.len(), sent.ops());
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
            let kind = sent.asked[index].kind;
            let reply = result.map(Reply::Op);
            let verdict = Verdict::of_reply(kind, reply.as_ref());
            if let Some(more) = self.one(sent, index, verdict, reply.as_ref(), now) {
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

    fn fail_all(&mut self, sent: &Sent, failure: &Failure, now: Instant) {
        for index in 0..sent.asked.len() {
            let verdict = Verdict::Failed(failure.clone());
            self.one(sent, index, verdict, None, now);
        }
    }

    /// If it was done, that is left to be recorded: by how much it counts as a miss.
    fn one(
        &mut self,
        sent: &Sent,
        index: usize,
        verdict: Verdict,
        reply: Option<&Reply>,
        now: Instant,
    ) -> Option<u64> {
        let asked = sent.asked[index];
        self.workload.answered(asked, &verdict, reply);
        if let (Some(witness), Some(call)) = (&mut self.witness, sent.calls.get(index)) {
            witness.take(call, &verdict, reply);
        }
        match verdict {
            Verdict::Done { is_miss } => return Some(u64::from(is_miss)),
            Verdict::Refused(_, reason) => {
                let reason = reason.as_str_name();
                self.recorder
                    .refused(asked.kind, reason, sent, now, self.stop);
            }
            Verdict::Failed(failure) => {
                self.recorder
                    .failed(asked.kind, failure, sent, now, self.stop);
            }
        }
        None
    }
}

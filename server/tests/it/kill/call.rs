//! One message to the server, and what its client knows of the outcome.

use std::time::{Duration, Instant};

use soloist::v1::op::Op;
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, OpResult};
use soloist_verify::{Action, Actual, Expectation, MessageKind, Observed, Outcome, Refusal, Value};
use tonic::{Request, Status};
use tonic_types::{ErrorInfo, RpcStatusExt as _, StatusExt as _};

use super::keys::{self, entry, state_name, state_number};
use super::{Checked, Client};
use crate::support::{expect, read, write};

/// The clock of a run: nanoseconds since its start.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// One operation of a message.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) key: String,
    pub(super) action: Action,
    pub(super) expect: Option<Expectation>,
    /// Empty: none. A Batch and an atomic frame have one for the whole message, in [`Call::request_id`].
    pub(super) request_id: String,
}

impl Step {
    /// Whether the step can leave this value; `None`: no key.
    pub(super) fn can_leave(&self, left: Option<Value>) -> bool {
        match self.action {
            Action::Write(value) => left == Some(value),
            Action::Add(_) => left.is_some(),
            Action::Delete => left.is_none(),
            Action::Transition { value, .. } => left.is_some() && left == value,
            Action::Read => false,
        }
    }

    /// If the step is known to have changed its key: the revision of the change, and the value that it left.
    pub(super) fn change(&self, outcome: Outcome) -> Option<(i64, Option<Value>)> {
        let Outcome::Done { revision, observed } = outcome else {
            return None;
        };
        match (self.action, observed) {
            (Action::Write(value), _) => Some((revision, Some(value))),
            (Action::Transition { value, .. }, _) => Some((revision, value)),
            (Action::Add(_), Observed::Sum(sum)) => Some((revision, Some(Value::Int(sum)))),
            // A DeletePrefix, which tells only that it has deleted some key.
            (Action::Delete, Observed::Entry(Some(_)) | Observed::NotReported) => {
                Some((revision, None))
            }
            _ => None,
        }
    }

    fn op(&self) -> Op {
        let (key, request_id) = (self.key.clone(), self.request_id.clone());
        match self.action {
            Action::Read => Op::Read(read(key)),
            Action::Write(Value::Int(value)) => Op::Write(v1::WriteRequest {
                request_id,
                expect: self.expect.and_then(|it| match it {
                    Expectation::Revision(revision) => {
                        expect(v1::condition::Test::Revision(revision))
                    }
                    other => panic!("no client expects {other:?}"),
                }),
                ..write(key.clone(), keys::value_of(&key, value))
            }),
            Action::Transition { to, value } => Op::Transition(v1::TransitionRequest {
                value: value.map(|value| match value {
                    Value::Int(number) => keys::value_of(&key, number),
                    Value::Digest(_) => panic!("no client sends {value:?}"),
                }),
                key,
                request_id,
                to: state_name(to),
                ..v1::TransitionRequest::default()
            }),
            Action::Add(delta) => Op::Add(v1::AddRequest {
                key,
                request_id,
                delta,
                ..v1::AddRequest::default()
            }),
            Action::Delete => Op::Delete(v1::DeleteRequest {
                key,
                request_id,
                ..v1::DeleteRequest::default()
            }),
            other => panic!("no client sends {other:?}"),
        }
    }
}

/// One message, and what is known of the outcome of its steps.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// A number that no other message of the run has, except those that send steps of this one again.
    pub(super) message: u64,
    pub(super) client: u32,
    pub(super) kind: MessageKind,
    pub(super) steps: Vec<Step>,
    /// Of a Batch or an atomic frame. Empty: none.
    pub(super) request_id: String,
    pub(super) timeout: Option<Duration>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// One for each step.
    pub(super) outcomes: Vec<Outcome>,
    /// The answer says that an earlier call did it.
    pub(super) replayed: bool,
    /// A DeletePrefix, whose steps are the keys with the prefix: it has deleted so many of them. `None` for other messages.
    pub(super) swept: Option<i64>,
    /// The revision that the message has if it was done: an error with an unknown outcome may name it.
    pub(super) named_revision: Option<i64>,
}

/// The results of the steps, and whether they are those of an earlier call.
pub(super) type Results = (Vec<OpResult>, bool);

impl Call {
    pub(super) fn each(&self) -> impl Iterator<Item = (&Step, Outcome)> {
        self.steps.iter().zip(self.outcomes.iter().copied())
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.outcomes.contains(&Outcome::Unknown)
    }

    pub(super) fn frame(&self) -> v1::PipelineRequest {
        v1::PipelineRequest {
            ops: self.ops(),
            atomic: self.kind == MessageKind::AtomicFrame,
            request_id: self.request_id.clone(),
            timeout: self.timeout.map(|timeout| timeout.try_into().unwrap()),
        }
    }

    fn ops(&self) -> Vec<v1::Op> {
        let op = |step: &Step| v1::Op {
            op: Some(step.op()),
        };
        self.steps.iter().map(op).collect()
    }

    /// Sends the message as a unary call, and records its outcomes. Returns an error that did not come from the server.
    pub(super) async fn send(
        &mut self,
        client: &mut Client,
        clock: Clock,
    ) -> Checked<Option<Status>> {
        self.start = clock.now();
        let results = match self.swept {
            None => self.results(client).await,
            Some(_) => match self.sweep(client).await {
                Ok(()) => {
                    self.end = clock.now();
                    return Ok(None);
                }
                Err(status) => Err(status),
            },
        };
        self.end = clock.now();
        let lost = match &results {
            Err(status) if info(status).is_none() => Some(status.clone()),
            _ => None,
        };
        self.record(results.map_err(|status| info(&status)))?;
        Ok(lost)
    }

    /// Sends a DeletePrefix, and records its outcome. Which keys it has deleted is left to the watch.
    async fn sweep(&mut self, client: &mut Client) -> Result<(), Status> {
        let delete = v1::DeletePrefixRequest {
            prefix: keys::SWEPT_PREFIX.into(),
            request_id: self.request_id.clone(),
            ..v1::DeletePrefixRequest::default()
        };
        let answer = client.delete_prefix(request(delete, self.timeout)).await?;
        let answer = answer.into_inner();
        let observed = match answer.deleted_count {
            0 => Observed::Entry(None),
            _ => Observed::NotReported,
        };
        let revision = answer.revision;
        self.swept = Some(answer.deleted_count);
        self.outcomes = vec![Outcome::Done { revision, observed }; self.steps.len()];
        self.replayed = answer.replayed;
        Ok(())
    }

    async fn results(&self, client: &mut Client) -> Result<Results, Status> {
        if self.kind != MessageKind::Call {
            let batch = v1::BatchRequest {
                ops: self.ops(),
                request_id: self.request_id.clone(),
            };
            let answer = client
                .batch(request(batch, self.timeout))
                .await?
                .into_inner();
            return Ok((answer.results, answer.replayed));
        }
        macro_rules! call {
            ($method:ident, $kind:ident, $message:expr) => {{
                let answer = client.$method(request($message, self.timeout)).await?;
                OpAnswer::$kind(answer.into_inner())
            }};
        }
        let answer = match self.steps[0].op() {
            Op::Read(message) => call!(read, Read, message),
            Op::Write(message) => call!(write, Write, message),
            Op::Add(message) => call!(add, Add, message),
            Op::Delete(message) => call!(delete, Delete, message),
            Op::Transition(message) => call!(transition, Transition, message),
        };
        let result = OpResult {
            result: Some(answer),
        };
        Ok((vec![result], false))
    }

    /// Records the outcome of each step. The error of a message that failed is `None` if it did not come from the server.
    pub(super) fn record(&mut self, results: Result<Results, Option<ErrorInfo>>) -> Checked<()> {
        let recorded = match results {
            Ok((results, replayed)) => self.record_results(results, replayed),
            Err(info) => {
                let revision = info.as_ref().and_then(|info| info.metadata.get("revision"));
                self.named_revision = revision.and_then(|revision| revision.parse().ok());
                let outcomes = refused(self.steps.len(), self.timeout, info);
                outcomes.map(|outcomes| self.outcomes = outcomes)
            }
        };
        recorded.map_err(|what| format!("{what}\n  in the answer to {self:?}"))
    }

    fn record_results(&mut self, results: Vec<OpResult>, replayed: bool) -> Checked<()> {
        let (count, expected) = (results.len(), self.steps.len());
        if count != expected {
            return Err(format!("{count} results for {expected} steps: {results:?}"));
        }
        self.replayed = replayed;
        self.outcomes.clear();
        for (step, result) in self.steps.iter().zip(results) {
            let done = |revision, observed| Outcome::Done { revision, observed };
            let outcome = match (step.action, result.result) {
                (Action::Read, Some(OpAnswer::Read(it))) => {
                    done(it.revision, Observed::Entry(entry(it.entry)?))
                }
                (Action::Write(_), Some(OpAnswer::Write(it))) => {
                    self.replayed |= it.replayed;
                    done(it.revision, Observed::NotReported)
                }
                (Action::Add(_), Some(OpAnswer::Add(it))) => {
                    self.replayed |= it.replayed;
                    done(it.revision, Observed::Sum(it.value))
                }
                (Action::Delete, Some(OpAnswer::Delete(it))) => {
                    self.replayed |= it.replayed;
                    done(it.revision, Observed::Entry(entry(it.previous)?))
                }
                (Action::Transition { .. }, Some(OpAnswer::Transition(it))) => {
                    self.replayed |= it.replayed;
                    done(it.revision, Observed::FromState(state_number(&it.from)?))
                }
                (_, Some(OpAnswer::Error(status))) => {
                    refused(1, self.timeout, status.get_details_error_info())?[0]
                }
                (_, result) => return Err(format!("no answer to {step:?}: {result:?}")),
            };
            self.outcomes.push(outcome);
        }
        Ok(())
    }
}

fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    timeout.into_iter().for_each(|it| request.set_timeout(it));
    request
}

/// The details of an error that the server sent.
fn info(status: &Status) -> Option<ErrorInfo> {
    let info = status.get_details_error_info();
    info.filter(|info| info.domain == "soloist.v1")
}

/// The outcomes of the steps that an error is about.
fn refused(
    steps: usize,
    timeout: Option<Duration>,
    info: Option<ErrorInfo>,
) -> Checked<Vec<Outcome>> {
    let Some(info) = info else {
        return Ok(vec![Outcome::Unknown; steps]);
    };
    let mut outcomes = vec![Outcome::NotDone; steps];
    match info.reason.as_str() {
        "OUTCOME_UNKNOWN" => outcomes.fill(Outcome::Unknown),
        // A refusal, or a step that changed nothing, shows a change of another call that is not on disk by the deadline.
        "NOT_STARTED" | "NOT_CONFIRMED" if timeout.is_some() => {}
        reason => {
            let refusal = refusal(reason, &info)?;
            let index = info.metadata.get("op").map_or(Ok(0), |it| it.parse());
            let outcome = index.ok().and_then(|index: usize| outcomes.get_mut(index));
            let outcome = outcome.ok_or_else(|| format!("an error of no step: {info:?}"))?;
            *outcome = Outcome::Refused(refusal);
        }
    }
    Ok(outcomes)
}

/// What a refusal says about its key. The server may refuse only what the clients provoke.
fn refusal(reason: &str, info: &ErrorInfo) -> Checked<Refusal> {
    let metadata = |name: &str| {
        let value = info.metadata.get(name);
        value.ok_or_else(|| format!("no {name}: {info:?}"))
    };
    Ok(match reason {
        "EXPECTATION_FAILED" => {
            Refusal::Expectation(Actual::Revision(match &**metadata("actual")? {
                // The key did not exist.
                "" => 0,
                revision => (revision.parse()).map_err(|error| format!("{error}: {info:?}"))?,
            }))
        }
        "TRANSITION_REFUSED" => Refusal::IllegalTransition {
            from: state_number(metadata("from")?)?,
        },
        "STATE_NOT_FINAL" => Refusal::NotFinal {
            state: state_number(metadata("state")?)?,
        },
        "KEY_NOT_FOUND" => Refusal::Missing,
        _ => return Err(format!("an error that nothing provoked: {info:?}")),
    })
}

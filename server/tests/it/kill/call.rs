//! What the clients send, and what they make of the answers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1::op::Op;
use soloist::v1::op_result::Result as Answer;
use soloist::v1::{self, OpResult, PipelineRequest, PipelineResponse};
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};
use tonic_types::{ErrorInfo, RpcStatusExt as _, StatusExt as _};

use super::{Checked, Client, KEYS_SHARED, PAIR, counter, shared};
use crate::checker::{Action, Entry, Outcome};
use crate::support::{expect, int, read, write};

const FRAMES_IN_FLIGHT: usize = 4;

/// The time that all of a run share, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) key: String,
    pub(super) action: Action,
    /// Empty: none. Of a Batch or an atomic frame, the call has it.
    pub(super) request_id: String,
}

impl Step {
    pub(super) fn is_add(&self) -> bool {
        matches!(self.action, Action::Add(_))
    }

    /// Whether this can leave the key so.
    pub(super) fn can_make(&self, value: Option<i64>) -> bool {
        match self.action {
            Action::Read => false,
            Action::Write(makes) | Action::CompareAndSet { value: makes, .. } => {
                value == Some(makes)
            }
            Action::Add(_) => value.is_some(),
            Action::Delete => value.is_none(),
        }
    }

    fn op(&self) -> Op {
        let (key, request_id) = (self.key.clone(), self.request_id.clone());
        let write = |value| v1::WriteRequest {
            request_id: request_id.clone(),
            ..write(key.clone(), int(value))
        };
        match self.action {
            Action::Read => Op::Read(read(key)),
            Action::Write(value) => Op::Write(write(value)),
            Action::CompareAndSet { expected, value } => Op::Write(v1::WriteRequest {
                expect: expect(v1::condition::Test::Revision(expected)),
                ..write(value)
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
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Alone,
    Frame,
    AtomicFrame,
    Batch,
}

/// What was sent in one message, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) message: u64,
    pub(super) client: usize,
    pub(super) sent: Sent,
    pub(super) steps: Vec<Step>,
    pub(super) request_id: String,
    pub(super) timeout: Option<Duration>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// One for each step.
    pub(super) outcomes: Vec<Outcome>,
    /// It was done by an earlier call.
    pub(super) replayed: bool,
    /// The revision that it has, if it was done: told with an outcome that is unknown.
    pub(super) named: Option<i64>,
}

/// The results, and whether they are those of an earlier call.
pub(super) type Results = (Vec<OpResult>, bool);

impl Call {
    pub(super) fn ops(&self) -> Vec<v1::Op> {
        let op = |step: &Step| v1::Op {
            op: Some(step.op()),
        };
        self.steps.iter().map(op).collect()
    }

    pub(super) fn frame(&self) -> v1::PipelineRequest {
        v1::PipelineRequest {
            ops: self.ops(),
            atomic: self.sent == Sent::AtomicFrame,
            request_id: self.request_id.clone(),
            timeout: self.timeout.map(|timeout| timeout.try_into().unwrap()),
        }
    }

    /// Sends it in a call of its own. What came of it is noted at once.
    pub(super) async fn send(
        &mut self,
        client: &mut Client,
        clock: Clock,
    ) -> Checked<Option<Status>> {
        self.start = clock.now();
        let results = self.results(client).await;
        self.end = clock.now();
        let lost = results
            .as_ref()
            .err()
            .filter(|it| info(it).is_none())
            .cloned();
        self.note(results.map_err(|status| info(&status)))?;
        Ok(lost)
    }

    async fn results(&self, client: &mut Client) -> Result<Results, Status> {
        fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
            let mut request = Request::new(message);
            timeout.into_iter().for_each(|it| request.set_timeout(it));
            request
        }
        if self.sent != Sent::Alone {
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
                Answer::$kind(answer.into_inner())
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

    pub(super) fn note(&mut self, results: Result<Results, Option<ErrorInfo>>) -> Checked<()> {
        let noted = match results {
            Ok((results, replayed)) => self.note_results(results, replayed),
            Err(info) => {
                let named = info.as_ref().and_then(|info| info.metadata.get("revision"));
                self.named = named.and_then(|revision| revision.parse().ok());
                refused(&self.steps, self.timeout, info).map(|it| self.outcomes = it)
            }
        };
        noted.map_err(|what| format!("{what}\n  of {self:?}"))
    }

    fn note_results(&mut self, results: Vec<OpResult>, replayed: bool) -> Checked<()> {
        if results.len() != self.steps.len() {
            return Err(format!(
                "as many results were expected as steps: {results:?}"
            ));
        }
        self.replayed = replayed;
        self.outcomes.clear();
        for (step, result) in self.steps.iter().zip(results) {
            let done = |entry, revision| Outcome::Done { entry, revision };
            let outcome = match (step.action, result.result) {
                (Action::Read, Some(Answer::Read(it))) => done(entry(it.entry)?, it.revision),
                (
                    Action::Write(value) | Action::CompareAndSet { value, .. },
                    Some(Answer::Write(v1::WriteResponse {
                        revision, replayed, ..
                    })),
                )
                | (
                    Action::Add(_),
                    Some(Answer::Add(v1::AddResponse {
                        revision,
                        replayed,
                        value,
                        ..
                    })),
                ) => {
                    self.replayed |= replayed;
                    done(Some(Entry { value, revision }), revision)
                }
                (Action::Delete, Some(Answer::Delete(it))) => {
                    self.replayed |= it.replayed;
                    done(entry(it.previous)?, it.revision)
                }
                (_, Some(Answer::Error(status))) => {
                    let info = status.get_details_error_info();
                    refused(std::slice::from_ref(step), self.timeout, info)?[0]
                }
                (_, result) => return Err(format!("no answer to {step:?}: {result:?}")),
            };
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (&Step, Outcome)> {
        self.steps.iter().zip(self.outcomes.iter().copied())
    }
}

pub(super) fn info(status: &Status) -> Option<ErrorInfo> {
    let info = status.get_details_error_info();
    info.filter(|info| info.domain == "soloist.v1")
}

pub(super) fn entry(entry: Option<v1::Entry>) -> Checked<Option<Entry>> {
    let Some(entry) = entry else { return Ok(None) };
    match entry.value.and_then(|value| value.kind) {
        Some(v1::value::Kind::Int(value)) => Ok(Some(Entry {
            value,
            revision: entry.revision,
        })),
        other => Err(format!("only ints were written, and {other:?} was found")),
    }
}

/// What an error says of the steps that travelled together. Only what was asked for may be refused.
pub(super) fn refused(
    steps: &[Step],
    timeout: Option<Duration>,
    info: Option<ErrorInfo>,
) -> Checked<Vec<Outcome>> {
    let Some(info) = info else {
        return Ok(vec![Outcome::Unknown; steps.len()]);
    };
    let mut outcomes = vec![Outcome::NotDone; steps.len()];
    match info.reason.as_str() {
        "OUTCOME_UNKNOWN" => outcomes.fill(Outcome::Unknown),
        "NOT_STARTED" if timeout.is_some() => {}
        "EXPECTATION_FAILED" => {
            let actual = info.metadata.get("actual").filter(|it| !it.is_empty());
            let actual = actual.map_or(Some(0), |it| it.parse().ok());
            let index = info
                .metadata
                .get("op")
                .map_or(Ok(0), |it| it.parse::<usize>());
            let (Ok(index), Some(actual)) = (index, actual) else {
                return Err(format!("an error that says nothing: {info:?}"));
            };
            let outcome = outcomes.get_mut(index).ok_or("an index that is none")?;
            *outcome = Outcome::Refused { actual };
        }
        _ => return Err(format!("nobody asked for {info:?}")),
    }
    Ok(outcomes)
}

/// One client: draws what to send, and keeps what came of it.
pub(super) struct Worker {
    dice: SmallRng,
    client: usize,
    clock: Clock,
    next_message: u64,
    /// The revisions that it saw last, to compare with.
    seen: HashMap<String, i64>,
    pub(super) calls: Vec<Call>,
}

impl Worker {
    pub(super) fn new(seed: u64, cycle: usize, client: usize, clock: Clock) -> Self {
        let stream = ((cycle as u64) << 8) + client as u64 + 1;
        Self {
            dice: SmallRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            client,
            clock,
            next_message: stream << 20,
            seen: HashMap::new(),
            calls: Vec::new(),
        }
    }

    /// Calls, one after the other, until the server is gone.
    pub(super) async fn call(mut self, mut client: Client, sent: Sent) -> Checked<Vec<Call>> {
        loop {
            let mut call = self.draw(sent);
            let lost = call.send(&mut client, self.clock).await?;
            // A short deadline may also end a call here.
            let is_over = lost.is_some() && call.timeout.is_none();
            self.keep(call);
            if is_over {
                return Ok(self.calls);
            }
        }
    }

    /// Sends frames, a few ahead of the answers, until the server is gone.
    pub(super) async fn pipeline(
        mut self,
        (frames, mut answers): (mpsc::Sender<PipelineRequest>, Streaming<PipelineResponse>),
    ) -> Checked<Vec<Call>> {
        let mut in_flight = VecDeque::new();
        loop {
            while in_flight.len() < FRAMES_IN_FLIGHT {
                let is_atomic = self.dice.random_bool(0.4);
                let mut call = self.draw(if is_atomic {
                    Sent::AtomicFrame
                } else {
                    Sent::Frame
                });
                call.start = self.clock.now();
                // If nobody takes it any more, there will be no answer either.
                let _ = frames.send(call.frame()).await;
                in_flight.push_back(call);
            }
            let answer = answers.message().await;
            let end = self.clock.now();
            let Ok(Some(answer)) = answer else {
                for mut call in in_flight {
                    call.end = end;
                    call.note(Err(None))?;
                    self.keep(call);
                }
                return Ok(self.calls);
            };
            let mut call = in_flight.pop_front().ok_or("an answer to nothing")?;
            call.end = end;
            call.note(match answer.error {
                None => Ok((answer.results, answer.replayed)),
                Some(status) => Err(status.get_details_error_info()),
            })?;
            self.keep(call);
        }
    }

    fn keep(&mut self, call: Call) {
        for (step, outcome) in call.each() {
            let revision = match outcome {
                Outcome::Done { entry, .. } if step.action != Action::Delete => {
                    entry.map(|it| it.revision)
                }
                Outcome::Refused { actual } => Some(actual),
                _ => None,
            };
            self.seen.insert(step.key.clone(), revision.unwrap_or(0));
        }
        self.calls.push(call);
    }

    fn draw(&mut self, sent: Sent) -> Call {
        self.next_message += 1;
        let message = self.next_message;
        let name = format!("call-{message}");
        let dice = &mut self.dice;
        let mut steps = Vec::new();
        if sent == Sent::Batch && dice.random_bool(0.4) {
            let action = Action::Add(dice.random_range(1..10));
            steps.extend(PAIR.map(|key| (key.to_owned(), action)));
        } else {
            let count = match sent {
                Sent::Alone => 1,
                Sent::Frame => dice.random_range(1..5),
                Sent::AtomicFrame | Sent::Batch => 2,
            };
            // Keys of one message differ: an atomic one shows only the last of its changes of a key.
            let first = dice.random_range(0..KEYS_SHARED);
            for index in 0..count {
                if index == 0 && dice.random_bool(0.25) {
                    steps.push((counter(self.client), Action::Add(dice.random_range(1..10))));
                    continue;
                }
                let key = shared((first + index) % KEYS_SHARED);
                let value = (message * 1000 + 200 * index as u64) as i64;
                let expected = self.seen.get(&key).copied().unwrap_or(0);
                let action = match dice.random_range(0..100) {
                    0..25 => Action::Read,
                    25..50 => Action::Write(value),
                    50..75 => Action::CompareAndSet { expected, value },
                    75..90 => Action::Add(dice.random_range(1..10)),
                    _ => Action::Delete,
                };
                steps.push((key, action));
            }
        }
        let is_counted = steps[0].0 == counter(self.client);
        let is_named = is_counted || dice.random_bool(0.4);
        let is_whole = matches!(sent, Sent::AtomicFrame | Sent::Batch);
        let timeout = dice.random_bool(0.1).then(|| dice.random_range(1..5));
        let step = |(index, (key, action))| Step {
            key,
            action,
            request_id: match action {
                Action::Read => String::new(),
                _ if is_named && !is_whole => format!("{name}/{index}"),
                _ => String::new(),
            },
        };
        Call {
            message,
            client: self.client,
            sent,
            steps: steps.into_iter().enumerate().map(step).collect(),
            request_id: if is_named && is_whole {
                name.clone()
            } else {
                String::new()
            },
            timeout: timeout.map(Duration::from_millis),
            start: 0,
            end: 0,
            outcomes: Vec::new(),
            replayed: false,
            named: None,
        }
    }
}

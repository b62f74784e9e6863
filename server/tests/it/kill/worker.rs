//! The clients: what each draws and sends, until the server is killed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1::{PipelineRequest, PipelineResponse};
use soloist_verify::{Action, Actual, Expectation, MessageKind, Observed, Outcome, Refusal, Value};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic_types::RpcStatusExt as _;

use super::call::{Call, Clock, Step};
use super::keys::{
    JOBS, KEYS_SHARED, LARGE, PAIR, STATE_COUNT, SWEPT, counter, job, large, shared, swept,
};
use super::{CLIENT_LARGE, Checked, Client};

const FRAMES_IN_FLIGHT: usize = 4;

/// One client: draws what to send, and keeps what came of it.
pub(super) struct Worker {
    rng: SmallRng,
    client: u32,
    clock: Clock,
    next_message: u64,
    /// The revisions that the client saw last, which it expects later.
    seen: HashMap<String, i64>,
    calls: Vec<Call>,
}

impl Worker {
    pub(super) fn new(seed: u64, cycle: usize, client: u32, clock: Clock) -> Self {
        let stream = ((cycle as u64) << 8) + u64::from(client) + 1;
        Self {
            rng: SmallRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            client,
            clock,
            next_message: stream << 20,
            seen: HashMap::new(),
            calls: Vec::new(),
        }
    }

    /// Sends unary calls of this kind, one after the other, until the server is gone.
    pub(super) async fn call(
        mut self,
        mut client: Client,
        kind: MessageKind,
    ) -> Checked<Vec<Call>> {
        loop {
            let mut call = self.draw(kind);
            let lost = call.send(&mut client, self.clock).await?;
            // The client itself ends a call whose deadline has passed: that does not mean that the server is gone.
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
                let is_atomic = self.rng.random_bool(0.4);
                let mut call = self.draw(match is_atomic {
                    true => MessageKind::AtomicFrame,
                    false => MessageKind::Frame,
                });
                call.start = self.clock.now();
                // A frame that cannot be sent any more gets no answer either, which ends this below.
                let _ = frames.send(call.frame()).await;
                in_flight.push_back(call);
            }
            let answer = answers.message().await;
            let end = self.clock.now();
            let Ok(Some(answer)) = answer else {
                for mut call in in_flight {
                    call.end = end;
                    call.record(Err(None))?;
                    self.keep(call);
                }
                return Ok(self.calls);
            };
            let mut call = in_flight.pop_front().ok_or("an answer without a frame")?;
            call.end = end;
            call.record(match answer.error {
                None => Ok((answer.results, answer.replayed)),
                Some(status) => Err(status.get_details_error_info()),
            })?;
            self.keep(call);
        }
    }

    fn keep(&mut self, call: Call) {
        for (step, outcome) in call.each() {
            let revision = match (step.action, outcome) {
                (
                    Action::Read,
                    Outcome::Done {
                        observed: Observed::Entry(Some(entry)),
                        ..
                    },
                ) => entry.revision,
                (
                    Action::Write(_) | Action::Add(_) | Action::Transition { .. },
                    Outcome::Done { revision, .. },
                ) => revision,
                (_, Outcome::Refused(Refusal::Expectation(Actual::Revision(actual)))) => actual,
                _ => 0,
            };
            self.seen.insert(step.key.clone(), revision);
        }
        self.calls.push(call);
    }

    fn draw(&mut self, kind: MessageKind) -> Call {
        self.next_message += 1;
        let message = self.next_message;
        let operations = self.draw_operations(kind, message);
        let is_counted = operations[0].0 == counter(self.client);
        let is_sweep = operations[0] == (swept(0), Action::Delete, None);
        let has_request_id = is_counted || is_sweep || self.rng.random_bool(0.4);
        let name = format!("call-{message}");
        let is_whole = kind.is_atomic();
        let timeout = self.rng.random_bool(0.1);
        let timeout = timeout.then(|| self.rng.random_range(1..5));
        let step = |(index, (key, action, expect))| Step {
            key,
            action,
            expect,
            request_id: match action {
                Action::Read => String::new(),
                _ if has_request_id && !is_whole => format!("{name}/{index}"),
                _ => String::new(),
            },
        };
        Call {
            message,
            client: self.client,
            kind,
            steps: operations.into_iter().enumerate().map(step).collect(),
            request_id: match has_request_id && is_whole {
                true => name.clone(),
                false => String::new(),
            },
            timeout: timeout.map(Duration::from_millis),
            start: 0,
            end: 0,
            outcomes: Vec::new(),
            replayed: false,
            swept: is_sweep.then_some(0),
            named_revision: None,
        }
    }

    fn draw_operations(
        &mut self,
        kind: MessageKind,
        message: u64,
    ) -> Vec<(String, Action, Option<Expectation>)> {
        let rng = &mut self.rng;
        if self.client == CLIENT_LARGE {
            let key = large(rng.random_range(0..LARGE));
            let action = Action::Write(Value::Int(message as i64));
            return vec![(key, action, None)];
        }
        // A sweep needs a request_id: its outcome must be known, or nobody can tell what it has deleted.
        if kind == MessageKind::Batch && rng.random_bool(0.1) {
            return (0..SWEPT)
                .map(|index| (swept(index), Action::Delete, None))
                .collect();
        }
        if kind == MessageKind::Batch && rng.random_bool(0.4) {
            let action = Action::Add(rng.random_range(1..10));
            return PAIR.map(|key| (key.to_owned(), action, None)).to_vec();
        }
        let count = match kind {
            MessageKind::Call => 1,
            MessageKind::Frame => rng.random_range(1..5),
            MessageKind::AtomicFrame | MessageKind::Batch => 2,
        };
        let mut operations = Vec::new();
        // The keys of one message differ: a watch is told only of the last change of a key by an atomic message.
        let first = rng.random_range(0..KEYS_SHARED);
        for index in 0..count {
            if index == 0 && rng.random_bool(0.25) {
                let delta = rng.random_range(1..10);
                operations.push((counter(self.client), Action::Add(delta), None));
                continue;
            }
            // No other operation of the run writes this value.
            let value = Value::Int((message * 1000 + 200 * index as u64) as i64);
            if index == 0 && rng.random_bool(0.25) {
                operations.push(draw_special(rng, value));
                continue;
            }
            let key = shared((first + index) % KEYS_SHARED);
            let expected = self.seen.get(&key).copied().unwrap_or(0);
            let (action, expect) = match rng.random_range(0..100) {
                0..25 => (Action::Read, None),
                25..50 => (Action::Write(value), None),
                50..75 => (Action::Write(value), Some(Expectation::Revision(expected))),
                75..90 => (Action::Add(rng.random_range(1..10)), None),
                _ => (Action::Delete, None),
            };
            operations.push((key, action, expect));
        }
        operations
    }
}

/// An operation on a key of the machine, or one that a DeletePrefix deletes.
fn draw_special(rng: &mut SmallRng, value: Value) -> (String, Action, Option<Expectation>) {
    if rng.random_bool(0.4) {
        let key = swept(rng.random_range(0..SWEPT));
        return (key, Action::Write(value), None);
    }
    let action = match rng.random_range(0..10) {
        0..2 => Action::Read,
        2..4 => Action::Write(value),
        4..8 => Action::Transition {
            to: rng.random_range(0..STATE_COUNT),
            value: Some(value),
        },
        _ => Action::Delete,
    };
    (job(rng.random_range(0..JOBS)), action, None)
}

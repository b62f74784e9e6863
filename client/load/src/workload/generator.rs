//! The operations of one worker.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, op};
use tonic::Status;

use crate::plan::key_names::{KeyNames, SCAN_DIGITS};
use crate::plan::kind::Kind;
use crate::plan::mix::{Mix, NamedWorkload, STATES};
use crate::plan::settings::Settings;
use crate::workload::call::totals::StreamAnswer;
use crate::workload::call::turns::{CallRun, Turns};
use crate::workload::keys::Keys;
use crate::workload::operation::{Call, Reply, SentOp, has_revision};
use crate::workload::outcome::OpOutcome;
use crate::workload::steps::{Step, Steps};
use crate::workload::values::Values;

/// The most keys whose revision a worker remembers.
const KNOWN_MAX: usize = 4_096;

/// The most entries that a scan of workload E asks for.
const SCAN_MAX: i32 = 100;

/// The operations of one atomic Batch.
const BATCH_OPS: usize = 3;

/// An endless sequence of operations.
///
/// The same settings, seed and worker number give the same sequence, except for operations that depend on answers.
#[derive(Debug)]
pub(crate) struct Workload {
    mix: Mix,
    names: KeyNames,
    steps: Steps,
    keys: Keys,
    values: Values,
    rng: SmallRng,
    /// Operations that answers have led to. They come before any other.
    follow_ups: VecDeque<(SentOp, Call)>,
    /// The revision of each key as this worker saw it last; 0 if the key did not exist.
    known: HashMap<u64, i64>,
    /// How many Reads in flight are the first half of a read-modify-write.
    modifying: u64,
    session: Option<v1::Session>,
    /// The calls of `--call`. They come instead of any other.
    turns: Option<Turns>,
}

impl Workload {
    /// `worker` counts from 0, readers first.
    pub(crate) fn new(settings: &Settings, mut keys: Keys, worker: u64) -> Self {
        // The multiples of an odd constant (2^64 divided by the golden ratio) spread the seeds of the workers, so that
        // workers of neighbouring seeds share no sequence.
        let number = settings.global_number(worker);
        let seed = settings.seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rng = SmallRng::seed_from_u64(seed);
        keys.begin_at(worker as f64 / settings.workers() as f64);
        Self {
            mix: settings.mix,
            names: settings.key_names(),
            steps: Steps::new(settings, worker),
            keys,
            values: Values::new(settings, number, &mut rng),
            rng,
            follow_ups: VecDeque::new(),
            known: HashMap::new(),
            modifying: 0,
            session: None,
            turns: None,
        }
    }

    /// Sets the session that the worker renews.
    pub(crate) fn set_session(&mut self, session: v1::Session) {
        self.session = Some(session);
    }

    /// Makes the worker call the method of a program, and nothing else. `number` is that of the worker among all workers.
    pub(crate) fn set_call(&mut self, run: CallRun, number: u64) {
        self.turns = Some(Turns::new(run, number));
    }

    /// Returns the next operation. `intended_nanos` is when it is meant to start, in nanoseconds after the start of the
    /// run.
    pub(crate) fn next(&mut self, intended_nanos: u64) -> (SentOp, Call) {
        let (op, call) = self.draw(intended_nanos);
        let call = call.unwrap_or_else(|| match &self.turns {
            Some(turns) => Call::Messages(turns.fixed(op.key)),
            None => Call::read(self.names.of(op.key)),
        });
        (op, call)
    }

    /// As [`next`](Self::next), but returns no call for a plain Read of a key, or for messages of the user that never
    /// change: these are always the same, and the engine may keep them encoded.
    #[inline]
    pub(crate) fn draw(&mut self, intended_nanos: u64) -> (SentOp, Option<Call>) {
        if let Some(turns) = &mut self.turns {
            let (turn, messages) = turns.draw(&mut self.rng);
            let (kind, key) = (Kind::Call, turn);
            return (SentOp { kind, key }, messages.map(Call::Messages));
        }
        if let Some((op, call)) = self.follow_ups.pop_front() {
            return (op, Some(call));
        }
        let step = self.steps.draw(&mut self.rng);
        let key = match step {
            Step::Insert => self.keys.add(),
            _ => self.keys.draw(&mut self.rng),
        };
        let (kind, call) = match step {
            Step::Read => (Kind::Read, None),
            Step::Modify => {
                self.modifying += 1;
                (Kind::Read, None)
            }
            Step::Write | Step::Insert => (Kind::Write, Some(Call::Op(self.write(key, None)))),
            Step::Stamp => (Kind::Write, Some(self.stamp(key, intended_nanos))),
            Step::CompareAndSet => match self.known.get(&key) {
                Some(&revision) => {
                    let write = self.write(key, Some(revision));
                    (Kind::CompareAndSet, Some(Call::Op(write)))
                }
                None => (Kind::Read, None),
            },
            Step::Add => (Kind::Add, Some(self.add(key))),
            Step::Delete => (Kind::Delete, Some(self.delete(key))),
            Step::Transition => (Kind::Transition, Some(self.transition(key))),
            Step::Scan => (Kind::List, Some(self.scan(key))),
            Step::Batch => (Kind::Batch, Some(self.batch(key))),
            Step::Renew => (Kind::Renew, Some(self.renew())),
        };
        (SentOp { kind, key }, call)
    }

    /// Takes the only message of an answer to a call of the user's, and judges it.
    #[inline]
    pub(crate) fn take_message(&mut self, message: &[u8]) -> OpOutcome {
        match &mut self.turns {
            Some(turns) => turns.take_message(message),
            None => OpOutcome::of_reply(Kind::Call, None),
        }
    }

    /// Takes the messages of a stream of the user's: see [`Turns::take_stream`].
    pub(crate) fn take_stream(
        &mut self,
        stream: &StreamAnswer,
        last: &[u8],
        intended: Instant,
        is_late: Option<bool>,
    ) -> OpOutcome {
        match &mut self.turns {
            Some(turns) => turns.take_stream(stream, last, intended, is_late),
            None => OpOutcome::of_reply(Kind::Call, None),
        }
    }

    /// Judges the status of a call that was not OK.
    pub(crate) fn judge_status(&self, kind: Kind, status: &Status) -> OpOutcome {
        match &self.turns {
            Some(turns) => turns.judge_status(status),
            None => OpOutcome::of_status(kind, status),
        }
    }

    /// Takes the outcome of an operation, if that decides what the worker sends next.
    pub(crate) fn answered(&mut self, op: SentOp, outcome: &OpOutcome, reply: Option<&Reply>) {
        if !self.mix.depends_on_answers() {
            return;
        }
        let is_modify = self.mix == Mix::Named(NamedWorkload::F);
        match seen_revision(outcome, reply) {
            None => {
                self.known.remove(&op.key);
                if op.kind == Kind::Read {
                    self.modifying = self.modifying.saturating_sub(1);
                }
            }
            Some(revision) if is_modify && op.kind == Kind::Read && self.modifying > 0 => {
                self.modifying -= 1;
                let call = Call::Op(self.write(op.key, Some(revision)));
                let kind = Kind::CompareAndSet;
                self.follow_ups.push_back((SentOp { kind, ..op }, call));
            }
            Some(_) if is_modify => {}
            Some(revision) => {
                if self.known.len() < KNOWN_MAX || self.known.contains_key(&op.key) {
                    self.known.insert(op.key, revision);
                }
            }
        }
    }

    fn write(&mut self, key: u64, expected: Option<i64>) -> op::Op {
        op::Op::Write(v1::WriteRequest {
            key: self.names.of(key),
            value: Some(self.values.next(&mut self.rng)),
            expect: expected.map(has_revision),
            ..v1::WriteRequest::default()
        })
    }

    fn stamp(&self, key: u64, intended_nanos: u64) -> Call {
        let stamp = i64::try_from(intended_nanos).unwrap_or(i64::MAX);
        Call::Op(op::Op::Write(v1::WriteRequest {
            key: self.names.of(key),
            value: Some(v1::Value {
                kind: Some(v1::value::Kind::Int(stamp)),
            }),
            ..v1::WriteRequest::default()
        }))
    }

    fn add(&mut self, key: u64) -> Call {
        Call::Op(op::Op::Add(v1::AddRequest {
            key: self.names.of(key),
            delta: self.rng.random_range(1..=8),
            ..v1::AddRequest::default()
        }))
    }

    fn delete(&self, key: u64) -> Call {
        Call::Op(op::Op::Delete(v1::DeleteRequest {
            key: self.names.of(key),
            ..v1::DeleteRequest::default()
        }))
    }

    fn transition(&mut self, key: u64) -> Call {
        Call::Op(op::Op::Transition(v1::TransitionRequest {
            key: self.names.of(key),
            to: STATES[self.rng.random_range(0..STATES.len())].to_owned(),
            ..v1::TransitionRequest::default()
        }))
    }

    /// Workload E scans the keys whose names differ from that of `key` in the last digits only; any other workload scans
    /// all of its keys.
    fn scan(&mut self, key: u64) -> Call {
        let (prefix, page_size) = match self.mix {
            Mix::Named(NamedWorkload::E) => {
                let mut prefix = self.names.of(key);
                prefix.truncate(prefix.len() - SCAN_DIGITS);
                (prefix, self.rng.random_range(1..=SCAN_MAX))
            }
            _ => (self.names.common(), 0),
        };
        Call::List(v1::ListRequest {
            prefix,
            page_size,
            ..v1::ListRequest::default()
        })
    }

    /// Returns Reads and Writes of neighbouring keys, none of them twice.
    fn batch(&mut self, first: u64) -> Call {
        let count = self.keys.count();
        let keys = (0..count.min(BATCH_OPS as u64)).map(|step| (first + step) % count);
        let ops = keys.map(|key| {
            let op = match self.rng.random_bool(0.7) {
                true => self.write(key, None),
                false => op::Op::Read(v1::ReadRequest {
                    key: self.names.of(key),
                    expect: None,
                }),
            };
            v1::Op { op: Some(op) }
        });
        Call::Batch(v1::BatchRequest {
            ops: ops.collect(),
            ..v1::BatchRequest::default()
        })
    }

    fn renew(&self) -> Call {
        let session = self.session.as_ref();
        Call::Renew(v1::RenewSessionRequest {
            id: session.map_or_else(String::new, |session| session.id.clone()),
            create_revision: session.map_or(0, |session| session.create_revision),
        })
    }
}

/// Returns the revision of the key that an answer shows; 0 if the key does not exist. `None` if the answer shows none.
fn seen_revision(outcome: &OpOutcome, reply: Option<&Reply>) -> Option<i64> {
    match (outcome, reply) {
        (OpOutcome::Done { .. }, Some(Reply::Op(OpAnswer::Read(read)))) => {
            Some(read.entry.as_ref().map_or(0, |entry| entry.revision))
        }
        (OpOutcome::Done { .. }, Some(Reply::Op(OpAnswer::Write(write)))) => Some(write.revision),
        (OpOutcome::Refused(error, _), _) => error
            .metadata("actual")
            .map(|actual| actual.trim_matches('"').parse().unwrap_or(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

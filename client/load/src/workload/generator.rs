//! What to send: the operations of one worker.

use std::collections::{HashMap, VecDeque};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use soloist::v1::{self, Op, op};

use crate::plan::kind::Kind;
use crate::plan::mix::{MIXED_PREFIX, Mix, NamedWorkload, SCAN_DIGITS, STATES};
use crate::plan::settings::Settings;
use crate::workload::keys::Keys;
use crate::workload::operation::{Call, OpOutcome, Reply, SentOp, has_revision};
use crate::workload::steps::{Step, steps};
use crate::workload::values::Values;

/// Keys of which a worker remembers the revision.
const KNOWN_MAX: usize = 4_096;

/// Entries that a scan of YCSB's workload E asks for at most.
const SCAN_MAX: i32 = 100;

/// Operations of one atomic batch.
const BATCH_OPS: usize = 3;

/// An endless sequence of operations. The same settings, seed and worker number give the same sequence, as far as it
/// does not follow from answers.
#[derive(Debug)]
pub(crate) struct Workload {
    mix: Mix,
    /// With what they add up to, from 0 on.
    steps: Vec<(Step, f64)>,
    keys: Keys,
    values: Values,
    rng: SmallRng,
    /// What follows from answers.
    follow_ups: VecDeque<(SentOp, Call)>,
    /// Revisions of keys, as they were seen last; 0: not there.
    known: HashMap<u64, i64>,
    /// Reads whose answers are to be followed by a Write.
    modifying: u64,
    session: Option<v1::Session>,
}

impl Workload {
    /// `worker` counts from 0, readers first.
    pub(crate) fn new(settings: &Settings, mut keys: Keys, worker: u64) -> Self {
        // Steps of an odd constant (2^64 divided by the golden ratio), so that the workers of neighbouring seeds
        // have nothing in common.
        let number = settings.global_number(worker);
        let seed = settings.seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rng = SmallRng::seed_from_u64(seed);
        keys.begin_at(worker as f64 / settings.workers() as f64);
        let mut sum = 0.0;
        let steps = match (settings.mix, &settings.open_loop) {
            // What is due is taken by whoever is free: each does both, in proportion.
            (Mix::ReadersAndWriters { readers, writers }, Some(_)) => {
                vec![(Step::Read, readers as f64), (Step::Write, writers as f64)]
            }
            (mix, _) => steps(mix, worker),
        };
        let steps = steps.into_iter();
        let steps = steps
            .map(|(step, weight)| {
                sum += weight;
                (step, sum)
            })
            .collect();
        Self {
            mix: settings.mix,
            steps,
            keys,
            values: Values::new(settings, number, &mut rng),
            rng,
            follow_ups: VecDeque::new(),
            known: HashMap::new(),
            modifying: 0,
            session: None,
        }
    }

    /// The session that it renews.
    pub(crate) fn set_session(&mut self, session: v1::Session) {
        self.session = Some(session);
    }

    /// The next operation, which is meant to start so many nanoseconds after the run.
    pub(crate) fn next(&mut self, intended_nanos: u64) -> (SentOp, Call) {
        let (asked, call) = self.draw(intended_nanos);
        (
            asked,
            call.unwrap_or_else(|| Call::read(self.mix.key_name(asked.key))),
        )
    }

    /// As [`next`](Self::next), but a plain Read of a key, which is always the same, is not put into words: `None`.
    pub(crate) fn draw(&mut self, intended_nanos: u64) -> (SentOp, Option<Call>) {
        if let Some((asked, call)) = self.follow_ups.pop_front() {
            return (asked, Some(call));
        }
        let step = self.draw_step();
        let key = match step {
            Step::Insert => self.keys.add(),
            _ => self.keys.draw(&mut self.rng),
        };
        let mix = self.mix;
        let name = || mix.key_name(key);
        let a_read = SentOp {
            kind: Kind::Read,
            key,
        };
        let ask = |kind: Kind, op: op::Op| (SentOp { kind, key }, Some(Call::Op(op)));
        match step {
            Step::Read => (a_read, None),
            Step::Modify => {
                self.modifying += 1;
                (a_read, None)
            }
            Step::Write | Step::Insert => ask(Kind::Write, self.write(name(), None)),
            Step::Stamp => {
                let stamp = i64::try_from(intended_nanos).unwrap_or(i64::MAX);
                let write = v1::WriteRequest {
                    key: name(),
                    value: Some(int(stamp)),
                    ..v1::WriteRequest::default()
                };
                ask(Kind::Write, op::Op::Write(write))
            }
            Step::CompareAndSet => match self.known.get(&key) {
                Some(&revision) => ask(Kind::CompareAndSet, self.write(name(), Some(revision))),
                None => (a_read, None),
            },
            Step::Add => {
                let delta = self.rng.random_range(1..=8);
                let add = v1::AddRequest {
                    key: name(),
                    delta,
                    ..v1::AddRequest::default()
                };
                ask(Kind::Add, op::Op::Add(add))
            }
            Step::Delete => {
                let delete = v1::DeleteRequest {
                    key: name(),
                    ..v1::DeleteRequest::default()
                };
                ask(Kind::Delete, op::Op::Delete(delete))
            }
            Step::Transition => {
                let to = STATES[self.rng.random_range(0..STATES.len())].to_owned();
                let transition = v1::TransitionRequest {
                    key: name(),
                    to,
                    ..v1::TransitionRequest::default()
                };
                ask(Kind::Transition, op::Op::Transition(transition))
            }
            Step::Scan => {
                // The keys whose names differ from this one's in the last digits alone.
                let prefix = match self.mix {
                    Mix::Named(NamedWorkload::E) => {
                        let mut name = name();
                        name.truncate(name.len() - SCAN_DIGITS);
                        name
                    }
                    _ => MIXED_PREFIX.to_owned(),
                };
                let list = v1::ListRequest {
                    prefix,
                    page_size: match self.mix {
                        Mix::Named(NamedWorkload::E) => self.rng.random_range(1..=SCAN_MAX),
                        _ => 0,
                    },
                    ..v1::ListRequest::default()
                };
                let kind = Kind::List;
                (SentOp { kind, key }, Some(Call::List(list)))
            }
            Step::Batch => {
                let kind = Kind::Batch;
                (SentOp { kind, key }, Some(Call::Batch(self.batch(key))))
            }
            Step::Renew => {
                let session = self.session.as_ref();
                let renew = v1::RenewSessionRequest {
                    id: session.map_or_else(String::new, |session| session.id.clone()),
                    create_revision: session.map_or(0, |session| session.create_revision),
                };
                let kind = Kind::Renew;
                (SentOp { kind, key }, Some(Call::Renew(renew)))
            }
        }
    }

    /// Learns from an answer.
    pub(crate) fn answered(&mut self, asked: SentOp, outcome: &OpOutcome, reply: Option<&Reply>) {
        if !self.mix.depends_on_answers() {
            return;
        }
        use v1::op_result::Result as Answer;
        let revision = match (outcome, reply) {
            (OpOutcome::Done { .. }, Some(Reply::Op(Answer::Read(read)))) => {
                Some(read.entry.as_ref().map_or(0, |entry| entry.revision))
            }
            (OpOutcome::Done { .. }, Some(Reply::Op(Answer::Write(write)))) => Some(write.revision),
            (OpOutcome::Refused(error, _), _) => error
                .metadata("actual")
                .map(|actual| actual.trim_matches('"').parse().unwrap_or(0)),
            _ => None,
        };
        let Some(revision) = revision else {
            self.known.remove(&asked.key);
            if asked.kind == Kind::Read {
                self.modifying = self.modifying.saturating_sub(1);
            }
            return;
        };
        let modifies = self.mix == Mix::Named(NamedWorkload::F);
        if modifies && asked.kind == Kind::Read && self.modifying > 0 {
            self.modifying -= 1;
            let name = self.mix.key_name(asked.key);
            let write = self.write(name, Some(revision));
            let kind = Kind::CompareAndSet;
            let call = Call::Op(write);
            self.follow_ups.push_back((SentOp { kind, ..asked }, call));
        } else if !modifies && (self.known.len() < KNOWN_MAX || self.known.contains_key(&asked.key))
        {
            self.known.insert(asked.key, revision);
        }
    }

    fn draw_step(&mut self) -> Step {
        if let [(step, _)] = self.steps[..] {
            return step;
        }
        let end = self.steps.last().map_or(0.0, |(_, sum)| *sum);
        let drawn = self.rng.random::<f64>() * end;
        let index = self.steps.partition_point(|(_, sum)| *sum <= drawn);
        self.steps[index.min(self.steps.len() - 1)].0
    }

    fn write(&mut self, key: String, expected: Option<i64>) -> op::Op {
        op::Op::Write(v1::WriteRequest {
            key,
            value: Some(self.values.next(&mut self.rng)),
            expect: expected.map(has_revision),
            ..v1::WriteRequest::default()
        })
    }

    /// Reads and writes on keys of which none is named twice.
    fn batch(&mut self, first: u64) -> v1::BatchRequest {
        let count = self.keys.count();
        let keys = (0..count.min(BATCH_OPS as u64)).map(|step| (first + step) % count);
        let ops = keys
            .map(|key| {
                let name = self.mix.key_name(key);
                let op = match self.rng.random_bool(0.7) {
                    true => self.write(name, None),
                    false => read(name),
                };
                Op { op: Some(op) }
            })
            .collect();
        v1::BatchRequest {
            ops,
            ..v1::BatchRequest::default()
        }
    }
}

fn read(key: String) -> op::Op {
    op::Op::Read(v1::ReadRequest { key, expect: None })
}

fn int(number: i64) -> v1::Value {
    v1::Value {
        kind: Some(v1::value::Kind::Int(number)),
    }
}

#[cfg(test)]
mod tests;

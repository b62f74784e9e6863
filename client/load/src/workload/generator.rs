//! What to send: the operations of one worker.

use std::collections::{HashMap, VecDeque};

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use soloist::v1::{self, Op, op};

use crate::command_line::args::{Ratio, ValueKind};
use crate::plan::settings::Settings;
use crate::workload::keys::Keys;
use crate::workload::operation::{Asked, Call, Kind, Reply, Verdict, has_revision};

/// The values that the seed writes: 0 to 99.
const INT_END: i64 = 100;

/// Bits of a distinct int that count the values of one worker: a trillion. Above are those of the worker.
const COUNTER_BITS: u32 = 40;

/// Where there are additions, the lowest bits are left to them, and fewer to count with: 64 million.
const ADDITION_BITS: u32 = 20;
const COUNTER_BITS_BESIDE_ADDITIONS: u32 = 26;

/// Keys of which a worker remembers the revision.
const KNOWN_MAX: usize = 4_096;

/// Entries that a scan of YCSB's workload E asks for at most.
const SCAN_MAX: i32 = 100;

/// Operations of one atomic batch.
const BATCH_OPS: usize = 3;

/// What the keys of YCSB's workloads begin with; and the digits after that.
pub(crate) const ADDED_PREFIX: &str = "user";
const ADDED_DIGITS: usize = 10;
/// The last digits of names that a scan leaves open: it is of the keys that differ in no others.
const SCAN_DIGITS: usize = 2;

/// What the keys of the mixed workload begin with.
const MIXED_PREFIX: &str = "load/mixed/";
/// What the keys that are watched begin with.
pub(crate) const WATCHED_PREFIX: &str = "load/watched/";
/// What the keys of machines begin with.
pub(crate) const MACHINE_PREFIX: &str = "load/connection/";
/// The states of a connection.
pub(crate) const STATES: [&str; 3] = ["idle", "inflight", "closing"];

/// A workload that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Script {
    /// YCSB A, update heavy: 50% reads, 50% writes.
    A,
    /// YCSB B, read mostly: 95% reads, 5% writes.
    B,
    /// YCSB C: reads only.
    C,
    /// YCSB D, read latest: 95% reads of the newest keys, 5% new keys.
    D,
    /// YCSB E, short ranges: 95% List of up to 100 entries, 5% new keys.
    E,
    /// YCSB F, read-modify-write: 50% reads, 50% reads followed by a compare-and-set.
    F,
    /// Adds to counters.
    Counter,
    /// Compare-and-set on contended keys.
    Cas,
    /// Moves keys through the states of a connection.
    Transition,
    /// Renews sessions.
    Renew,
    /// Writes that are watched.
    Watch,
    /// Reads, writes, compare-and-sets, additions, deletes, batches and lists.
    Mixed,
}

/// What the workers do, all together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plot {
    /// Readers and writers, each with workers of their own.
    Seed {
        readers: u64,
        writers: u64,
    },
    /// Workers that do both.
    Ratio(Ratio),
    Script(Script),
}

impl Plot {
    /// Whether keys are there before the first operation.
    pub(crate) fn wants_keys(self) -> bool {
        match self {
            Self::Seed { .. } => false,
            Self::Ratio(_) => true,
            Self::Script(script) => !matches!(script, Script::Renew | Script::Mixed),
        }
    }

    /// Whether it has calls that no frame can carry.
    pub(crate) fn needs_calls(self) -> bool {
        matches!(
            self,
            Self::Script(Script::E | Script::Renew | Script::Mixed)
        )
    }

    /// Whether what is sent follows from answers.
    pub(crate) fn learns(self) -> bool {
        matches!(self, Self::Script(Script::Cas | Script::F | Script::Mixed))
    }

    /// Whether it writes.
    pub(crate) fn writes(self) -> bool {
        match self {
            Self::Seed { writers, .. } => writers > 0,
            Self::Ratio(ratio) => ratio.writes > 0.0,
            Self::Script(script) => !matches!(script, Script::C | Script::Renew),
        }
    }

    /// The name of a key.
    pub(crate) fn key_name(self, number: u64) -> String {
        match self {
            Self::Script(Script::A | Script::B | Script::C | Script::D | Script::E | Script::F) => {
                format!("{ADDED_PREFIX}{number:0ADDED_DIGITS$}")
            }
            Self::Script(Script::Transition) => format!("{MACHINE_PREFIX}{number}"),
            Self::Script(Script::Mixed) => format!("{MIXED_PREFIX}{number}"),
            Self::Script(Script::Watch) => format!("{WATCHED_PREFIX}{number}"),
            _ => number.to_string(),
        }
    }

    /// Whether it adds keys, which are numbered after those of the beginning.
    pub(crate) fn adds_keys(self) -> bool {
        matches!(self, Self::Script(Script::D | Script::E))
    }

    /// The number of a key that it may have added, by its name.
    pub(crate) fn added_key(self, name: &str) -> Option<u64> {
        let digits = self.added_digits(name)?;
        (digits.len() == ADDED_DIGITS).then(|| digits.parse().ok())?
    }

    /// The numbers of the keys that a scan of it is of, by what their names begin with.
    pub(crate) fn added_keys(self, prefix: &str) -> Option<std::ops::Range<u64>> {
        let digits = self.added_digits(prefix)?;
        let scan = 10_u64.pow(SCAN_DIGITS as u32);
        let first = (digits.len() + SCAN_DIGITS == ADDED_DIGITS)
            .then(|| digits.parse::<u64>().ok())??
            * scan;
        Some(first..first + scan)
    }

    fn added_digits(self, text: &str) -> Option<&str> {
        let digits = text
            .strip_prefix(ADDED_PREFIX)
            .filter(|_| self.adds_keys())?;
        digits
            .bytes()
            .all(|it| it.is_ascii_digit())
            .then_some(digits)
    }

    /// A Read of a key.
    pub(crate) fn read(self, number: u64) -> Call {
        Call::Op(read(self.key_name(number)))
    }

    /// What a worker does, and how often each.
    fn steps(self, worker: u64) -> Vec<(Step, f64)> {
        let script = match self {
            Self::Seed { readers, .. } => {
                return match worker < readers {
                    true => vec![(Step::Read, 1.0)],
                    false => vec![(Step::Write, 1.0)],
                };
            }
            Self::Ratio(Ratio { reads, writes }) => {
                return vec![(Step::Read, reads), (Step::Write, writes)];
            }
            Self::Script(script) => script,
        };
        match script {
            Script::A => vec![(Step::Read, 0.5), (Step::Write, 0.5)],
            Script::B => vec![(Step::Read, 0.95), (Step::Write, 0.05)],
            Script::C => vec![(Step::Read, 1.0)],
            Script::D => vec![(Step::Read, 0.95), (Step::Insert, 0.05)],
            Script::E => vec![(Step::Scan, 0.95), (Step::Insert, 0.05)],
            Script::F => vec![(Step::Read, 0.5), (Step::Modify, 0.5)],
            Script::Counter => vec![(Step::Add, 1.0)],
            Script::Cas => vec![(Step::CompareAndSet, 1.0)],
            Script::Transition => vec![(Step::Transition, 1.0)],
            Script::Renew => vec![(Step::Renew, 1.0)],
            Script::Watch => vec![(Step::Stamp, 1.0)],
            Script::Mixed => vec![
                (Step::Read, 0.4),
                (Step::Write, 0.2),
                (Step::CompareAndSet, 0.15),
                (Step::Add, 0.1),
                (Step::Delete, 0.05),
                (Step::Batch, 0.07),
                (Step::Scan, 0.03),
            ],
        }
    }
}

/// A kind of thing to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Read,
    Write,
    /// A Write of a key that is not there yet.
    Insert,
    /// A Read, and then a Write if nobody else was faster.
    Modify,
    CompareAndSet,
    Add,
    Delete,
    Transition,
    Scan,
    Batch,
    Renew,
    /// A Write of the time at which it was to start.
    Stamp,
}

/// An endless sequence of operations. The same settings, seed and worker number give the same sequence, as far as it
/// does not follow from answers.
#[derive(Debug)]
pub(crate) struct Workload {
    plot: Plot,
    /// With what they add up to, from 0 on.
    steps: Vec<(Step, f64)>,
    keys: Keys,
    values: Values,
    rng: SmallRng,
    /// What follows from answers.
    follow_ups: VecDeque<(Asked, Call)>,
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
        let number = settings.number_of(worker);
        let seed = settings.seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rng = SmallRng::seed_from_u64(seed);
        keys.begin_at(worker as f64 / settings.workers() as f64);
        let mut sum = 0.0;
        let steps = match (settings.plot, &settings.open_loop) {
            // What is due is taken by whoever is free: each does both, in proportion.
            (Plot::Seed { readers, writers }, Some(_)) => {
                vec![(Step::Read, readers as f64), (Step::Write, writers as f64)]
            }
            (plot, _) => plot.steps(worker),
        };
        let steps = steps.into_iter();
        let steps = steps
            .map(|(step, weight)| {
                sum += weight;
                (step, sum)
            })
            .collect();
        Self {
            plot: settings.plot,
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
    pub(crate) fn next(&mut self, intended_nanos: u64) -> (Asked, Call) {
        let (asked, call) = self.draw(intended_nanos);
        (asked, call.unwrap_or_else(|| self.plot.read(asked.key)))
    }

    /// As [`next`](Self::next), but a plain Read of a key, which is always the same, is not put into words: `None`.
    pub(crate) fn draw(&mut self, intended_nanos: u64) -> (Asked, Option<Call>) {
        if let Some((asked, call)) = self.follow_ups.pop_front() {
            return (asked, Some(call));
        }
        let step = self.draw_step();
        let key = match step {
            Step::Insert => self.keys.add(),
            _ => self.keys.draw(&mut self.rng),
        };
        let plot = self.plot;
        let name = || plot.key_name(key);
        let a_read = Asked {
            kind: Kind::Read,
            key,
        };
        let ask = |kind: Kind, op: op::Op| (Asked { kind, key }, Some(Call::Op(op)));
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
                let prefix = match self.plot {
                    Plot::Script(Script::E) => {
                        let mut name = name();
                        name.truncate(name.len() - SCAN_DIGITS);
                        name
                    }
                    _ => MIXED_PREFIX.to_owned(),
                };
                let list = v1::ListRequest {
                    prefix,
                    page_size: match self.plot {
                        Plot::Script(Script::E) => self.rng.random_range(1..=SCAN_MAX),
                        _ => 0,
                    },
                    ..v1::ListRequest::default()
                };
                let kind = Kind::List;
                (Asked { kind, key }, Some(Call::List(list)))
            }
            Step::Batch => {
                let kind = Kind::Batch;
                (Asked { kind, key }, Some(Call::Batch(self.batch(key))))
            }
            Step::Renew => {
                let session = self.session.as_ref();
                let renew = v1::RenewSessionRequest {
                    id: session.map_or_else(String::new, |session| session.id.clone()),
                    create_revision: session.map_or(0, |session| session.create_revision),
                };
                let kind = Kind::Renew;
                (Asked { kind, key }, Some(Call::Renew(renew)))
            }
        }
    }

    /// Learns from an answer.
    pub(crate) fn answered(&mut self, asked: Asked, verdict: &Verdict, reply: Option<&Reply>) {
        if !self.plot.learns() {
            return;
        }
        use v1::op_result::Result as Answer;
        let revision = match (verdict, reply) {
            (Verdict::Done { .. }, Some(Reply::Op(Answer::Read(read)))) => {
                Some(read.entry.as_ref().map_or(0, |entry| entry.revision))
            }
            (Verdict::Done { .. }, Some(Reply::Op(Answer::Write(write)))) => Some(write.revision),
            (Verdict::Refused(error, _), _) => error
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
        let modifies = self.plot == Plot::Script(Script::F);
        if modifies && asked.kind == Kind::Read && self.modifying > 0 {
            self.modifying -= 1;
            let name = self.plot.key_name(asked.key);
            let write = self.write(name, Some(revision));
            let kind = Kind::CompareAndSet;
            let call = Call::Op(write);
            self.follow_ups.push_back((Asked { kind, ..asked }, call));
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
                let name = self.plot.key_name(key);
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

/// What a worker writes.
#[derive(Debug)]
pub(crate) struct Values {
    form: Form,
    /// The number of the next distinct value, if they are.
    next: Option<u64>,
    /// Zero bits at the end of a distinct int.
    shift: u32,
}

#[derive(Debug)]
enum Form {
    Int,
    Text(String),
    Bytes(Vec<u8>),
}

/// Bytes of a text that tell it from every other.
const MARK_BYTES: usize = 16;

impl Values {
    /// `number` is that of the worker, among all.
    pub(crate) fn new(settings: &Settings, number: u64, rng: &mut SmallRng) -> Self {
        let size = usize::try_from(settings.value_size).unwrap_or(usize::MAX);
        let mut text = || -> String {
            (0..size)
                .map(|_| char::from(rng.random_range(b'a'..=b'z')))
                .collect()
        };
        let (counter_bits, shift) = match settings.plot {
            Plot::Script(Script::Mixed) => (COUNTER_BITS_BESIDE_ADDITIONS, ADDITION_BITS),
            _ => (COUNTER_BITS, 0),
        };
        Self {
            form: match settings.value {
                ValueKind::Int => Form::Int,
                ValueKind::Text => Form::Text(text()),
                ValueKind::Bytes => Form::Bytes(text().into_bytes()),
            },
            // Never 0, which is what is preloaded.
            next: settings
                .distinct
                .then_some(((number + 1) << counter_bits) + 1),
            shift,
        }
    }

    pub(crate) fn next(&mut self, rng: &mut SmallRng) -> v1::Value {
        let number = self.next;
        if let Some(next) = &mut self.next {
            *next += 1;
        }
        let kind = match (&mut self.form, number) {
            (Form::Int, None) => v1::value::Kind::Int(rng.random_range(0..INT_END)),
            (Form::Int, Some(number)) => v1::value::Kind::Int((number << self.shift).cast_signed()),
            (Form::Text(text), None) => v1::value::Kind::Text(text.clone()),
            (Form::Text(text), Some(number)) => {
                let mut marked = text.clone();
                marked.replace_range(..MARK_BYTES.min(text.len()), &mark(number, text.len()));
                v1::value::Kind::Text(marked)
            }
            (Form::Bytes(bytes), None) => v1::value::Kind::Bytes(bytes.clone()),
            (Form::Bytes(bytes), Some(number)) => {
                let mark = mark(number, bytes.len());
                bytes[..mark.len()].copy_from_slice(mark.as_bytes());
                v1::value::Kind::Bytes(bytes.clone())
            }
        };
        v1::Value { kind: Some(kind) }
    }
}

fn mark(number: u64, len: usize) -> String {
    let mark = format!("{number:016x}");
    mark[MARK_BYTES - MARK_BYTES.min(len)..].to_owned()
}

/// The least size of texts and bytes that can all be distinct.
pub(crate) const DISTINCT_BYTES_MIN: u64 = MARK_BYTES as u64;

#[cfg(test)]
mod tests;

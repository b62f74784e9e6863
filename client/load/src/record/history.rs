//! What every operation of a run asked and was answered, in the terms of the checker.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use soloist::v1::error::Reason;
use soloist::v1::op_result::Result as Answer;
use soloist::v1::{self, condition, op, value};
use tonic::Request;

use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::settle::{Sent, Witness};
use crate::run::target::Target;
use crate::workload::generator::{ADDED_PREFIX, Plot, STATES, Script};
use crate::workload::operation::{Call, Reply, Verdict};
use soloist_client::Error;
use soloist_verify::history::{
    self as checked, Found, Key, Machine, Recorder, Room, Told, Watched,
};
use soloist_verify::operation::{
    Action, Actual, Entry, Expectation, Outcome, Record, Refusal, Seen, Travel, Value,
};

/// Operations that a history may have: 72 bytes each, 3.6 GB, and the checker takes about as much again.
pub(crate) const OPERATIONS_MAX: u64 = 50_000_000;

/// Reads of one batch, with which the keys are looked at before the run; fewer if the values take more bytes than these,
/// of which answers may have four times as many.
const BATCH_READS: u64 = 256;
const BATCH_BYTES: u64 = 1 << 20;

/// The keys of a run, as they were before it.
#[derive(Debug)]
pub(crate) struct Before {
    keys: Vec<Key>,
    machines: Vec<Machine>,
    /// What more there was of keys that the run may add.
    beyond: HashMap<u32, Found>,
    numbers: Arc<Numbers>,
    room: Room,
    /// The revision from which on it is so of keys that are not there.
    least: i64,
    /// Everything after it is told to watches.
    pub(crate) revision: i64,
}

impl Before {
    /// Looks at every key.
    pub(crate) async fn look(settings: &Settings, target: &Target) -> Result<Self, String> {
        let said = |what: &dyn Display| format!("cannot look at the keys before the run: {what}");
        let names: Vec<String> = (0..settings.keys)
            .map(|number| settings.plot.key_name(number))
            .collect();
        let machines = match settings.plot {
            Plot::Script(Script::Transition) => vec![machine()],
            _ => Vec::new(),
        };
        let mut keys = Vec::with_capacity(names.len());
        let state = target.state(settings.connect_timeout).await;
        let mut state = state.map_err(|error| said(&error))?;
        let reads_max = u64::try_from(target.limits.max_batch_ops).unwrap_or(1);
        let reads = (BATCH_BYTES / settings.value_size.max(1)).min(reads_max);
        for some in names.chunks(reads.clamp(1, BATCH_READS) as usize) {
            let read = |name: &String| v1::Op {
                op: Some(op::Op::Read(v1::ReadRequest {
                    key: name.clone(),
                    expect: None,
                })),
            };
            let batch = v1::BatchRequest {
                ops: some.iter().map(read).collect(),
                ..v1::BatchRequest::default()
            };
            let answer = state.batch(within(batch, settings)).await;
            let results = answer.map_err(|error| said(&error))?.into_inner().results;
            for (name, result) in some.iter().zip(results) {
                let Some(Answer::Read(read)) = result.result else {
                    return Err(said(&"a read was answered as something else"));
                };
                let found = Found {
                    entry: read.entry.as_ref().and_then(wire_entry),
                    revision: read.revision,
                };
                let mut key = Key::new(name.clone(), Some(found));
                key.machine = (!machines.is_empty()).then_some(0);
                keys.push(key);
            }
        }
        let revision = target.revision().await.unwrap_or(0);
        let numbers = Numbers {
            plot: settings.plot,
            names: names.into_iter().zip(0..).collect(),
        };
        let mut beyond = HashMap::new();
        let mut least = None;
        let mut token = settings.plot.adds_keys().then(String::new);
        while let Some(page_token) = token {
            let list = v1::ListRequest {
                prefix: ADDED_PREFIX.to_owned(),
                page_token,
                ..v1::ListRequest::default()
            };
            let page = state.list(within(list, settings)).await;
            let page = page.map_err(|error| said(&error))?.into_inner();
            least = least.or(Some(page.revision));
            for entry in &page.entries {
                if let Some(number) = numbers.of(&entry.key) {
                    let found = Found {
                        entry: wire_entry(entry),
                        revision: page.revision,
                    };
                    beyond.insert(number, found);
                }
            }
            token = Some(page.next_page_token).filter(|token| !token.is_empty());
        }
        Ok(Self {
            keys,
            machines,
            beyond,
            least: least.unwrap_or(0),
            numbers: Arc::new(numbers),
            room: Room::new(OPERATIONS_MAX),
            revision,
        })
    }

    /// What a thread needs to record.
    pub(crate) fn seed(&self) -> RecordingSeed {
        RecordingSeed {
            numbers: Arc::clone(&self.numbers),
            room: self.room.clone(),
            revision: self.revision,
        }
    }
}

fn within<T>(message: T, settings: &Settings) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(settings.connect_timeout);
    request
}

/// The numbers of keys by their names.
#[derive(Debug)]
struct Numbers {
    plot: Plot,
    /// Of those of the beginning.
    names: HashMap<String, u32>,
}

impl Numbers {
    /// A key that the run may have added has the number that its name was made of.
    fn of(&self, name: &str) -> Option<u32> {
        let added = || self.plot.added_key(name)?.try_into().ok();
        self.names.get(name).copied().or_else(added)
    }
}

/// A [`Recording`] to be.
#[derive(Clone, Debug)]
pub(crate) struct RecordingSeed {
    numbers: Arc<Numbers>,
    room: Room,
    pub(crate) revision: i64,
}

impl RecordingSeed {
    pub(crate) fn grow(self) -> Recording {
        Recording {
            shared: Rc::new(Shared {
                numbers: self.numbers,
                room: self.room,
                recorders: RefCell::default(),
                watches: RefCell::default(),
            }),
        }
    }
}

/// What the workers of one thread record.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    numbers: Arc<Numbers>,
    room: Room,
    /// Of workers that are done.
    recorders: RefCell<Vec<Result<Vec<Record>, String>>>,
    watches: RefCell<Vec<Watched>>,
}

/// What one thread has recorded.
#[derive(Debug)]
pub(crate) struct History {
    parts: Vec<Result<Vec<Record>, String>>,
    watches: Vec<Watched>,
}

impl History {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
        self.watches.append(&mut other.watches);
    }

    /// The history of the run. The error says why there is none.
    pub(crate) fn complete(
        self,
        before: Before,
        settings: &Settings,
    ) -> Result<checked::History, String> {
        let mut operations = Vec::new();
        for part in self.parts {
            operations.append(&mut part?);
        }
        operations.sort_by_key(Record::order);
        let keys = with_added(&before, settings.plot, &mut operations);
        Ok(checked::History {
            settings: serde_json::Value::Object(settings.by_flag().into_iter().collect()),
            keys,
            machines: before.machines,
            operations,
            watches: self.watches,
        })
    }
}

/// The keys of the beginning, and those that the run has added. What Lists say of keys that were never there, nor asked
/// for, is left out: it can only be true.
fn with_added(before: &Before, plot: Plot, operations: &mut Vec<Record>) -> Vec<Key> {
    let first = before.keys.len();
    let mut keys = before.keys.clone();
    if !plot.adds_keys() {
        return keys;
    }
    let is_change = |record: &&Record| {
        let operation = record.operation();
        operation.is_ok_and(|it| it.action != Action::Read || it.entry().is_some())
    };
    let touched: HashSet<u32> = (operations.iter().filter(is_change))
        .map(Record::key)
        .chain(before.beyond.keys().copied())
        .collect();
    operations.retain(|it| (it.key() as usize) < first || touched.contains(&it.key()));
    let end = operations.iter().map(|it| it.key() as usize + 1).max();
    for number in first..end.unwrap_or(0) {
        let found = (before.beyond.get(&(number as u32)).copied()).unwrap_or(Found {
            entry: None,
            revision: before.least,
        });
        keys.push(Key::new(plot.key_name(number as u64), Some(found)));
    }
    keys
}

impl Recording {
    /// Takes what one worker does. Its numbers are those of no other.
    pub(crate) fn witness(
        &self,
        worker: u64,
        travel: Travel,
        stop: &Arc<Stop>,
    ) -> Box<dyn Witness> {
        let client = u32::try_from(worker).expect("the flags' limits fit");
        Box::new(Recorded {
            recorder: Some(Recorder::new(client, self.shared.room.clone())),
            shared: Rc::clone(&self.shared),
            stop: Arc::clone(stop),
            travel,
            full: None,
            operations: Vec::new(),
            travels_as: travel,
        })
    }

    /// Takes what a watch is told of everything after a revision.
    pub(crate) fn watch(&self, after: i64) -> WatchRecord {
        let mut keys: Vec<u32> = self.shared.numbers.names.values().copied().collect();
        keys.sort_unstable();
        WatchRecord {
            watched: Watched {
                keys,
                after,
                told: Vec::new(),
            },
            shared: Rc::clone(&self.shared),
        }
    }

    /// What was recorded, when all workers are done.
    pub(crate) fn finish(self) -> History {
        History {
            parts: self.shared.recorders.take(),
            watches: self.shared.watches.take(),
        }
    }
}

/// What a watch is told.
#[derive(Debug)]
pub(crate) struct WatchRecord {
    watched: Watched,
    shared: Rc<Shared>,
}

impl WatchRecord {
    pub(crate) fn take(&mut self, message: &v1::WatchResponse, nanos: u64) {
        for event in &message.events {
            let Some(entry) = &event.entry else { continue };
            let Some(key) = self.shared.numbers.of(&entry.key) else {
                continue;
            };
            let told = Told::Event {
                key,
                revision: entry.revision,
                entry: wire_entry(entry),
            };
            self.watched.told.push((nanos, told));
        }
        let told = Told::Progress {
            revision: message.revision,
        };
        self.watched.told.push((nanos, told));
    }

    pub(crate) fn end(self) {
        self.shared.watches.borrow_mut().push(self.watched);
    }
}

/// What one worker does.
struct Recorded {
    recorder: Option<Recorder>,
    shared: Rc<Shared>,
    stop: Arc<Stop>,
    /// Of what is neither a batch nor a list.
    travel: Travel,
    full: Option<String>,
    /// What became of the operations of the message that is being answered.
    operations: Vec<(checked::Asked, Outcome)>,
    travels_as: Travel,
}

impl Witness for Recorded {
    fn take(&mut self, call: &Call, verdict: &Verdict, reply: Option<&Reply>) {
        match call {
            Call::Op(op) => {
                let answer = match reply {
                    Some(Reply::Op(answer)) => Some(answer),
                    _ => None,
                };
                self.op(op, verdict, answer);
            }
            Call::Batch(batch) => {
                self.travels_as = Travel::Batch;
                let mut results = match reply {
                    Some(Reply::Batch(batch)) => batch.results.iter(),
                    _ => [].iter(),
                };
                for op in &batch.ops {
                    let answer = results.next().and_then(|result| result.result.as_ref());
                    if let Some(op) = &op.op {
                        self.op(op, verdict, answer);
                    }
                }
            }
            Call::List(list) => {
                self.travels_as = Travel::Batch;
                if let (Verdict::Done { .. }, Some(Reply::List(page))) = (verdict, reply) {
                    self.list(list, page);
                }
            }
            Call::Renew(_) => {}
        }
    }

    fn end(&mut self, sent: &Sent, now: Instant) {
        let operations = std::mem::take(&mut self.operations);
        let travel = std::mem::replace(&mut self.travels_as, self.travel);
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if operations.is_empty() || self.full.is_some() {
            return;
        }
        let start = self.stop.nanos_of(sent.started);
        match recorder.begin(travel, operations.len() as u64, start) {
            Ok(begun) => {
                let is_unknown = |(_, outcome): &(_, Outcome)| *outcome == Outcome::Unknown;
                // Whatever is not known may still happen.
                let end = match operations.iter().any(is_unknown) {
                    true => soloist_verify::operation::NEVER,
                    false => self.stop.nanos_of(now),
                };
                recorder.end(begun, end, operations);
            }
            Err(error) => self.full = Some(error.to_string()),
        }
    }
}

impl Drop for Recorded {
    /// A worker that is done leaves what it has recorded.
    fn drop(&mut self) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        let finished = match self.full.take() {
            Some(full) => Err(full),
            None => recorder.finish().map_err(|error| error.to_string()),
        };
        self.shared.recorders.borrow_mut().push(finished);
    }
}

impl Recorded {
    fn op(&mut self, op: &op::Op, verdict: &Verdict, answer: Option<&Answer>) {
        let (name, action, expect) = match op {
            op::Op::Read(read) => (&read.key, Action::Read, &read.expect),
            op::Op::Write(write) => {
                let value = write.value.as_ref().and_then(wire_value);
                let Some(value) = value else { return };
                (&write.key, Action::Write(value), &write.expect)
            }
            op::Op::Add(add) => (&add.key, Action::Add(add.delta), &add.expect),
            op::Op::Delete(delete) => (&delete.key, Action::Delete, &delete.expect),
            op::Op::Transition(transition) => {
                let Some(to) = state_number(&transition.to) else {
                    return;
                };
                let action = Action::Transition { to, value: None };
                (&transition.key, action, &transition.expect)
            }
        };
        let Some(key) = self.shared.numbers.of(name) else {
            return;
        };
        let asked = checked::Asked {
            key,
            action,
            expect: expect.as_ref().and_then(expectation),
        };
        self.operations
            .push((asked, outcome(action, verdict, answer)));
    }

    /// A List reads every key that it could have shown.
    fn list(&mut self, list: &v1::ListRequest, page: &v1::ListResponse) {
        let mut shown: HashMap<&str, Option<Entry>> = HashMap::new();
        for entry in &page.entries {
            shown.insert(&entry.key, wire_entry(entry));
        }
        let last = match page.next_page_token.is_empty() {
            true => None,
            false => page.entries.last().map(|entry| entry.key.as_str()),
        };
        let mut read = |name: &str, key: u32| {
            if !name.starts_with(&list.prefix) || last.is_some_and(|last| name > last) {
                return;
            }
            let asked = checked::Asked {
                key,
                action: Action::Read,
                expect: None,
            };
            let entry = shown.get(name).copied().flatten();
            let outcome = Outcome::Done {
                revision: page.revision,
                seen: Seen::Entry(entry),
            };
            self.operations.push((asked, outcome));
        };
        let numbers = &self.shared.numbers;
        match numbers.plot.added_keys(&list.prefix) {
            Some(some) => {
                for number in some {
                    if let Ok(key) = u32::try_from(number) {
                        read(&numbers.plot.key_name(number), key);
                    }
                }
            }
            None => {
                for (name, &key) in &numbers.names {
                    read(name, key);
                }
            }
        }
    }
}

/// What an answer says of one operation.
fn outcome(action: Action, verdict: &Verdict, answer: Option<&Answer>) -> Outcome {
    let done = |revision: i64, seen: Seen| Outcome::Done { revision, seen };
    match (verdict, answer) {
        (Verdict::Refused(error, reason), _) => refused(action, error, *reason),
        (Verdict::Failed(failure), _) => match (action, failure.outcome) {
            // A read of which nothing is known has changed nothing.
            (Action::Read, _) | (_, soloist_client::Outcome::NotApplied) => Outcome::NotDone,
            (_, soloist_client::Outcome::Unknown) => Outcome::Unknown,
        },
        (Verdict::Done { .. }, Some(Answer::Read(read))) => {
            let entry = read.entry.as_ref().and_then(wire_entry);
            done(read.revision, Seen::Entry(entry))
        }
        (Verdict::Done { .. }, Some(Answer::Write(write))) => done(write.revision, Seen::Untold),
        (Verdict::Done { .. }, Some(Answer::Add(add))) => done(add.revision, Seen::Sum(add.value)),
        (Verdict::Done { .. }, Some(Answer::Delete(delete))) => {
            let previous = delete.previous.as_ref().and_then(wire_entry);
            done(delete.revision, Seen::Entry(previous))
        }
        (Verdict::Done { .. }, Some(Answer::Transition(transition))) => {
            match state_number(&transition.from) {
                Some(from) => done(transition.revision, Seen::From(from)),
                None => done(transition.revision, Seen::Untold),
            }
        }
        (Verdict::Done { .. }, Some(Answer::Error(_)) | None) => Outcome::Unknown,
    }
}

/// What a refusal tells of the key.
fn refused(action: Action, error: &Error, reason: Reason) -> Outcome {
    let number = |name: &str| error.metadata(name).map(|text| text.trim_matches('"'));
    let revision = |name: &str| match number(name) {
        Some("") => Some(0),
        Some(text) => text.parse().ok(),
        None => None,
    };
    let refusal = match reason {
        Reason::ExpectationFailed => {
            Refusal::Expectation(revision("actual").map_or(Actual::Untold, Actual::Revision))
        }
        Reason::KeyExists => {
            Refusal::Expectation(revision("revision").map_or(Actual::Untold, Actual::Revision))
        }
        Reason::KeyNotFound => match action {
            Action::Transition { .. } => Refusal::Missing,
            _ => Refusal::Expectation(Actual::Revision(0)),
        },
        Reason::TransitionRefused => match number("from").and_then(state_number) {
            Some(from) => Refusal::Move { from },
            None => return Outcome::NotDone,
        },
        Reason::Overflow => Refusal::Overflow,
        // It tells nothing that the checker knows how to use.
        _ => return Outcome::NotDone,
    };
    Outcome::Refused(refusal)
}

fn expectation(condition: &v1::Condition) -> Option<Expectation> {
    match condition.test.as_ref()? {
        condition::Test::Exists(exists) => Some(Expectation::Exists(*exists)),
        condition::Test::Revision(revision) => Some(Expectation::Revision(*revision)),
        condition::Test::Value(value) => wire_value(value).map(Expectation::Value),
        // No workload has them.
        _ => None,
    }
}

fn wire_value(value: &v1::Value) -> Option<Value> {
    Some(match value.kind.as_ref()? {
        value::Kind::Int(int) => Value::Int(*int),
        value::Kind::Text(text) => Value::text(text),
        value::Kind::Bytes(bytes) => Value::bytes(bytes),
    })
}

fn wire_entry(entry: &v1::Entry) -> Option<Entry> {
    Some(Entry {
        value: wire_value(entry.value.as_ref()?)?,
        revision: entry.revision,
        state: state_number(&entry.state),
    })
}

fn state_number(name: &str) -> Option<u8> {
    let position = STATES.iter().position(|state| *state == name)?;
    u8::try_from(position).ok()
}

/// The machine that `prepare` defines.
fn machine() -> Machine {
    Machine {
        name: "connection".to_owned(),
        states: STATES.map(str::to_owned).to_vec(),
        initial: 0,
        next: vec![vec![1], vec![0, 2], vec![0]],
    }
}

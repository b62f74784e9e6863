//! What every operation of a run asked and was answered, in the terms of the checker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use soloist::v1::op_result::Result as Answer;
use soloist::v1::{self, op};

use crate::pace::stop::Stop;
use crate::plan::mix::Mix;
use crate::record::checker_terms::{expectation, outcome, state_number, wire_entry, wire_value};
use crate::record::settle::HistorySink;
use crate::workload::operation::{Call, InFlight, OpOutcome, Reply};
use soloist_verify::{
    self as checked, Action, Capacity, Entry, MessageKind, NEVER, Observed, Outcome,
    PackedOperation, Recorder, Watch, WatchUpdate,
};

/// Operations that a history may have: 72 bytes each, 3.6 GB, and the checker takes about as much again.
pub(crate) const OPERATIONS_MAX: u64 = 50_000_000;

/// The numbers of keys by their names.
#[derive(Debug)]
pub(crate) struct KeyNumbers {
    mix: Mix,
    /// Of those of the beginning.
    names: HashMap<String, u32>,
}

impl KeyNumbers {
    /// `names` are those of the beginning, in the order of their numbers.
    pub(crate) fn new(mix: Mix, names: Vec<String>) -> Self {
        Self {
            mix,
            names: names.into_iter().zip(0..).collect(),
        }
    }

    /// A key that the run may have added has the number that its name was made of.
    pub(crate) fn of(&self, name: &str) -> Option<u32> {
        let added = || self.mix.added_key(name)?.try_into().ok();
        self.names.get(name).copied().or_else(added)
    }
}

/// A [`HistoryRecording`] to be.
#[derive(Clone, Debug)]
pub(crate) struct HistorySetup {
    pub(crate) numbers: Arc<KeyNumbers>,
    pub(crate) room: Capacity,
    pub(crate) revision: i64,
}

impl HistorySetup {
    pub(crate) fn start(self) -> HistoryRecording {
        HistoryRecording {
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
pub(crate) struct HistoryRecording {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    numbers: Arc<KeyNumbers>,
    room: Capacity,
    /// Of workers that are done.
    recorders: RefCell<Vec<Result<Vec<PackedOperation>, String>>>,
    watches: RefCell<Vec<Watch>>,
}

/// What one thread has recorded.
#[derive(Debug)]
pub(crate) struct ThreadHistory {
    pub(crate) parts: Vec<Result<Vec<PackedOperation>, String>>,
    pub(crate) watches: Vec<Watch>,
}

impl ThreadHistory {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
        self.watches.append(&mut other.watches);
    }
}

impl HistoryRecording {
    /// Takes what one worker does. Its numbers are those of no other.
    pub(crate) fn sink(
        &self,
        worker: u64,
        travel: MessageKind,
        stop: &Arc<Stop>,
    ) -> Box<dyn HistorySink> {
        let client = u32::try_from(worker).expect("the flags' limits fit");
        Box::new(WorkerHistory {
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
    pub(crate) fn watch(&self, after: i64) -> WatchHistory {
        let mut keys: Vec<u32> = self.shared.numbers.names.values().copied().collect();
        keys.sort_unstable();
        WatchHistory {
            watched: Watch {
                keys,
                after,
                updates: Vec::new(),
            },
            shared: Rc::clone(&self.shared),
        }
    }

    /// What was recorded, when all workers are done.
    pub(crate) fn finish(self) -> ThreadHistory {
        ThreadHistory {
            parts: self.shared.recorders.take(),
            watches: self.shared.watches.take(),
        }
    }
}

/// What a watch is told.
#[derive(Debug)]
pub(crate) struct WatchHistory {
    watched: Watch,
    shared: Rc<Shared>,
}

impl WatchHistory {
    pub(crate) fn take(&mut self, message: &v1::WatchResponse, nanos: u64) {
        for event in &message.events {
            let Some(entry) = &event.entry else { continue };
            let Some(key) = self.shared.numbers.of(&entry.key) else {
                continue;
            };
            let update = WatchUpdate::Event {
                key,
                revision: entry.revision,
                entry: wire_entry(entry),
            };
            self.watched.updates.push((nanos, update));
        }
        let update = WatchUpdate::Progress {
            revision: message.revision,
        };
        self.watched.updates.push((nanos, update));
    }

    pub(crate) fn end(self) {
        self.shared.watches.borrow_mut().push(self.watched);
    }
}

/// What one worker does.
struct WorkerHistory {
    recorder: Option<Recorder>,
    shared: Rc<Shared>,
    stop: Arc<Stop>,
    /// Of what is neither a batch nor a list.
    travel: MessageKind,
    full: Option<String>,
    /// What became of the operations of the message that is being answered.
    operations: Vec<(checked::Request, Outcome)>,
    travels_as: MessageKind,
}

impl HistorySink for WorkerHistory {
    fn take(&mut self, call: &Call, verdict: &OpOutcome, reply: Option<&Reply>) {
        match call {
            Call::Op(op) => {
                let answer = match reply {
                    Some(Reply::Op(answer)) => Some(answer),
                    _ => None,
                };
                self.op(op, verdict, answer);
            }
            Call::Batch(batch) => {
                self.travels_as = MessageKind::Batch;
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
                self.travels_as = MessageKind::Batch;
                if let (OpOutcome::Done { .. }, Some(Reply::List(page))) = (verdict, reply) {
                    self.list(list, page);
                }
            }
            Call::Renew(_) => {}
        }
    }

    fn end(&mut self, sent: &InFlight, now: Instant) {
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
                    true => NEVER,
                    false => self.stop.nanos_of(now),
                };
                recorder.end(begun, end, operations);
            }
            Err(error) => self.full = Some(error.to_string()),
        }
    }
}

impl Drop for WorkerHistory {
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

impl WorkerHistory {
    fn op(&mut self, op: &op::Op, verdict: &OpOutcome, answer: Option<&Answer>) {
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
        let asked = checked::Request {
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
            let asked = checked::Request {
                key,
                action: Action::Read,
                expect: None,
            };
            let entry = shown.get(name).copied().flatten();
            let outcome = Outcome::Done {
                revision: page.revision,
                observed: Observed::Entry(entry),
            };
            self.operations.push((asked, outcome));
        };
        let numbers = &self.shared.numbers;
        match numbers.mix.scanned_keys(&list.prefix) {
            Some(some) => {
                for number in some {
                    if let Ok(key) = u32::try_from(number) {
                        read(&numbers.mix.key_name(number), key);
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

//! The history of one worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, op};
use soloist_verify::{Action, Entry, MessageKind, NEVER, Observed, Outcome, Recorder, Request};
use tonic::Code;

use crate::pace::stop::Stop;
use crate::record::checker_terms::{
    entry_of_wire, expectation_of_wire, outcome_of_answer, state_number, value_of_wire,
};
use crate::record::history::HistoryRecording;
use crate::workload::operation::{Call, InFlight, Reply};
use crate::workload::outcome::{Failure, OpOutcome};

/// Records the operations of one worker, in the terms of the checker. Dropping it leaves them to the thread.
#[derive(Debug)]
pub(crate) struct WorkerHistory {
    /// `None` once the operations are left to the thread.
    recorder: Option<Recorder>,
    recording: HistoryRecording,
    stop: Arc<Stop>,
    /// How the worker's operations travel, except in batches and lists.
    travel: MessageKind,
    /// Why nothing more is recorded.
    full: Option<String>,
    /// The operations of the message that is being settled, and how this message travelled.
    message: Vec<(Request, Outcome)>,
    message_travel: MessageKind,
}

impl WorkerHistory {
    /// `worker` is the number of the worker. No other worker of the run has it.
    pub(crate) fn new(
        recording: &HistoryRecording,
        worker: u64,
        travel: MessageKind,
        stop: &Arc<Stop>,
    ) -> Self {
        let client = u32::try_from(worker).expect("the most workers are far below 2^32");
        Self {
            recorder: Some(Recorder::new(client, recording.setup().room.clone())),
            recording: recording.clone(),
            stop: Arc::clone(stop),
            travel,
            full: None,
            message: Vec::new(),
            message_travel: travel,
        }
    }

    /// Takes one call of a message, with its outcome.
    pub(crate) fn take(&mut self, call: &Call, outcome: &OpOutcome, reply: Option<&Reply>) {
        match call {
            Call::Op(op) => {
                let answer = match reply {
                    Some(Reply::Op(answer)) => Some(answer),
                    _ => None,
                };
                self.take_op(op, outcome, answer);
            }
            Call::Batch(batch) => {
                self.message_travel = MessageKind::Batch;
                let mut results = match reply {
                    Some(Reply::Batch(batch)) => batch.results.iter(),
                    _ => [].iter(),
                };
                for op in &batch.ops {
                    let answer = results.next().and_then(|result| result.result.as_ref());
                    if let Some(op) = &op.op {
                        self.take_op(op, outcome, answer);
                    }
                }
            }
            Call::List(list) => {
                self.message_travel = MessageKind::Batch;
                if let (OpOutcome::Done { .. }, Some(Reply::List(page))) = (outcome, reply) {
                    self.take_list(list, page);
                }
            }
            // A renewal reads and changes no key, and calls of other services have no history.
            Call::Renew(_) | Call::Messages(_) => {}
        }
    }

    /// Ends a message, all of whose calls were taken. It was answered at `now`.
    pub(crate) fn end(&mut self, sent: &InFlight, now: Instant) {
        let operations = std::mem::take(&mut self.message);
        let travel = std::mem::replace(&mut self.message_travel, self.travel);
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
                // An operation whose outcome is unknown may still take effect, at any later time.
                let end = match operations.iter().any(is_unknown) {
                    true => NEVER,
                    false => self.stop.nanos_of(now),
                };
                recorder.end(begun, end, operations);
            }
            Err(error) => self.full = Some(error.to_string()),
        }
    }

    /// Takes and ends a message that nobody waits for any more: its outcome is unknown.
    pub(crate) fn lose(&mut self, sent: &InFlight, now: Instant) {
        let failure = Failure::new(Code::Cancelled, "", soloist_client::Outcome::Unknown);
        let outcome = OpOutcome::Failed(failure);
        for call in &sent.calls {
            self.take(call, &outcome, None);
        }
        self.end(sent, now);
    }

    fn take_op(&mut self, op: &op::Op, outcome: &OpOutcome, answer: Option<&OpAnswer>) {
        let (name, action, expect) = match op {
            op::Op::Read(read) => (&read.key, Action::Read, &read.expect),
            op::Op::Write(write) => {
                let value = write.value.as_ref().and_then(value_of_wire);
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
        let Some(key) = self.recording.setup().numbers.of(name) else {
            return;
        };
        let request = Request {
            key,
            action,
            expect: expect.as_ref().and_then(expectation_of_wire),
        };
        let outcome = outcome_of_answer(action, outcome, answer);
        self.message.push((request, outcome));
    }

    /// Takes a List as a Read of every key that it could have shown.
    fn take_list(&mut self, list: &v1::ListRequest, page: &v1::ListResponse) {
        let shown: HashMap<&str, Option<Entry>> = page
            .entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry_of_wire(entry)))
            .collect();
        // If there is another page, this one says nothing about the keys after its last entry.
        let last = match page.next_page_token.is_empty() {
            true => None,
            false => page.entries.last().map(|entry| entry.key.as_str()),
        };
        let message = &mut self.message;
        let numbers = &self.recording.setup().numbers;
        numbers.for_each_listed(&list.prefix, |name, key| {
            if !name.starts_with(&list.prefix) || last.is_some_and(|last| name > last) {
                return;
            }
            let request = Request {
                key,
                action: Action::Read,
                expect: None,
            };
            let entry = shown.get(name).copied().flatten();
            let outcome = Outcome::Done {
                revision: page.revision,
                observed: Observed::Entry(entry),
            };
            message.push((request, outcome));
        });
    }
}

impl Drop for WorkerHistory {
    fn drop(&mut self) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        let operations = match self.full.take() {
            Some(full) => Err(full),
            None => recorder.finish().map_err(|error| error.to_string()),
        };
        self.recording.push_worker(operations);
    }
}

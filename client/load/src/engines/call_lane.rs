//! The way of a worker's operations over unary calls.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use soloist_client::Outcome;
use tonic::Code;

use crate::engines::connection::CallEnd;
use crate::engines::ended::Ended;
use crate::engines::link::Link;
use crate::engines::unary::{CallInFlight, CallResult, Caller};
use crate::plan::settings::Settings;
use crate::record::settle::Completion;
use crate::workload::operation::{Call, InFlight};
use crate::workload::outcome::Failure;

/// Makes the calls of one worker. A call that the server has not taken goes to the next connection.
#[derive(Debug)]
pub(crate) struct CallLane {
    link: Rc<Link>,
    settings: Arc<Settings>,
    /// Makes calls on the connection with the number `generation`.
    caller: Option<Caller>,
    generation: u64,
    calls: FuturesUnordered<CallInFlight>,
    /// Calls in flight, oldest first.
    in_flight: VecDeque<Entry>,
    /// The numbers of the calls that wait for a connection.
    waiting: VecDeque<u64>,
    /// The number of the next call.
    next_number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    sent: InFlight,
    /// To send it again.
    call: Call,
    /// The number of the connection on which it was sent last, if it was.
    generation: Option<u64>,
    /// How often something had been read from that connection before.
    reads: u64,
    /// The server has refused its stream once.
    was_refused: bool,
}

impl CallLane {
    pub(crate) fn new(link: &Rc<Link>, settings: &Arc<Settings>) -> Self {
        Self {
            link: Rc::clone(link),
            settings: Arc::clone(settings),
            caller: None,
            generation: 0,
            calls: FuturesUnordered::new(),
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            next_number: 0,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(crate) fn send(&mut self, sent: InFlight, call: Call) {
        let number = self.next_number;
        self.next_number += 1;
        self.update_caller();
        let generation = match &self.caller {
            Some(caller) => {
                self.link.sent();
                self.calls.push(caller.start(number, call.clone()));
                Some(self.generation)
            }
            None => {
                self.waiting.push_back(number);
                None
            }
        };
        self.in_flight.push_back(Entry {
            number,
            sent,
            call,
            generation,
            reads: self.link.reads(),
            was_refused: false,
        });
    }

    /// Uses the connection that there is now, if there is one.
    fn update_caller(&mut self) {
        let generation = self.link.generation();
        if !self.link.is_up() {
            self.caller = None;
        } else if self.caller.is_none() || self.generation != generation {
            let connection = self.link.connection();
            let caller = |of| Caller::new(&of, &self.settings);
            self.caller = connection.map(caller);
            self.generation = generation;
        }
    }

    /// As [`Lane::recv`](super::lane::Lane::recv). Sets `has_lost` if the connection of a call is gone.
    pub(crate) async fn recv(&mut self, has_lost: &mut bool) -> Option<Ended> {
        let link = Rc::clone(&self.link);
        loop {
            let changed = link.changed();
            if self.in_flight.is_empty() {
                changed.await;
                return None;
            }
            if let Some(ended) = self.send_waiting() {
                return Some(ended);
            }
            let next = match (self.waiting.is_empty(), self.calls.is_empty()) {
                (true, _) => self.calls.next().await,
                (false, true) => {
                    changed.await;
                    None
                }
                (false, false) => tokio::select! {
                    next = self.calls.next() => next,
                    () = changed => None,
                },
            };
            if let Some((number, result)) = next
                && let Some(ended) = self.complete(number, result, has_lost)
            {
                return Some(ended);
            }
        }
    }

    /// Sends the calls that wait, if there is a connection again. If it is not known when there will be one, returns the
    /// first of them as failed.
    fn send_waiting(&mut self) -> Option<Ended> {
        if self.waiting.is_empty() {
            return None;
        }
        self.update_caller();
        if let Some(caller) = &self.caller {
            let (in_flight, calls, link) = (&mut self.in_flight, &mut self.calls, &self.link);
            let (generation, reads) = (self.generation, self.link.reads());
            self.waiting.retain(|&number| {
                let entry = position(in_flight, number).map(|position| &mut in_flight[position]);
                match entry {
                    // This connection has not taken it. That the connection has ended is about to be known.
                    Some(entry) if entry.generation == Some(generation) => true,
                    Some(entry) => {
                        entry.generation = Some(generation);
                        entry.reads = reads;
                        link.sent();
                        calls.push(caller.start(number, entry.call.clone()));
                        false
                    }
                    None => false,
                }
            });
            return None;
        }
        if !self.link.is_out() {
            return None;
        }
        let number = self.waiting.pop_front()?;
        let entry = self.remove(number)?;
        let failure = Failure::no_connection();
        Some((entry.sent, Completion::Unanswered(failure)))
    }

    /// Returns the call that has this result. Returns `None` if the server has not taken the call: it goes to the next
    /// connection. On a connection that goes on, a call whose stream the server has refused is made again once, as gRPC's clients
    /// do (gRFC A6, "transparent retries").
    fn complete(&mut self, number: u64, result: CallResult, has_lost: &mut bool) -> Option<Ended> {
        let end = match &result {
            Ok(_) => CallEnd::Answered,
            Err(status) => CallEnd::of(status),
        };
        if end == CallEnd::NotTaken || self.is_elsewhere(number, &result) {
            self.waiting.push_back(number);
            return None;
        }
        if end == CallEnd::Refused && self.make_again(number) {
            return None;
        }
        let entry = self.remove(number)?;
        let completion = match (end, result) {
            (CallEnd::Lost, Err(status)) => {
                *has_lost = true;
                let message = status.message().to_owned();
                let failure = Failure::new(Code::Unavailable, message, Outcome::Unknown);
                Completion::Unanswered(failure)
            }
            (_, result) => {
                if let (Ok(_), Some(generation)) = (&result, entry.generation) {
                    self.link.answered(generation);
                }
                Completion::Call(result)
            }
        };
        Some((entry.sent, completion))
    }

    /// Returns whether a call was answered that another node owns the store.
    fn is_elsewhere(&self, number: u64, result: &CallResult) -> bool {
        let (Err(status), Some(position)) = (result, position(&self.in_flight, number)) else {
            return false;
        };
        let generation = self.in_flight[position].generation;
        generation.is_some_and(|generation| self.link.is_elsewhere(generation, status))
    }

    /// Makes a call again whose stream was refused, unless it was made again before.
    fn make_again(&mut self, number: u64) -> bool {
        self.update_caller();
        let position = position(&self.in_flight, number);
        let (Some(caller), Some(position)) = (&self.caller, position) else {
            return false;
        };
        let entry = &mut self.in_flight[position];
        if std::mem::replace(&mut entry.was_refused, true) {
            return false;
        }
        entry.generation = Some(self.generation);
        entry.reads = self.link.reads();
        self.link.sent();
        self.link.refused();
        self.calls.push(caller.start(number, entry.call.clone()));
        true
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let position = position(&self.in_flight, number)?;
        self.in_flight.remove(position)
    }

    /// Gives up the calls that started at `latest_start` or before.
    pub(crate) fn give_up(&mut self, latest_start: Instant, now: Instant) -> Vec<Ended> {
        // Calls start in the order of their numbers, so the oldest are in front.
        let overdue = self
            .in_flight
            .partition_point(|entry| entry.sent.started <= latest_start);
        if overdue == 0 {
            return Vec::new();
        }
        let overdue: Vec<_> = self.in_flight.drain(..overdue).collect();
        let is_overdue = |number: u64| overdue.iter().any(|entry| entry.number == number);
        self.calls = std::mem::take(&mut self.calls)
            .into_iter()
            .filter(|call| !is_overdue(call.number))
            .collect();
        self.waiting.retain(|number| !is_overdue(*number));
        for entry in &overdue {
            if let Some(generation) = entry.generation {
                self.link.end_if_silent(generation, entry.reads);
            }
        }
        let failed = overdue.into_iter().map(|entry| {
            let waited = now.saturating_duration_since(entry.sent.started);
            let failure = Failure::unanswered(waited);
            (entry.sent, Completion::Unanswered(failure))
        });
        failed.collect()
    }

    /// Gives up everything in flight, and returns it.
    pub(crate) fn abandon(&mut self) -> Vec<InFlight> {
        self.calls.clear();
        self.waiting.clear();
        self.in_flight.drain(..).map(|entry| entry.sent).collect()
    }
}

/// Returns where a call is in flight. Numbers ascend.
fn position(in_flight: &VecDeque<Entry>, number: u64) -> Option<usize> {
    in_flight
        .binary_search_by_key(&number, |entry| entry.number)
        .ok()
}

//! What is under way to a simulated etcd and back, and who reaches whom.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Reach;
use super::faults::Faults;
use super::store::{COMPACTED, Refusal, Store};
use crate::{ErrorKind, Get, KeyRange, Lease, Member, RangeAnswer, Txn, TxnAnswer, WatchAnswer};

/// Within this etcd looks for leases that have ended.
const LOOKS_FOR_LEASES: Range<Duration> = Duration::ZERO..Duration::from_millis(500);

/// How many revisions a watch shows at once, at most.
const REVISIONS_MAX: usize = 16;

pub(super) struct World {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) timeout: Duration,
    nodes: BTreeMap<Box<str>, Node>,
    rng: StdRng,
    /// What arrives when. The number tells what arrives at the same time apart.
    under_way: BTreeMap<(Instant, u64), Arrival>,
    sent: u64,
    has_quorum: bool,
    /// What was asked while there was no quorum.
    without_quorum: Vec<Arrival>,
    term: u64,
}

/// The way of a node to etcd.
pub(super) struct Node {
    /// None for those of all.
    pub(super) faults: Option<Faults>,
    /// Counts up when all watches end.
    pub(super) generation: u64,
    pub(super) is_stopped: bool,
    /// How many reads of the node etcd has answered. The answers may still be under way.
    pub(super) reads_answered: u64,
    /// How many keys the ranges of these reads had.
    pub(super) keys_counted: u64,
    reach: ReachState,
}

enum ReachState {
    All,
    Nothing,
    /// What the member knows that is cut off.
    Minority(Box<Store>),
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Txn(Txn),
    Get(Get),
    Grant(Duration),
    KeepAlive(i64),
    Revoke(i64),
    Compact(i64),
}

#[derive(Debug)]
pub(super) enum Answer {
    Txn(TxnAnswer),
    Range(RangeAnswer),
    Lease(Lease),
    Left(Duration),
    Done,
}

struct Arrival {
    node: Box<str>,
    request: Request,
    /// None if nobody waits.
    answer: Option<oneshot::Sender<Answered>>,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Result<Answer, Refusal>,
    pub(super) comes_back_at: Instant,
}

/// What becomes of a request, as far as it is known when it is sent.
pub(super) struct Sent {
    pub(super) arrives: Instant,
    /// The client's timeout.
    pub(super) gives_up: Instant,
    /// The connection breaks then. None if it does not.
    pub(super) loses_answer_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct WatchState {
    pub(super) range: KeyRange,
    /// The next revision to show.
    pub(super) next: i64,
    pub(super) generation: u64,
    /// How long a member may be silent.
    pub(super) patience: Duration,
    pub(super) silent_since: Option<Instant>,
    /// When the changes that are there are shown.
    pub(super) visible_at: Option<Instant>,
}

pub(super) enum Step {
    Changes(WatchAnswer),
    Ended(Refusal),
    /// Until something changes, or until then.
    Wait(Option<Instant>),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            store: Store::new(),
            faults: Faults::none(),
            timeout: Duration::from_secs(1),
            nodes: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            under_way: BTreeMap::new(),
            sent: 0,
            has_quorum: true,
            without_quorum: Vec::new(),
            term: 2,
        }
    }

    pub(super) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.entry(name.into()).or_insert_with(|| Node {
            faults: None,
            generation: 0,
            is_stopped: false,
            reads_answered: 0,
            keys_counted: 0,
            reach: ReachState::All,
        })
    }

    pub(super) fn set_reach(&mut self, node: &str, reach: Reach) {
        let reach = match reach {
            Reach::All => ReachState::All,
            Reach::Nothing => ReachState::Nothing,
            Reach::Minority => ReachState::Minority(Box::new(self.store.clone())),
        };
        self.node(node).reach = reach;
    }

    /// Whether answers come back to a node.
    pub(super) fn is_reached(&mut self, node: &str) -> bool {
        !matches!(self.node(node).reach, ReachState::Nothing)
    }

    pub(super) fn set_quorum(&mut self, quorum: bool) {
        if quorum && !self.has_quorum {
            self.elect();
            for arrival in std::mem::take(&mut self.without_quorum) {
                // Members forget what they could not agree on, or not.
                if self.rng.random_bool(0.5) {
                    self.arrive(arrival, Instant::now());
                }
            }
        }
        self.has_quorum = quorum;
    }

    pub(super) fn elect(&mut self) {
        self.term += 1;
        self.store.refresh_leases(Instant::now());
    }

    pub(super) fn roll_back(&mut self, revision: i64) {
        self.store.roll_back(revision);
        self.under_way.clear();
        self.nodes.values_mut().for_each(|node| {
            node.generation += 1;
        });
    }

    fn faults_of(&mut self, node: &str) -> Faults {
        let own = self.node(node).faults.clone();
        own.unwrap_or_else(|| self.faults.clone())
    }

    fn draw(&mut self, range: &Range<Duration>) -> Duration {
        match range.is_empty() {
            true => range.start,
            false => self.rng.random_range(range.clone()),
        }
    }

    fn chance(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.random_bool(chance)
    }

    /// Sends a request on its way.
    pub(super) fn send(
        &mut self,
        node: &str,
        request: Request,
        answer: oneshot::Sender<Answered>,
    ) -> Sent {
        let now = Instant::now();
        let faults = self.faults_of(node);
        let gives_up = now + self.timeout;
        let mut arrives = now + self.draw(&faults.delay);
        let is_lost = self.chance(faults.lost_requests);
        let is_late = self.chance(faults.late_requests);
        let loses_answer = self.chance(faults.lost_answers);
        // A connection that breaks tells so at once. Otherwise the client waits until it gives up.
        let loses_answer_at = ((is_lost || is_late || loses_answer) && self.chance(0.5))
            .then(|| arrives + self.draw(&faults.delay));
        let loses_answer_at = loses_answer_at.or(loses_answer.then_some(gives_up));
        if self.chance(faults.duplicates) {
            let again = arrives + self.draw(&faults.lateness);
            self.put_under_way(again, node, request.clone(), None);
        }
        if is_late {
            arrives += self.draw(&faults.lateness);
        }
        if !is_lost {
            let answer = (!is_late).then_some(answer);
            self.put_under_way(arrives, node, request, answer);
        }
        Sent {
            arrives,
            gives_up,
            loses_answer_at,
        }
    }

    fn put_under_way(
        &mut self,
        arrives: Instant,
        node: &str,
        request: Request,
        answer: Option<oneshot::Sender<Answered>>,
    ) {
        self.sent += 1;
        let arrival = Arrival {
            node: node.into(),
            request,
            answer,
        };
        self.under_way.insert((arrives, self.sent), arrival);
    }

    /// Does all that was due up to now, in order.
    pub(super) fn run_due(&mut self, now: Instant) {
        loop {
            let arrives = self.under_way.keys().next().map(|(at, _)| *at);
            let ends = self.next_end();
            match (arrives, ends) {
                (_, Some((at, lease))) if at <= now && arrives.is_none_or(|other| at < other) => {
                    self.store.end_lease(lease);
                }
                (Some(at), _) if at <= now => {
                    if let Some((_, arrival)) = self.under_way.pop_first() {
                        self.arrive(arrival, at);
                    }
                }
                _ => return,
            }
        }
    }

    /// The lease that ends first. Without a quorum none does.
    fn next_end(&self) -> Option<(Instant, i64)> {
        self.has_quorum.then(|| self.store.next_end()).flatten()
    }

    fn arrive(&mut self, arrival: Arrival, at: Instant) {
        let local = match &arrival.request {
            Request::Txn(txn) if Store::is_local(txn) => Some(txn),
            _ => None,
        };
        let has_quorum = self.has_quorum;
        let answer = match (&mut self.node(&arrival.node).reach, local) {
            (ReachState::Nothing, _) | (ReachState::Minority(_), None) => return,
            (ReachState::Minority(store), Some(txn)) => store.txn(txn).map(Answer::Txn),
            (ReachState::All, None) if !has_quorum => {
                self.without_quorum.push(arrival);
                return;
            }
            (ReachState::All, _) => self.apply(&arrival.request, at),
        };
        let comes_back_at = at + self.way_back(&arrival.node);
        let is_read = matches!(arrival.request, Request::Get(_)) && arrival.answer.is_some();
        let counted = match &answer {
            Ok(Answer::Range(range)) => range.count.unsigned_abs(),
            _ => 0,
        };
        let node = self.node(&arrival.node);
        node.reads_answered += u64::from(is_read);
        node.keys_counted += counted;
        if let Some(waiting) = arrival.answer {
            // Whoever asked may be gone.
            let _ = waiting.send(Answered {
                answer,
                comes_back_at,
            });
        }
    }

    /// How long an answer takes.
    fn way_back(&mut self, node: &str) -> Duration {
        let faults = self.faults_of(node);
        match self.chance(faults.slow_answers) {
            true => self.draw(&(Duration::ZERO..self.timeout)),
            false => self.draw(&faults.delay),
        }
    }

    fn apply(&mut self, request: &Request, now: Instant) -> Result<Answer, Refusal> {
        let look_after = self.draw(&LOOKS_FOR_LEASES);
        let store = &mut self.store;
        match request {
            Request::Txn(txn) => store.txn(txn).map(Answer::Txn),
            Request::Get(get) => store.get(get).map(Answer::Range),
            Request::Grant(ttl) => {
                let id = self.rng.random_range(1..i64::MAX);
                let lease = store.grant(id, *ttl, now, look_after);
                lease.map(Answer::Lease)
            }
            Request::KeepAlive(lease) => {
                let left = store.keep_alive(*lease, now, look_after);
                left.map(Answer::Left)
            }
            Request::Revoke(lease) => store.revoke(*lease).map(|()| Answer::Done),
            Request::Compact(revision) => store.compact(*revision).map(|()| Answer::Done),
        }
    }

    /// When a watch is made, or when it turns out that it cannot be.
    pub(super) fn begin_watch(&mut self, node: &str) -> Result<Instant, Instant> {
        let now = Instant::now();
        let faults = self.faults_of(node);
        let is_reached = matches!(self.node(node).reach, ReachState::All) && self.has_quorum;
        if !is_reached || self.chance(faults.lost_requests) {
            return Err(now + self.timeout);
        }
        Ok(now + self.draw(&faults.delay) + self.draw(&faults.delay))
    }

    pub(super) fn watch(&mut self, node: &str, watch: &mut WatchState) -> Step {
        let now = Instant::now();
        if self.node(node).generation != watch.generation {
            return Step::Ended((ErrorKind::Unavailable, "the watch broke"));
        }
        if !matches!(self.node(node).reach, ReachState::All) || !self.has_quorum {
            let until = *watch.silent_since.get_or_insert(now) + watch.patience;
            return match until <= now {
                true => Step::Ended((ErrorKind::Unavailable, "etcdserver: no leader")),
                false => Step::Wait(Some(until)),
            };
        }
        watch.silent_since = None;
        if watch.next < self.store.compacted() {
            return Step::Ended(COMPACTED);
        }
        let revisions = self.rng.random_range(1..=REVISIONS_MAX);
        let (events, next) = self.store.changes(&watch.range, watch.next, revisions);
        let Some(last) = events.last() else {
            watch.next = next;
            return Step::Wait(self.next_due());
        };
        let faults = self.faults_of(node);
        let delay = self.draw(&faults.watch_delay);
        let visible_at = *watch.visible_at.get_or_insert(now + delay);
        if now < visible_at {
            return Step::Wait(Some(visible_at));
        }
        watch.visible_at = None;
        if self.chance(faults.broken_watches) {
            watch.generation = u64::MAX;
            return Step::Ended((ErrorKind::Unavailable, "the watch broke"));
        }
        let revision = last.revision();
        watch.next = next;
        Step::Changes(WatchAnswer { revision, events })
    }

    /// When something happens by itself.
    fn next_due(&self) -> Option<Instant> {
        let arrives = self.under_way.keys().next().map(|(at, _)| *at);
        let ends = self.next_end().map(|(at, _)| at);
        arrives.into_iter().chain(ends).min()
    }

    /// What each member says to a node. None if it says nothing.
    pub(super) fn members(&mut self, node: &str) -> Vec<Option<Member>> {
        let is_reached = matches!(self.node(node).reach, ReachState::All) && self.has_quorum;
        let (file, in_use) = self.store.size();
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        let members = (1..=3).map(|id| {
            is_reached.then(|| Member {
                id,
                version: "3.5.30".to_owned(),
                db_size: bytes(file),
                db_in_use: bytes(in_use),
                db_quota: match self.store.quota() {
                    u64::MAX => 0,
                    quota => bytes(quota),
                },
                leader: self.term % 3 + 1,
                raft_term: self.term,
                revision: self.store.revision(),
                errors: match self.store.is_full() {
                    true => vec![format!("memberID:{id} alarm:NOSPACE ")],
                    false => vec![],
                },
            })
        });
        members.collect()
    }
}

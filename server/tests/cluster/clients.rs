//! Clients of a cluster: each sends one call at a time to the node that it believes to own the store, goes on at another when
//! that fails, and keeps what it was told.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, condition, value};
use soloist_verify::{
    Action, Actual, Entry, Expectation, MessageKind, NEVER, Observed, Operation, Outcome, Refusal,
    Value,
};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::cluster::connect;

/// How many keys all clients use at one time.
const SHARED: u32 = 8;
/// After so many operations they go on with other keys: so clients meet on each key, and yet no key has so long a history, with so
/// many unknown outcomes, that the search for its order would not end.
const OPERATIONS_WITH_THEM: u64 = 20_000;
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a call that failed everywhere.
const PAUSE: Duration = Duration::from_millis(5);

/// The keys of a load: a counter of each client, and after them those that all clients use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) clients: u32,
}

impl Keys {
    pub(crate) fn name(self, key: u32) -> String {
        match key.checked_sub(self.clients) {
            None => format!("counter/{key:03}"),
            Some(shared) => format!("shared/{shared:04}"),
        }
    }

    /// The key of this name, if it is one of the load's.
    pub(crate) fn number(self, name: &str) -> Option<u32> {
        let (kind, number) = name.split_once('/')?;
        let number: u32 = number.parse().ok()?;
        match kind {
            "counter" => Some(number),
            "shared" => Some(self.clients + number),
            _ => None,
        }
    }

    /// One of the keys that all clients use when they have made so many operations.
    fn shared(self, made: u64, place: u32) -> u32 {
        self.clients + (made / OPERATIONS_WITH_THEM) as u32 * SHARED + place
    }

    /// How many keys may have been used until so many operations were made.
    pub(crate) fn count(self, made: u64) -> u32 {
        self.shared(made, SHARED)
    }
}

/// The clock of a run: nanoseconds since its start.
#[derive(Clone, Copy)]
pub(crate) struct Clock(pub(crate) Instant);

impl Clock {
    pub(crate) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// The nodes, and connections to them.
#[derive(Clone)]
pub(crate) struct Nodes {
    addresses: Arc<[SocketAddr]>,
    channels: Arc<[Channel]>,
    current: usize,
}

impl Nodes {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        Self {
            addresses: addresses.into(),
            channels: addresses.iter().map(|it| connect(*it)).collect(),
            current: 0,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channels[self.current].clone()
    }

    /// Goes to the node that an error names as the owner, or else to the next.
    pub(crate) fn go_on(&mut self, status: &Status) {
        let owner = status
            .get_details_error_info()
            .and_then(|it| it.metadata.get("owner").cloned());
        let named = owner.and_then(|it| {
            let address: SocketAddr = it.parse().ok()?;
            self.addresses.iter().position(|it| *it == address)
        });
        let next = (self.current + 1) % self.addresses.len();
        self.current = named.filter(|it| *it != self.current).unwrap_or(next);
    }
}

/// What is left of a call that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was applied.
    NotDone,
    Unknown,
    Refused(Refusal),
}

/// Says what an error means. `Err`: the server should not have answered so.
pub(crate) fn failure(status: &Status, is_change: bool) -> Result<Failure, String> {
    let info = status.get_details_error_info();
    let Some(info) = info.filter(|it| it.domain == "soloist.v1") else {
        return Ok(match is_refused_connection(status) {
            true => Failure::NotDone,
            false => Failure::Unknown,
        });
    };
    let failure = match info.reason.as_str() {
        "NOT_OWNER" | "NOT_CONFIRMED" | "OWNER_LOST" | "DRAINING" | "NOT_STARTED"
        | "OVERLOADED" | "STORE_FULL" => Failure::NotDone,
        "OUTCOME_UNKNOWN" if is_change => Failure::Unknown,
        "KEY_NOT_FOUND" => Failure::Refused(Refusal::Missing),
        "EXPECTATION_FAILED" => {
            let actual = info.metadata.get("actual").map_or("", String::as_str);
            let revision = match actual {
                "" => 0,
                revision => revision
                    .parse()
                    .map_err(|error| format!("{error}: {info:?}"))?,
            };
            Failure::Refused(Refusal::Expectation(Actual::Revision(revision)))
        }
        _ => return Err(format!("an error that nothing provoked: {status:?}")),
    };
    // A deadline that passes before the change was begun, or while a read waits, has a reason; but a network has none.
    match (status.code(), &failure) {
        (Code::Ok, _) => Err(format!("an error with code OK: {status:?}")),
        _ => Ok(failure),
    }
}

/// Whether nobody listens there: so nothing was sent.
fn is_refused_connection(status: &Status) -> bool {
    let mut cause: Option<&dyn Error> = Some(status);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|it| it.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// One client of the keys.
pub(crate) struct Client {
    number: u32,
    keys: Keys,
    rng: SmallRng,
    clock: Clock,
    nodes: Nodes,
    stop: watch::Receiver<bool>,
    /// Operations that all clients have made so far.
    made: Arc<AtomicU64>,
    /// The revisions that it saw last, by key.
    seen: HashMap<u32, i64>,
    told: Told,
}

/// What a client was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) operations: Vec<Operation>,
    /// The sum of the Adds to its counter that were answered. Each has an id, so none is left unknown.
    pub(crate) counted: i64,
    /// When a change was answered, in order.
    pub(crate) answered: Vec<u64>,
    /// Answers that are those of an earlier call.
    pub(crate) replayed: usize,
    pub(crate) unknown: usize,
    /// Calls that the caller of a retrying client would have seen fail: it had tried for so long.
    pub(crate) failures: HashMap<String, usize>,
}

impl Client {
    pub(crate) fn new(
        number: u32,
        keys: Keys,
        seed: u64,
        clock: Clock,
        nodes: Nodes,
        stop: watch::Receiver<bool>,
        made: Arc<AtomicU64>,
    ) -> Self {
        Self {
            number,
            keys,
            rng: SmallRng::seed_from_u64(
                seed ^ u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
            clock,
            nodes,
            stop,
            made,
            seen: HashMap::new(),
            told: Told::default(),
        }
    }

    /// Sends calls until it is told to stop.
    pub(crate) async fn work(mut self) -> Result<Told, String> {
        let mut message = 0;
        while !*self.stop.borrow() {
            message += 1;
            self.one(message).await?;
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.told)
    }

    /// Makes one call. A call with a request id is sent until its outcome is known.
    async fn one(&mut self, message: u32) -> Result<(), String> {
        let (key, action, expect) = self.draw(message);
        let request_id = match action {
            Action::Add(_) if key == self.number => format!("{}/{message}", self.number),
            _ => String::new(),
        };
        let mut operation = Operation {
            client: self.number,
            message,
            message_kind: MessageKind::Call,
            key,
            start: self.clock.now(),
            end: NEVER,
            action,
            expect,
            outcome: Outcome::Unknown,
        };
        let is_change = action != Action::Read;
        loop {
            match self.send(&operation, &request_id).await {
                Ok(outcome) => {
                    operation.end = self.clock.now();
                    operation.outcome = outcome;
                    if is_change {
                        self.told.answered.push(operation.end);
                    }
                    break;
                }
                Err(status) => {
                    let failed = failure(&status, is_change)
                        .map_err(|what| format!("{what}\n  to {operation:?}"))?;
                    self.nodes.go_on(&status);
                    let name = status
                        .get_details_error_info()
                        .map_or_else(|| status.code().to_string(), |it| it.reason);
                    match failed {
                        Failure::Refused(refusal) => {
                            operation.end = self.clock.now();
                            operation.outcome = Outcome::Refused(refusal);
                            break;
                        }
                        _ if !request_id.is_empty() => {}
                        Failure::NotDone => {
                            *self.told.failures.entry(name).or_default() += 1;
                            operation.end = self.clock.now();
                            operation.outcome = Outcome::NotDone;
                            break;
                        }
                        Failure::Unknown => {
                            *self.told.failures.entry(name).or_default() += 1;
                            self.told.unknown += usize::from(is_change);
                            break;
                        }
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if matches!(operation.outcome, Outcome::NotDone | Outcome::Unknown) {
            tokio::time::sleep(PAUSE).await;
        }
        self.keep(operation);
        Ok(())
    }

    fn keep(&mut self, operation: Operation) {
        let revision = match (operation.action, operation.outcome) {
            (
                _,
                Outcome::Done {
                    observed: Observed::Entry(entry),
                    ..
                },
            ) => entry.map_or(0, |it| it.revision),
            (Action::Add(delta), Outcome::Done { revision, .. }) => {
                if operation.key == self.number {
                    self.told.counted += delta;
                }
                revision
            }
            (_, Outcome::Done { revision, .. }) => revision,
            (_, Outcome::Refused(Refusal::Expectation(Actual::Revision(actual)))) => actual,
            _ => 0,
        };
        self.seen.insert(operation.key, revision);
        // A read that was not answered says nothing.
        if operation.action != Action::Read || operation.outcome != Outcome::Unknown {
            self.told.operations.push(operation);
        }
    }

    fn draw(&mut self, message: u32) -> (u32, Action, Option<Expectation>) {
        if self.rng.random_bool(0.2) {
            return (self.number, Action::Add(self.rng.random_range(1..10)), None);
        }
        let made = self.made.load(Ordering::Relaxed);
        let key = self.keys.shared(made, self.rng.random_range(0..SHARED));
        // No other call of the run writes this value.
        let value = Value::Int((i64::from(self.number) << 40) + (i64::from(message) << 8));
        let seen = self.seen.get(&key).copied().unwrap_or(0);
        match self.rng.random_range(0..100) {
            0..40 => (key, Action::Read, None),
            40..60 => (key, Action::Write(value), None),
            60..80 => (key, Action::Write(value), Some(Expectation::Revision(seen))),
            80..95 => (key, Action::Add(self.rng.random_range(1..10)), None),
            _ => (key, Action::Delete, None),
        }
    }

    async fn send(&mut self, operation: &Operation, request_id: &str) -> Result<Outcome, Status> {
        let mut state = StateClient::new(self.nodes.channel());
        let (key, request_id) = (self.keys.name(operation.key), request_id.to_owned());
        let done = |revision, observed| Outcome::Done { revision, observed };
        Ok(match operation.action {
            Action::Read => {
                let it = state
                    .read(request(v1::ReadRequest { key, expect: None }))
                    .await?
                    .into_inner();
                done(it.revision, Observed::Entry(entry(it.entry)))
            }
            Action::Write(Value::Int(int)) => {
                let expect = operation.expect.map(|it| match it {
                    Expectation::Revision(revision) => v1::Condition {
                        test: Some(condition::Test::Revision(revision)),
                    },
                    other => panic!("no client expects {other:?}"),
                });
                let value = Some(v1::Value {
                    kind: Some(value::Kind::Int(int)),
                });
                let write = v1::WriteRequest {
                    key,
                    value,
                    expect,
                    request_id,
                    ..v1::WriteRequest::default()
                };
                let it = state.write(request(write)).await?.into_inner();
                done(it.revision, Observed::NotReported)
            }
            Action::Add(delta) => {
                let add = v1::AddRequest {
                    key,
                    delta,
                    request_id,
                    ..v1::AddRequest::default()
                };
                let it = state.add(request(add)).await?.into_inner();
                self.told.replayed += usize::from(it.replayed);
                done(it.revision, Observed::Sum(it.value))
            }
            Action::Delete => {
                let delete = v1::DeleteRequest {
                    key,
                    request_id,
                    ..v1::DeleteRequest::default()
                };
                let it = state.delete(request(delete)).await?.into_inner();
                done(it.revision, Observed::Entry(entry(it.previous)))
            }
            other => panic!("no client sends {other:?}"),
        })
    }
}

/// A call with its deadline, for the node that it reaches and no other.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
        .metadata_mut()
        .insert("soloist-direct", "1".parse().unwrap());
    request
}

/// An entry in the terms of the checker. The clients write numbers only.
pub(crate) fn entry(entry: Option<v1::Entry>) -> Option<Entry> {
    let entry = entry?;
    let Some(value::Kind::Int(int)) = entry.value.and_then(|it| it.kind) else {
        panic!("a value that nobody wrote");
    };
    Some(Entry {
        value: Value::Int(int),
        revision: entry.revision,
        state: None,
    })
}

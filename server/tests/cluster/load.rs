//! Load on a cluster, and the judgement on everything that its clients were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use soloist::v1::state_client::StateClient;
use soloist::v1::{self, value};
use soloist_verify::{
    Action, Deadline, History, Initial, Key, Limits, MessageKind, Observed, Operation, Options,
    Outcome, PackedOperation, Verdict, Watch, check,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clients::{Client, Clock, Keys, Nodes, Told, entry, failure, request};
use crate::cluster::PATIENCE;
use crate::watcher::Watcher;

/// How long the search for an order of the operations may take, beside what many operations take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(60);
/// What an operation may take in the judgement.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(1);

/// Clients and watchers at work.
pub(crate) struct Load {
    clock: Clock,
    stop: watch::Sender<bool>,
    until: watch::Sender<Option<i64>>,
    clients: Vec<JoinHandle<Result<Told, String>>>,
    watchers: Vec<JoinHandle<Result<(Watch, usize), String>>>,
    nodes: Nodes,
    keys: Keys,
    seed: u64,
    silences: Vec<(u64, u64)>,
    /// Operations that were made so far.
    made: Arc<AtomicU64>,
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) operations: usize,
    pub(crate) keys: usize,
    pub(crate) changes_answered: usize,
    pub(crate) unknown: usize,
    pub(crate) replayed: usize,
    pub(crate) watch_breaks: usize,
    pub(crate) failures: BTreeMap<String, usize>,
    /// When changes were answered, of all clients, in order, in nanoseconds since the start.
    answered: Vec<u64>,
}

impl Load {
    pub(crate) fn start(addresses: &[SocketAddr], clients: u32, watchers: usize) -> Self {
        let seed = rand::random();
        let (clock, nodes) = (Clock(Instant::now()), Nodes::new(addresses));
        let (stop, until) = (watch::Sender::new(false), watch::Sender::new(None));
        let made = Arc::new(AtomicU64::new(0));
        let keys = Keys { clients };
        let client = |number| {
            let nodes = Nodes::new(addresses);
            tokio::spawn(
                Client::new(
                    number,
                    keys,
                    seed,
                    clock,
                    nodes,
                    stop.subscribe(),
                    Arc::clone(&made),
                )
                .work(),
            )
        };
        let watcher = |_| {
            let nodes = Nodes::new(addresses);
            tokio::spawn(Watcher::new(clock, nodes, keys).work(until.subscribe()))
        };
        Self {
            clients: (0..clients).map(client).collect(),
            watchers: (0..watchers).map(watcher).collect(),
            clock,
            stop,
            until,
            nodes,
            keys,
            seed,
            silences: Vec::new(),
            made,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Lets the clients work for a while: it is the time in which faults may come, not one that anything waits for.
    pub(crate) async fn go_on(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// How many operations were made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Lets the clients work until they have made so many operations.
    pub(crate) async fn reach(&self, operations: u64) {
        while self.made() < operations {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Between these times nobody may have been told anything: neither that a change was made, nor what is there.
    pub(crate) fn must_be_silent(&mut self, from: u64, until: u64) {
        self.silences.push((from, until));
    }

    /// Ends the load, and checks all that its clients and watchers were told. Somebody must own the store.
    pub(crate) async fn judge(mut self) -> Result<Judged, String> {
        let seed = self.seed;
        let made = self.made() as u32;
        let within = 3 * PATIENCE + 3 * OPERATION_TIMEOUT * made;
        let judged = tokio::time::timeout(within, self.judged()).await;
        let judged = judged.unwrap_or_else(|_| Err("the clients do not come to an end".into()));
        judged.map_err(|what| format!("seed {seed}: {what}"))
    }

    async fn judged(&mut self) -> Result<Judged, String> {
        self.stop.send_replace(true);
        let mut told = Vec::new();
        for client in self.clients.drain(..) {
            told.push(client.await.map_err(|error| error.to_string())??);
        }
        self.check_silences(&told)?;
        let mut revision = self.check_counters(&told).await?;
        let mut operations: Vec<PackedOperation> = Vec::new();
        let mut judged = Judged::default();
        for it in told {
            operations.extend(it.operations.iter().map(PackedOperation::from));
            judged.changes_answered += it.answered.len();
            judged.answered.extend(&it.answered);
            judged.unknown += it.unknown;
            judged.replayed += it.replayed;
            for (name, count) in it.failures {
                *judged.failures.entry(name).or_default() += count;
            }
        }
        judged.operations = operations.len();
        judged.answered.sort_unstable();
        let count = self.keys.count(self.made());
        judged.keys = count as usize;
        for key in self.keys.clients..count {
            let (read, at) = self.read_last(key).await?;
            operations.push(PackedOperation::from(&read));
            revision = revision.max(at);
        }
        self.until.send_replace(Some(revision));
        let mut watches = Vec::new();
        for watcher in self.watchers.drain(..) {
            let (mut watch, breaks) = watcher.await.map_err(|error| error.to_string())??;
            watch.keys = (0..count).collect();
            judged.watch_breaks += breaks;
            watches.push(watch);
        }
        operations.sort_by_key(PackedOperation::order);
        let key = |number| Key::new(self.keys.name(number), Some(Initial::default()));
        let history = History {
            keys: (0..count).map(key).collect(),
            operations,
            watches,
            ..History::default()
        };
        tokio::task::spawn_blocking(move || check_history(&history))
            .await
            .map_err(|error| error.to_string())??;
        Ok(judged)
    }

    /// Reads a key that all clients used, after all that they did. Returns what was read, for the history, and the revision of the
    /// store.
    async fn read_last(&mut self, key: u32) -> Result<(Operation, i64), String> {
        let start = self.clock.now();
        let answer = self.read(&self.keys.name(key)).await?;
        let operation = Operation {
            client: self.keys.clients,
            message: key + 1,
            message_kind: MessageKind::Call,
            key,
            start,
            end: self.clock.now(),
            action: Action::Read,
            expect: None,
            outcome: Outcome::Done {
                revision: answer.revision,
                observed: Observed::Entry(entry(answer.entry)),
            },
        };
        Ok((operation, answer.revision))
    }

    fn check_silences(&self, told: &[Told]) -> Result<(), String> {
        let shows =
            |it: &Operation| matches!(it.outcome, Outcome::Done { .. } | Outcome::Refused(_));
        for operation in told
            .iter()
            .flat_map(|it| &it.operations)
            .filter(|it| shows(it))
        {
            let is_in =
                |(from, until): &&(u64, u64)| operation.end > *from && operation.end < *until;
            if let Some(silence) = self.silences.iter().find(is_in) {
                return Err(format!(
                    "nothing could be known in {silence:?}, and a client was told {operation:?}"
                ));
            }
        }
        Ok(())
    }

    /// Reads every counter, which must be the sum of the Adds to it: none is missing, none was applied twice. Returns the
    /// revision of the store at the end.
    async fn check_counters(&mut self, told: &[Told]) -> Result<i64, String> {
        let mut revision = 0;
        for (number, it) in (0..).zip(told) {
            let key = self.keys.name(number);
            let answer = self.read(&key).await?;
            let counted = match answer.entry.and_then(|it| it.value).and_then(|it| it.kind) {
                None => 0,
                Some(value::Kind::Int(int)) => int,
                Some(other) => return Err(format!("key {key:?} is {other:?}")),
            };
            if counted != it.counted {
                let sum = it.counted;
                return Err(format!(
                    "key {key:?}: the Adds sum up to {sum}, but {counted} is there"
                ));
            }
            revision = answer.revision.max(revision);
        }
        Ok(revision)
    }

    async fn read(&mut self, key: &str) -> Result<v1::ReadResponse, String> {
        loop {
            let read = v1::ReadRequest {
                key: key.into(),
                expect: None,
            };
            let mut state = StateClient::new(self.nodes.channel());
            match state.read(request(read)).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => {
                    failure(&status, false)?;
                    self.nodes.go_on(&status);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

impl Judged {
    /// The longest time from one answered change to the next, among those that ended after `from`.
    pub(crate) fn longest_gap(&self, from: u64, until: u64) -> Duration {
        let place = |time| self.answered.partition_point(|it| *it < time);
        let (mut before, mut longest) = (from, 0);
        for end in &self.answered[place(from)..place(until)] {
            longest = longest.max(end - before);
            before = *end;
        }
        Duration::from_nanos(longest)
    }

    /// The longest gap after each of these faults, until the next. (An answer that was under way may still come after a fault: so
    /// the first one tells nothing.)
    pub(crate) fn gaps_after(&self, faults: &[u64]) -> Vec<Duration> {
        let ends = faults.iter().skip(1).copied().chain([u64::MAX]);
        let gap = |(from, until): (&u64, u64)| self.longest_gap(*from, until);
        faults.iter().zip(ends).map(gap).collect()
    }
}

fn check_history(history: &History) -> Result<(), String> {
    let began = Instant::now();
    let clock = || began.elapsed();
    let within = SEARCH_TIMEOUT + OPERATION_TIMEOUT * history.operations.len() as u32;
    let limits = Limits {
        deadline: Deadline::new(&clock, within),
        ..Limits::default()
    };
    let options = Options {
        limits,
        shrink_timeout: SEARCH_TIMEOUT,
        ..Options::default()
    };
    let report = check(history, options).map_err(|error| error.to_string())?;
    match report.verdict {
        Verdict::Linearizable => Ok(()),
        Verdict::Undecided(keys) => Err(format!("not decided in time: {keys:?}")),
        Verdict::NotLinearizable(violations) => {
            let violations: Vec<String> = violations.iter().map(|it| it.to_string()).collect();
            Err(violations.join("\n"))
        }
    }
}

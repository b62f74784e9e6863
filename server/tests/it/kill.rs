//! A server on a data directory, killed again and again under load: each time, what it answered is there.
//!
//! SOLOIST_KILL_CYCLES sets how often. SOLOIST_KILL_SEED repeats what the clients of a run drew, though not its timing.

mod call;
mod tally;
mod watched;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, WatchRequest, WatchResponse, watch_request};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::checker::{self, Action, Found, Operation, Outcome, Revisions};
use crate::process::{Process, command};
use crate::support::{channel, pipeline, read};
use call::{Call, Clock, Sent, Step, Worker, entry};
use tally::Tally;
use watched::Watched;

type Checked<T> = Result<T, String>;
type Client = StateClient<Channel>;

/// Clients of unary calls; two more have a Pipeline, and Batches.
const CLIENTS_UNARY: usize = 10;
const CLIENTS: usize = CLIENTS_UNARY + 2;
const KEYS_SHARED: usize = 8;
/// Two keys that are changed together only, in a Batch.
const PAIR: [&str; 2] = ["pair/a", "pair/b"];
/// Answered calls that are sent again after each restart.
const REPEATED: usize = 8;
/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the clients have, in milliseconds.
const UNTIL_KILL_MS: std::ops::Range<u64> = 20..150;

fn shared(index: usize) -> String {
    format!("shared/{index}")
}

/// A key that only one client adds to, each time with a request_id.
fn counter(client: usize) -> String {
    format!("counter/{client:02}")
}

fn keys() -> impl Iterator<Item = String> {
    let pair = PAIR.into_iter().map(str::to_owned);
    (0..KEYS_SHARED)
        .map(shared)
        .chain((0..CLIENTS).map(counter))
        .chain(pair)
}

#[tokio::test]
async fn fifty_kills_lose_nothing() {
    check_kept(50, &[]).await;
}

#[tokio::test]
async fn kills_while_snapshots_are_made_lose_nothing() {
    let files = check_kept(20, &["--snapshot-log-bytes", "4096"]).await;
    let made = files.path.join("data/snapshot-b.redb");
    assert!(made.exists(), "no two snapshots were made");
}

async fn check_kept(cycles: u64, more: &[&str]) -> Files {
    let cycles = variable("SOLOIST_KILL_CYCLES").unwrap_or(cycles) as usize;
    let seed = variable("SOLOIST_KILL_SEED").unwrap_or_else(rand::random);
    let files = Files::new();
    let data = files.path.join("data");
    let arguments = [&["--data-dir", data.to_str().unwrap()], more].concat();
    let tally = run(&files, &arguments, seed, cycles).await;
    let tally = tally.unwrap_or_else(|what| panic!("{what}"));
    tally.assert_enough(seed, cycles);
    files
}

/// What is in memory alone is gone, and the test says so.
#[tokio::test]
async fn a_server_that_forgets_is_found_out() {
    let lost = run(&Files::new(), &[], 1, 1).await.unwrap_err();
    assert!(
        lost.contains("was answered") && lost.contains("cycle 1"),
        "{lost}"
    );
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value:?}")),
    )
}

/// A directory for one run: the data, and what the servers logged. Kept if the test fails.
struct Files {
    path: PathBuf,
}

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("soloist-kill-{process}-{number}"));
        std::fs::create_dir(&path).unwrap();
        Self { path }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.path).unwrap();
        }
    }
}

/// Loads the server and kills it, so many times, and looks after each restart whether all is there.
async fn run(files: &Files, arguments: &[&str], seed: u64, cycles: usize) -> Checked<Tally> {
    let mut run = Run {
        files,
        arguments,
        seed,
        dice: SmallRng::seed_from_u64(seed),
        clock: Clock(Instant::now()),
        store_id: String::new(),
        before: BTreeMap::new(),
        calls: Vec::new(),
        revision: 0,
        revisions: Revisions::default(),
        watched: Watched::default(),
        tally: Tally::default(),
    };
    // The last two have no load: what the one before left is looked at, and what was sent again for that.
    for cycle in 0..cycles + 2 {
        let clients = if cycle < cycles { CLIENTS } else { 0 };
        let done = AssertUnwindSafe(run.cycle(cycle, clients)).catch_unwind();
        let done = tokio::time::timeout(PATIENCE, done).await;
        let done = done.unwrap_or_else(|_| Ok(Err(format!("not done after {PATIENCE:?}"))));
        let done = done.unwrap_or_else(|_| Err("a panic, told of above".into()));
        let place = files.path.display();
        done.map_err(|what| format!("seed {seed}, cycle {cycle}, files in {place}: {what}"))?;
    }
    Ok(run.tally)
}

struct Run<'a> {
    files: &'a Files,
    arguments: &'a [&'a str],
    seed: u64,
    dice: SmallRng,
    clock: Clock,
    store_id: String,
    /// The keys as they were found after the last restart.
    before: BTreeMap<String, Found>,
    /// All calls since then.
    calls: Vec<Call>,
    /// The greatest revision that anybody was told.
    revision: i64,
    revisions: Revisions,
    watched: Watched,
    tally: Tally,
}

impl Run<'_> {
    async fn cycle(&mut self, cycle: usize, clients: usize) -> Checked<()> {
        let mut process = self.start().await?;
        let connection = channel(process.addr).await;
        let mut client = StateClient::new(connection.clone());
        // Nothing is in flight now. What was at the kill is done by now, or never.
        self.end_unknown();
        let (found, reads) = self.read_all(&mut client).await?;
        self.check_answered(&found)?;
        self.check_info(connection).await?;
        let watch = self.watch(&mut client, &found).await?;
        let done_now = self.send_again(&mut client).await?;
        self.check_counters(&found)?;
        self.check_history(reads)?;
        self.check_watched()?;
        self.before = found;
        self.calls = done_now;

        let watched = std::mem::take(&mut self.watched);
        let watch = tokio::spawn(watched.until_broken(watch));
        let clients = self.load(&process, cycle, clients).await;
        let until_kill = self.dice.random_range(UNTIL_KILL_MS);
        tokio::time::sleep(Duration::from_millis(until_kill)).await;
        process
            .child
            .start_kill()
            .map_err(|error| format!("it was gone before the kill: {error}"))?;
        let status = process
            .child
            .wait()
            .await
            .map_err(|error| error.to_string())?;
        if status.signal() != Some(nix::sys::signal::SIGKILL as i32) {
            return Err(format!("it ended before the kill: {status}"));
        }
        let earlier = self.calls.len();
        for client in clients {
            self.calls
                .extend(client.await.map_err(|error| error.to_string())??);
        }
        let is_cut =
            |call: &Call| call.timeout.is_none() && call.outcomes.contains(&Outcome::Unknown);
        let in_flight = self.calls[earlier..].iter().any(is_cut);
        self.tally.kills_in_flight += usize::from(in_flight);
        self.watched = watch.await.map_err(|error| error.to_string())??;
        Ok(())
    }

    fn end_unknown(&mut self) {
        let now = self.clock.now();
        for call in &mut self.calls {
            if call.outcomes.contains(&Outcome::Unknown) {
                self.tally.unknown += 1;
                self.tally.unknown_told += usize::from(call.named.is_some());
                call.end = now;
            }
        }
    }

    /// Starts the server; what it logs goes to a file.
    async fn start(&self) -> Checked<Process> {
        let log = self.files.path.join("log");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut command = command(&[&["--listen", "127.0.0.1:0"], self.arguments].concat());
        let mut child = command
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .next_line()
            .await
            .map_err(|error| error.to_string())?
            .unwrap_or_default();
        let addr = line
            .strip_prefix("listening on ")
            .and_then(|addr| addr.parse().ok());
        let addr = addr.ok_or_else(|| format!("it did not start, see its log: {line:?}"))?;
        Ok(Process { child, addr })
    }

    /// Reads every key, with nothing else in flight.
    async fn read_all(
        &mut self,
        client: &mut Client,
    ) -> Checked<(BTreeMap<String, Found>, Vec<Operation>)> {
        let mut found = BTreeMap::new();
        let mut reads = Vec::new();
        for key in keys() {
            let start = self.clock.now();
            let answer = client.read(read(key.clone())).await;
            let answer = answer
                .map_err(|status| format!("key {key:?} cannot be read: {status}"))?
                .into_inner();
            let is = Found {
                entry: entry(answer.entry)?,
                revision: answer.revision,
            };
            reads.push(Operation {
                client: CLIENTS,
                message: 0,
                start,
                end: self.clock.now(),
                action: Action::Read,
                outcome: Outcome::Done {
                    entry: is.entry,
                    revision: is.revision,
                },
            });
            found.insert(key, is);
        }
        Ok((found, reads))
    }

    /// The last answered change of each key is there, or an unknown one came after it.
    fn check_answered(&self, found: &BTreeMap<String, Found>) -> Checked<()> {
        for (key, is) in found {
            let steps = || {
                self.calls
                    .iter()
                    .flat_map(Call::each)
                    .filter(|(step, _)| step.key == *key)
            };
            let before = self.before.get(key).and_then(|before| before.entry);
            let before = before.map_or((0, None), |entry| (entry.revision, Some(entry.value)));
            let answered = steps().filter_map(|(step, outcome)| outcome.change(step.action));
            let (revision, value) = answered
                .chain([before])
                .max_by_key(|(revision, _)| *revision)
                .unwrap();
            let may_be = |value| {
                let unknown = |(step, outcome): (&Step, _)| {
                    outcome == Outcome::Unknown && step.can_make(value)
                };
                steps().any(unknown)
            };
            let is_there = match is.entry {
                Some(entry) if entry.revision == revision => value == Some(entry.value),
                Some(entry) => entry.revision > revision && may_be(Some(entry.value)),
                None => value.is_none() || may_be(None),
            };
            if !is_there {
                return Err(format!(
                    "key {key:?}: value {value:?} was answered with revision {revision}, and there is {is:?}"
                ));
            }
        }
        let [a, b] = PAIR.map(|key| found[key].entry);
        if a != b {
            return Err(format!(
                "half a batch is there: {PAIR:?} have {a:?} and {b:?}"
            ));
        }
        Ok(())
    }

    async fn check_info(&mut self, connection: Channel) -> Checked<()> {
        let info = AdminClient::new(connection)
            .get_info(GetInfoRequest {})
            .await;
        let info = info
            .map_err(|status| format!("no info: {status}"))?
            .into_inner();
        if self.store_id.is_empty() {
            self.store_id.clone_from(&info.store_id);
        }
        if info.store_id != self.store_id {
            return Err(format!(
                "the store was {}, and is {}",
                self.store_id, info.store_id
            ));
        }
        for (_, outcome) in self.calls.iter().flat_map(Call::each) {
            if let Outcome::Done { revision, .. } = outcome {
                self.revision = self.revision.max(revision);
            }
        }
        self.revision = self.revision.max(self.watched.after);
        if info.revision < self.revision {
            return Err(format!(
                "revision {} was answered, and the store is at {}",
                self.revision, info.revision
            ));
        }
        self.revision = info.revision;
        Ok(())
    }

    /// Goes on with the watch, to the present, where it must have told all that there is.
    async fn watch(
        &mut self,
        client: &mut Client,
        found: &BTreeMap<String, Found>,
    ) -> Checked<Streaming<WatchResponse>> {
        let request = WatchRequest {
            target: Some(watch_request::Target::Prefix(String::new())),
            after_revision: Some(self.watched.after),
            store_id: self.store_id.clone(),
            ..WatchRequest::default()
        };
        let failed = |status| format!("the watch cannot go on: {status:?}");
        let mut watch = client.watch(request).await.map_err(failed)?.into_inner();
        loop {
            let message = watch
                .message()
                .await
                .map_err(failed)?
                .ok_or("the watch ended")?;
            let is_caught_up = message.caught_up;
            self.watched.take(message)?;
            if is_caught_up {
                break;
            }
        }
        for (key, is) in found {
            let told = self.watched.entries.get(key).copied();
            if told != is.entry {
                return Err(format!(
                    "key {key:?}: the watch told {told:?}, and there is {is:?}"
                ));
            }
        }
        Ok(watch)
    }

    /// Sends again what is unknown and can be told apart, and some of what was answered. Returns what was done now.
    async fn send_again(&mut self, client: &mut Client) -> Checked<Vec<Call>> {
        let mut done_now = Vec::new();
        let mut repeated = 0;
        let first = self.dice.random_range(0..self.calls.len().max(1));
        let number = self.calls.len();
        for call in (0..number).map(|index| (first + index) % number) {
            let call = &mut self.calls[call];
            let is_whole = !call.request_id.is_empty();
            for index in 0..if is_whole { 1 } else { call.steps.len() } {
                let steps = if is_whole {
                    0..call.steps.len()
                } else {
                    index..index + 1
                };
                let outcomes = call.outcomes[steps.clone()].to_vec();
                let is_unknown = outcomes.contains(&Outcome::Unknown);
                let is_done = matches!(outcomes[0], Outcome::Done { .. }) && repeated < REPEATED;
                let is_named = is_whole || !call.steps[index].request_id.is_empty();
                if !is_named || !(is_unknown || is_done) {
                    continue;
                }
                let mut again = Call {
                    sent: if is_whole { Sent::Batch } else { Sent::Alone },
                    steps: call.steps[steps.clone()].to_vec(),
                    timeout: None,
                    ..call.clone()
                };
                if let Some(status) = again.send(client, self.clock).await? {
                    return Err(format!("{again:?} was not answered: {status}"));
                }
                match (is_unknown, again.replayed) {
                    (false, replayed) => {
                        repeated += 1;
                        if !replayed || again.outcomes != outcomes {
                            return Err(format!(
                                "the first answer, {outcomes:?}, was expected again, and there is {again:?}"
                            ));
                        }
                    }
                    (true, true) => {
                        self.tally.retries_replayed += 1;
                        call.outcomes[steps].copy_from_slice(&again.outcomes);
                    }
                    (true, false) => {
                        self.tally.retries_done += 1;
                        call.outcomes[steps].fill(Outcome::NotDone);
                        done_now.push(again);
                    }
                }
            }
        }
        self.tally.repeated += repeated;
        Ok(done_now)
    }

    /// Each counter is the sum of what was added: nothing is missing, nothing was added twice.
    fn check_counters(&self, found: &BTreeMap<String, Found>) -> Checked<()> {
        let value = |found: Option<&Found>| found.and_then(|it| it.entry).map_or(0, |it| it.value);
        for key in (0..CLIENTS).map(counter) {
            let mut expected = value(self.before.get(&key));
            for (step, outcome) in self.calls.iter().flat_map(Call::each) {
                match (step.action, outcome) {
                    _ if step.key != key => {}
                    (Action::Add(delta), Outcome::Done { .. }) => expected += delta,
                    (_, Outcome::NotDone) => {}
                    _ => return Err(format!("key {key:?}: still unclear: {step:?}, {outcome:?}")),
                }
            }
            if value(found.get(&key)) != expected {
                return Err(format!(
                    "key {key:?}: {expected} was added up, and there is {:?}",
                    found[&key]
                ));
            }
        }
        Ok(())
    }

    /// The watch told each answered change once, and besides only what is unknown.
    fn check_watched(&mut self) -> Checked<()> {
        let events = std::mem::take(&mut self.watched.changes);
        self.tally.events += events.len();
        let mut told = BTreeMap::new();
        for (revision, key, value) in events {
            if told.insert((revision, key.clone()), value).is_some() {
                return Err(format!(
                    "key {key:?}: the watch told revision {revision} twice"
                ));
            }
        }
        let mut unknown = Vec::new();
        for (step, outcome) in self.calls.iter().flat_map(Call::each) {
            if outcome == Outcome::Unknown {
                unknown.push(step);
            }
            if let Some((revision, value)) = outcome.change(step.action) {
                let event = told.remove(&(revision, step.key.clone()));
                if event != Some(value) {
                    return Err(format!(
                        "key {:?}: {value:?} was answered with revision {revision}, and the watch told {event:?}",
                        step.key
                    ));
                }
            }
        }
        self.tally.events_of_unknown += told.len();
        for ((revision, key), value) in told {
            // Values are written once: only if none was, it was added up.
            let may_be = |is_sum| {
                let may_be = |step: &&Step| {
                    step.key == key && step.can_make(value) && step.is_add() == is_sum
                };
                unknown.iter().position(may_be)
            };
            let Some(index) = may_be(false).or_else(|| may_be(true)) else {
                return Err(format!(
                    "key {key:?}: the watch told {value:?} at revision {revision}, and nobody did that"
                ));
            };
            unknown.swap_remove(index);
            if self.revisions.is_taken(revision) {
                return Err(format!(
                    "key {key:?}: the watch told {value:?} at revision {revision}, which another change has"
                ));
            }
        }
        for call in &self.calls {
            // What may be refused, or change nothing, may name a revision that another change has.
            let is_sure = |step: &Step| matches!(step.action, Action::Write(_) | Action::Add(_));
            if let Some(revision) = call.named.filter(|_| call.steps.iter().all(is_sure)) {
                let claimed = self.revisions.claim(revision, call.message);
                claimed.map_err(|what| format!("{what}, the one by {call:?}"))?;
            }
        }
        Ok(())
    }

    /// All that was answered since the last restart, and was read after this one, can be true.
    fn check_history(&mut self, reads: Vec<Operation>) -> Checked<()> {
        let mut history: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for call in &self.calls {
            self.tally.calls += 1;
            for (step, outcome) in call.each() {
                self.tally.count(step.action, outcome);
                let operation = Operation {
                    client: call.client,
                    message: call.message,
                    start: call.start,
                    end: call.end,
                    action: step.action,
                    outcome,
                };
                history.entry(step.key.clone()).or_default().push(operation);
            }
        }
        for (key, read) in keys().zip(reads) {
            history.entry(key).or_default().push(read);
        }
        checker::check(&self.before, &history, &mut self.revisions)
    }

    /// Starts the clients, each on a connection of its own.
    async fn load(
        &self,
        process: &Process,
        cycle: usize,
        number: usize,
    ) -> Vec<JoinHandle<Checked<Vec<Call>>>> {
        let mut clients = Vec::new();
        for client in 0..number {
            let worker = Worker::new(self.seed, cycle, client, self.clock);
            let mut connection = StateClient::new(channel(process.addr).await);
            clients.push(match client {
                0..CLIENTS_UNARY => tokio::spawn(worker.call(connection, Sent::Alone)),
                CLIENTS_UNARY => {
                    let stream = pipeline(&mut connection).await;
                    tokio::spawn(worker.pipeline(stream))
                }
                _ => tokio::spawn(worker.call(connection, Sent::Batch)),
            });
        }
        clients
    }
}

//! A server with a data directory is killed again and again under load. After each restart, everything that it answered has to
//! be there. In a campaign its files are damaged, too, and its backups restored.
//!
//! SOLOIST_KILL_CYCLES sets how often it is killed, SOLOIST_CAMPAIGN_CYCLES how often in a campaign. SOLOIST_KILL_SEED repeats
//! what the clients of a run drew, but not its timing.

mod call;
mod campaign;
mod campaign_faults;
mod damage;
mod epoch;
mod faults;
mod keys;
mod lifetimes;
mod restores;
mod revisions;
mod tally;
mod watch_log;
mod worker;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, GetInfoRequest, WatchRequest, WatchResponse, watch_request};
use soloist_verify::{Initial, MessageKind, Outcome};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::process::{Process, command};
use crate::support::{channel, pipeline, read};
use call::{Call, Clock};
use campaign::Campaign;
use epoch::{Epoch, FinalRead};
use keys::{entry, keys};
use revisions::Revisions;
use tally::Tally;
use watch_log::WatchLog;
use worker::Worker;

/// The error says what is wrong with the server.
type Checked<T> = Result<T, String>;
type Client = StateClient<Channel>;

/// Clients of unary calls. After them comes one with a Pipeline, one with Batches, and in campaigns one with large values.
const CLIENTS_UNARY: u32 = 10;
const CLIENT_LARGE: u32 = CLIENTS_UNARY + 2;
const CLIENTS: u32 = CLIENT_LARGE + 1;
/// Answered calls that are sent again after each restart.
const REPEATED: usize = 8;
/// A cycle that takes longer than this hangs.
const CYCLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the clients send before the kill, in milliseconds.
const UNTIL_KILL_MS: std::ops::Range<u64> = 20..150;

#[tokio::test]
async fn fifty_kills_lose_nothing() {
    check_durable(50, &[]).await;
}

#[tokio::test]
async fn kills_while_snapshots_are_made_lose_nothing() {
    let files = check_durable(20, &["--snapshot-log-bytes", "4096"]).await;
    let second = files.path.join("data/snapshot-b.redb");
    assert!(second.exists(), "fewer than two snapshots were made");
}

async fn check_durable(cycles: u64, more_arguments: &[&str]) -> Files {
    let cycles = variable("SOLOIST_KILL_CYCLES").unwrap_or(cycles) as usize;
    let seed = variable("SOLOIST_KILL_SEED").unwrap_or_else(rand::random);
    let files = Files::new();
    let data = files.path.join("data");
    let mut run = Run::new(&files, Some(data), more_arguments, seed);
    let done = run.cycles(cycles).await;
    done.unwrap_or_else(|what| panic!("{what}"));
    run.tally.assert_enough(seed, cycles);
    files
}

/// Without a data directory a kill loses everything, and the test finds that.
#[tokio::test]
async fn a_server_that_forgets_is_found_out() {
    let files = Files::new();
    let lost = Run::new(&files, None, &[], 1).cycles(1).await.unwrap_err();
    assert!(
        lost.contains("was answered") && lost.contains("cycle 1"),
        "{lost}"
    );
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number: {value:?}")))
}

/// A directory for one run: the data, and the log of the servers. It stays if the test fails.
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

struct Run<'a> {
    files: &'a Files,
    /// `None`: a server that keeps nothing.
    data: Option<PathBuf>,
    arguments: Vec<String>,
    seed: u64,
    rng: SmallRng,
    clock: Clock,
    store_id: String,
    /// The keys as they were read after the last restart.
    before: BTreeMap<String, Initial>,
    /// All calls since then.
    calls: Vec<Call>,
    /// The greatest store revision in an answer.
    store_revision: i64,
    revisions: Revisions,
    watch_log: WatchLog,
    tally: Tally,
    campaign: Option<Campaign>,
}

impl<'a> Run<'a> {
    fn new(files: &'a Files, data: Option<PathBuf>, arguments: &[&str], seed: u64) -> Self {
        let clock = Clock(Instant::now());
        Self {
            files,
            data,
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            seed,
            rng: SmallRng::seed_from_u64(seed),
            clock,
            store_id: String::new(),
            before: BTreeMap::new(),
            calls: Vec::new(),
            store_revision: 0,
            revisions: Revisions::default(),
            watch_log: WatchLog::new(clock),
            tally: Tally::default(),
            campaign: None,
        }
    }

    /// Loads a server and kills it, this many times, and checks after each restart that nothing is lost.
    async fn cycles(&mut self, cycles: usize) -> Checked<()> {
        let (seed, place) = (self.seed, self.files.path.display());
        let timeout = match self.campaign {
            None => CYCLE_TIMEOUT,
            Some(_) => 10 * CYCLE_TIMEOUT,
        };
        // The last two cycles have no load. The first of them checks the last kill under load, the second what the first has
        // sent again.
        for cycle in 0..cycles + 2 {
            let clients = match self.campaign {
                _ if cycle >= cycles => 0,
                None => CLIENT_LARGE,
                Some(_) => CLIENTS,
            };
            let done = AssertUnwindSafe(self.cycle(cycle, clients)).catch_unwind();
            let done = tokio::time::timeout(timeout, done).await;
            let done = done.unwrap_or_else(|_| Ok(Err(format!("not done after {timeout:?}"))));
            let done = done.unwrap_or_else(|_| Err("a panic, shown above".into()));
            done.map_err(|what| format!("seed {seed}, cycle {cycle}, files in {place}: {what}"))?;
        }
        Ok(())
    }

    /// Starts the server, checks what the last one answered, loads the server, and kills it.
    async fn cycle(&mut self, cycle: usize, clients: u32) -> Checked<()> {
        self.kill_during_starts().await?;
        let mut process = self.start().await?;
        let connection = channel(process.addr).await;
        let mut client = StateClient::new(connection.clone());
        if cycle == 0 {
            define_machine(connection.clone()).await?;
        }
        self.end_unknown();
        let mut epoch = Epoch {
            before: std::mem::take(&mut self.before),
            calls: std::mem::take(&mut self.calls),
            reads: read_all(&mut client, self.clock).await?,
            watch: self.watch_log.take(),
        };
        epoch.check_last_changes()?;
        self.check_info(&epoch, connection.clone()).await?;
        let told_by_kill = epoch.watch.updates.len();
        let watch = self.watch(&mut client, &epoch.after()).await?;
        epoch.watch.updates.extend(self.watch_log.take().updates);
        self.damage(&epoch, told_by_kill).await?;
        self.calls = self.send_again(&mut client, &mut epoch.calls).await?;
        self.settle_lifetimes(connection).await?;
        let restored = self.restore(&mut epoch).await?;
        self.check(&mut epoch)?;
        self.before = epoch.after();
        let watch_log = std::mem::replace(&mut self.watch_log, WatchLog::new(self.clock));
        let watch = tokio::spawn(watch_log.until_broken(watch));
        if let Some(restored) = restored {
            kill(&mut process.child).await?;
            watch.await.map_err(|error| error.to_string())??;
            return self.go_on_in(restored);
        }
        let lifetimes = self.load_lifetimes(&process, clients).await;
        let clients = self.load(&process, cycle, clients).await;
        let backup = self.while_loaded(&process).await;
        kill(&mut process.child).await?;
        let mut calls = Vec::new();
        for client in clients {
            calls.extend(client.await.map_err(|error| error.to_string())??);
        }
        let is_cut = |call: &Call| call.timeout.is_none() && call.is_unknown();
        self.tally.kills_in_flight += usize::from(calls.iter().any(is_cut));
        self.calls.extend(calls);
        self.watch_log = watch.await.map_err(|error| error.to_string())??;
        self.after_kill(lifetimes, backup).await
    }

    /// Ends the calls of unknown outcome. Nothing is in flight after a restart: what was in flight at the kill is done by now,
    /// or never.
    fn end_unknown(&mut self) {
        let now = self.clock.now();
        for call in self.calls.iter_mut().filter(|call| call.is_unknown()) {
            self.tally.unknown += 1;
            self.tally.unknown_named += usize::from(call.named_revision.is_some());
            call.end = now;
        }
    }

    async fn start(&self) -> Checked<Process> {
        let data = self.data.as_deref();
        match start_server(&self.files.path.join("log"), data, &self.arguments).await? {
            Ok(process) => Ok(process),
            Err(status) => Err(format!("it did not start, see its log: {status}")),
        }
    }

    /// Checks that it is the same store, and that it is not behind any answer.
    async fn check_info(&mut self, epoch: &Epoch, connection: Channel) -> Checked<()> {
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
        let answered = epoch.steps().filter_map(|(_, outcome)| match outcome {
            Outcome::Done { revision, .. } => Some(revision),
            _ => None,
        });
        let told = [self.store_revision, self.watch_log.revision];
        let greatest = answered.chain(told).max().unwrap();
        if info.revision < greatest {
            return Err(format!(
                "revision {greatest} was answered, and the store is at {}",
                info.revision
            ));
        }
        self.store_revision = info.revision;
        Ok(())
    }

    /// Continues the watch up to the present. By then it has to have been told of everything that is there.
    async fn watch(
        &mut self,
        client: &mut Client,
        after: &BTreeMap<String, Initial>,
    ) -> Checked<Streaming<WatchResponse>> {
        let request = WatchRequest {
            target: Some(watch_request::Target::Prefix(String::new())),
            after_revision: Some(self.watch_log.revision),
            store_id: self.store_id.clone(),
            ..WatchRequest::default()
        };
        let failed = |status| format!("the watch cannot continue: {status:?}");
        let mut watch = client.watch(request).await.map_err(failed)?.into_inner();
        loop {
            let message = watch
                .message()
                .await
                .map_err(failed)?
                .ok_or("the watch ended")?;
            let is_caught_up = message.caught_up;
            self.watch_log.add(message)?;
            if is_caught_up {
                break;
            }
        }
        let (told, present) = (self.watch_log.revision, self.store_revision);
        if told < present {
            return Err(format!(
                "the watch says that revision {told} is the present, and the store is at {present}"
            ));
        }
        for (key, is) in after {
            let told = self.watch_log.entries.get(key).copied();
            if told != is.entry {
                return Err(format!(
                    "key {key:?}: the watch was told {told:?}, and {:?} is there",
                    is.entry
                ));
            }
        }
        Ok(watch)
    }

    /// Sends again the calls of unknown outcome that have a request_id, and some that were answered. A call that was done is
    /// answered with the first answer, which becomes its outcome. A call that was not done is done now. Returns those that
    /// were done now.
    async fn send_again(&mut self, client: &mut Client, calls: &mut [Call]) -> Checked<Vec<Call>> {
        let mut done_now = Vec::new();
        let mut repeated = 0;
        let count = calls.len();
        let first = self.rng.random_range(0..count.max(1));
        for call in (0..count).map(|index| (first + index) % count) {
            let call = &mut calls[call];
            let is_whole = !call.request_id.is_empty();
            for index in 0..if is_whole { 1 } else { call.steps.len() } {
                let steps = match is_whole {
                    true => 0..call.steps.len(),
                    false => index..index + 1,
                };
                let outcomes = call.outcomes[steps.clone()].to_vec();
                let is_unknown = outcomes.contains(&Outcome::Unknown);
                let is_done = matches!(outcomes[0], Outcome::Done { .. }) && repeated < REPEATED;
                let has_request_id = is_whole || !call.steps[index].request_id.is_empty();
                if !has_request_id || !(is_unknown || is_done) {
                    continue;
                }
                let mut again = Call {
                    kind: match is_whole {
                        true => MessageKind::Batch,
                        false => MessageKind::Call,
                    },
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
                        if !replayed || again.outcomes != outcomes || again.swept != call.swept {
                            return Err(format!(
                                "the first answer, {outcomes:?}, has to come again, but it is {again:?}"
                            ));
                        }
                    }
                    (true, true) => {
                        self.tally.retries_replayed += 1;
                        call.outcomes[steps].copy_from_slice(&again.outcomes);
                        call.swept = again.swept;
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

    /// Checks an epoch of which everything is known.
    fn check(&mut self, epoch: &mut Epoch) -> Checked<()> {
        epoch.resolve_sweeps()?;
        self.tally.calls += epoch.calls.len();
        for (step, outcome) in epoch.steps() {
            self.tally.count(step, outcome);
        }
        self.tally.count_events(&epoch.watch);
        epoch.check_counters()?;
        epoch.check_history()?;
        self.revisions.claim_all(&epoch.calls)?;
        self.revisions.check_events(&epoch.calls, &epoch.watch)
    }

    /// Starts the clients, each on a connection of its own.
    async fn load(
        &self,
        process: &Process,
        cycle: usize,
        clients: u32,
    ) -> Vec<JoinHandle<Checked<Vec<Call>>>> {
        let mut tasks = Vec::new();
        for client in 0..clients {
            let worker = Worker::new(self.seed, cycle, client, self.clock);
            let mut connection = StateClient::new(channel(process.addr).await);
            tasks.push(match client {
                0..CLIENTS_UNARY => tokio::spawn(worker.call(connection, MessageKind::Call)),
                CLIENTS_UNARY => {
                    let stream = pipeline(&mut connection).await;
                    tokio::spawn(worker.pipeline(stream))
                }
                CLIENT_LARGE => tokio::spawn(worker.call(connection, MessageKind::Call)),
                _ => tokio::spawn(worker.call(connection, MessageKind::Batch)),
            });
        }
        tasks
    }
}

/// Spawns a server with its log in a file.
fn spawn_server(log: &Path, data: Option<&Path>, arguments: &[String]) -> Checked<Child> {
    let mut options = std::fs::File::options();
    let log = options.create(true).append(true).open(log).unwrap();
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    if let Some(data) = data {
        command.arg("--data-dir").arg(data);
    }
    let child = command.args(arguments).stderr(log).spawn();
    child.map_err(|error| error.to_string())
}

/// Starts a server, with its log in a file. Returns how it ended if it does not serve.
async fn start_server(
    log: &Path,
    data: Option<&Path>,
    arguments: &[String],
) -> Checked<Result<Process, ExitStatus>> {
    let mut child = spawn_server(log, data, arguments)?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.map_err(|error| error.to_string())?;
    let Some(line) = line else {
        let status = child.wait().await.map_err(|error| error.to_string())?;
        return Ok(Err(status));
    };
    let addr = line.strip_prefix("listening on ");
    let addr = addr.and_then(|addr| addr.parse().ok());
    let addr = addr.ok_or_else(|| format!("not an address: {line:?}"))?;
    Ok(Ok(Process { child, addr }))
}

async fn define_machine(connection: Channel) -> Checked<()> {
    let define = v1::DefineMachineRequest {
        machine: Some(keys::machine_to_define()),
        ..v1::DefineMachineRequest::default()
    };
    let defined = MachinesClient::new(connection).define_machine(define).await;
    defined.map_err(|status| format!("no machine: {status}"))?;
    Ok(())
}

/// Reads every key, with nothing else in flight.
async fn read_all(client: &mut Client, clock: Clock) -> Checked<Vec<FinalRead>> {
    let mut reads = Vec::new();
    for key in keys() {
        let start = clock.now();
        let answer = client.read(read(key.clone())).await;
        let answer = answer
            .map_err(|status| format!("key {key:?} cannot be read: {status}"))?
            .into_inner();
        reads.push(FinalRead {
            key,
            start,
            end: clock.now(),
            read: Initial {
                entry: entry(answer.entry)?,
                revision: answer.revision,
            },
        });
    }
    Ok(reads)
}

/// Kills the server, which must not have ended before.
async fn kill(server: &mut Child) -> Checked<()> {
    let killed = server.start_kill();
    killed.map_err(|error| format!("it was gone before the kill: {error}"))?;
    let status = server.wait().await;
    let status = status.map_err(|error| error.to_string())?;
    match status.signal() == Some(nix::sys::signal::SIGKILL as i32) {
        true => Ok(()),
        false => Err(format!("it ended before the kill: {status}")),
    }
}

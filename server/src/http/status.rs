//! `/status.json`: the numbers of the page. They are made for the page alone, and change with it.

use serde::Serialize;

use super::cluster::Cluster;
use super::probes;
use super::site::{About, Site};
use crate::machine::MachineNow;
use crate::metrics::{History, Quantiles, Sample, Snapshot, now_nanos};
use crate::role::NodeStatus;

/// All numbers of the page.
#[derive(Serialize)]
pub(super) struct Status {
    server: Server,
    mailbox: Mailbox,
    store: Store,
    /// None if the store is in memory only.
    disk: Option<Disk>,
    /// None if the server is no node of a cluster.
    cluster: Option<Cluster>,
    clients: Clients,
    refusals: Vec<Refusals>,
    series: Series,
    /// None if the owner has not answered in time.
    machines: Option<Vec<Machine>>,
    machine_count: u64,
}

#[derive(Serialize)]
struct Server {
    version: &'static str,
    health: &'static str,
    problems: Vec<&'static str>,
    role: String,
    started_unix: f64,
    now_unix: f64,
    store_id: String,
    /// None if the store is in memory only.
    durability: Option<String>,
    epoch: u64,
}

#[derive(Default, Serialize)]
struct Mailbox {
    messages: u64,
    messages_limit: u64,
    bytes: u64,
    bytes_limit: u64,
}

#[derive(Serialize)]
struct Store {
    revision: u64,
    keys: u64,
    bytes: u64,
    bytes_limit: u64,
    sessions: u64,
    sessions_limit: u64,
    watches: u64,
    watches_limit: u64,
    machines: u64,
    machines_limit: u64,
    request_ids: u64,
    request_ids_limit: u64,
}

#[derive(Serialize)]
struct Disk {
    unsynced_operations: u64,
    log_bytes: u64,
    free_bytes: u64,
    /// Whether changes are refused because there is too little space.
    low: bool,
    snapshot_unix: Option<f64>,
    backup_unix: Option<f64>,
}

#[derive(Serialize)]
struct Clients {
    connections: u64,
    connections_limit: u64,
    connections_total: u64,
    auth_failures: u64,
    denied: u64,
}

#[derive(Serialize)]
struct Refusals {
    reason: &'static str,
    count: u64,
}

/// The last samples, a column for each number, the newest last.
#[derive(Serialize)]
struct Series {
    /// How many samples there were so far.
    next: u64,
    /// How many the server keeps.
    keep: usize,
    interval_ms: u64,
    columns: Columns,
}

#[derive(Default, Serialize)]
struct Columns {
    operations: Vec<f64>,
    calls: Vec<f64>,
    refusals: Vec<f64>,
    busy: Vec<f64>,
    p50_us: Vec<Option<f64>>,
    p99_us: Vec<Option<f64>>,
    wait_p50_us: Vec<Option<f64>>,
    wait_p99_us: Vec<Option<f64>>,
    commit_p50_us: Vec<Option<f64>>,
    commit_p99_us: Vec<Option<f64>>,
    confirm_p50_us: Vec<Option<f64>>,
    confirm_p99_us: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Machine {
    name: String,
    prefix: String,
    initial: String,
    keys: usize,
    refused: u64,
    states: Vec<State>,
}

#[derive(Serialize)]
struct State {
    name: String,
    keys: usize,
    next: Vec<String>,
    timeout_ms: Option<u64>,
    timeout_next: Option<String>,
}

impl Status {
    /// The numbers of now, with the samples after the first `known`.
    pub(super) async fn now(site: &Site, known: u64) -> Self {
        let snapshot = site.counts();
        let about = site.about();
        let machines = site.machines_now().await;
        let node = site.node();
        let owner = &snapshot.owner;
        let (health, problems) = probes::health(site);
        Self {
            server: server(&snapshot, about, node.as_ref(), health, problems),
            mailbox: mailbox(&snapshot, about),
            store: store(&snapshot, about),
            disk: snapshot.journal.as_ref().map(|journal| Disk {
                unsynced_operations: owner.unsynced_operations,
                log_bytes: journal.log_bytes,
                free_bytes: journal.disk_free_bytes,
                low: owner.disk != crate::metrics::DISK_ENOUGH,
                snapshot_unix: unix(journal.snapshot_at_nanos),
                backup_unix: unix(snapshot.server.backup_at_nanos),
            }),
            cluster: (node.as_ref()).map(|node| Cluster::of(node, snapshot.journal.as_ref())),
            clients: clients(&snapshot, about),
            refusals: refusals(&snapshot),
            series: site.history(|history| series(history, known)),
            machines: machines.map(|machines| machines.iter().map(machine).collect()),
            machine_count: owner.machines,
        }
    }
}

/// A time of day in seconds; none for 0, which stands for never.
fn unix(nanos: u64) -> Option<f64> {
    (nanos > 0).then_some(nanos as f64 / 1e9)
}

fn server(
    snapshot: &Snapshot,
    about: Option<&About>,
    role: Option<&NodeStatus>,
    health: &'static str,
    problems: Vec<&'static str>,
) -> Server {
    Server {
        version: env!("CARGO_PKG_VERSION"),
        health,
        problems,
        role: role.map_or_else(|| "single server".into(), NodeStatus::text),
        started_unix: snapshot.process.started_at.as_secs_f64(),
        now_unix: now_nanos() as f64 / 1e9,
        store_id: about.map_or_else(String::new, |about| about.store_id.clone()),
        durability: about.and_then(|about| about.durability.clone()),
        epoch: about.map_or(0, |about| about.epoch),
    }
}

fn mailbox(snapshot: &Snapshot, about: Option<&About>) -> Mailbox {
    let (Some(level), Some(about)) = (&snapshot.mailbox, about) else {
        return Mailbox::default();
    };
    Mailbox {
        messages: level.messages,
        messages_limit: about.mailbox.messages as u64,
        bytes: level.bytes,
        bytes_limit: about.mailbox.bytes as u64,
    }
}

fn store(snapshot: &Snapshot, about: Option<&About>) -> Store {
    let owner = &snapshot.owner;
    let limits = about.map(|about| &about.limits);
    let limit = |limit: Option<usize>| limit.unwrap_or(0) as u64;
    Store {
        revision: owner.revision,
        keys: owner.keys,
        bytes: owner.store_bytes,
        bytes_limit: limits.map_or(0, |limits| limits.max_store_bytes),
        sessions: owner.sessions,
        sessions_limit: limit(limits.map(|limits| limits.max_sessions)),
        watches: owner.watches,
        watches_limit: limit(limits.map(|limits| limits.max_watches)),
        machines: owner.machines,
        machines_limit: limit(limits.map(|limits| limits.max_machines)),
        request_ids: owner.request_ids,
        request_ids_limit: limit(limits.map(|limits| limits.request_id_count)),
    }
}

fn clients(snapshot: &Snapshot, about: Option<&About>) -> Clients {
    let server = &snapshot.server;
    Clients {
        connections: snapshot.connections,
        connections_limit: about.map_or(0, |about| about.connections_max as u64),
        connections_total: server.connections_total,
        auth_failures: server.auth_failures,
        denied: server.denied.iter().map(|(_, count)| count).sum(),
    }
}

/// The reasons that were given at least once.
fn refusals(snapshot: &Snapshot) -> Vec<Refusals> {
    let given = snapshot.refusals.iter().filter(|(_, count)| *count > 0);
    given
        .map(|&(reason, count)| Refusals { reason, count })
        .collect()
}

fn series(history: &History, known: u64) -> Series {
    let mut columns = Columns::default();
    for sample in history.after(known) {
        columns.add(sample);
    }
    Series {
        next: history.taken(),
        keep: crate::config::HISTORY_SAMPLES,
        interval_ms: crate::config::HISTORY_INTERVAL.as_millis() as u64,
        columns,
    }
}

impl Columns {
    fn add(&mut self, sample: &Sample) {
        self.operations.push(round(sample.operations));
        self.calls.push(round(sample.calls));
        self.refusals.push(round(sample.refusals));
        self.busy.push((sample.busy * 1e4).round() / 1e4);
        for (p50, p99, quantiles) in [
            (&mut self.p50_us, &mut self.p99_us, sample.latency),
            (&mut self.wait_p50_us, &mut self.wait_p99_us, sample.waits),
            (
                &mut self.commit_p50_us,
                &mut self.commit_p99_us,
                sample.commits,
            ),
            (
                &mut self.confirm_p50_us,
                &mut self.confirm_p99_us,
                sample.confirms,
            ),
        ] {
            p50.push(quantiles.map(|Quantiles { p50, .. }| round(p50)));
            p99.push(quantiles.map(|Quantiles { p99, .. }| round(p99)));
        }
    }
}

/// One digit after the point is more than anybody reads.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn machine(now: &MachineNow) -> Machine {
    let MachineNow {
        machine,
        keys,
        refused_moves,
    } = now;
    let states = machine.states.iter().zip(keys);
    let states = states.map(|((name, state), keys)| State {
        name: name.as_str().into(),
        keys: *keys,
        next: state.next.iter().map(|next| next.as_str().into()).collect(),
        timeout_ms: state
            .timeout
            .as_ref()
            .map(|timeout| u64::try_from(timeout.after.as_millis()).unwrap_or(u64::MAX)),
        timeout_next: state
            .timeout
            .as_ref()
            .map(|timeout| timeout.next.as_str().into()),
    });
    Machine {
        name: machine.name.as_str().into(),
        prefix: machine.key_prefix.as_str().into(),
        initial: machine.initial.as_str().into(),
        keys: keys.iter().sum(),
        refused: *refused_moves,
        states: states.collect(),
    }
}

//! The owner dies, stands still, or hands off, and another goes on.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use soloist::v1;
use soloist::v1::state_client::StateClient;

use crate::clients::request;
use crate::cluster::{Cluster, Plan, connect};
use crate::rounds::{kills_for, operations_and_clients, report, rounds, some_time, spread};
use crate::values::{int, read, write};

#[tokio::test(flavor = "multi_thread")]
async fn killed_owners_lose_nothing() {
    let plan = Plan {
        members: 3,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    let (operations, clients) = operations_and_clients();
    let load = cluster.load(clients, 2);
    let (mut kills, mut replaced) = (Vec::new(), 0);
    let (rounds, kills_for) = (rounds(3) as u64, kills_for());
    let goes_on = |round, now| match kills_for {
        Some(time) => now < time.as_nanos() as u64,
        None => round < rounds,
    };
    for round in 0.. {
        if !goes_on(round, load.now()) {
            break;
        }
        load.reach((operations * round / rounds).min(operations))
            .await;
        // On a machine without time for it an owner may lose its lease, and end. A supervisor starts it again.
        loop {
            replaced += cluster.start_replaced();
            let caught_up = tokio::time::timeout(Duration::from_secs(10), cluster.all_caught_up());
            if caught_up.await.is_ok() {
                break;
            }
        }
        load.go_on(some_time(200..1_000)).await;
        let (owner, shown) = cluster.owner().await;
        kills.push(load.now());
        cluster.nodes[owner].kill();
        cluster.owner_after(shown.epoch).await;
        cluster.nodes[owner].start();
    }
    load.reach(operations).await;
    load.go_on(some_time(200..400)).await;
    let seconds = load.now() / 1_000_000_000;
    let judged = cluster.judge(load).await;
    let gaps = judged.gaps_after(&kills);
    report(
        "killed_owners_lose_nothing",
        json!({"kills": kills.len(), "replaced": replaced, "seconds": seconds, "gaps": spread(gaps), "operations": judged.operations,
               "changes": judged.changes_answered, "keys": judged.keys, "unknown": judged.unknown,
               "replayed": judged.replayed, "watch_breaks": judged.watch_breaks, "failures": judged.failures}),
    );
    assert!(judged.changes_answered > 20 * kills.len(), "{judged:?}");
    assert!(judged.watch_breaks >= kills.len(), "{judged:?}");
}

/// The owner stands still for longer than its ttl, and goes on when another owns the store. What reached it meanwhile, or was
/// sent to it before, is answered by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_shows_and_commits_nothing_when_it_goes_on() {
    let plan = Plan {
        members: 3,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    let load = cluster.load(4, 1);
    let rounds = rounds(1);
    let mut stops = Vec::new();
    for round in 0..rounds as i64 {
        cluster.all_caught_up().await;
        let (owner, shown) = cluster.owner().await;
        let address = cluster.nodes[owner].address;
        let mut old = StateClient::new(connect(address));
        old.write(request(stopped(round, 1))).await.unwrap();
        stops.push(load.now());
        cluster.nodes[owner].signal(Signal::SIGSTOP);
        // Both are in its socket when it goes on.
        let (mut writer, mut reader) = (old.clone(), old.clone());
        let written = tokio::spawn(async move { writer.write(request(stopped(round, 2))).await });
        let read = tokio::spawn(async move { reader.read(request(read_stopped(round))).await });
        let (next, after) = cluster.owner_after(shown.epoch).await;
        let mut new = StateClient::new(connect(cluster.nodes[next].address));
        new.write(request(stopped(round, 3))).await.unwrap();
        cluster.nodes[owner].signal(Signal::SIGCONT);
        let (written, read) = (written.await.unwrap(), read.await.unwrap());
        assert!(written.is_err(), "a deposed owner wrote: {written:?}");
        assert!(read.is_err(), "a deposed owner showed: {read:?}");
        let status = cluster.nodes[owner].ended().await;
        assert_eq!(status.code(), Some(1), "{}", cluster.nodes[owner].log());
        let left = new
            .read(request(read_stopped(round)))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(left.entry.unwrap().value, Some(int(3)));
        assert!(after.epoch > shown.epoch);
        cluster.nodes[owner].start();
    }
    let judged = cluster.judge(load).await;
    let gaps = judged.gaps_after(&stops);
    report(
        "a_stopped_owner_shows_and_commits_nothing_when_it_goes_on",
        json!({"gaps": spread(gaps), "operations": judged.operations, "failures": judged.failures}),
    );
}

/// Standbys are restarted first, the owner last: it hands off. A client that tries again where nothing was applied sees no error.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_call() {
    let plan = Plan {
        members: 3,
        ttl: "5s",
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    let load = cluster.load(4, 2);
    let mut handoffs = Vec::new();
    for _ in 0..rounds(1) {
        let (owner, shown) = cluster.owner().await;
        for node in (0..3).filter(|it| *it != owner) {
            restart(&mut cluster, node).await;
        }
        load.go_on(some_time(100..300)).await;
        let before = load.now();
        cluster.nodes[owner].signal(Signal::SIGTERM);
        cluster.owner_after(shown.epoch).await;
        let after = load.now();
        let status = cluster.nodes[owner].ended().await;
        assert_eq!(status.code(), Some(0), "{}", cluster.nodes[owner].log());
        cluster.nodes[owner].start();
        cluster.all_caught_up().await;
        load.go_on(some_time(100..300)).await;
        handoffs.push((before, after.max(before + 1) + 500_000_000));
    }
    let judged = cluster.judge(load).await;
    let gaps = handoffs
        .iter()
        .map(|(from, until)| judged.longest_gap(*from, *until))
        .collect();
    report(
        "a_rolling_restart_loses_no_call",
        json!({"longest_gaps": spread(gaps), "operations": judged.operations, "failures": judged.failures}),
    );
    assert_eq!(judged.unknown, 0, "{judged:?}");
}

async fn restart(cluster: &mut Cluster, node: usize) {
    cluster.nodes[node].signal(Signal::SIGTERM);
    let status = cluster.nodes[node].ended().await;
    assert_eq!(status.code(), Some(0), "{}", cluster.nodes[node].log());
    cluster.nodes[node].start();
    cluster.all_caught_up().await;
}

fn stopped(round: i64, number: i64) -> v1::WriteRequest {
    write(format!("stopped/{round}"), int(number))
}

fn read_stopped(round: i64) -> v1::ReadRequest {
    read(format!("stopped/{round}"))
}

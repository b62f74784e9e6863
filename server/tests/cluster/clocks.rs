//! Nodes whose clocks are wrong by an hour take over: nothing that has a time to live ends early.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use soloist::v1;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::write_request::Lifetime;
use tonic::{Response, Status};

use crate::clients::{Nodes, request};
use crate::cluster::{Cluster, PATIENCE, Plan};
use crate::values::{int, read, write};

const TTL: Duration = Duration::from_secs(4);

/// The library that lies to a process about the time; `./test --tools` installs it.
fn libfaketime() -> PathBuf {
    let tools = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.tools/libfaketime/usr/lib"
    ));
    let folders = std::fs::read_dir(&tools)
        .unwrap_or_else(|_| panic!("this test needs libfaketime: run ./test --tools once"));
    let library = folders
        .map(|it| it.unwrap().path().join("faketime/libfaketime.so.1"))
        .find(|it| it.exists());
    library.expect("libfaketime is there")
}

/// The variables of a process whose clock is off.
fn wrong_clock(offset: &str) -> Vec<(String, String)> {
    let library = libfaketime();
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    variables
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// It has seen no change come when it takes over: only the owner can have told it the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_while_nothing_changes_is_told_the_time() {
    let mut cluster = Cluster::prepare(&Plan {
        nodes: 2,
        ..Plan::default()
    })
    .await;
    cluster.nodes[1].environment = wrong_clock("+1h");
    cluster.nodes[0].start();
    cluster.owner().await;
    let addresses: Vec<_> = cluster.nodes.iter().map(|it| it.address).collect();
    let mut nodes = Nodes::new(&addresses);
    // It ends later than the test, and earlier than the clock says that it is.
    let timed = v1::WriteRequest {
        lifetime: Some(Lifetime::Ttl(
            Duration::from_secs(1_800).try_into().unwrap(),
        )),
        ..write("timed", int(1))
    };
    call(&mut nodes, async |nodes| {
        let mut state = StateClient::new(nodes.channel());
        state.write(request(timed.clone())).await
    })
    .await;
    let (_, before) = cluster.owner().await;
    let records = ["get", "--prefix", "/soloist/test/l/", "--keys-only"];
    let records = cluster.etcd.ctl(&records).await;
    // The first key is no record.
    let last = records.lines().filter(|it| !it.is_empty()).count() as i64 - 1;
    cluster.nodes[1].start();
    let began = Instant::now();
    while (cluster.nodes[1].shown().await).is_none_or(|shown| shown.seq <= last) {
        assert!(
            began.elapsed() < PATIENCE,
            "nothing tells it the time: {}",
            cluster.logs()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.nodes[0].kill();
    cluster.owner_after(before.epoch).await;
    let answer = call(&mut nodes, async |nodes| {
        let mut state = StateClient::new(nodes.channel());
        state.read(request(read("timed"))).await
    });
    assert!(answer.await.entry.is_some(), "{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_ends_nothing_early() {
    let mut cluster = Cluster::prepare(&Plan::default()).await;
    for (node, offset) in [(1, "+1h"), (2, "-1h")] {
        cluster.nodes[node].environment = wrong_clock(offset);
    }
    cluster.nodes[0].start();
    cluster.owner().await;
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    let addresses: Vec<_> = cluster.nodes.iter().map(|it| it.address).collect();
    let mut nodes = Nodes::new(&addresses);
    // The first takeover is by a clock that is wrong, and so is the second, by the other one.
    for round in 0..2 {
        cluster.all_caught_up().await;
        let began = Instant::now();
        let keys = write_all(&mut nodes, round).await;
        let (owner, shown) = cluster.owner().await;
        cluster.nodes[owner].kill();
        let (next, _) = cluster.owner_after(shown.epoch).await;
        assert_ne!(next, 0, "{}", cluster.logs());
        for key in keys {
            loop {
                let asked = Instant::now();
                let is_there = call(&mut nodes, async |nodes| {
                    StateClient::new(nodes.channel())
                        .read(request(read(&key)))
                        .await
                })
                .await
                .entry
                .is_some();
                let age = began.elapsed();
                if !is_there {
                    assert!(
                        age >= TTL,
                        "{key:?} has ended after {age:?}: {}",
                        cluster.logs()
                    );
                    break;
                }
                assert!(
                    asked - began < 10 * TTL,
                    "{key:?} does not end: {}",
                    cluster.logs()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Writes a key with a ttl, and one that ends with a session. Returns their names.
async fn write_all(nodes: &mut Nodes, round: i64) -> [String; 2] {
    let id = format!("session-{round}");
    let open = v1::OpenSessionRequest {
        id: id.clone(),
        ttl: Some(TTL.try_into().unwrap()),
        ..v1::OpenSessionRequest::default()
    };
    call(nodes, async |nodes| {
        SessionsClient::new(nodes.channel())
            .open_session(request(open.clone()))
            .await
    })
    .await;
    let keys = [format!("timed/{round}"), format!("owned/{round}")];
    let lifetimes = [
        Lifetime::Ttl(TTL.try_into().unwrap()),
        Lifetime::Session(id),
    ];
    for (key, lifetime) in keys.iter().zip(lifetimes) {
        let key = v1::WriteRequest {
            lifetime: Some(lifetime),
            ..write(key, int(round))
        };
        call(nodes, async |nodes| {
            StateClient::new(nodes.channel())
                .write(request(key.clone()))
                .await
        })
        .await;
    }
    keys
}

/// Makes a call at one node after the other until it is answered.
async fn call<T>(
    nodes: &mut Nodes,
    send: impl AsyncFn(&Nodes) -> Result<Response<T>, Status>,
) -> T {
    loop {
        match send(nodes).await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => {
                nodes.go_on(&status);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

//! An owner dies while it puts a large record into etcd, part by part: what was in it is there whole or not at all.

use std::time::{Duration, Instant};

use serde_json::json;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, op, value};
use soloist_etcd::{Etcd, Get, KeyRange};
use tokio::task::JoinSet;
use tonic::Status;

use crate::clients::{failure, request};
use crate::cluster::{Cluster, PATIENCE, Plan, connect};
use crate::link::Mode;
use crate::rounds::{report, rounds};
use crate::values::{bytes, read, write};

/// Two values of this size are a change of nearly 2 MiB, which is the most that a call may have.
const VALUE_BYTES: usize = 1_048_000;
/// As many such changes may wait for etcd, in one record: the limit is 32 MiB, and one more waits already.
const FLIGHT: u64 = 15;

fn key(writer: u64, half: u64) -> String {
    format!("flight/{writer}/{half}")
}

/// A change of both keys of a writer.
fn pair(writer: u64, number: u64) -> v1::BatchRequest {
    let value = bytes(number.to_be_bytes().repeat(VALUE_BYTES / 8));
    let op = |half| v1::Op {
        op: Some(op::Op::Write(write(key(writer, half), value.clone()))),
    };
    v1::BatchRequest {
        ops: vec![op(0), op(1)],
        request_id: String::new(),
    }
}

/// The parts in etcd of a record that is not there (yet): its number, and how many there are.
async fn unfinished(etcd: &Etcd) -> (u64, usize) {
    let keys = |prefix: &str| Get {
        keys_only: true,
        ..Get::range(KeyRange::Prefix(prefix.to_owned().into()))
    };
    let parts = etcd.get(&keys("/soloist/test/p/")).await.unwrap().kvs;
    let number = |key: &[u8]| {
        let text = std::str::from_utf8(key).unwrap();
        u64::from_str_radix(text.split('/').nth(4).unwrap(), 16).unwrap()
    };
    let Some(last) = parts.iter().map(|it| number(&it.key)).max() else {
        return (0, 0);
    };
    let record = Get::one(format!("/soloist/test/l/{last:016x}"));
    if !etcd.get(&record).await.unwrap().kvs.is_empty() {
        return (last, 0);
    }
    let of_last = parts.iter().filter(|it| number(&it.key) == last);
    (last, of_last.count())
}

/// Has writers change their keys, kills the owner when a record has `parts` parts in etcd, and looks at what is there afterwards.
/// Returns how many parts the owner has left behind, of a record that is not there.
async fn kill_between_parts(
    cluster: &mut Cluster,
    writers: u64,
    parts: usize,
    number: u64,
) -> usize {
    cluster.all_caught_up().await;
    let etcd = cluster.etcd.client();
    let (owner, shown) = cluster.owner().await;
    // Slow enough that parts can be seen to come, and that each comes before its request is given up: four are under way at once.
    let pause = Duration::from_millis(if writers == 1 { 20 } else { 5 });
    cluster.nodes[owner].to_etcd(None, Mode::Slow(pause));
    let address = cluster.nodes[owner].address;
    let mut calls = JoinSet::new();
    for writer in 0..writers {
        calls.spawn(async move {
            let mut state = StateClient::new(connect(address));
            (writer, state.batch(request(pair(writer, number))).await)
        });
    }
    let mut failed = Vec::new();
    let mut note = |(writer, ended): (u64, Result<_, Status>)| {
        if let Err(status) = ended {
            failure(&status, true).unwrap();
            failed.push(writer);
        }
    };
    let began = Instant::now();
    while unfinished(&etcd).await.1 < parts {
        // All came through before they were seen: another try.
        if calls.is_empty() || began.elapsed() > PATIENCE {
            break;
        }
        while let Some(ended) = calls.try_join_next() {
            note(ended.unwrap());
        }
    }
    cluster.nodes[owner].kill();
    let (seq, mut left) = unfinished(&etcd).await;
    while let Some(ended) = calls.join_next().await {
        note(ended.unwrap());
    }
    cluster.nodes[owner].to_etcd(None, Mode::Pass);
    let (next, _) = cluster.owner_after(shown.epoch).await;
    cluster.nodes[owner].start();
    let mut state = StateClient::new(connect(cluster.nodes[next].address));
    for writer in 0..writers {
        let mut halves = Vec::new();
        for half in 0..2 {
            let answer = state.read(request(read(key(writer, half)))).await.unwrap();
            let kind = answer.into_inner().entry.and_then(|it| it.value);
            halves.push(match kind.and_then(|it| it.kind) {
                None => 0,
                Some(value::Kind::Bytes(bytes)) => {
                    let number = u64::from_be_bytes(*bytes.first_chunk().unwrap());
                    let is_whole = bytes == number.to_be_bytes().repeat(VALUE_BYTES / 8);
                    assert!(is_whole, "a torn value of {number}: {}", cluster.logs());
                    number
                }
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(halves[0], halves[1], "half a change: {}", cluster.logs());
        let is_new = halves[0] == number;
        assert!(
            is_new || failed.contains(&writer),
            "{writer} was answered, and is not there: record {seq}: {}",
            cluster.logs()
        );
        // What names the parts was under way to etcd, and came there whole.
        if is_new && failed.contains(&writer) {
            left = 0;
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_owner_dies_between_its_parts_is_not_there() {
    let plan = Plan {
        has_links: true,
        ttl: "5s",
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    let (mut frames, mut flights) = (Vec::new(), Vec::new());
    let mut number = 0;
    let is_seen = |left: &[usize]| left.iter().any(|it| *it > 0);
    // It may take some tries until an owner dies between parts.
    for round in 0..rounds(1) + 9 {
        if round >= rounds(1) && (is_seen(&frames) || is_seen(&flights)) {
            break;
        }
        number += 1;
        frames.push(kill_between_parts(&mut cluster, 1, 1, number).await);
        number += 1;
        let parts = rand::random_range(3..20);
        flights.push(kill_between_parts(&mut cluster, FLIGHT, parts, number).await);
    }
    report(
        "a_record_whose_owner_dies_between_its_parts_is_not_there",
        json!({"parts_left_of_a_change_of_2_mib": frames, "parts_left_of_a_flight_of_32_mib": flights}),
    );
    assert!(
        is_seen(&frames) || is_seen(&flights),
        "no owner died between parts: {frames:?} {flights:?}"
    );
}

//! Changes that are larger than what etcd takes at once: they go there in parts, and are there whole or not at all.

use std::time::Duration;

use soloist::v1::state_client::StateClient;
use soloist::v1::{self, op, value};
use tokio::sync::watch;

use crate::clients::{Nodes, failure, request};
use crate::cluster::{Cluster, Plan};
use crate::rounds::{rounds, some_time};
use crate::values::{bytes, read, write};

const VALUE_BYTES: usize = 1_000_000;
const WRITERS: u64 = 6;

fn key(writer: u64, half: u64) -> String {
    format!("large/{writer}/{half}")
}

/// Writes both keys of a writer again and again, both at once. Returns the last number that was answered, and the last one that was
/// sent.
async fn write_pairs(writer: u64, mut nodes: Nodes, stop: watch::Receiver<bool>) -> (u64, u64) {
    let (mut answered, mut sent) = (0, 0_u64);
    while !*stop.borrow() {
        sent += 1;
        let value = bytes(sent.to_be_bytes().repeat(VALUE_BYTES / 8));
        let op = |half| v1::Op {
            op: Some(op::Op::Write(write(key(writer, half), value.clone()))),
        };
        let batch = v1::BatchRequest {
            ops: vec![op(0), op(1)],
            request_id: String::new(),
        };
        match StateClient::new(nodes.channel())
            .batch(request(batch))
            .await
        {
            Ok(_) => answered = sent,
            Err(status) => {
                failure(&status, true).unwrap();
                nodes.go_on(&status);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    (answered, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_etcd_in_parts_is_whole_or_not_there() {
    let mut cluster = Cluster::start(Plan::default()).await;
    let addresses: Vec<_> = cluster.nodes.iter().map(|it| it.address).collect();
    let stop = watch::Sender::new(false);
    let writer = |number| {
        tokio::spawn(write_pairs(
            number,
            Nodes::new(&addresses),
            stop.subscribe(),
        ))
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    for _ in 0..rounds(2) {
        cluster.all_caught_up().await;
        tokio::time::sleep(some_time(200..800)).await;
        let (owner, shown) = cluster.owner().await;
        cluster.nodes[owner].kill();
        cluster.owner_after(shown.epoch).await;
        cluster.nodes[owner].start();
    }
    tokio::time::sleep(some_time(200..400)).await;
    stop.send_replace(true);
    let mut ends = Vec::new();
    for writer in writers {
        ends.push(writer.await.unwrap());
    }
    let (owner, _) = cluster.owner().await;
    let mut state = StateClient::new(Nodes::new(&[addresses[owner]]).channel());
    for (writer, (answered, sent)) in (0..).zip(ends) {
        let mut halves = Vec::new();
        for half in 0..2 {
            let answer = state.read(request(read(key(writer, half)))).await.unwrap();
            let kind = answer
                .into_inner()
                .entry
                .and_then(|it| it.value)
                .and_then(|it| it.kind);
            let Some(value::Kind::Bytes(bytes)) = kind else {
                panic!("{kind:?}: {}", cluster.logs());
            };
            let number = u64::from_be_bytes(*bytes.first_chunk().unwrap());
            assert!(
                bytes == number.to_be_bytes().repeat(VALUE_BYTES / 8),
                "a torn value of {number}"
            );
            halves.push(number);
        }
        assert_eq!(halves[0], halves[1], "half a batch: {}", cluster.logs());
        assert!(
            (answered..=sent).contains(&halves[0]),
            "{answered} was answered, {halves:?} is there"
        );
        assert!(answered > 0);
    }
}

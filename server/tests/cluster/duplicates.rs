//! Requests that etcd gets a second time, late: to the same owner, after its log was cut, and after another has taken its place.

use serde_json::json;
use soloist::v1::state_client::StateClient;
use soloist_etcd::{Get, KeyRange};

use crate::clients::{Nodes, request};
use crate::cluster::{Cluster, Node, Plan};
use crate::link::SentAgain;
use crate::rounds::{is_long, report, rounds, some_time};
use crate::values::{bytes, write};

async fn send_again(cluster: &Cluster) -> SentAgain {
    let mut sent = SentAgain::default();
    for node in &cluster.nodes {
        sent += node.send_again().await;
    }
    sent
}

/// Makes the log so long that the owner makes a snapshot and cuts the log.
async fn cut_log(cluster: &Cluster) {
    let etcd = cluster.etcd.client();
    let first = Get {
        limit: 1,
        keys_only: true,
        ..Get::range(KeyRange::Prefix("/soloist/test/l/".into()))
    };
    let first = async || etcd.get(&first).await.unwrap().kvs.remove(0).key;
    let before = first().await;
    let addresses: Vec<_> = cluster.nodes.iter().map(|it| it.address).collect();
    let mut nodes = Nodes::new(&addresses);
    // Small enough for a connection without the other side's leave to send more: what is sent again does not wait for it.
    let large = || write("large", bytes(vec![7; 40_000]));
    while first().await == before {
        for _ in 0..50 {
            let mut state = StateClient::new(nodes.channel());
            if let Err(status) = state.write(request(large())).await {
                nodes.go_on(&status);
            }
        }
    }
}

/// The records of the log are numbered without a gap: none was put where it was removed.
async fn assert_log_has_no_gap(cluster: &Cluster) {
    let records = Get {
        keys_only: true,
        ..Get::range(KeyRange::Prefix("/soloist/test/l/".into()))
    };
    let found = cluster.etcd.client().get(&records).await.unwrap();
    let number = |key: &[u8]| {
        let text = std::str::from_utf8(key).unwrap();
        u64::from_str_radix(text.rsplit('/').next().unwrap(), 16).unwrap()
    };
    let numbers: Vec<u64> = found.kvs.iter().map(|it| number(&it.key)).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[0] + 1, pair[1], "{}", cluster.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_again_late_change_nothing() {
    let plan = Plan {
        members: 3,
        has_links: true,
        ..Plan::default()
    };
    let mut cluster = Cluster::prepare(&plan).await;
    for node in &mut cluster.nodes {
        node.keep_requests();
        node.start();
    }
    cluster.owner().await;
    let load = cluster.load(4, 1);
    let (mut to_owner, mut to_next) = (SentAgain::default(), SentAgain::default());
    for _ in 0..rounds(1) {
        cluster.all_caught_up().await;
        load.go_on(some_time(300..600)).await;
        if is_long() {
            cut_log(&cluster).await;
        }
        let (owner, shown) = cluster.owner().await;
        to_owner += send_again(&cluster).await;
        let (_, still) = cluster.owner().await;
        assert_eq!(still.epoch, shown.epoch, "{}", cluster.logs());
        cluster.nodes[owner].kill();
        cluster.owner_after(shown.epoch).await;
        to_next += send_again(&cluster).await;
        // Otherwise each round would take longer than the one before.
        cluster.nodes.iter().for_each(Node::forget_ended);
        cluster.nodes[owner].start();
    }
    load.go_on(some_time(100..200)).await;
    let judged = cluster.judge(load).await;
    assert_log_has_no_gap(&cluster).await;
    report(
        "requests_that_come_again_late_change_nothing",
        json!({"to_the_same_owner": to_owner.answered, "after_a_takeover": to_next.answered,
               "operations": judged.operations, "unknown": judged.unknown, "failures": judged.failures}),
    );
    for sent in [to_owner, to_next] {
        assert!(sent.answered > 100, "{sent:?}: {}", cluster.logs());
    }
}

//! Clusters whose format is another than that of the program, and nodes with an older program.

use prost::Message as _;
use soloist_etcd::{Get, Op, Txn};

use crate::cluster::{Cluster, Plan};
use crate::rounds::{report, rounds, some_time};

/// As in `server/proto/cluster.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct ClusterRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    store_id: String,
}

const KEY: &str = "/soloist/test/c";

/// What a program of tomorrow does to a cluster.
async fn raise_format(cluster: &Cluster) -> u32 {
    let etcd = cluster.etcd.client();
    let found = etcd.get(&Get::one(KEY)).await.unwrap().kvs.remove(0);
    let mut record = ClusterRecord::decode(&*found.value).unwrap();
    record.format += 1;
    let put = Op::Put {
        key: KEY.into(),
        value: record.encode_to_vec().into(),
        lease: 0,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    etcd.txn(&txn).await.unwrap();
    record.format
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_read_the_format_ends_and_says_so() {
    let mut cluster = Cluster::start(Plan::default()).await;
    cluster.all_caught_up().await;
    let (code, output) = cluster.command(&["cluster", "upgrade"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("the format stays 1"), "{output}");
    let format = raise_format(&cluster).await;
    let (owner, _) = cluster.owner().await;
    let standby = (owner + 1) % 3;
    cluster.nodes[standby].kill();
    cluster.nodes[standby].start();
    let status = cluster.nodes[standby].ended().await;
    let log = cluster.nodes[standby].log();
    let told = format!("the cluster has format {format}, but this server reads formats 1 to 1");
    assert!(!status.success() && log.contains(&told), "{log}");
    let (code, output) = cluster.command(&["cluster", "status"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("format {format}")), "{output}");
}

/// A program that SOLOIST_TEST_OLD_SERVER names, such as that of the last release, is replaced node by node, and comes back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an older program: see docs/cluster.md"]
async fn programs_are_replaced_node_by_node() {
    let old = std::env::var("SOLOIST_TEST_OLD_SERVER").expect("SOLOIST_TEST_OLD_SERVER");
    let plan = Plan {
        members: 3,
        ttl: "5s",
        ..Plan::default()
    };
    let mut cluster = Cluster::prepare(&plan).await;
    let new = cluster.nodes[0].binary.clone();
    for node in &mut cluster.nodes {
        node.binary = old.clone();
        node.start();
    }
    cluster.owner().await;
    let load = cluster.load(4, 2);
    let mut replaced = 0;
    for round in 0..rounds(2) {
        let program = if round % 2 == 0 { &new } else { &old };
        let (owner, shown) = cluster.owner().await;
        for node in [(owner + 1) % 3, (owner + 2) % 3, owner] {
            cluster.all_caught_up().await;
            load.go_on(some_time(100..300)).await;
            cluster.nodes[node].signal(nix::sys::signal::Signal::SIGTERM);
            let status = cluster.nodes[node].ended().await;
            assert_eq!(status.code(), Some(0), "{}", cluster.nodes[node].log());
            if node == owner {
                cluster.owner_after(shown.epoch).await;
            }
            cluster.nodes[node].binary = program.clone();
            cluster.nodes[node].start();
            replaced += 1;
        }
        cluster.all_caught_up().await;
        let (code, output) = cluster.command(&["cluster", "upgrade"]).await;
        assert_eq!(code, Some(0), "{output}");
    }
    let judged = cluster.judge(load).await;
    report(
        "programs_are_replaced_node_by_node",
        serde_json::json!({"replaced": replaced, "operations": judged.operations, "unknown": judged.unknown,
                           "failures": judged.failures}),
    );
    assert_eq!(judged.unknown, 0, "{judged:?}");
}

//! What each node answers, and the commands of an operator.

use soloist::v1::node::Role;
use soloist::v1::state_client::StateClient;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::clients::request;
use crate::cluster::{Cluster, Plan, connect};
use crate::values::{int, read, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_sends_calls_on_or_names_the_owner() {
    let cluster = Cluster::start(Plan::default()).await;
    cluster.all_caught_up().await;
    let (owner, shown) = cluster.owner().await;
    for standby in (0..3).filter(|it| *it != owner) {
        let it = cluster.nodes[standby].shown().await.unwrap();
        assert_eq!(
            (it.role(), it.node.as_str()),
            (Role::Standby, cluster.nodes[standby].name.as_str())
        );
        assert_eq!(
            (it.owner.as_str(), it.epoch),
            (cluster.nodes[owner].name.as_str(), shown.epoch)
        );
        let mut state = StateClient::new(connect(cluster.nodes[standby].address));
        let value = standby as i64;
        state.write(write("k", int(value))).await.unwrap();
        let seen = state.read(read("k")).await.unwrap().into_inner();
        assert_eq!(seen.entry.unwrap().value, Some(int(value)));
        let refused = state.write(request(write("k", int(9)))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, "NOT_OWNER");
        assert_eq!(
            info.metadata["owner"],
            cluster.nodes[owner].address.to_string()
        );
        assert_eq!(info.metadata["owner_node"], cluster.nodes[owner].name);
        assert_eq!(info.metadata["epoch"], shown.epoch.to_string());
    }
    assert_eq!(shown.node, shown.owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_hands_the_store_to_a_node() {
    let mut cluster = Cluster::start(Plan::default()).await;
    let load = cluster.load(2, 1);
    for _ in 0..2 {
        cluster.all_caught_up().await;
        let (owner, shown) = cluster.owner().await;
        let to = (owner + 1) % 3;
        let name = cluster.nodes[to].name.clone();
        let (code, output) = cluster
            .command(&["cluster", "handoff", "--to", &name])
            .await;
        assert_eq!(code, Some(0), "{output}: {}", cluster.logs());
        let (next, _) = cluster.owner_after(shown.epoch).await;
        assert_eq!(next, to, "{}", cluster.logs());
        cluster.nodes[owner].ended().await;
        cluster.nodes[owner].start();
    }
    cluster.all_caught_up().await;
    let (code, output) = cluster.command(&["cluster", "status"]).await;
    assert_eq!(code, Some(0), "{output}");
    for node in &cluster.nodes {
        assert!(output.contains(&node.address.to_string()), "{output}");
    }
    let judged = cluster.judge(load).await;
    assert_eq!(judged.unknown, 0, "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_through_a_standby_is_restored_into_another_cluster() {
    let cluster = Cluster::start(Plan::default()).await;
    cluster.all_caught_up().await;
    let (owner, _) = cluster.owner().await;
    let mut state = StateClient::new(connect(cluster.nodes[owner].address));
    for number in 0..50 {
        state
            .write(request(write(format!("k/{number}"), int(number))))
            .await
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.backup");
    let file = file.to_str().unwrap();
    let standby = cluster.nodes[(owner + 1) % 3].address.to_string();
    let (code, output) = crate::cluster::run(&["backup", "--from", &standby, "--to", file]).await;
    assert_eq!(code, Some(0), "{output}");
    let etcd = cluster.etcd_urls();
    let restore = ["restore", "--from", file, "--etcd", &etcd, "--cluster"];
    let (code, output) = crate::cluster::run(&[&restore[..], &["test"]].concat()).await;
    assert_ne!(
        code,
        Some(0),
        "a restore into a cluster that is there: {output}"
    );
    let (code, output) = crate::cluster::run(&[&restore[..], &["restored"]].concat()).await;
    assert_eq!(code, Some(0), "{output}");

    let mut restored = cluster.another("restored").await;
    restored.start();
    let mut state = StateClient::new(connect(restored.address));
    while restored
        .shown()
        .await
        .is_none_or(|it| it.role() != Role::Owner)
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for number in 0..50 {
        let seen = state
            .read(Request::new(read(format!("k/{number}"))))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(seen.entry.unwrap().value, Some(int(number)));
    }
}

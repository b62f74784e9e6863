//! One node, whose log is in etcd.

use soloist::v1::GetInfoRequest;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;

use crate::clients::{Nodes, request};
use crate::cluster::{Cluster, Plan, connect};
use crate::etcd::Etcd;
use crate::rounds::{report, rounds, some_time};
use crate::values::{int, read, write};

fn one_node() -> Plan<'static> {
    Plan {
        nodes: 1,
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_answered_is_there_after_kills() {
    let mut cluster = Cluster::start(one_node()).await;
    let load = cluster.load(8, 1);
    let rounds = rounds(3);
    for _ in 0..rounds {
        load.go_on(some_time(100..500)).await;
        let (_, shown) = cluster.owner().await;
        cluster.nodes[0].kill();
        cluster.nodes[0].start();
        cluster.owner_after(shown.epoch).await;
    }
    load.go_on(some_time(100..200)).await;
    let judged = cluster.judge(load).await;
    report(
        "what_one_node_answered_is_there_after_kills",
        serde_json::json!({"operations": judged.operations, "unknown": judged.unknown, "replayed": judged.replayed}),
    );
    assert!(judged.changes_answered > 20 * rounds, "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_the_same_after_a_restart() {
    let mut cluster = Cluster::start(one_node()).await;
    let connection = connect(cluster.nodes[0].address);
    let mut state = StateClient::new(connection.clone());
    let written = state
        .write(request(write("k", int(1))))
        .await
        .unwrap()
        .into_inner();
    let mut admin = AdminClient::new(connection);
    let before = admin
        .get_info(GetInfoRequest {})
        .await
        .unwrap()
        .into_inner();

    let (_, shown) = cluster.owner().await;
    cluster.nodes[0].signal(nix::sys::signal::Signal::SIGTERM);
    let status = cluster.nodes[0].ended().await;
    assert_eq!(status.code(), Some(0), "{}", cluster.nodes[0].log());
    cluster.nodes[0].start();
    cluster.owner_after(shown.epoch).await;
    let answer = state.read(request(read("k"))).await.unwrap().into_inner();
    let entry = answer.entry.unwrap();
    assert_eq!(
        (entry.value, entry.revision),
        (Some(int(1)), written.revision)
    );
    let after = admin
        .get_info(GetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after.store_id, before.store_id);
    assert!(after.epoch > before.epoch, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_too_old_is_refused_unless_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let old = Etcd::start_old(folder.path()).await;
    let mut cluster = Cluster::of(&one_node(), old).await;
    cluster.nodes[0].start();
    let status = cluster.nodes[0].ended().await;
    let log = cluster.nodes[0].log();
    assert!(!status.success(), "{log}");
    assert!(log.contains("3.5.1") && log.contains("3.5.28"), "{log}");
    cluster.nodes[0].add_argument("--etcd-any-version");
    cluster.nodes[0].start();
    cluster.owner().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_only_use_the_keys_of_the_cluster_will_do_if_versions_do_not_matter() {
    let mut cluster = Cluster::prepare(&Plan {
        arguments: &["--etcd-user", "soloist"],
        etcd_arguments: &["--bcrypt-cost", "4"],
        ..one_node()
    })
    .await;
    let rights: [&[&str]; 3] = [
        &["role", "add", "keys"],
        &[
            "role",
            "grant-permission",
            "keys",
            "--prefix=true",
            "readwrite",
            "/soloist/test/",
        ],
        &["user", "grant-role", "soloist", "keys"],
    ];
    cluster.etcd.enable_passwords(&rights).await;
    let node = &mut cluster.nodes[0];
    node.environment = vec![("SOLOIST_ETCD_PASSWORD".into(), "pass:word".into())];
    node.start();
    let status = node.ended().await;
    let log = node.log();
    assert!(!status.success(), "{log}");
    for part in ["permission denied", "role root", "--etcd-any-version"] {
        assert!(log.contains(part), "{log}");
    }
    node.add_argument("--etcd-any-version");
    node.start();
    cluster.owner().await;
    let mut state = StateClient::new(connect(cluster.nodes[0].address));
    state.write(request(write("k", int(1)))).await.unwrap();
    let (_, shown) = cluster.owner().await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.owner_after(shown.epoch).await;
    let answer = state.read(request(read("k"))).await.unwrap().into_inner();
    assert_eq!(answer.entry.unwrap().value, Some(int(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_logs_in_to_etcd() {
    let mut cluster = Cluster::prepare(&Plan {
        arguments: &["--etcd-user", "soloist"],
        // A password takes etcd longer to look at than any other request may take.
        etcd_arguments: &["--bcrypt-cost", "13"],
        ..one_node()
    })
    .await;
    let rights: &[&str] = &["user", "grant-role", "soloist", "root"];
    cluster.etcd.enable_passwords(&[rights]).await;
    let node = &mut cluster.nodes[0];
    node.environment = vec![("SOLOIST_ETCD_PASSWORD".into(), "wrong".into())];
    node.start();
    let status = node.ended().await;
    assert!(
        !status.success() && node.log().contains("authentication failed"),
        "{}",
        node.log()
    );
    node.environment = vec![("SOLOIST_ETCD_PASSWORD".into(), "pass:word".into())];
    node.start();
    cluster.owner().await;
    let mut nodes = Nodes::new(&[cluster.nodes[0].address]);
    let mut state = StateClient::new(nodes.channel());
    if let Err(status) = state.write(request(write("k", int(1)))).await {
        nodes.go_on(&status);
        panic!("{status:?}: {}", cluster.logs());
    }
}

//! Nodes that log in to etcd, by certificates and by a password.

use std::path::Path;
use std::time::Instant;

use crate::certificates::Certificates;
use crate::cluster::{Cluster, PATIENCE, Plan};
use crate::etcd::Etcd;

/// What the user of the nodes may do: as docs/cluster.md says.
const RIGHTS: &[&[&str]] = &[&["user", "grant-role", "soloist", "root"]];

/// Three nodes that show these certificates, and log in as `soloist`.
async fn cluster_of(
    folder: &Path,
    members: usize,
    trusted: &Certificates,
    shown: &Certificates,
) -> Cluster {
    let etcd = Etcd::start_with_tls(folder, members, shown).await;
    let arguments = [
        "--etcd-ca",
        &trusted.ca(),
        "--etcd-cert",
        &shown.certificate(),
        "--etcd-key",
        &shown.key(),
        "--etcd-user",
        "soloist",
    ];
    let plan = Plan {
        arguments: &arguments,
        ..Plan::default()
    };
    let mut cluster = Cluster::of(&plan, etcd).await;
    cluster.etcd.enable_passwords(RIGHTS).await;
    set_password(&mut cluster, "pass:word");
    cluster
}

fn set_password(cluster: &mut Cluster, password: &str) {
    for node in &mut cluster.nodes {
        node.environment = vec![("SOLOIST_ETCD_PASSWORD".into(), password.into())];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_and_a_password_a_standby_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "ours");
    let mut cluster = cluster_of(folder.path(), 3, &certificates, &certificates).await;
    set_password(&mut cluster, "wrong");
    cluster.nodes[0].start();
    let status = cluster.nodes[0].ended().await;
    let log = cluster.nodes[0].log();
    assert!(!status.success(), "{log}");
    assert!(
        log.contains("etcd does not let this server in")
            && log.contains("invalid user ID or password"),
        "{log}"
    );

    set_password(&mut cluster, "pass:word");
    cluster.nodes.iter_mut().for_each(|node| node.start());
    let (owner, shown) = cluster.owner().await;
    cluster.all_caught_up().await;
    let load = cluster.load(4, 1);
    load.reach(100).await;
    cluster.nodes[owner].kill();
    let (next, _) = cluster.owner_after(shown.epoch).await;
    assert_ne!(next, owner, "{}", cluster.logs());
    load.reach(load.made() + 100).await;
    cluster.judge(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_of_another_authority_is_named_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "ours");
    let others = Certificates::new(folder.path(), "theirs");
    let mut cluster = cluster_of(folder.path(), 1, &others, &certificates).await;
    let node = &mut cluster.nodes[0];
    node.start();
    let began = Instant::now();
    while !node.log().contains("comes from a CA that is not trusted") {
        assert!(began.elapsed() < PATIENCE, "{}", node.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

//! etcd has no room left: changes are refused, what is there is shown, and what the log prints helps.

use std::process::Stdio;
use std::time::Duration;

use soloist::v1::state_client::StateClient;
use tokio::process::Command;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::clients::request;
use crate::cluster::{Cluster, PATIENCE, Plan, connect};
use crate::etcd::program;
use crate::values::{bytes, int, read, write};

const QUOTA: &str = "33554432";

fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(String::new, |it| it.reason)
}

/// Somebody else fills etcd until it takes nothing more. (Its own log would be made shorter first.)
async fn fill(cluster: &Cluster) {
    let value = "x".repeat(1 << 20);
    for number in 0.. {
        let endpoint = format!("http://{}", cluster.etcd.members[0].address);
        let mut put = Command::new(program("etcdctl"))
            .args([
                "--endpoints",
                &endpoint,
                "put",
                &format!("/filler/{number}"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = put.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, value.as_bytes())
            .await
            .unwrap();
        drop(stdin);
        if !put.wait().await.unwrap().success() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_changes_are_refused_and_what_the_log_prints_helps() {
    let plan = Plan {
        etcd_arguments: &["--quota-backend-bytes", QUOTA],
        ..Plan::default()
    };
    let cluster = Cluster::start(plan).await;
    let (owner, shown) = cluster.owner().await;
    let mut state = StateClient::new(connect(cluster.nodes[owner].address));
    state.write(request(write("k", int(1)))).await.unwrap();
    fill(&cluster).await;
    // Small changes are refused as soon as one was not taken.
    let refused = loop {
        let value = bytes(vec![7; 100_000]);
        match state.write(request(write("large", value))).await {
            Ok(_) => {}
            Err(status) if reason(&status) == "STORE_FULL" => break status,
            Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}"),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let answer = state.read(request(read("k"))).await.unwrap().into_inner();
    assert_eq!(answer.entry.unwrap().value, Some(int(1)));

    cluster.etcd.ctl(&["del", "--prefix", "/filler/"]).await;
    recover_as_printed(&cluster, owner).await;
    let began = std::time::Instant::now();
    while let Err(status) = state.write(request(write("k", int(2)))).await {
        assert!(began.elapsed() < PATIENCE, "{status:?}: {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, after) = cluster.owner().await;
    assert_eq!(after.epoch, shown.epoch, "{}", cluster.logs());
}

/// Runs the commands of etcdctl that the owner's log has.
async fn recover_as_printed(cluster: &Cluster, owner: usize) {
    let log = cluster.nodes[owner].whole_log();
    let commands: Vec<&str> = log
        .split("etcdctl ")
        .skip(1)
        .map(|it| it.split(['`', '"', ';', '\n', '\\']).next().unwrap().trim())
        .collect();
    assert!(commands.iter().any(|it| it.contains("defrag")), "{log}");
    assert!(
        commands.iter().any(|it| it.contains("alarm disarm")),
        "{log}"
    );
    for command in ["defrag", "alarm disarm"] {
        let printed = commands.iter().find(|it| it.contains(command)).unwrap();
        let words: Vec<&str> = printed.split_whitespace().collect();
        cluster.etcd.ctl(&words).await;
    }
}

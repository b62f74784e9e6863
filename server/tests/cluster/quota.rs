//! etcd has no room left: changes are refused, what is there is shown, and what the log prints helps.

use std::time::Duration;

use serde_json::json;
use soloist::v1;
use soloist::v1::state_client::StateClient;
use soloist_etcd::{ErrorKind, Etcd, Get, Op, Txn};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::clients::request;
use crate::cluster::{Cluster, PATIENCE, Plan, connect};
use crate::rounds::report;
use crate::values::{bytes, int, read, write};

const MIB: u64 = 1 << 20;
const QUOTA: &str = "33554432";
/// The smallest quota that a store of 8 MiB may have, and a little more.
const LARGER_QUOTA: u64 = 300 * MIB;
/// The part of it in use from which on the store does not grow: see server/src/journal/etcd/space.rs.
const LOW: u64 = LARGER_QUOTA / 100 * 70;

/// One node with the smallest store, and the larger quota.
async fn one_node() -> Cluster {
    let quota = LARGER_QUOTA.to_string();
    let plan = Plan {
        nodes: 1,
        store_bytes: "8MiB",
        etcd_arguments: &["--quota-backend-bytes", &quota],
        arguments: &["--etcd-quota-bytes", &quota],
        ..Plan::default()
    };
    Cluster::start(plan).await
}

fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(String::new, |it| it.reason)
}

/// Somebody else puts a mebibyte. (The owner's own log would be made shorter first.)
async fn put_filler(etcd: &Etcd, number: u64) -> Result<(), ErrorKind> {
    let put = Op::Put {
        key: format!("/filler/{number}").into(),
        value: vec![b'x'; MIB as usize].into(),
        lease: 0,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    etcd.txn(&txn).await.map(drop).map_err(|error| error.kind)
}

/// Somebody else fills etcd until it takes nothing more.
async fn fill(cluster: &Cluster) {
    let etcd = cluster.etcd.client();
    for number in 0.. {
        match put_filler(&etcd, number).await {
            Err(ErrorKind::NoSpace) => return,
            Err(ErrorKind::Unavailable) | Ok(()) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Somebody else removes what they have put. Without a compaction etcd would keep it all, and a defragmented file would be as full.
async fn remove_filler(cluster: &Cluster) {
    cluster.etcd.ctl(&["del", "--prefix", "/filler/"]).await;
    let etcd = cluster.etcd.client();
    let removed = etcd.get(&Get::one("any")).await.unwrap().revision;
    etcd.compact(removed).await.unwrap();
}

/// The bytes of etcd's file, and those that are in use.
async fn file_of(etcd: &Etcd) -> (u64, u64) {
    let (_, member) = etcd.members().await.remove(0);
    let member = member.unwrap();
    (member.db_size as u64, member.db_in_use as u64)
}

/// Waits until the owner takes, or refuses, changes that make the store larger.
async fn until_growth(cluster: &Cluster, state: &mut StateClient<Channel>, is_taken: bool) {
    let began = std::time::Instant::now();
    for number in 0_i64.. {
        let grown = state
            .write(request(write(format!("new/{number}"), int(number))))
            .await;
        match grown {
            Ok(_) if is_taken => return,
            Ok(_) => {}
            Err(status) => {
                assert_eq!(reason(&status), "STORE_FULL", "{status:?}");
                assert!(status.message().starts_with("etcd has "), "{status:?}");
                if !is_taken {
                    return;
                }
            }
        }
        assert!(began.elapsed() < PATIENCE, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_does_not_grow_any_more_before_etcd_has_no_room() {
    let cluster = one_node().await;
    let mut state = StateClient::new(connect(cluster.nodes[0].address));
    state.write(request(write("k", int(1)))).await.unwrap();
    let etcd = cluster.etcd.client();
    let mut filler = 0;
    while file_of(&etcd).await.0 < LOW {
        put_filler(&etcd, filler).await.unwrap();
        filler += 1;
    }
    until_growth(&cluster, &mut state, false).await;
    // etcd itself has refused nothing. What is there can be read, and can go.
    let alarms = cluster.etcd.ctl(&["alarm", "list"]).await;
    assert_eq!(alarms.trim(), "", "{}", cluster.logs());
    let answer = state.read(request(read("k"))).await.unwrap().into_inner();
    assert_eq!(answer.entry.unwrap().value, Some(int(1)));
    let delete = v1::DeleteRequest {
        key: "k".into(),
        ..v1::DeleteRequest::default()
    };
    state.delete(request(delete)).await.unwrap();
    // Room within the file is room, without a defragmentation.
    remove_filler(&cluster).await;
    until_growth(&cluster, &mut state, true).await;
    assert!(file_of(&etcd).await.0 >= LOW);
}

/// What is overwritten stays in the log until a snapshot, and after that in etcd until it is compacted.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes a gigabyte"]
async fn an_owner_does_not_fill_etcd_with_its_own_log() {
    let cluster = one_node().await;
    let (address, began) = (cluster.nodes[0].address, std::time::Instant::now());
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(async move {
            let mut state = StateClient::new(connect(address));
            let (mut written, mut refused) = (0, 0_u64);
            while written < LARGER_QUOTA {
                let value = bytes(vec![7; MIB as usize]);
                match state
                    .write(request(write(format!("k{writer}"), value)))
                    .await
                {
                    Ok(_) => written += MIB,
                    Err(status) => {
                        assert_eq!(reason(&status), "STORE_FULL", "{status:?}");
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
            refused
        });
    }
    let (etcd, mut most, mut refused) = (cluster.etcd.client(), (0, 0), 0);
    while !writers.is_empty() {
        let (size, in_use) = file_of(&etcd).await;
        most = (size.max(most.0), in_use.max(most.1));
        let ended = tokio::time::timeout(Duration::from_millis(200), writers.join_next()).await;
        if let Ok(Some(ended)) = ended {
            refused += ended.unwrap();
        }
        let alarms = cluster.etcd.ctl(&["alarm", "list"]).await;
        assert_eq!(
            alarms.trim(),
            "",
            "{most:?}: {}",
            cluster.nodes[0].whole_log()
        );
    }
    report(
        "an_owner_does_not_fill_etcd_with_its_own_log",
        // Without an earlier look at a log that grows fast, etcd's file came to 95 % of its quota.
        json!({"quota": LARGER_QUOTA, "written": 4 * LARGER_QUOTA, "largest_file": most.0, "most_in_use": most.1,
               "refused": refused, "seconds": began.elapsed().as_secs()}),
    );
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

    remove_filler(&cluster).await;
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

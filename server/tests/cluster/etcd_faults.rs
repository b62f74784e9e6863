//! Members of etcd die, stand still, or are cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::cluster::{Cluster, Node, Plan};
use crate::link::Mode;
use crate::load::Load;
use crate::rounds::{report, rounds, some_time, spread};

fn three_members_of_short_leases() -> Plan<'static> {
    Plan {
        ttl: "2s",
        ..three_members()
    }
}

pub(crate) fn three_members() -> Plan<'static> {
    Plan {
        members: 3,
        ttl: "5s",
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_outlives_etcds_leader() {
    // A leader that goes on after it stood still revokes at once what has ended by its own clock, which knows nothing of what the
    // next leader has kept alive since. Nothing may have ended for it when it goes on after 4 seconds.
    let plan = Plan {
        ttl: "10s",
        ..three_members()
    };
    let mut cluster = Cluster::start(plan).await;
    let load = cluster.load(4, 1);
    let (_, shown) = cluster.owner().await;
    let mut faults = Vec::new();
    for round in 0..rounds(2) {
        load.go_on(some_time(200..500)).await;
        let leader = cluster.etcd.leader().await;
        let from = load.now();
        match round % 2 {
            0 => {
                cluster.etcd.members[leader].kill();
                cluster.etcd.leader().await;
                cluster.etcd.members[leader].start();
            }
            _ => stand_still(&cluster, &load, leader).await,
        }
        cluster.etcd.wait_ready().await;
        load.go_on(some_time(300..500)).await;
        faults.push((from, load.now()));
    }
    let (_, after) = cluster.owner().await;
    let judged = cluster.judge(load).await;
    let gaps = faults
        .iter()
        .map(|(from, until)| judged.longest_gap(*from, *until))
        .collect();
    report(
        "the_owner_outlives_etcds_leader",
        json!({"longest_gaps": spread(gaps), "operations": judged.operations, "failures": judged.failures}),
    );
    assert_eq!(
        after.epoch,
        shown.epoch,
        "another owner: {}",
        cluster.logs()
    );
}

/// Stops a member of etcd for 4 seconds.
async fn stand_still(cluster: &Cluster, load: &Load, member: usize) {
    cluster.etcd.members[member].signal(Signal::SIGSTOP);
    load.go_on(Duration::from_secs(4)).await;
    cluster.etcd.members[member].signal(Signal::SIGCONT);
}

/// For this leader all leases have ended when it goes on. If it gets to revoke them before it hears of the next leader, another
/// node owns the store, as after any end of a lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_etcd_that_goes_on_late_may_end_an_owner_and_loses_nothing() {
    let mut cluster = Cluster::start(three_members_of_short_leases()).await;
    let load = cluster.load(4, 1);
    let (_, mut shown) = cluster.owner().await;
    let mut owners = 0;
    for _ in 0..rounds(1) {
        load.go_on(some_time(200..500)).await;
        let leader = cluster.etcd.leader().await;
        stand_still(&cluster, &load, leader).await;
        cluster.etcd.wait_ready().await;
        load.go_on(some_time(500..1_000)).await;
        let replaced = cluster.start_replaced();
        let (_, after) = cluster.owner().await;
        owners += usize::from(after.epoch != shown.epoch);
        assert!(replaced <= 1, "{}", cluster.logs());
        shown = after;
    }
    let judged = cluster.judge(load).await;
    report(
        "a_leader_of_etcd_that_goes_on_late_may_end_an_owner_and_loses_nothing",
        json!({"owners_replaced": owners, "operations": judged.operations, "unknown": judged.unknown, "failures": judged.failures}),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_shown_and_nothing_is_lost() {
    let mut cluster = Cluster::start(three_members()).await;
    let mut load = cluster.load(4, 1);
    let mut replaced = 0;
    for _ in 0..rounds(1) {
        load.go_on(some_time(300..600)).await;
        let first = cluster.etcd.leader().await;
        let second = (first + 1) % 3;
        for member in [first, second] {
            cluster.etcd.members[member].signal(Signal::SIGSTOP);
        }
        // What was under way is over by then.
        load.go_on(Duration::from_secs(1)).await;
        let from = load.now();
        load.go_on(Duration::from_secs(9)).await;
        let until = load.now();
        for member in [first, second] {
            cluster.etcd.members[member].signal(Signal::SIGCONT);
        }
        cluster.etcd.wait_ready().await;
        cluster.owner().await;
        // Leases may have ended meanwhile.
        load.go_on(some_time(300..600)).await;
        replaced += cluster.start_replaced();
        load.must_be_silent(from, until);
    }
    cluster.owner().await;
    let judged = cluster.judge(load).await;
    report(
        "without_a_quorum_nothing_is_shown_and_nothing_is_lost",
        json!({"operations": judged.operations, "owners_replaced": replaced, "unknown": judged.unknown, "failures": judged.failures}),
    );
}

/// Cuts an owner off from etcd, or leaves it a member without the others. Another goes on, and when the way is free again the
/// old owner has written nothing, shown nothing, and ends.
pub(crate) async fn cut_off(
    title: &str,
    plan: Plan<'_>,
    cut: impl Fn(&Cluster, usize),
    mend: impl Fn(&Cluster, usize),
) {
    let mut cluster = Cluster::start(plan).await;
    let load = cluster.load(4, 1);
    let mut cuts = Vec::new();
    for _ in 0..rounds(1) {
        cluster.all_caught_up().await;
        load.go_on(some_time(200..500)).await;
        let (owner, shown) = cluster.owner().await;
        cuts.push(load.now());
        cut(&cluster, owner);
        let (next, after) = cluster.owner_after(shown.epoch).await;
        assert_ne!(next, owner, "{}", cluster.logs());
        load.go_on(some_time(500..1_000)).await;
        mend(&cluster, owner);
        let status = cluster.nodes[owner].ended().await;
        assert_eq!(status.code(), Some(1), "{}", cluster.nodes[owner].log());
        cluster.nodes[owner].start();
        let (_, still) = cluster.owner().await;
        assert_eq!(still.epoch, after.epoch, "{}", cluster.logs());
    }
    let judged = cluster.judge(load).await;
    let gaps = judged.gaps_after(&cuts);
    report(
        title,
        json!({"gaps": spread(gaps), "operations": judged.operations, "failures": judged.failures}),
    );
}

fn with_links() -> Plan<'static> {
    Plan {
        has_links: true,
        ..three_members_of_short_leases()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_etcd_does_not_answer_is_replaced() {
    cut_off(
        "an_owner_that_etcd_does_not_answer_is_replaced",
        with_links(),
        |cluster, owner| cluster.nodes[owner].to_etcd(None, Mode::Silent),
        |cluster, owner| cluster.nodes[owner].to_etcd(None, Mode::Pass),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_a_minority_of_etcd_is_replaced() {
    cut_off(
        "an_owner_with_a_minority_of_etcd_is_replaced",
        with_links(),
        |cluster, owner| {
            cluster.nodes[owner].to_etcd(Some(1), Mode::Cut);
            cluster.nodes[owner].to_etcd(Some(2), Mode::Cut);
            cluster.etcd.isolate(0);
        },
        |cluster, owner| {
            cluster.nodes[owner].to_etcd(None, Mode::Pass);
            cluster.etcd.join(0);
        },
    )
    .await;
}

/// The other nodes do not hear of the owner any more, but etcd does: it stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_only_the_standbys_miss_stays() {
    let cluster = Cluster::start(with_links()).await;
    let load = cluster.load(4, 0);
    let (owner, shown) = cluster.owner().await;
    for mode in [Mode::Silent, Mode::Pass] {
        cluster.nodes[owner].to_it(mode);
        load.go_on(Duration::from_secs(3)).await;
    }
    let (_, after) = cluster.owner().await;
    assert_eq!(
        after.epoch,
        shown.epoch,
        "another owner: {}",
        cluster.logs()
    );
    cluster.judge(load).await;
}

/// Answers of etcd are thrown away after it has done what was asked: each commit counts once.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_etcd_change_nothing_twice() {
    let plan = Plan {
        has_links: true,
        ..three_members()
    };
    let cluster = Cluster::start(plan).await;
    for node in &cluster.nodes {
        node.to_etcd(None, Mode::LosesAnswers(20));
    }
    let load = cluster.load(4, 1);
    let thrown = || cluster.nodes.iter().map(Node::thrown).sum::<u64>();
    let enough = 50 * rounds(3) as u64;
    let (mut before, mut retries) = (BTreeMap::new(), 0);
    while thrown() < enough {
        load.go_on(Duration::from_millis(20)).await;
        // Each owner counts its own.
        if let Some(shown) = cluster.try_owner().await {
            let counted = before.insert(shown.epoch, shown.commit_retries);
            retries += shown.commit_retries - counted.unwrap_or(0);
        }
    }
    for node in &cluster.nodes {
        node.to_etcd(None, Mode::Pass);
    }
    cluster.owner().await;
    let judged = cluster.judge(load).await;
    report(
        "lost_answers_of_etcd_change_nothing_twice",
        json!({"answers_thrown_away": thrown(), "commits_made_again": retries, "owners": before.len(),
               "operations": judged.operations, "changes": judged.changes_answered,
               "unknown": judged.unknown, "failures": judged.failures}),
    );
    assert!(judged.changes_answered > 20, "{judged:?}");
    assert!(retries > 0, "no commit was made again: {judged:?}");
}

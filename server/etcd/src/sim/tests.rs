//! What etcd does with requests, and what the faults do to them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{Faults, Reach, SimEtcd};
use crate::{Compare, ErrorKind, Etcd, Get, KeyRange, Op, OpAnswer, Txn, WatchEvent};

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: 0,
    }
}

fn then(ops: impl Into<Vec<Op>>) -> Txn {
    Txn {
        then: ops.into(),
        ..Txn::default()
    }
}

fn key(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

fn all() -> KeyRange {
    KeyRange::Prefix(key("k"))
}

fn one() -> (SimEtcd, Etcd) {
    let sim = SimEtcd::new(1);
    let etcd = sim.client("a");
    (sim, etcd)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_one_revision() {
    let (_, etcd) = one();
    let done = etcd
        .txn(&then([put("k1", "a"), put("k2", "b")]))
        .await
        .unwrap();
    assert_eq!((done.succeeded, done.revision), (true, 2));
    // Nothing to delete: no revision.
    let nothing = then([Op::Delete(KeyRange::One(key("x")))]);
    let done = etcd.txn(&nothing).await.unwrap();
    assert_eq!(
        (done.revision, done.answers),
        (2, vec![OpAnswer::Deleted(0)])
    );
    let found = etcd.get(&Get::prefix("k")).await.unwrap();
    assert_eq!((found.count, found.revision), (2, 2));
    assert!(
        found
            .kvs
            .iter()
            .all(|kv| kv.create_revision == 2 && kv.version == 1)
    );
}

#[tokio::test(start_paused = true)]
async fn comparisons_choose_the_branch() {
    let (_, etcd) = one();
    etcd.txn(&then([put("k", "v")])).await.unwrap();
    let cases = [
        (Compare::ModRevision(key("k"), 2), true),
        (Compare::ModRevision(key("k"), 1), false),
        (Compare::ModRevision(key("x"), 0), true),
        (Compare::Exists(key("k")), true),
        (Compare::Exists(key("x")), false),
        (Compare::Missing(key("x")), true),
        (Compare::Missing(key("k")), false),
        (Compare::Value(key("k"), key("v")), true),
        (Compare::Value(key("x"), key("")), false),
    ];
    for (compare, holds) in cases {
        let txn = Txn {
            when: vec![compare.clone()],
            ..Txn::default()
        };
        assert_eq!(
            etcd.txn(&txn).await.unwrap().succeeded,
            holds,
            "{compare:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_etcd_refuses_applies_nothing() {
    let (sim, etcd) = one();
    let large = "x".repeat(1_572_864);
    let with_lease = Op::Put {
        key: key("k"),
        value: key("v"),
        lease: 7,
    };
    let cases = [
        (then([put("k", "1"), put("k", "2")]), ErrorKind::Refused),
        (then([put("k", "1"), Op::Delete(all())]), ErrorKind::Refused),
        (then(vec![put("", "1")]), ErrorKind::Refused),
        (
            then(
                (0..129)
                    .map(|i| put(&format!("k{i}"), ""))
                    .collect::<Vec<_>>(),
            ),
            ErrorKind::Refused,
        ),
        (then([put("k", &large)]), ErrorKind::TooLarge),
        (then([put("k1", "1"), with_lease]), ErrorKind::LeaseGone),
    ];
    for (txn, kind) in cases {
        assert_eq!(etcd.txn(&txn).await.unwrap_err().kind, kind);
        assert_eq!(sim.revision(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_takes_its_keys_along_unless_it_is_kept_alive() {
    let (sim, etcd) = one();
    let lease = etcd.grant(Duration::from_secs(1)).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(2), "etcd makes it longer");
    let with_lease = Op::Put {
        key: key("k"),
        value: key("v"),
        lease: lease.id,
    };
    etcd.txn(&then([with_lease])).await.unwrap();
    for _ in 0..3 {
        sleep(Duration::from_millis(1_500)).await;
        etcd.keep_alive(lease.id).await.unwrap();
    }
    let mut watch = etcd.watch(all(), 3).await.unwrap();
    let seen = watch.next().await.unwrap();
    let gone = WatchEvent::Delete {
        key: key("k"),
        mod_revision: 3,
    };
    assert_eq!(seen.events, [gone]);
    assert_eq!(sim.look(all()), []);
    let error = etcd.keep_alive(lease.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LeaseGone);
    let error = etcd.revoke(lease.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LeaseGone);
}

#[tokio::test(start_paused = true)]
async fn watches_show_whole_revisions_in_order_and_go_on_where_they_were() {
    let (sim, etcd) = one();
    sim.set_faults_of_all(Faults {
        broken_watches: 0.3,
        ..Faults::none()
    });
    for n in 0..50 {
        let n = n.to_string();
        etcd.txn(&then([put("k1", &n), put("k2", &n)]))
            .await
            .unwrap();
    }
    let mut next = 2;
    while next <= sim.revision() {
        let Ok(mut watch) = etcd.watch(all(), next).await else {
            continue;
        };
        while next <= sim.revision() {
            let Ok(seen) = watch.next().await else {
                break;
            };
            for pair in seen.events.chunks(2) {
                assert!(pair.iter().all(|event| event.revision() == next));
                next += 1;
            }
            assert_eq!(seen.revision, next - 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_compacted_is_gone() {
    let (_, etcd) = one();
    for value in ["1", "2", "3"] {
        etcd.txn(&then([put("k", value)])).await.unwrap();
    }
    etcd.compact(3).await.unwrap();
    let at = |revision| Get {
        revision,
        ..Get::one("k")
    };
    assert_eq!(etcd.get(&at(3)).await.unwrap().kvs[0].value, "2");
    assert_eq!(
        etcd.get(&at(2)).await.unwrap_err().kind,
        ErrorKind::Compacted
    );
    assert_eq!(etcd.get(&at(9)).await.unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(
        etcd.compact(3).await.unwrap_err().kind,
        ErrorKind::Compacted
    );
    let mut watch = etcd.watch(all(), 2).await.unwrap();
    assert_eq!(watch.next().await.unwrap_err().kind, ErrorKind::Compacted);
    let mut watch = etcd.watch(all(), 3).await.unwrap();
    assert_eq!(watch.next().await.unwrap().events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_space_only_puts_and_grants_are_refused() {
    let (sim, etcd) = one();
    let lease = etcd.grant(Duration::from_secs(60)).await.unwrap();
    etcd.txn(&then([put("k", "v")])).await.unwrap();
    sim.fill();
    let error = etcd.txn(&then([put("k", "w")])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    let either = Txn {
        when: vec![Compare::Exists(key("k"))],
        then: vec![],
        otherwise: vec![put("k", "w")],
    };
    let error = etcd.txn(&either).await.unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::NoSpace,
        "also in the branch that is not done"
    );
    let error = etcd.grant(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    etcd.keep_alive(lease.id).await.unwrap();
    etcd.get(&Get::one("k")).await.unwrap();
    etcd.txn(&then([Op::Delete(all())])).await.unwrap();
    etcd.compact(3).await.unwrap();
    let (_, member) = etcd.members().await.remove(0);
    assert!(member.unwrap().errors[0].contains("NOSPACE"));
    sim.defragment();
    sim.disarm();
    etcd.txn(&then([put("k", "w")])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_quota_counts_the_file() {
    let (sim, etcd) = one();
    sim.set_quota(10_000);
    let value = "x".repeat(1_000);
    let full = loop {
        if let Err(error) = etcd.txn(&then([put("k", &value)])).await {
            break error;
        }
    };
    assert_eq!(full.kind, ErrorKind::NoSpace);
    etcd.compact(sim.revision()).await.unwrap();
    sim.disarm();
    let error = etcd.txn(&then([put("k", "")])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace, "the file has not shrunk");
    sim.defragment();
    sim.disarm();
    etcd.txn(&then([put("k", "")])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_only_an_empty_transaction_is_answered() {
    let (sim, etcd) = one();
    etcd.txn(&then([put("k", "v")])).await.unwrap();
    sim.set_quorum(false);
    let exists = Txn {
        when: vec![Compare::Exists(key("k"))],
        ..Txn::default()
    };
    assert!(etcd.txn(&exists).await.unwrap().succeeded);
    let before = Instant::now();
    let error = etcd.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(before.elapsed() >= Duration::from_secs(1));
    let error = etcd.txn(&then([put("k", "w")])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    sim.set_quorum(true);
    etcd.get(&Get::one("k")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_off_answers_an_empty_transaction_with_what_it_knew() {
    let (sim, a) = one();
    let b = sim.client("b");
    a.txn(&then([put("k", "a")])).await.unwrap();
    sim.set_reach("a", Reach::Minority);
    b.txn(&then([put("k", "b")])).await.unwrap();
    let is_mine = Txn {
        when: vec![Compare::ModRevision(key("k"), 2)],
        ..Txn::default()
    };
    assert!(a.txn(&is_mine).await.unwrap().succeeded);
    assert!(!b.txn(&is_mine).await.unwrap().succeeded);
    let error = a.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    sim.set_reach("a", Reach::All);
    assert!(!a.txn(&is_mine).await.unwrap().succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_may_be_that_of_a_transaction_that_was_applied_later() {
    let (sim, etcd) = one();
    sim.set_faults_of_all(Faults {
        lost_answers: 0.3,
        lost_requests: 0.2,
        late_requests: 0.3,
        duplicates: 0.2,
        lateness: Duration::from_secs(2)..Duration::from_secs(5),
        ..Faults::none()
    });
    let mut unknown = 0;
    for n in 0..200 {
        let counter = Txn {
            when: vec![Compare::Missing(format!("k{n:03}").into())],
            then: vec![put(&format!("k{n:03}"), "")],
            otherwise: vec![],
        };
        match etcd.txn(&counter).await {
            Ok(_) => assert!(
                !sim.look(KeyRange::One(format!("k{n:03}").into()))
                    .is_empty()
            ),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unavailable);
                unknown += 1;
            }
        }
    }
    let before = sim.look(all()).len();
    sleep(Duration::from_secs(10)).await;
    let after = sim.look(all()).len();
    assert!(
        unknown > 50 && before < after && after < 200,
        "{unknown} {before} {after}"
    );
    assert!(
        sim.look(all()).iter().all(|kv| kv.version == 1),
        "each once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_does_not_take_its_request_back() {
    let (sim, etcd) = one();
    let txn = then([put("k", "v")]);
    let dropped = timeout(Duration::from_micros(1), etcd.txn(&txn)).await;
    assert!(dropped.is_err());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(sim.look(all()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_copy_that_is_restored_has_lost_what_came_later() {
    let (sim, etcd) = one();
    etcd.txn(&then([put("k1", "")])).await.unwrap();
    let mut watch = etcd.watch(all(), 3).await.unwrap();
    etcd.txn(&then([put("k2", "")])).await.unwrap();
    watch.next().await.unwrap();
    sim.roll_back(2);
    assert_eq!(sim.look(all()).len(), 1);
    assert_eq!(watch.next().await.unwrap_err().kind, ErrorKind::Unavailable);
    let done = etcd.txn(&then([put("k3", "")])).await.unwrap();
    assert_eq!(done.revision, 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_stopped_finds_later_what_was_answered_meanwhile() {
    let (sim, etcd) = one();
    let txn = then([put("k", "v")]);
    let call = etcd.txn(&txn);
    let stop = async {
        sleep(Duration::from_micros(1)).await;
        sim.set_stopped("a", true);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(sim.look(all()).len(), 1, "the request was under way");
        sim.set_stopped("a", false);
    };
    let before = Instant::now();
    let (answer, ()) = tokio::join!(call, stop);
    assert!(answer.unwrap().succeeded && before.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_tells_what_was_so_a_while_ago() {
    let (sim, slow) = one();
    let fast = sim.client("b");
    fast.txn(&then([put("k", "old")])).await.unwrap();
    let faults = |slow_answers| Faults {
        slow_answers,
        ..Faults::none()
    };
    sim.set_faults("a", faults(1.0));
    let mut was_old = false;
    for _ in 0..20 {
        let begun = Instant::now();
        let read = Get::one("k");
        let (read, ()) = tokio::join!(slow.get(&read), async {
            sleep(Duration::from_millis(2)).await;
            fast.txn(&then([put("k", "new")])).await.unwrap();
        });
        // Without an answer it took longer than the client waits.
        if let Ok(read) = read {
            was_old |= begun.elapsed() > Duration::from_millis(4) && read.kvs[0].value == "old";
        }
        fast.txn(&then([put("k", "old")])).await.unwrap();
    }
    assert!(was_old);
}

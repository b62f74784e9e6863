//! The same random programs on a real etcd and on the simulated one: every answer is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist_etcd::sim::SimEtcd;
use soloist_etcd::{
    Compare, Error, ErrorKind, Etcd, Get, KeyRange, KeyValue, Op, OpAnswer, RangeAnswer, Txn,
    TxnAnswer, WatchEvent,
};

use crate::real::Member;

/// Both of them, and the numbers of their leases, which differ.
struct Both {
    real: Etcd,
    sim: Etcd,
    leases: Vec<(i64, i64)>,
    rng: StdRng,
    /// The last revision that both have.
    revision: i64,
    compacted: i64,
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy)]
enum Side {
    Real,
    Sim,
}

/// A lease of no number: none was granted with it.
const NO_LEASE: i64 = 987_654_321;

impl Both {
    fn key(&mut self) -> Bytes {
        let keys = ["k", "k/a", "k/b", "k/b/c", "k/\u{7f}", "l"];
        Bytes::from_static(keys[self.rng.random_range(0..keys.len())].as_bytes())
    }

    fn range(&mut self) -> KeyRange {
        match self.rng.random_range(0..6) {
            0 => KeyRange::Prefix("k/".into()),
            1 => KeyRange::Prefix(Bytes::new()),
            2 => KeyRange::Between(self.key(), self.key()),
            _ => KeyRange::One(self.key()),
        }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        match self.rng.random_range(0..4) {
            0 => Compare::ModRevision(key, self.revision - self.rng.random_range(0..4)),
            1 => Compare::Exists(key),
            2 => Compare::Missing(key),
            _ => Compare::Value(key, self.value()),
        }
    }

    fn value(&mut self) -> Bytes {
        self.rng.random_range(0..3).to_string().into()
    }

    /// The lease is a place in the list.
    fn op(&mut self) -> Op {
        match self.rng.random_range(0..6) {
            // Not all keys: of a transaction that also puts one etcd would die.
            0 => Op::Delete(match self.range() {
                KeyRange::Prefix(prefix) if prefix.is_empty() => KeyRange::One(self.key()),
                range => range,
            }),
            1 => Op::Get {
                range: self.range(),
                limit: self.rng.random_range(0..3),
                keys_only: self.rng.random_bool(0.3),
            },
            _ => Op::Put {
                key: self.key(),
                value: self.value(),
                lease: match self.rng.random_range(0..4) {
                    // Also one that has ended, or never was.
                    0 => self.rng.random_range(0..=self.leases.len()).cast_signed() as i64 + 1,
                    _ => 0,
                },
            },
        }
    }

    fn txn(&mut self) -> Txn {
        let many = |rng: &mut StdRng| rng.random_range(0..4);
        let (when, then, otherwise) = (
            many(&mut self.rng),
            many(&mut self.rng),
            many(&mut self.rng),
        );
        Txn {
            when: (0..when).map(|_| self.compare()).collect(),
            then: (0..then).map(|_| self.op()).collect(),
            otherwise: (0..otherwise).map(|_| self.op()).collect(),
        }
    }

    /// The lease at a place of the list, as one side numbers it.
    fn lease(&self, place: i64, side: Side) -> i64 {
        let lease = usize::try_from(place - 1).ok();
        let lease = lease.and_then(|place| self.leases.get(place));
        match (place, lease, side) {
            (0, ..) => 0,
            (_, None, _) => NO_LEASE,
            (_, Some((real, _)), Side::Real) => *real,
            (_, Some((_, sim)), Side::Sim) => *sim,
        }
    }

    fn on_side(&self, txn: &Txn, side: Side) -> Txn {
        let mut txn = txn.clone();
        for op in txn.then.iter_mut().chain(&mut txn.otherwise) {
            if let Op::Put { lease, .. } = op {
                *lease = self.lease(*lease, side);
            }
        }
        txn
    }

    /// Puts the place of a lease instead of its number.
    fn placed(&self, kv: &mut KeyValue) {
        let is_it = |(real, sim): &(i64, i64)| [*real, *sim].contains(&kv.lease);
        if let Some(place) = self.leases.iter().position(is_it) {
            kv.lease = place as i64 + 1;
        }
    }

    fn placed_in(&self, mut answer: RangeAnswer) -> RangeAnswer {
        answer.kvs.iter_mut().for_each(|kv| self.placed(kv));
        answer
    }

    fn placed_answer(&self, mut answer: TxnAnswer) -> TxnAnswer {
        for part in &mut answer.answers {
            if let OpAnswer::Got(got) = part {
                *got = self.placed_in(std::mem::take(got));
            }
        }
        answer
    }

    fn same<T: std::fmt::Debug + PartialEq>(
        &mut self,
        what: &'static str,
        asked: &dyn std::fmt::Debug,
        real: Result<T, Error>,
        sim: Result<T, Error>,
    ) {
        *self.counts.entry(what).or_default() += 1;
        if real.is_err() {
            *self.counts.entry("refused").or_default() += 1;
        }
        let said = |error: Error| (error.kind, error.message().to_owned());
        let (real, sim) = (real.map_err(said), sim.map_err(said));
        assert_eq!(real, sim, "{what} {asked:?}");
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..40) {
            0 => {
                let ttl = Duration::from_secs(self.rng.random_range(300..400));
                let real = self.real.grant(ttl).await.unwrap();
                let sim = self.sim.grant(ttl).await.unwrap();
                assert_eq!(real.ttl, sim.ttl);
                self.leases.push((real.id, sim.id));
            }
            1 => {
                let place = self.rng.random_range(0..=self.leases.len() as i64) + 1;
                let real = self.real.revoke(self.lease(place, Side::Real)).await;
                let sim = self.sim.revoke(self.lease(place, Side::Sim)).await;
                self.same("revoke", &place, real, sim);
            }
            2 => {
                let place = self.rng.random_range(0..=self.leases.len() as i64) + 1;
                let real = self.real.keep_alive(self.lease(place, Side::Real)).await;
                let sim = self.sim.keep_alive(self.lease(place, Side::Sim)).await;
                // Where a lease has ended our own words name its number.
                let kind = |error: Error| error.kind;
                assert_eq!(real.map_err(kind), sim.map_err(kind));
            }
            3 => {
                let revision = self.revision - self.rng.random_range(-2..40);
                let real = self.real.compact(revision.max(1)).await;
                let sim = self.sim.compact(revision.max(1)).await;
                if sim.is_ok() {
                    self.compacted = revision.max(1);
                }
                self.same("compact", &revision, real, sim);
            }
            4 => self.watch().await,
            5..15 => {
                let get = Get {
                    range: self.range(),
                    limit: self.rng.random_range(0..3),
                    keys_only: self.rng.random_bool(0.3),
                    revision: match self.rng.random_range(0..2) {
                        0 => 0,
                        _ => self.revision - self.rng.random_range(-2..40),
                    }
                    .max(0),
                };
                let real = self.real.get(&get).await;
                let sim = self.sim.get(&get).await;
                let real = real.map(|answer| self.placed_in(answer));
                let sim = sim.map(|answer| self.placed_in(answer));
                self.same("get", &get, real, sim);
            }
            _ => {
                let txn = self.txn();
                let real = self.real.txn(&self.on_side(&txn, Side::Real)).await;
                let sim = self.sim.txn(&self.on_side(&txn, Side::Sim)).await;
                let real = real.map(|answer| self.placed_answer(answer));
                let sim = sim.map(|answer| self.placed_answer(answer));
                self.revision = match &sim {
                    Ok(answer) => answer.revision,
                    Err(_) => self.revision,
                };
                self.same("txn", &txn, real, sim);
            }
        }
    }

    /// Watches from some revision on, up to a change that is made now.
    async fn watch(&mut self) {
        let from = (self.revision - self.rng.random_range(0..40)).max(1);
        let range = self.range();
        // In the range, if anything can be.
        let end = match &range {
            KeyRange::One(key) => key.clone(),
            KeyRange::Prefix(_) => "k/a".into(),
            KeyRange::Between(from, to) if from < to => from.clone(),
            KeyRange::Between(..) => return,
        };
        let txn = Txn {
            then: vec![Op::Put {
                key: end,
                value: "end".into(),
                lease: 0,
            }],
            ..Txn::default()
        };
        let real = self.real.txn(&txn).await;
        let sim = self.sim.txn(&txn).await;
        let until = sim.as_ref().unwrap().revision;
        self.revision = until;
        self.same("put", &txn, real, sim);
        let real = self.changes(Side::Real, &range, from, until).await;
        let sim = self.changes(Side::Sim, &range, from, until).await;
        self.same("watch", &(range, from, until), real, sim);
    }

    async fn changes(
        &self,
        side: Side,
        range: &KeyRange,
        from: i64,
        until: i64,
    ) -> Result<Vec<WatchEvent>, Error> {
        let etcd = match side {
            Side::Real => &self.real,
            Side::Sim => &self.sim,
        };
        let mut watch = etcd.watch(range.clone(), from).await?;
        let mut events = Vec::new();
        loop {
            let seen = watch.next().await?;
            assert_eq!(
                Some(seen.revision),
                seen.events.last().map(WatchEvent::revision)
            );
            events.extend(seen.events);
            if seen.revision >= until {
                break;
            }
        }
        for event in &mut events {
            if let WatchEvent::Put(kv) = event {
                self.placed(kv);
            }
        }
        Ok(events)
    }
}

async fn both(real: &Member, seed: u64) -> Both {
    Both {
        real: real.client().await,
        sim: SimEtcd::new(seed).client("a"),
        leases: Vec::new(),
        rng: StdRng::seed_from_u64(seed),
        revision: 1,
        compacted: 0,
        counts: BTreeMap::new(),
    }
}

#[tokio::test]
async fn random_programs_have_the_same_answers() {
    let member = Member::start(&[]);
    let seed: u64 = std::env::var("SOLOIST_SEED").map_or(20, |seed| seed.parse().unwrap());
    let mut both = both(&member, seed).await;
    for _ in 0..1_500 {
        both.step().await;
    }
    println!("{:?}, compacted to {}", both.counts, both.compacted);
    for what in ["txn", "get", "watch", "revoke", "compact", "refused"] {
        assert!(both.counts[what] > 10, "{what}: {:?}", both.counts);
    }
}

#[tokio::test]
async fn limits_are_the_same() {
    let member = Member::start(&[]);
    let mut both = both(&member, 21).await;
    let put = |key: String, bytes: usize| Op::Put {
        key: key.into(),
        value: vec![0; bytes].into(),
        lease: 0,
    };
    let many = |ops: Vec<Op>| Txn {
        then: ops,
        ..Txn::default()
    };
    let cases = [
        many((0..128).map(|n| put(format!("k{n}"), 1)).collect()),
        many((0..129).map(|n| put(format!("k{n}"), 1)).collect()),
        many(vec![put("k".into(), 1_572_864 - 100)]),
        many(vec![put("k".into(), 1_572_864)]),
        many(vec![put(String::new(), 1)]),
    ];
    for txn in cases {
        let real = both.real.txn(&txn).await;
        let sim = both.sim.txn(&txn).await;
        both.same("txn", &txn.then.len(), real, sim);
    }
    for seconds in [0, 1, 2, 3, 9_000_000_001] {
        let ttl = Duration::from_secs(seconds);
        let real = both.real.grant(ttl).await.map(|lease| lease.ttl);
        let sim = both.sim.grant(ttl).await.map(|lease| lease.ttl);
        both.same("grant", &seconds, real, sim);
    }
}

#[tokio::test]
async fn a_lease_ends_with_its_keys_in_one_revision() {
    let member = Member::start(&[]);
    let mut both = both(&member, 22).await;
    let ttl = Duration::from_secs(2);
    let (real, sim) = (both.real.grant(ttl).await, both.sim.grant(ttl).await);
    both.leases.push((real.unwrap().id, sim.unwrap().id));
    let put = |key: &'static str| Op::Put {
        key: key.into(),
        value: "v".into(),
        lease: 1,
    };
    let txn = Txn {
        then: vec![put("k/b"), put("k/a")],
        ..Txn::default()
    };
    both.real
        .txn(&both.on_side(&txn, Side::Real))
        .await
        .unwrap();
    both.sim.txn(&both.on_side(&txn, Side::Sim)).await.unwrap();
    let all = KeyRange::Prefix("k".into());
    let real = both.changes(Side::Real, &all, 2, 3);
    let sim = both.changes(Side::Sim, &all, 2, 3);
    let (real, sim) = tokio::join!(real, sim);
    assert_eq!(real.as_ref().unwrap().len(), 4);
    both.same("watch", &"lease", real, sim);
}

#[tokio::test]
async fn without_space_the_same_is_refused() {
    let member = Member::start(&["--quota-backend-bytes", "8388608"]);
    let real = member.client().await;
    let simulated = SimEtcd::new(23);
    let sim = simulated.client("a");
    let put = |key: &'static str, bytes: usize| Txn {
        then: vec![Op::Put {
            key: key.into(),
            value: vec![7; bytes].into(),
            lease: 0,
        }],
        ..Txn::default()
    };
    let mut both = both(&member, 23).await;
    both.sim = sim.clone();
    let ttl = Duration::from_secs(300);
    let leases = (real.grant(ttl).await, sim.grant(ttl).await);
    both.leases
        .push((leases.0.unwrap().id, leases.1.unwrap().id));
    loop {
        let txn = put("k/a", 1_000_000);
        match real.txn(&txn).await {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::NoSpace => break,
            // A slow disk: whether it was applied is not known, so look.
            Err(error) => {
                let found = real.get(&Get::one("k/a")).await;
                let found = found.unwrap_or_else(|_| panic!("{error}"));
                if found.revision == simulated.revision() {
                    continue;
                }
            }
        }
        sim.txn(&txn).await.unwrap();
    }
    simulated.fill();
    let read = Get {
        keys_only: true,
        ..Get::prefix("k")
    };
    let otherwise = Txn {
        when: vec![Compare::Missing("k/a".into())],
        ..put("k/a", 1)
    };
    let delete = Txn {
        then: vec![Op::Delete(KeyRange::One("k/a".into()))],
        ..Txn::default()
    };
    for txn in [put("k/b", 1), otherwise, Txn::default(), delete] {
        let (real, sim) = (real.txn(&txn).await, sim.txn(&txn).await);
        both.same("txn", &txn, real, sim);
    }
    let (got, simulated_got) = (real.get(&read).await, sim.get(&read).await);
    both.same("get", &read, got, simulated_got);
    let grants = (real.grant(ttl).await, sim.grant(ttl).await);
    both.same("grant", &ttl, grants.0, grants.1);
    let (id, simulated_id) = both.leases[0];
    let kept = (
        real.keep_alive(id).await,
        sim.keep_alive(simulated_id).await,
    );
    both.same("keep_alive", &ttl, kept.0, kept.1);
    let compacted = (real.compact(3).await, sim.compact(3).await);
    both.same("compact", &3, compacted.0, compacted.1);

    let now = simulated.revision();
    real.compact(now).await.unwrap();
    member.ctl(&["defrag"]);
    member.ctl(&["alarm", "disarm"]);
    simulated.defragment();
    simulated.disarm();
    let txn = put("k/b", 1);
    let (real, sim) = (real.txn(&txn).await, sim.txn(&txn).await);
    both.same("txn", &txn, real, sim);
}

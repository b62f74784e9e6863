//! Three nodes on a simulated etcd and paused time: clients with a history, and faults drawn from a seed.
//!
//! Each seed is a life of a cluster: owners are killed, stopped and cut off, requests to etcd are lost, late and doubled, etcd loses
//! its quorum or its space, and owners hand off. Whatever happens:
//!
//! - the answers of all clients are linearizable, so nothing acknowledged is lost and an Add that is tried again counts once;
//! - a watch is told each change once and in order, over all owners;
//! - a lock has one holder at most, and never ends while its holder may believe in it;
//! - no revision that was named with an unknown outcome is another change's;
//! - no node finds its data damaged, and the cluster goes on when the faults are over;
//! - the log in etcd has no gap.
//!
//! `SOLOIST_CLUSTERS=10000 cargo test --release -p soloist-server --lib cluster_tests` lives as many lives, from `SOLOIST_SEED` on.
//! The first that fails ends it, and its seed repeats it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bulk;
mod calls;
mod clients;
mod faults;
mod history;
mod locks;
mod log;
mod node;
mod watchers;
mod world;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt as _;
use tokio::runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use world::{Counts, World};

/// Lives that one run of the tests lives, if nobody says otherwise.
const LIVES: u64 = 60;

/// How long the faults of a life go on.
const FAULTS_FOR: Duration = Duration::from_secs(12);

/// Within this the cluster must serve again when the faults are over.
const HEALS_WITHIN: Duration = Duration::from_secs(60);

/// Lives the life of one cluster.
fn live(seed: u64) -> Counts {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let world = World::new(seed);
        tokio::select! {
            biased;
            why = world.failed() => panic!("seed {seed}: {why}"),
            () = live_in(&world) => world.counts(),
        }
    })
}

async fn live_in(world: &Rc<World>) {
    for node in 0..world::NODES.len() {
        node::start(world, node);
    }
    let clients = clients::start(world);
    let locks = locks::start(world);
    let watchers = watchers::start(world);
    let bulk = bulk::start(world);
    faults::run(world, FAULTS_FOR).await;
    faults::heal(world);
    if world.rng(2).random_bool(0.3) {
        faults::restart_all(world);
    }
    world.end();
    let ends = async {
        bulk.await.unwrap();
        let recorders = clients.join_all().await;
        locks.join_all().await;
        (recorders, watchers.join_all().await)
    };
    let ended = timeout(HEALS_WITHIN, ends).await;
    let seed = world.seed;
    let Ok((recorders, watches)) = ended else {
        panic!("seed {seed}: the cluster does not serve again");
    };
    log::look_at_last(world).await;
    history::check(world, recorders, watches);
}

/// Lives one life after another, whose seeds `next` gives, until all or one has failed.
fn live_some(next: &AtomicU64, end: u64) -> Counts {
    let mut counts = Counts::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return counts;
        }
        let _stop = StopIfPanics(next, end);
        counts.add(&live(seed));
    }
}

/// Has no more lives begin, on any thread, once one has failed.
struct StopIfPanics<'a>(&'a AtomicU64, u64);

impl Drop for StopIfPanics<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }
}

#[test]
fn lives_of_clusters() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |it| it.parse().unwrap());
    let first = number("SOLOIST_SEED", 1);
    let lives = number("SOLOIST_CLUSTERS", LIVES);
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let counts: Vec<Counts> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| live_some(&next, first + lives)))
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut all = Counts::default();
    counts.iter().for_each(|counts| all.add(counts));
    println!("{lives} lives: {all:?}");
    all.assert_enough(lives);
}

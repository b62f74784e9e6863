//! Random lives of a cluster, with standbys whose way to etcd is bad: whoever takes over has everything that was committed.

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist_etcd::sim::Faults;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::support::{HOUR, Node, Owner, World};
use crate::journal::etcd::follow::{Follower, Following};
use crate::journal::etcd::takeover::{Challenge, Won};
use crate::journal::pages::contents_digest_of;
use crate::machine::{SetLifetime, StateMachine, Value};
use crate::progress::Progress;

/// How many lives are tried.
const LIVES: u64 = 60;

fn contents(machine: &mut StateMachine) -> Bytes {
    contents_digest_of(machine, &Progress::default())
}

/// Stands by until this process has won.
async fn stand_by(mut follower: Follower) -> Won {
    let seen = watch::channel(Following::default()).0;
    loop {
        let reason = follower.follow(&seen).await.unwrap();
        if let Challenge::Won(won) = follower.challenge(reason).await.unwrap() {
            return *won;
        }
    }
}

/// A process that stands by.
struct Standby {
    node: Node,
    task: JoinHandle<Won>,
}

impl Standby {
    async fn start(world: &World, name: &str, instance: u32) -> Self {
        world.etcd.set_faults(name, Faults::none());
        let node = world.node(name, instance).await;
        let cluster = node.cluster.clone();
        world.etcd.set_faults(name, Faults::many());
        let task = tokio::spawn(async move {
            let follower = Follower::start(cluster, &Progress::default()).await;
            stand_by(follower.unwrap()).await
        });
        Self { node, task }
    }
}

/// Has the owner change something, at its own pace.
async fn live(owner: &mut Owner, random: &mut StdRng) {
    for _ in 0..random.random_range(0..40) {
        let key = format!("k{}", random.random_range(0..10));
        match random.random_range(0..20) {
            0 => sleep(Duration::from_secs(random.random_range(0..8))).await,
            1 => {
                let text = Value::Text("t".repeat(random.random_range(0..9_000)).into());
                owner.apply(&key, text, SetLifetime::Unlimited);
                owner.commit_parts(random.random_range(200..9_000)).await;
            }
            2 => {
                let snapshot = owner.begin_snapshot();
                if random.random_bool(0.7) {
                    owner.write(&key, 7).await;
                    owner.end_snapshot(snapshot).await;
                    owner.compact().await;
                } else {
                    owner.abandon_snapshot();
                }
            }
            3 => owner.session(random.random_bool(0.5)).await,
            _ => owner.write(&key, random.random()).await,
        }
        if random.random_bool(0.3) {
            sleep(Duration::from_millis(random.random_range(0..300))).await;
        }
    }
}

async fn life(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::seeded(seed);
    let mut node = world.node("a", 0).await;
    let mut owner = node.own().await;
    let mut standbys = vec![
        Standby::start(&world, "b", 0).await,
        Standby::start(&world, "c", 0).await,
    ];
    for round in 1..4 {
        live(&mut owner, &mut random).await;
        let expected = contents(&mut owner.machine);
        let epoch = owner.epoch;
        let name = node.cluster.node.clone();
        drop(node);
        let (at, won) = timeout(HOUR, async {
            loop {
                for (at, standby) in standbys.iter_mut().enumerate() {
                    if standby.task.is_finished() {
                        return (at, (&mut standby.task).await.unwrap());
                    }
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let winner = standbys.remove(at);
        let mut won = won;
        assert!(won.epoch > epoch, "seed {seed}, round {round}");
        let what = format!("seed {seed}, round {round}: {}", winner.node.cluster.node);
        assert_eq!(contents(&mut won.machine), expected, "{what}");
        node = winner.node;
        world.etcd.set_faults(&node.cluster.node, Faults::none());
        owner = node.owner(won);
        standbys.push(Standby::start(&world, &name, round).await);
    }
    standbys.iter().for_each(|standby| standby.task.abort());
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_with_everything_whatever_etcd_does() {
    for seed in 0..LIVES {
        life(seed).await;
    }
}

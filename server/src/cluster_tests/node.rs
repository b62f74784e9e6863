//! The processes of a node: each follows, owns the store when it has won, and ends.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prost::Message as _;
use rand::RngExt as _;
use soloist_etcd::{ErrorKind, Etcd, Op, Txn};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use super::world::{NODES, World, draw};
use crate::config::{Limits, MailboxLimits};
use crate::journal::OpenError;
use crate::journal::etcd::{
    self, Challenge, Cluster, Follower, Following, Keys, Node, Reason, Won,
};
use crate::machine::{StoreLimits, Time};
use crate::owner::{Clock, OwnerLimits, spawn_with};
use crate::progress::Progress;

/// How long a lease lives that nobody keeps.
const TTL: Duration = Duration::from_secs(2);

/// What etcd was given: far more than is used.
const QUOTA: u64 = 1 << 31;

/// Few, so that snapshots are frequent.
const SNAPSHOT_LOG_BYTES: u64 = 10_000;

/// Starts a process of a node, which is started again whenever it has ended by itself.
pub(super) fn start(world: &Rc<World>, node: usize) {
    let process = world.begin_process(node);
    let task = spawn_local({
        let world = Rc::clone(world);
        async move {
            let ended = live(&world, node, process).await;
            if let Err(error) = ended {
                world.fail(format!("node {} cannot go on: {error}", NODES[node]));
            }
            // What it has answered last is on its way.
            sleep(Duration::from_millis(10)).await;
            let stopped = world.until_it_runs(node, process).await;
            drop(stopped);
            world.end_process(node);
            let mut rng = world.rng(1_000 + world.number());
            sleep(draw(&mut rng, 10, 300)).await;
            if !world.has_process(node) {
                start(&world, node);
            }
        }
    });
    let handle = task.abort_handle();
    world.runs(node, handle);
    spawn_local({
        let world = Rc::clone(world);
        async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                world.fail(error.to_string());
            }
        }
    });
}

/// Aborts a task with the process that it is a part of.
struct OnlyWith(AbortHandle);

impl Drop for OnlyWith {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The life of a process, until it is deposed or has handed off.
async fn live(world: &Rc<World>, node: usize, process: u64) -> Result<(), OpenError> {
    let name = NODES[node];
    let etcd = world.sim.client(name);
    let mut rng = world.rng(2_000 + world.number());
    // Right when the process starts: only then does a node that sees no owner have nothing better.
    let skew = Arc::new(AtomicI64::new(0));
    let steps_to = rng.random_range(-3_600..=3_600);
    let since = world.since_begin();
    let begun = tokio::time::Instant::now();
    let lease = watch::channel(grant(&etcd).await).0;
    let cluster = Cluster {
        etcd: etcd.clone(),
        keys: Keys::new("sim"),
        node: name.into(),
        address: format!("{name}:1"),
        instance: format!("{name}-{process}-{}", world.number()),
        lease: lease.subscribe(),
        limits: StoreLimits {
            ring_changes: world.history,
            ..Limits::DEFAULT.store_limits()
        },
        new_store_id: format!("store-of-{name}"),
        snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
        now: Arc::new({
            let skew = Arc::clone(&skew);
            move || {
                let seconds = 1_700_000_000 + skew.load(Ordering::Relaxed);
                let wall = Duration::from_secs(seconds.cast_unsigned());
                Time::since_epoch(wall + since + begun.elapsed())
            }
        }),
        cells: Arc::default(),
    };
    tokio::select! {
        biased;
        () = keep(&etcd, &lease) => unreachable!("it keeps the lease for ever"),
        ended = async {
            let follower = Follower::start(cluster.clone(), &Progress::default()).await?;
            skew.store(steps_to, Ordering::Relaxed);
            follow_and_own(world, node, process, cluster, follower).await
        } => ended,
    }
}

async fn grant(etcd: &Etcd) -> i64 {
    loop {
        match etcd.grant(TTL).await {
            Ok(lease) => return lease.id,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn keep(etcd: &Etcd, lease: &watch::Sender<i64>) {
    loop {
        sleep(TTL / 3).await;
        let id = *lease.borrow();
        match etcd.keep_alive(id).await {
            Err(error) if error.kind == ErrorKind::LeaseGone => {
                let new = grant(etcd).await;
                lease.send_replace(new);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

async fn follow_and_own(
    world: &Rc<World>,
    node: usize,
    process: u64,
    cluster: Cluster,
    mut follower: Follower,
) -> Result<(), OpenError> {
    let won = loop {
        let seen = watch::channel(Following::default()).0;
        let reason = tokio::select! {
            biased;
            reason = follower.follow(&seen) => reason?,
            () = owner_died(world, seen.subscribe()) => Reason::Died,
            never = register(&cluster, seen.subscribe()) => match never {},
        };
        match follower.challenge(reason).await? {
            Challenge::Lost => {}
            Challenge::Won(won) => break won,
        }
    };
    world.count(|counts| counts.takeovers += 1);
    own(world, node, process, &cluster, *won).await;
    Ok(())
}

async fn own(world: &Rc<World>, node: usize, process: u64, cluster: &Cluster, won: Won) {
    let (journal, task) = etcd::start(cluster, &won, QUOTA);
    let _journal = OnlyWith(task.abort_handle());
    let limits = OwnerLimits {
        mailbox: MailboxLimits::DEFAULT,
        answer_bytes: Limits::DEFAULT.max_answer_bytes,
        watches: 100,
    };
    let clock = Clock::set(won.time + won.at.elapsed());
    let (handle, owner) = spawn_with(won.machine, Some(journal), clock, limits, None);
    let _owner = OnlyWith(owner.abort_handle());
    if world.process(node) == process {
        world.serves(node, handle);
    }
    match owner.await {
        Ok(Ok(_)) => world.count(|counts| counts.handed_off += 1),
        Ok(Err(_)) => world.count(|counts| counts.deposed += 1),
        Err(error) => panic!("the owner died: {error}"),
    }
}

/// Has the record of this process in etcd, under the lease of the time, once it has caught up: so owners can hand off to it.
async fn register(cluster: &Cluster, mut seen: watch::Receiver<Following>) -> Infallible {
    let record = Node {
        address: cluster.address.clone(),
        version: "sim".into(),
        format_min: 0,
        format_max: u32::MAX,
        instance: cluster.instance.clone(),
        caught_up: true,
    };
    let mut lease = cluster.lease.clone();
    loop {
        let has_caught_up = seen.wait_for(|seen| seen.caught_up).await.is_ok();
        if !has_caught_up {
            std::future::pending::<()>().await;
        }
        let put = Op::Put {
            key: cluster.keys.node(&cluster.node),
            value: record.encode_to_vec().into(),
            lease: *lease.borrow_and_update(),
        };
        let txn = Txn {
            then: vec![put],
            ..Txn::default()
        };
        match cluster.etcd.txn(&txn).await {
            Ok(_) => drop(lease.changed().await),
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Waits until the owner's process has died, as a standby finds out by its connection. It may be wrong, which must do no harm.
async fn owner_died(world: &Rc<World>, mut seen: watch::Receiver<Following>) {
    let mut rng = world.rng(3_000 + world.number());
    loop {
        let owner = seen.borrow_and_update().owner.clone();
        let other = |now: &Following| now.owner != owner;
        let Some(owner) = &owner else {
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let node = NODES.iter().position(|name| *name == owner.node).unwrap();
        let process = world.process(node);
        let is_wrong = rng.random_bool(0.02);
        let dies = async {
            match is_wrong {
                true => sleep(draw(&mut rng, 0, 3_000)).await,
                false => {
                    world.until_it_ends(node, process).await;
                    sleep(draw(&mut rng, 1, 100)).await;
                }
            }
        };
        tokio::select! {
            biased;
            changed = seen.wait_for(other) => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            () = dies => return,
        }
    }
}

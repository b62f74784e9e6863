//! What all parts of a simulated cluster share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist_etcd::sim::SimEtcd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::owner::OwnerHandle;

pub(super) const NODES: [&str; 3] = ["a", "b", "c"];

/// The keys that the history has.
pub(super) const KEYS: [&str; 4] = ["k/0", "k/1", "k/2", "k/3"];

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) sim: SimEtcd,
    nodes: RefCell<Vec<Node>>,
    /// Something of the nodes has changed.
    changed: Notify,
    begun: Instant,
    ends: Cell<bool>,
    counts: RefCell<Counts>,
    /// Numbers that nobody had before.
    next: Cell<u64>,
    /// How many changes each node's history has, at most.
    pub(super) history: usize,
    /// Why a node could not go on, which must not be.
    failure: RefCell<Option<String>>,
}

/// Histories that lives have: one that has all of a life, and others that are shorter than the log between two snapshots, so that
/// the log loses records, standbys need a snapshot to go on, and watches come too late.
const HISTORIES: [usize; 3] = [1 << 20, 200, 40];

#[derive(Default)]
struct Node {
    /// Counts up with each process of the node.
    process: u64,
    running: Option<AbortHandle>,
    /// The handle of an owner, or of one that believes to be it.
    owner: Option<OwnerHandle>,
    is_stopped: bool,
}

/// What happened, to show that it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) takeovers: u64,
    pub(super) deposed: u64,
    pub(super) handed_off: u64,
    pub(super) done: u64,
    pub(super) unknown: u64,
    pub(super) not_done: u64,
    pub(super) replayed: u64,
    pub(super) events: u64,
    pub(super) watches_resumed: u64,
    /// Watches that had missed more than the history has.
    pub(super) watches_too_late: u64,
    pub(super) locked: u64,
    /// Looks at a log that had lost records, because a snapshot has them.
    pub(super) shortened: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.takeovers += other.takeovers;
        self.deposed += other.deposed;
        self.handed_off += other.handed_off;
        self.done += other.done;
        self.unknown += other.unknown;
        self.not_done += other.not_done;
        self.replayed += other.replayed;
        self.events += other.events;
        self.watches_resumed += other.watches_resumed;
        self.watches_too_late += other.watches_too_late;
        self.locked += other.locked;
        self.shortened += other.shortened;
    }

    /// What is to be tried has happened.
    pub(super) fn assert_enough(&self, lives: u64) {
        let enough = self.takeovers > 2 * lives
            && self.done > 100 * lives
            && self.events > 50 * lives
            && self.locked > lives
            && self.watches_resumed > lives;
        // Rare in one life.
        let all = [
            self.deposed,
            self.handed_off,
            self.replayed,
            self.unknown,
            self.shortened,
            self.watches_too_late,
        ];
        let all = all.iter().all(|count| *count > 0);
        assert!(
            enough && (all || lives < 20),
            "too little happened: {self:?}"
        );
    }
}

/// A process has ended, and with it what was asked of it.
#[derive(Debug)]
pub(super) struct Dead;

impl World {
    pub(super) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            seed,
            sim: SimEtcd::new(seed),
            nodes: RefCell::new(NODES.iter().map(|_| Node::default()).collect()),
            changed: Notify::new(),
            begun: Instant::now(),
            ends: Cell::new(false),
            counts: RefCell::default(),
            next: Cell::new(1),
            history: HISTORIES[(seed % HISTORIES.len() as u64) as usize],
            failure: RefCell::default(),
        })
    }

    /// Lots for one part of the world.
    pub(super) fn rng(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Nanoseconds since the world began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    pub(super) fn since_begin(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Clients finish what they have begun, and look at all keys once more.
    pub(super) fn end(&self) {
        self.ends.set(true);
        self.changed.notify_waiters();
    }

    pub(super) fn ends(&self) -> bool {
        self.ends.get()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.borrow_mut());
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    pub(super) fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
        self.changed.notify_waiters();
    }

    /// Waits until something has failed.
    pub(super) async fn failed(&self) -> String {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(why) = self.failure.borrow().clone() {
                return why;
            }
            changed.await;
        }
    }

    fn change<T>(&self, node: usize, change: impl FnOnce(&mut Node) -> T) -> T {
        let changed = change(&mut self.nodes.borrow_mut()[node]);
        self.changed.notify_waiters();
        changed
    }

    /// A process of a node begins. Returns its number.
    pub(super) fn begin_process(&self, node: usize) -> u64 {
        self.change(node, |node| {
            node.process += 1;
            node.owner = None;
            node.process
        })
    }

    pub(super) fn runs(&self, node: usize, running: AbortHandle) {
        self.change(node, |node| node.running = Some(running));
    }

    /// A process ends by itself.
    pub(super) fn end_process(&self, node: usize) {
        self.change(node, |node| {
            node.process += 1;
            node.owner = None;
            node.running = None;
        });
    }

    /// Kills the process of a node. Returns false if there was none.
    pub(super) fn kill(&self, node: usize) -> bool {
        let running = self.change(node, |node| {
            node.process += 1;
            node.owner = None;
            node.is_stopped = false;
            node.running.take()
        });
        self.sim.set_stopped(NODES[node], false);
        running.inspect(AbortHandle::abort).is_some()
    }

    pub(super) fn stop(&self, node: usize) {
        self.change(node, |node| node.is_stopped = true);
        self.sim.set_stopped(NODES[node], true);
    }

    /// Has the process of a node go on, but for its client of etcd.
    pub(super) fn go_on(&self, node: usize) {
        self.change(node, |node| node.is_stopped = false);
    }

    /// Has the client of etcd go on that a node has.
    pub(super) fn go_on_with_etcd(&self, node: usize) {
        self.sim.set_stopped(NODES[node], false);
    }

    pub(super) fn serves(&self, node: usize, owner: OwnerHandle) {
        self.change(node, |node| node.owner = Some(owner));
    }

    /// The nodes that believe to be the owner.
    pub(super) fn owners(&self) -> Vec<usize> {
        let nodes = self.nodes.borrow();
        let owners = nodes.iter().enumerate();
        let owners = owners.filter(|(_, node)| node.owner.is_some());
        owners.map(|(at, _)| at).collect()
    }

    pub(super) fn has_process(&self, node: usize) -> bool {
        self.nodes.borrow()[node].running.is_some()
    }

    /// The present process of a node.
    pub(super) fn process(&self, node: usize) -> u64 {
        self.nodes.borrow()[node].process
    }

    /// The owner in a process of a node. None if it does not own the store.
    pub(super) fn owner(&self, node: usize, process: u64) -> Option<OwnerHandle> {
        let nodes = self.nodes.borrow();
        let node = nodes.get(node).filter(|node| node.process == process)?;
        node.owner.clone()
    }

    /// Waits while a process is stopped.
    pub(super) async fn until_it_runs(&self, node: usize, process: u64) -> Result<(), Dead> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let nodes = self.nodes.borrow();
                let node = &nodes[node];
                if node.process != process {
                    return Err(Dead);
                }
                if !node.is_stopped {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until a process has ended.
    pub(super) async fn until_it_ends(&self, node: usize, process: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.process(node) != process {
                return;
            }
            changed.await;
        }
    }
}

/// A time drawn by lot, in milliseconds.
pub(super) fn draw(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_micros(rng.random_range(from * 1_000..=to * 1_000))
}

/// Waits for a time drawn by lot, in milliseconds.
pub(super) async fn pause(rng: &mut StdRng, from: u64, to: u64) {
    sleep(draw(rng, from, to)).await;
}

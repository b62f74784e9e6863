//! The power fails at any call to the disk, many times over.
//!
//! With `--durability sync`, every acknowledged call survives, and the log batch that was under way survives as a whole or
//! not at all. With the other modes, the calls up to some record survive, among them every record that was synced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::full_state::FullState;
use super::node::{self, Node};
use super::workload::Workload;
use crate::config::{Durability, Limits};
use crate::journal::{FileName, SimDisk, SnapshotSlot, StoreOptions};
use crate::machine::{Revision, StateMachine};

/// The durability modes of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modes {
    /// Only `sync`.
    Sync,
    /// A random mode for each run.
    Any,
}

/// The life of one store: several runs, each ended by a power loss or in order.
struct Life {
    seed: u64,
    disk: SimDisk,
    workload: Workload,
    modes: Modes,
    /// The mode of the last run.
    durability: Durability,
    /// The state after each call of the last run; the first is the state with which the run began.
    states: Vec<FullState>,
    /// See [`Node::sent`], of the last run.
    sent: BTreeMap<u64, u64>,
    /// A record that was reported as durable.
    synced: u64,
    /// Calls of the last run that must survive.
    acknowledged: u64,
    /// A revision that was reported as durable.
    revision: Revision,
    losses: u64,
    acknowledged_in_all: u64,
}

/// Counts over many lives.
#[derive(Debug, Default)]
struct Counts {
    losses: AtomicU64,
    acknowledged: AtomicU64,
    losses_while_opening: AtomicU64,
    /// Runs that began with two snapshots.
    snapshots: AtomicU64,
    /// Runs that began without a record that had been sent, in a mode in which that may happen.
    forgotten: AtomicU64,
    /// Records that were reported as durable.
    synced: AtomicU64,
}

impl Life {
    fn new(seed: u64, modes: Modes) -> Self {
        Self {
            seed,
            disk: SimDisk::new(seed),
            workload: Workload::new(seed),
            modes,
            durability: Durability::Sync,
            sent: [(0, 0)].into(),
            synced: 0,
            states: vec![FullState::of(&mut StateMachine::new(
                Limits::DEFAULT.store_limits(),
            ))],
            acknowledged: 0,
            revision: 0,
            losses: 0,
            acknowledged_in_all: 0,
        }
    }

    fn options(&mut self, durability: Durability) -> StoreOptions {
        let page = 4_096;
        StoreOptions {
            // From room for one small record to room for more records than most runs have.
            wal_bytes_max: [2, 3, 4, 16, 64][self.workload.up_to(4) as usize] * page,
            ..node::options(durability)
        }
    }

    /// The record that the watermark on the disk names; 0 for none.
    fn watermark(&self) -> u64 {
        let bytes = self.disk.bytes(FileName::Watermark);
        let seq = bytes.get(8..16).map(|seq| seq.try_into().unwrap());
        seq.map_or(0, u64::from_le_bytes)
    }

    /// Opens the store. The power may fail several times meanwhile.
    fn open(&mut self, durability: Durability, counts: &Counts) -> Node {
        loop {
            let calls = self.workload.up_to(60);
            if self.workload.up_to(1) == 0 {
                self.disk.lose_power_after(calls);
            }
            let options = self.options(durability);
            let opened = Node::open(&self.disk, options);
            if !self.disk.has_lost_power() {
                self.disk.lose_power_after(u64::MAX);
                return opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
            }
            // The store can be open all the same, if only its persister met the failure.
            if let Ok(node) = opened {
                node.kill();
            }
            counts.losses_while_opening.fetch_add(1, Ordering::Relaxed);
            self.losses += 1;
            self.disk.power_on();
        }
    }

    /// Checks that the opened store has every call of the last run that must survive, and all calls up to some record.
    fn check(&mut self, node: &mut Node, counts: &Counts) {
        let seed = self.seed;
        let seq = node.opened_at;
        assert!(
            seq >= self.synced,
            "seed {seed}: the log ends at record {seq}, but record {} was synced",
            self.synced
        );
        let last = *self.sent.last_key_value().unwrap().0;
        if seq < last && self.durability != Durability::Sync {
            counts.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        let found = FullState::of(&mut node.machine);
        let allowed = &self.states[self.acknowledged as usize..];
        let revision = node.machine.usage().revision;
        assert!(
            allowed.contains(&found),
            "seed {seed}: {} of {} calls were acknowledged, but the state is\n{found:?}\nand should at least be\n{:?}",
            self.acknowledged,
            self.states.len() - 1,
            allowed[0],
        );
        let calls = self.sent[&seq] as usize;
        assert_eq!(
            self.states[calls], found,
            "seed {seed}: after record {seq}, {calls} calls"
        );
        assert!(
            revision >= self.revision,
            "seed {seed}: revision {revision} comes after {}",
            self.revision
        );
        self.states = vec![found];
        self.sent = [(seq, 0)].into();
        self.acknowledged = 0;
    }

    /// Opens the store, checks it, and makes calls until the power fails or the store is closed.
    fn run(&mut self, counts: &Counts) {
        let interval = Durability::Interval(Duration::from_millis(1));
        let durability = match self.modes {
            Modes::Sync => Durability::Sync,
            Modes::Any => {
                [Durability::Sync, interval, Durability::None][self.workload.up_to(2) as usize]
            }
        };
        let mut node = self.open(durability, counts);
        if self.disk.len(FileName::Snapshot(SnapshotSlot::B)) > 0 {
            counts.snapshots.fetch_add(1, Ordering::Relaxed);
        }
        self.check(&mut node, counts);
        self.durability = durability;
        // A commit makes three calls to the disk, a checkpoint a dozen, and a snapshot some dozens.
        let calls_max = [30, 100, 300][self.workload.up_to(2) as usize];
        let calls = self.workload.up_to(calls_max);
        self.disk.lose_power_after(calls);
        match self.make_calls(&mut node) {
            End::Steps => {
                self.disk.lose_power_after(u64::MAX);
                // The journal's thread may have met the power loss after the last step.
                match self.disk.has_lost_power() {
                    true => self.lose_power(node, counts),
                    false => self.close(node),
                }
            }
            End::PowerLoss => self.lose_power(node, counts),
        }
    }

    /// Makes calls until the journal fails, or for 200 steps.
    fn make_calls(&mut self, node: &mut Node) -> End {
        let mut steps = 0;
        loop {
            for _ in 0..self.workload.up_to(3) {
                node.call(&mut self.workload);
                self.states.push(FullState::of(&mut node.machine));
            }
            node.send();
            steps += 1;
            let acknowledged = node.acknowledged();
            if acknowledged > self.acknowledged {
                if self.durability == Durability::Sync {
                    self.acknowledged = acknowledged;
                }
                self.revision = node.commits.durable_revision(&node.machine);
            }
            if steps > 200 {
                return End::Steps;
            }
            if node.commits.is_busy() && node.handle_event().is_err() {
                return End::PowerLoss;
            }
        }
    }

    /// Closes the store in order: all calls must survive.
    fn close(&mut self, node: Node) {
        let calls = node.calls;
        self.acknowledged_in_all += calls;
        self.sent.clone_from(&node.sent);
        // Closing sends the remaining calls as one more record.
        self.sent
            .entry(node.commits.sent_seq() + 1)
            .or_insert(calls);
        assert!(node.close().is_ok(), "seed {}", self.seed);
        self.acknowledged = calls;
        self.synced = self.watermark();
    }

    /// Ends the process after the power failed, and turns the power on again.
    fn lose_power(&mut self, node: Node, counts: &Counts) {
        if self.durability == Durability::Sync {
            self.acknowledged = self.acknowledged.max(node.acknowledged());
            self.acknowledged_in_all += self.acknowledged;
        }
        self.sent.clone_from(&node.sent);
        let opened_at = node.opened_at;
        node.kill();
        assert!(
            self.disk.has_lost_power(),
            "seed {}: the journal failed without a power loss",
            self.seed
        );
        self.losses += 1;
        self.synced = self.watermark();
        counts
            .synced
            .fetch_add(self.synced - opened_at, Ordering::Relaxed);
        self.disk.power_on();
    }
}

/// Why a run makes no more calls.
enum End {
    /// It made enough of them.
    Steps,
    PowerLoss,
}

/// Runs lives on two threads until the power was lost `losses` times. The seeds begin with `SOLOIST_SEED`, or 1.
fn lives(name: &str, losses: u64, modes: Modes) -> Counts {
    let counts = Counts::default();
    let next = AtomicU64::new(0);
    let first: u64 = std::env::var("SOLOIST_SEED").map_or(1, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while counts.losses.load(Ordering::Relaxed) < losses {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    let mut life = Life::new(seed, modes);
                    for _ in 0..10 {
                        life.run(&counts);
                    }
                    counts.losses.fetch_add(life.losses, Ordering::Relaxed);
                    counts
                        .acknowledged
                        .fetch_add(life.acknowledged_in_all, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{name}: {counts:?}");
    counts
}

/// The number of power losses: `SOLOIST_POWER_LOSSES`, or `default`.
fn power_losses(default: u64) -> u64 {
    std::env::var("SOLOIST_POWER_LOSSES").map_or(default, |count| count.parse().unwrap())
}

#[test]
fn power_losses_lose_nothing_that_was_acknowledged() {
    let losses = power_losses(10_000);
    let counts = lives("sync", losses, Modes::Sync);
    // The test means something only if much was acknowledged, lost while opening, and restored from snapshots.
    let acknowledged = counts.acknowledged.into_inner();
    assert!(acknowledged > losses * 3, "{acknowledged}");
    assert!(counts.losses_while_opening.into_inner() > losses / 20);
    assert!(counts.snapshots.into_inner() > losses / 20);
}

#[test]
fn power_losses_lose_nothing_that_was_synced() {
    let losses = power_losses(3_000);
    let counts = lives("any mode", losses, Modes::Any);
    // The test means something only if some records were durable, and some were lost.
    assert!(counts.synced.into_inner() > losses * 3);
    assert!(counts.forgotten.into_inner() > losses / 20);
}

/// In mode `interval`, a record may be lost while later ones survive. That is no damage, neither at the next start nor at any
/// later one.
#[test]
fn power_losses_leave_nothing_that_is_damage_later() {
    let disk = SimDisk::new(1);
    let mut workload = Workload::new(1);
    let with = |durability| StoreOptions {
        wal_bytes_max: 1 << 20,
        ..node::options(durability)
    };
    let interval = || with(Durability::Interval(Duration::from_secs(60)));
    let mut node = Node::open(&disk, interval()).unwrap();
    let mut states = Vec::new();
    while node.commits.sent_seq() < 5 {
        node.call(&mut workload);
        node.commit_all();
        let (sent, state) = (node.commits.sent_seq(), FullState::of(&mut node.machine));
        states.truncate(sent as usize - 1);
        states.push(state);
    }
    node.kill();
    disk.process_killed();
    // Damage the second record. Page 0 is the header and page 1 the first frame: look for the next page that begins a frame.
    let bytes = disk.bytes(FileName::Wal);
    let second = (2..).map(|page| page * 4_096).find(|page| {
        let len = bytes[*page..*page + 4].try_into().map(u32::from_le_bytes);
        (1..1 << 16).contains(&len.unwrap())
    });
    disk.tamper(FileName::Wal, |bytes| bytes[second.unwrap() + 8] ^= 1);
    for options in [interval(), with(Durability::Sync), with(Durability::Sync)] {
        let mut node = Node::open(&disk, options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(node.opened_at, 1);
        assert_eq!(FullState::of(&mut node.machine), states[0]);
        node.kill();
        disk.process_killed();
    }
}

/// Without syncs that work, most lives lose acknowledged calls: so the tests above would find a missing sync.
#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let found = (0..50).filter(|seed| {
        let life = std::panic::catch_unwind(|| {
            let mut life = Life::new(*seed, Modes::Sync);
            life.disk.ignore_syncs();
            for _ in 0..10 {
                life.run(&Counts::default());
            }
        });
        life.is_err()
    });
    let found = found.count();
    assert!(found > 25, "{found} of 50");
}

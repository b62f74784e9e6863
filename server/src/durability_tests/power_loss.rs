//! The power fails at any call to the disk, again and again: everything that was acknowledged is there, and of the rest
//! either the segment that was under way or nothing. Where changes are answered before they are on disk, everything is
//! there up to one of them, and as much as was synced.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::journal::{FileName, SnapshotSlot};
use crate::machine::Revision;

/// When changes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modes {
    /// When they are on disk.
    Sync,
    /// Then or before: each run does as it likes.
    Any,
}

/// One life of a store: a few runs, each ended by a power loss, or in order.
struct Life {
    seed: u64,
    disk: SimDisk,
    workload: Workload,
    modes: Modes,
    durability: Durability,
    /// What there was after each call of the last run, from the one it began with.
    states: Vec<Everything>,
    /// After how many calls each record was sent.
    sent: BTreeMap<u64, u64>,
    /// A record that was said to be on disk.
    synced: u64,
    acknowledged: u64,
    revision: Revision,
    losses: u64,
    acknowledged_in_all: u64,
}

/// What many lives came to.
#[derive(Debug, Default)]
struct Sum {
    losses: AtomicU64,
    acknowledged: AtomicU64,
    deaths_while_opening: AtomicU64,
    /// Runs that began with two snapshots.
    snapshots: AtomicU64,
    /// Runs that began without something that had been answered early.
    forgotten: AtomicU64,
    /// Records that were said to be on disk.
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
            states: vec![Everything::of(&mut StateMachine::new(
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
            // From one page that is left for records to more than most runs have.
            wal_bytes_max: [2, 3, 4, 16, 64][self.workload.up_to(4) as usize] * page,
            ..options(durability)
        }
    }

    /// How far the log was at least, as it says itself.
    fn mark(&self) -> u64 {
        let bytes = self.disk.bytes(FileName::Watermark);
        let seq = bytes.get(8..16).map(|seq| seq.try_into().unwrap());
        seq.map_or(0, u64::from_le_bytes)
    }

    /// Opens the store; the power may fail meanwhile.
    fn open(&mut self, durability: Durability, sum: &Sum) -> Node {
        loop {
            let calls = self.workload.up_to(60);
            if self.workload.up_to(1) == 0 {
                self.disk.die_after(calls);
            }
            let options = self.options(durability);
            let opened = Node::open(&self.disk, options);
            if !self.disk.is_dead() {
                self.disk.die_after(u64::MAX);
                return opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
            }
            // It may have opened before its thread found out.
            if let Ok(node) = opened {
                node.kill();
            }
            sum.deaths_while_opening.fetch_add(1, Ordering::Relaxed);
            self.losses += 1;
            self.disk.power_on();
        }
    }

    /// What is there must be what was acknowledged, or with it what was done after.
    fn check(&mut self, node: &mut Node, sum: &Sum) {
        let seed = self.seed;
        let seq = node.opened_at;
        assert!(
            seq >= self.synced,
            "seed {seed}: record {seq} is the last, and {} was synced",
            self.synced
        );
        let last = *self.sent.last_key_value().unwrap().0;
        if seq < last && self.durability != Durability::Sync {
            sum.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        let found = Everything::of(&mut node.machine);
        let may_be = &self.states[self.acknowledged as usize..];
        let revision = node.machine.usage().revision;
        assert!(
            may_be.contains(&found),
            "seed {}: {} calls of {} were acknowledged, and there is\n{found:?}\nwhere it should be\n{:?}",
            self.seed,
            self.acknowledged,
            self.states.len() - 1,
            may_be[0],
        );
        let calls = self.sent[&seq] as usize;
        assert_eq!(
            self.states[calls], found,
            "seed {seed}: after record {seq}, {calls} calls"
        );
        assert!(
            revision >= self.revision,
            "seed {}: revision {revision} comes after {}",
            self.seed,
            self.revision
        );
        self.states = vec![found];
        self.sent = [(seq, 0)].into();
        self.acknowledged = 0;
    }

    fn run(&mut self, sum: &Sum) {
        let interval = Durability::Interval(Duration::from_millis(1));
        let durability = match self.modes {
            Modes::Sync => Durability::Sync,
            Modes::Any => {
                [Durability::Sync, interval, Durability::None][self.workload.up_to(2) as usize]
            }
        };
        let mut node = self.open(durability, sum);
        if self.disk.len(FileName::Snapshot(SnapshotSlot::B)) > 0 {
            sum.snapshots.fetch_add(1, Ordering::Relaxed);
        }
        self.check(&mut node, sum);
        self.durability = durability;
        // A commit is three of them, a move to the engine a dozen, and a snapshot some dozens.
        let most = [30, 100, 300][self.workload.up_to(2) as usize];
        let calls = self.workload.up_to(most);
        self.disk.die_after(calls);
        let mut steps = 0;
        loop {
            for _ in 0..self.workload.up_to(3) {
                node.call(&mut self.workload);
                self.states.push(Everything::of(&mut node.machine));
            }
            node.send();
            steps += 1;
            // What is acknowledged has been seen.
            let acknowledged = node.acknowledged();
            if acknowledged > self.acknowledged {
                if self.durability == Durability::Sync {
                    self.acknowledged = acknowledged;
                }
                self.revision = node.commits.durable_revision(&node.machine);
            }
            if steps > 200 {
                self.acknowledged_in_all += node.done;
                let done = node.done;
                self.disk.die_after(u64::MAX);
                self.sent.clone_from(&node.sent);
                // What was not sent yet is one more record.
                self.sent.entry(node.commits.sent_seq() + 1).or_insert(done);
                assert!(node.close().is_ok(), "seed {}", self.seed);
                self.acknowledged = done;
                self.synced = self.mark();
                return;
            }
            if node.commits.is_busy() && node.hear().is_err() {
                break;
            }
        }
        if self.durability == Durability::Sync {
            self.acknowledged = self.acknowledged.max(node.acknowledged());
            self.acknowledged_in_all += self.acknowledged;
        }
        self.sent.clone_from(&node.sent);
        let opened_at = node.opened_at;
        node.kill();
        assert!(
            self.disk.is_dead(),
            "seed {}: nothing else ends it",
            self.seed
        );
        self.losses += 1;
        self.synced = self.mark();
        sum.synced
            .fetch_add(self.synced - opened_at, Ordering::Relaxed);
        self.disk.power_on();
    }
}

fn lives(name: &str, losses: u64, modes: Modes, life: impl Fn(u64) -> u64 + Sync) -> Sum {
    let sum = Sum::default();
    let next = AtomicU64::new(0);
    let first: u64 = std::env::var("SOLOIST_SEED").map_or(1, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while sum.losses.load(Ordering::Relaxed) < losses {
                    let seed = life(first + next.fetch_add(1, Ordering::Relaxed));
                    let mut life = Life::new(seed, modes);
                    for _ in 0..10 {
                        life.run(&sum);
                    }
                    sum.losses.fetch_add(life.losses, Ordering::Relaxed);
                    sum.acknowledged
                        .fetch_add(life.acknowledged_in_all, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{name}: {sum:?}");
    sum
}

/// How many power losses: few here, and as many as wanted by hand.
fn wanted(default: u64) -> u64 {
    std::env::var("SOLOIST_POWER_LOSSES").map_or(default, |count| count.parse().unwrap())
}

#[test]
fn power_losses_lose_nothing_that_was_acknowledged() {
    let losses = wanted(10_000);
    let sum = lives("sync", losses, Modes::Sync, |seed| seed);
    // It would be easy to lose nothing where nothing is done.
    let acknowledged = sum.acknowledged.into_inner();
    assert!(acknowledged > losses * 3, "{acknowledged}");
    assert!(sum.deaths_while_opening.into_inner() > losses / 20);
    assert!(sum.snapshots.into_inner() > losses / 20);
}

#[test]
fn power_losses_lose_nothing_that_was_synced() {
    let losses = wanted(3_000);
    let sum = lives("any mode", losses, Modes::Any, |seed| seed);
    // Something was on disk, and something was not.
    assert!(sum.synced.into_inner() > losses * 3);
    assert!(sum.forgotten.into_inner() > losses / 20);
}

/// A record that was not synced is lost, and those behind it are not: they are no damage, now or at any later start.
#[test]
fn power_losses_leave_nothing_that_is_damage_later() {
    let disk = SimDisk::new(1);
    let mut workload = Workload::new(1);
    let with = |durability| StoreOptions {
        wal_bytes_max: 1 << 20,
        ..options(durability)
    };
    let interval = || with(Durability::Interval(Duration::from_secs(60)));
    let mut node = Node::open(&disk, interval()).unwrap();
    let mut states = Vec::new();
    while node.commits.sent_seq() < 5 {
        node.call(&mut workload);
        node.settle();
        let (sent, state) = (node.commits.sent_seq(), Everything::of(&mut node.machine));
        states.truncate(sent as usize - 1);
        states.push(state);
    }
    node.kill();
    disk.process_killed();
    // The second is torn.
    let at = disk.bytes(FileName::Wal);
    let second = (2..).map(|page| page * 4_096).find(|at_page| {
        let len = at[*at_page..*at_page + 4]
            .try_into()
            .map(u32::from_le_bytes);
        (1..1 << 16).contains(&len.unwrap())
    });
    disk.tamper(FileName::Wal, |bytes| bytes[second.unwrap() + 8] ^= 1);
    for options in [interval(), with(Durability::Sync), with(Durability::Sync)] {
        let mut node = Node::open(&disk, options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(node.opened_at, 1);
        assert_eq!(Everything::of(&mut node.machine), states[0]);
        node.kill();
        disk.process_killed();
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let found = (0..50).filter(|seed| {
        let lied = std::panic::catch_unwind(|| {
            let mut life = Life::new(*seed, Modes::Sync);
            life.disk.lie();
            for _ in 0..10 {
                life.run(&Sum::default());
            }
        });
        lied.is_err()
    });
    let found = found.count();
    assert!(found > 25, "{found} of 50");
}

//! Files of several times and several stores lie in one directory, as after a restore by hand. Then the store opens with
//! everything of which any of its files tells, or it refuses to open and says why. It never opens with less.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::full_state::FullState;
use super::node::{Node, options};
use super::workload::Workload;
use crate::config::{Durability, REVISIONS_SKIPPED_UNSYNCED};
use crate::journal::{
    self, FileName, OpenError, SimDisk, SnapshotSlot, StoreOptions, newest_record,
};
use crate::machine::{StateMachine, Time};
use crate::progress::Progress;

/// The files of a store at one time.
struct Moment {
    /// Two stores with the same number have one directory number: one is a copy of the other's directory.
    store: usize,
    /// Index of the history.
    history: usize,
    disk: SimDisk,
}

/// The state after each record of a store.
type History = BTreeMap<u64, FullState>;

/// The lives of related stores, and files of many times of each.
#[derive(Default)]
struct World {
    histories: Vec<History>,
    moments: Vec<Moment>,
}

impl World {
    /// Lives of one store, of two copies of its directory that went on by themselves, of a store that was made from a copy of
    /// its state, and of a store of its own.
    fn new(seed: u64) -> Self {
        let mut world = Self::default();
        let mut workload = Workload::new(seed);
        let first = SimDisk::new(seed);
        world.live(&first, 0, History::new(), &mut workload);
        let mut rng = StdRng::seed_from_u64(seed);
        for copy in 1..3 {
            let moment = rng.random_range(0..world.moments.len());
            let disk = world.moments[moment].disk.copy(seed + copy);
            let history = world.histories[0].clone();
            let mut workload = Workload::new(seed + 1_000 * copy);
            world.live(&disk, 0, history, &mut workload);
        }
        let restored = SimDisk::new(seed + 3);
        let mut machine = recovered(&first.copy(seed));
        let revision = machine.revision() + REVISIONS_SKIPPED_UNSYNCED;
        machine.restore_revision_floor(revision);
        journal::create(
            &restored,
            &mut machine,
            Time::MIN,
            "restored",
            &Progress::default(),
        )
        .unwrap();
        world.live(&restored, 1, History::new(), &mut workload);
        world.live(&SimDisk::new(seed + 4), 2, History::new(), &mut workload);
        world
    }

    /// Runs a store several times. Each run ends in order, by a kill, or by a power loss.
    fn live(&mut self, disk: &SimDisk, store: usize, history: History, workload: &mut Workload) {
        self.histories.push(history);
        for run in 0..4 {
            if run > 0 {
                self.keep(disk, store);
            }
            let durability = match workload.up_to(3) {
                0 => Durability::None,
                _ => Durability::Sync,
            };
            let options = StoreOptions {
                wal_bytes_max: [2, 4, 16][workload.up_to(2) as usize] * 4_096,
                ..options(durability)
            };
            let mut node = Node::open(disk, options).unwrap();
            let mut history = self.histories.last().unwrap().clone();
            if !history.split_off(&(node.opened_at + 1)).is_empty() {
                // Records are lost, and others will get their numbers.
                self.histories.push(history);
            }
            let history = self.histories.last_mut().unwrap();
            history.insert(node.opened_at, FullState::of(&mut node.machine));
            for _ in 0..workload.up_to(60) {
                node.call(workload);
                node.commit_all();
                let history = self.histories.last_mut().unwrap();
                history.insert(node.commits.sent_seq(), FullState::of(&mut node.machine));
                if workload.up_to(9) == 0 {
                    self.keep(disk, store);
                }
            }
            match workload.up_to(2) {
                0 => {
                    let (seq, state) = (node.commits.sent_seq(), FullState::of(&mut node.machine));
                    drop(node.close().ok().unwrap());
                    // Closing may write one more record.
                    let history = self.histories.last_mut().unwrap();
                    history.insert(seq + 1, state);
                }
                1 => {
                    node.kill();
                    disk.process_killed();
                }
                _ => {
                    disk.lose_power_after(0);
                    node.kill();
                    disk.power_on();
                }
            }
        }
        self.keep(disk, store);
    }

    fn keep(&mut self, disk: &SimDisk, store: usize) {
        self.moments.push(Moment {
            store,
            history: self.histories.len() - 1,
            disk: disk.copy(1),
        });
    }

    /// Opens a directory whose files are each of one of these moments, or missing.
    fn open_mixed(&self, files: &[(FileName, Option<&Moment>)], counts: &mut Counts, trial: &str) {
        let disk = SimDisk::new(1);
        for (name, moment) in files {
            if let Some(moment) = moment {
                disk.tamper(*name, |bytes| *bytes = moment.disk.bytes(*name));
            }
        }
        let told: Vec<(&Moment, u64)> = files
            .iter()
            .filter_map(|(name, moment)| Some(((*moment)?, newest_record(&disk, *name)?)))
            .collect();
        let mut node = match Node::open(&disk, options(Durability::Sync)) {
            Ok(node) => node,
            Err(OpenError::DataLoss { what, .. }) => {
                assert!(
                    FileName::ALL.iter().any(|of| what.contains(of.as_str())),
                    "{trial}: {what}"
                );
                counts.refused += 1;
                return;
            }
            Err(OpenError::Unfinished { .. }) => {
                counts.refused += 1;
                return;
            }
            Err(error) => panic!("{trial}: {error}"),
        };
        counts.opened += 1;
        let newest = told.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        assert!(
            node.opened_at >= newest,
            "{trial}: opened at record {}, but a file tells of record {newest}",
            node.opened_at
        );
        let state = FullState::of(&mut node.machine);
        match files[0].1 {
            None => assert!(newest == 0 && state.entries.is_empty(), "{trial}"),
            Some(of_log) => {
                for (of, _) in &told {
                    assert_eq!(of.store, of_log.store, "{trial}: a file of another store");
                }
                let of_history = |moment: &Moment| {
                    self.histories[moment.history].get(&node.opened_at) == Some(&state)
                };
                assert!(
                    told.iter().any(|(moment, _)| of_history(moment)),
                    "{trial}: the state is of no store at record {}",
                    node.opened_at
                );
            }
        }
        let mut workload = Workload::new(1);
        for _ in 0..20 {
            node.call(&mut workload);
            node.commit_all();
        }
        let state = FullState::of(&mut node.machine);
        node.kill();
        disk.process_killed();
        assert_eq!(FullState::of(&mut recovered(&disk)), state, "{trial}");
    }
}

/// The state of the store on a disk.
fn recovered(disk: &SimDisk) -> StateMachine {
    let node = Node::open(disk, options(Durability::Sync)).unwrap();
    node.close().ok().unwrap()
}

/// How many mixed directories opened, and how many were refused.
#[derive(Debug, Default)]
struct Counts {
    opened: u64,
    refused: u64,
}

#[test]
fn files_of_several_times_or_stores_open_with_everything_or_are_refused() {
    let first: u64 = std::env::var("SOLOIST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let worlds: u64 = std::env::var("SOLOIST_WORLDS").map_or(4, |count| count.parse().unwrap());
    let mut counts = Counts::default();
    for seed in first..first + worlds {
        let world = World::new(10_000 * seed);
        let mut rng = StdRng::seed_from_u64(seed);
        for trial in 0..150 {
            // Mostly two sources, so that many mixes almost fit.
            let count = [2, 2, 2, 3, 5][rng.random_range(0..5)];
            let near = rng.random_range(0..world.moments.len());
            let mut sources: Vec<&Moment> = (0..count)
                .map(|_| world.moments.choose(&mut rng).unwrap())
                .collect();
            if rng.random() {
                sources[0] = &world.moments[near];
                sources[1] = &world.moments[(near + 1) % world.moments.len()];
            }
            let missing = rng.random_bool(0.2);
            let files = FileName::ALL.map(|name| {
                let is_missing = missing && rng.random_bool(0.3);
                let source = sources.choose(&mut rng).copied();
                (name, source.filter(|_| !is_missing))
            });
            world.open_mixed(&files, &mut counts, &format!("seed {seed}, trial {trial}"));
        }
    }
    println!("mixed files: {counts:?}");
    assert!(counts.opened > 40 && counts.refused > 100, "{counts:?}");
}

/// A start moves the records of the tail to log.redb. From then until the next record, yesterday's tail and watermark fit
/// log.redb. Later they must not: the records since the start are only in the tail.
#[test]
fn a_tail_and_a_watermark_from_before_the_last_start_are_refused() {
    let mut workload = Workload::new(9);
    let disk = SimDisk::new(9);
    let options = || StoreOptions {
        wal_bytes_max: 1 << 20,
        snapshot_log_bytes: u64::MAX,
        ..options(Durability::Sync)
    };
    let mut of_days = Vec::new();
    for _ in 0..3 {
        let mut node = Node::open(&disk, options()).unwrap();
        for _ in 0..20 {
            node.call(&mut workload);
            node.commit_all();
        }
        node.kill();
        disk.process_killed();
        of_days.push(disk.copy(1));
    }
    for yesterday in of_days[..2].iter().rev() {
        let mixed = disk.copy(1);
        for name in [FileName::Wal, FileName::Watermark] {
            mixed.tamper(name, |bytes| *bytes = yesterday.bytes(name));
        }
        let error = Node::open(&mixed, options()).err().unwrap().to_string();
        assert!(
            error.contains("watermark is older than log.redb"),
            "{error}"
        );
    }
}

/// The servers before wrote no number of a start.
#[test]
fn a_watermark_without_the_number_of_a_start_opens() {
    let mut workload = Workload::new(10);
    let disk = SimDisk::new(10);
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    for _ in 0..20 {
        node.call(&mut workload);
        node.commit_all();
    }
    let state = FullState::of(&mut node.machine);
    node.kill();
    disk.process_killed();
    disk.tamper(FileName::Watermark, |bytes| {
        bytes[7] = 2;
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes[36..].fill(0);
    });
    for _ in 0..2 {
        assert_eq!(FullState::of(&mut recovered(&disk)), state);
    }
}

/// The power fails at each call while a store is made from a copy. Then it says that it is unfinished, and can be made again, or
/// it is complete. It never looks like a new store with fewer keys.
#[test]
fn an_interrupted_restore_says_so_and_can_be_made_again() {
    let mut workload = Workload::new(5);
    let source = SimDisk::new(5);
    let mut node = Node::open(&source, options(Durability::Sync)).unwrap();
    for _ in 0..50 {
        node.call(&mut workload);
        node.commit_all();
    }
    let mut machine = node.close().ok().unwrap();
    machine.restore_revision_floor(machine.revision() + REVISIONS_SKIPPED_UNSYNCED);
    let state = FullState::of(&mut machine);
    let (mut unfinished, mut complete) = (0, 0);
    for calls in 0..120 {
        let disk = SimDisk::new(calls);
        disk.lose_power_after(calls);
        let _ = journal::create(
            &disk,
            &mut machine,
            Time::MIN,
            "restored",
            &Progress::default(),
        );
        disk.power_on();
        let has_files = FileName::ALL.iter().any(|name| disk.len(*name) > 0);
        match Node::open(&disk.copy(calls), options(Durability::Sync)) {
            Ok(mut node) => {
                let found = FullState::of(&mut node.machine);
                assert!(found == state || !has_files, "after {calls} calls");
                complete += 1;
            }
            Err(error @ OpenError::Unfinished { .. }) => {
                assert!(error.to_string().contains("restore"), "{error}");
                unfinished += 1;
            }
            Err(error) => panic!("after {calls} calls: {error}"),
        }
        if journal::make_room(&disk).unwrap() {
            journal::create(
                &disk,
                &mut machine,
                Time::MIN,
                "restored",
                &Progress::default(),
            )
            .unwrap();
        }
        assert_eq!(FullState::of(&mut recovered(&disk)), state, "{calls}");
    }
    assert!(unfinished > 5 && complete > 20, "{unfinished}, {complete}");
}

/// The power fails at each call of the first start in a directory. A directory that no server has used can take a restore.
#[test]
fn an_interrupted_first_start_leaves_room_for_a_restore() {
    let mut workload = Workload::new(6);
    let mut node = Node::open(&SimDisk::new(6), options(Durability::Sync)).unwrap();
    node.call(&mut workload);
    let mut machine = node.close().ok().unwrap();
    let state = FullState::of(&mut machine);
    let (mut with_a_log, mut in_use) = (0, 0);
    for calls in 0..80 {
        let disk = SimDisk::new(calls);
        disk.lose_power_after(calls);
        if let Ok(node) = Node::open(&disk, options(Durability::Sync)) {
            node.kill();
        }
        disk.power_on();
        let has_log = disk.len(FileName::Log) > 0;
        if !journal::make_room(&disk).unwrap() {
            in_use += 1;
            continue;
        }
        with_a_log += u64::from(has_log);
        journal::create(
            &disk,
            &mut machine,
            Time::MIN,
            "restored",
            &Progress::default(),
        )
        .unwrap();
        assert_eq!(FullState::of(&mut recovered(&disk)), state, "{calls}");
    }
    assert!(with_a_log > 0 && in_use > 0, "{with_a_log}, {in_use}");
}

/// A store that began with a copy has its first records, but no record of the copy. With both snapshots lost it must not open
/// as if it had begun empty.
#[test]
fn a_restored_store_never_opens_without_the_copy_it_began_with() {
    let snapshots = [SnapshotSlot::A, SnapshotSlot::B].map(FileName::Snapshot);
    for seed in 0..10 {
        let mut workload = Workload::new(seed);
        let source = SimDisk::new(seed);
        let mut node = Node::open(&source, options(Durability::Sync)).unwrap();
        while node.machine.usage().key_count < 5 {
            node.call(&mut workload);
            node.commit_all();
        }
        let mut machine = node.close().ok().unwrap();
        machine.restore_revision_floor(machine.revision() + REVISIONS_SKIPPED_UNSYNCED);
        let disk = SimDisk::new(seed);
        journal::create(
            &disk,
            &mut machine,
            Time::MIN,
            "restored",
            &Progress::default(),
        )
        .unwrap();
        let mut node = Node::open(
            &disk,
            StoreOptions {
                // The log keeps its first record until after the second new snapshot.
                wal_bytes_max: 1 << 20,
                ..options(Durability::Sync)
            },
        )
        .unwrap();
        for call in 0..150 {
            node.call(&mut workload);
            node.commit_all();
            let killed = disk.copy(call);
            for name in snapshots {
                killed.tamper(name, |bytes| bytes.fill(0x55));
            }
            let error = Node::open(&killed, options(Durability::Sync)).err();
            assert!(
                matches!(error, Some(OpenError::DataLoss { .. })),
                "seed {seed}, call {call}: {error:?}"
            );
        }
        node.kill();
    }
}

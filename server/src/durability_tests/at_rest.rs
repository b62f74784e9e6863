//! A file of a closed or killed store is damaged or replaced. Then the store opens with its full state, or it refuses to
//! open and names the file.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::full_state::FullState;
use super::node::{Node, options};
use super::workload::Workload;
use crate::config::Durability;
use crate::journal::{FileName, OpenError, SimDisk, SnapshotSlot, StoreOptions};

/// A store with two snapshots and later records, and its state.
fn store(seed: u64, ended: Ended) -> (SimDisk, FullState) {
    let disk = SimDisk::new(seed);
    let mut workload = Workload::new(seed);
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    let snapshots = [SnapshotSlot::A, SnapshotSlot::B].map(FileName::Snapshot);
    while node.calls < 300 || snapshots.iter().any(|name| disk.len(*name) == 0) {
        node.call(&mut workload);
        node.commit_all();
    }
    // These calls are only in the log.
    for _ in 0..10 {
        node.call(&mut workload);
        node.commit_all();
    }
    let state = FullState::of(&mut node.machine);
    match ended {
        Ended::InOrder => drop(node.close().ok().unwrap()),
        Ended::Killed => {
            node.commit_all();
            node.kill();
            disk.process_killed();
        }
    }
    (disk, state)
}

/// How the last server of a store ended.
#[derive(Clone, Copy)]
enum Ended {
    InOrder,
    Killed,
}

/// How many damaged stores opened with their full state, and how many refused to open.
#[derive(Debug, Default)]
struct Counts {
    opened: u32,
    refused: u32,
}

/// Opens copies of 20 stores, each damaged in 20 ways, and checks the result. The seeds begin with `SOLOIST_SEED`, or 1.
fn open_damaged(damage: impl Fn(&mut StdRng, &mut Vec<u8>)) -> Counts {
    let mut counts = Counts::default();
    let first: u64 = std::env::var("SOLOIST_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + 20 {
        let ended = match seed % 2 {
            0 => Ended::InOrder,
            _ => Ended::Killed,
        };
        let (disk, expected) = store(seed, ended);
        let mut rng = StdRng::seed_from_u64(seed);
        for trial in 0..20 {
            let disk = disk.copy(seed);
            // Each file is as likely as any other, because small files matter as much.
            let name = FileName::ALL[rng.random_range(0..FileName::ALL.len())];
            disk.tamper(name, |bytes| damage(&mut rng, bytes));
            let trial_name = format!("seed {seed}, trial {trial}, {name:?}");
            match Node::open(&disk, options(Durability::Sync)) {
                Ok(mut node) => {
                    assert_eq!(FullState::of(&mut node.machine), expected, "{trial_name}");
                    counts.opened += 1;
                    // The store accepts calls, and they survive a kill.
                    let mut workload = Workload::new(trial);
                    for _ in 0..50 {
                        node.call(&mut workload);
                        node.commit_all();
                    }
                    let expected = FullState::of(&mut node.machine);
                    node.kill();
                    disk.process_killed();
                    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
                    assert_eq!(FullState::of(&mut node.machine), expected, "{trial_name}");
                    node.kill();
                }
                Err(error) => {
                    check_refusal(&error, &trial_name, &disk);
                    counts.refused += 1;
                }
            }
        }
    }
    counts
}

/// Checks a refusal: it names a file, and the loss can be accepted only with the revision that it names.
fn check_refusal(error: &OpenError, trial_name: &str, disk: &SimDisk) {
    let OpenError::DataLoss { what, revision, .. } = error else {
        panic!("{trial_name}: {error}");
    };
    assert!(
        FileName::ALL
            .iter()
            .any(|name| what.contains(name.as_str())),
        "{trial_name}: {what}"
    );
    let accepting = |revision| StoreOptions {
        accept_data_loss: Some(revision),
        new_store_id: "another".into(),
        ..options(Durability::Sync)
    };
    let other = Node::open(disk, accepting(revision + 1)).err();
    let other = other.expect("another revision was accepted").to_string();
    assert!(
        other.contains("--accept-data-loss"),
        "{trial_name}: {other}"
    );
    let node = Node::open(disk, accepting(*revision))
        .unwrap_or_else(|error| panic!("{trial_name}: {error}"));
    assert!(
        node.machine.usage().revision > revision + (1 << 39),
        "{trial_name}"
    );
    node.kill();
    disk.process_killed();
    // From now on, the store opens without the option.
    Node::open(disk, options(Durability::Sync)).unwrap().kill();
}

#[test]
fn flipped_bits_are_found_out_or_do_no_harm() {
    let counts = open_damaged(|rng, bytes| {
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
    });
    println!("bit flips: {counts:?}");
    // Most flips hit unused parts of the engine's files.
    assert!(counts.refused >= 3 && counts.opened >= 100, "{counts:?}");
}

#[test]
fn truncated_files_are_found_out_or_do_no_harm() {
    let counts = open_damaged(|rng, bytes| {
        let len = rng.random_range(0..=bytes.len());
        bytes.truncate(len);
    });
    println!("truncations: {counts:?}");
    assert!(counts.refused >= 40 && counts.opened >= 100, "{counts:?}");
}

#[test]
fn zeroed_sectors_are_found_out_or_do_no_harm() {
    let counts = open_damaged(|rng, bytes| {
        let sectors = bytes.len().div_ceil(512);
        if sectors > 0 {
            let from = rng.random_range(0..sectors) * 512;
            let to = (from + 512).min(bytes.len());
            bytes[from..to].fill(0);
        }
    });
    println!("zeroed sectors: {counts:?}");
    assert!(counts.refused >= 3 && counts.opened >= 100, "{counts:?}");
}

/// The power fails at each call while a loss is being accepted. Then the store refuses to open again, or it has the
/// accepted state.
#[test]
fn an_accepted_loss_is_never_taken_for_a_new_store() {
    let (disk, _) = store(3, Ended::Killed);
    disk.tamper(FileName::Log, |bytes| bytes.truncate(10_000));
    let Some(OpenError::DataLoss { revision, .. }) =
        Node::open(&disk, options(Durability::Sync)).err()
    else {
        panic!("a truncated log was accepted");
    };
    let accepting = || StoreOptions {
        accept_data_loss: Some(revision),
        new_store_id: "another".into(),
        ..options(Durability::Sync)
    };
    let mut done = 0;
    for calls in 0..400 {
        let disk = disk.copy(calls);
        disk.lose_power_after(calls);
        if let Ok(node) = Node::open(&disk, accepting()) {
            node.kill();
        }
        disk.power_on();
        match Node::open(&disk, options(Durability::Sync)) {
            Ok(node) => {
                assert!(node.machine.revision() > revision, "after {calls} calls");
                assert!(node.machine.usage().key_count > 0, "after {calls} calls");
                node.kill();
                done += 1;
            }
            Err(OpenError::DataLoss { .. }) => {}
            Err(error) => panic!("after {calls} calls: {error}"),
        }
    }
    assert!((1..400).contains(&done), "{done}");
}

#[test]
fn a_log_that_has_gone_back_is_found_out() {
    let (disk, _) = store(7, Ended::Killed);
    let (before, mut workload) = (disk.copy(7), Workload::new(8));
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    node.call(&mut workload);
    while node.calls < 20 {
        node.call(&mut workload);
        node.commit_all();
    }
    node.kill();
    disk.process_killed();
    // Restore both files of the log, or one of them, to an older state.
    let both = [FileName::Log, FileName::Wal];
    for (back, expected) in [
        (&both[..], "gone back"),
        (&both[..1], "has no record"),
        (&both[1..], "tail is older than log.redb"),
    ] {
        let disk = disk.copy(7);
        for name in back {
            disk.tamper(*name, |bytes| *bytes = before.bytes(*name));
        }
        let error = Node::open(&disk, options(Durability::Sync)).err().unwrap();
        assert!(error.to_string().contains(expected), "{back:?}: {error}");
        check_refusal(&error, "an older log", &disk);
    }
}

/// Every page of the write-ahead log is damaged in turn. `--accept-data-loss` keeps the records before the damage.
#[test]
fn a_loss_in_the_wal_keeps_the_records_before_it() {
    let disk = SimDisk::new(5);
    let mut workload = Workload::new(5);
    let options = || StoreOptions {
        wal_bytes_max: 128 << 10,
        snapshot_log_bytes: u64::MAX,
        ..options(Durability::Sync)
    };
    let mut node = Node::open(&disk, options()).unwrap();
    let mut states = Vec::new();
    for _ in 0..40 {
        node.call(&mut workload);
        node.commit_all();
        states.push((node.machine.revision(), FullState::of(&mut node.machine)));
    }
    node.kill();
    disk.process_killed();
    let (last, state) = states.last().unwrap();
    let mut lost = 0;
    for page in 0..disk.len(FileName::Wal) / 4_096 {
        let disk = disk.copy(page as u64);
        disk.tamper(FileName::Wal, |bytes| bytes[page * 4_096 + 9] ^= 1);
        let options = match Node::open(&disk, options()) {
            Ok(mut node) => {
                assert_eq!(FullState::of(&mut node.machine), *state, "page {page}");
                node.kill();
                continue;
            }
            Err(error) => {
                check_refusal(&error, &format!("page {page}"), &disk.copy(1));
                let OpenError::DataLoss { revision, .. } = error else {
                    unreachable!("check_refusal has checked it")
                };
                assert!(revision < *last, "page {page}");
                StoreOptions {
                    accept_data_loss: Some(revision),
                    ..options()
                }
            }
        };
        lost += 1;
        let revision = options.accept_data_loss.unwrap();
        let mut node = Node::open(&disk, options).unwrap();
        let found = FullState::of(&mut node.machine);
        let as_of = |(of, state): &(i64, FullState)| *of == revision && *state == found;
        assert!(
            states.iter().any(as_of) || (revision == 0 && found.entries.is_empty()),
            "page {page}: {found:?}"
        );
        node.kill();
    }
    assert!(lost >= 15, "{lost}");
}

/// After an orderly end the engine has all records, so damage in the write-ahead log loses nothing.
#[test]
fn a_damaged_wal_does_no_harm_after_an_orderly_end() {
    let (disk, expected) = store(4, Ended::InOrder);
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[0] ^= 1,
        |bytes| bytes[..512].fill(0),
        |bytes| bytes.truncate(10),
        Vec::clear,
    ];
    for damage in damages {
        let disk = disk.copy(1);
        disk.tamper(FileName::Wal, damage);
        for _ in 0..2 {
            let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
            assert_eq!(FullState::of(&mut node.machine), expected);
            node.kill();
            disk.process_killed();
        }
    }
}

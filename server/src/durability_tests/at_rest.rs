//! One bit flips, or a file is cut short, while nobody uses it: the store is right, or it refuses to start and says why.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::journal::{FileName, SnapshotSlot};

/// A store with two snapshots and records after them, and what is in it.
fn store(seed: u64, ends: End) -> (SimDisk, Everything) {
    let disk = SimDisk::new(seed);
    let mut workload = Workload::new(seed);
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    let snapshots = [SnapshotSlot::A, SnapshotSlot::B].map(FileName::Snapshot);
    while node.done < 300 || snapshots.iter().any(|name| disk.len(*name) == 0) {
        node.call(&mut workload);
        node.settle();
    }
    // A few more, that only the log has.
    for _ in 0..10 {
        node.call(&mut workload);
        node.settle();
    }
    let everything = Everything::of(&mut node.machine);
    match ends {
        End::InOrder => drop(node.close().ok().unwrap()),
        End::Killed => {
            node.settle();
            node.kill();
            disk.process_killed();
        }
    }
    (disk, everything)
}

#[derive(Clone, Copy)]
enum End {
    InOrder,
    Killed,
}

/// What became of a store that was damaged.
#[derive(Debug, Default)]
struct Sum {
    right: u32,
    refused: u32,
}

/// Damages a copy of a store in each of many ways, and looks what becomes of it.
fn damaged(damage: impl Fn(&mut StdRng, &mut Vec<u8>)) -> Sum {
    let mut sum = Sum::default();
    let first: u64 = std::env::var("SOLOIST_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + 20 {
        let ends = match seed % 2 {
            0 => End::InOrder,
            _ => End::Killed,
        };
        let (disk, expected) = store(seed, ends);
        let mut rng = StdRng::seed_from_u64(seed);
        for trial in 0..20 {
            let disk = disk.copied(seed);
            // Each file as likely as any other: the smallest matter as much.
            let name = FileName::ALL[rng.random_range(0..FileName::ALL.len())];
            disk.tamper(name, |bytes| damage(&mut rng, bytes));
            let told = format!("seed {seed}, trial {trial}, {name:?}");
            match Node::open(&disk, options(Durability::Sync)) {
                Ok(mut node) => {
                    assert_eq!(Everything::of(&mut node.machine), expected, "{told}");
                    sum.right += 1;
                    // And it goes on.
                    let mut workload = Workload::new(trial);
                    for _ in 0..50 {
                        node.call(&mut workload);
                        node.settle();
                    }
                    let expected = Everything::of(&mut node.machine);
                    node.kill();
                    disk.process_killed();
                    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
                    assert_eq!(Everything::of(&mut node.machine), expected, "{told}");
                    node.kill();
                }
                Err(error) => {
                    refused(&error, &told, &disk);
                    sum.refused += 1;
                }
            }
        }
    }
    sum
}

/// A refusal names a file, and can be overruled.
fn refused(error: &OpenError, told: &str, disk: &SimDisk) {
    let OpenError::DataLoss { what, revision, .. } = error else {
        panic!("{told}: {error}");
    };
    assert!(
        FileName::ALL
            .iter()
            .any(|name| what.contains(name.as_str())),
        "{told}: {what}"
    );
    let accepting = |revision| StoreOptions {
        accept_data_loss: Some(revision),
        new_store_id: "another".into(),
        ..options(Durability::Sync)
    };
    let other = Node::open(disk, accepting(revision + 1)).err();
    let other = other.expect("that was not what it said").to_string();
    assert!(other.contains("--accept-data-loss"), "{told}: {other}");
    let node =
        Node::open(disk, accepting(*revision)).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert!(
        node.machine.usage().revision > revision + (1 << 39),
        "{told}"
    );
    node.kill();
    disk.process_killed();
    // It is an ordinary store from then on.
    Node::open(disk, options(Durability::Sync)).unwrap().kill();
}

#[test]
fn flipped_bits_are_found_out_or_do_no_harm() {
    let sum = damaged(|rng, bytes| {
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
    });
    println!("bit flips: {sum:?}");
    // Most hit what is not in use: the engine's file is larger than what is in it.
    assert!(sum.refused >= 3 && sum.right >= 100, "{sum:?}");
}

#[test]
fn files_that_were_cut_short_are_found_out_or_not_missed() {
    let sum = damaged(|rng, bytes| {
        let len = rng.random_range(0..=bytes.len());
        bytes.truncate(len);
    });
    println!("truncations: {sum:?}");
    assert!(sum.refused >= 40 && sum.right >= 100, "{sum:?}");
}

#[test]
fn zeroed_sectors_are_found_out_or_do_no_harm() {
    let sum = damaged(|rng, bytes| {
        let sectors = bytes.len().div_ceil(512);
        if sectors > 0 {
            let from = rng.random_range(0..sectors) * 512;
            let to = (from + 512).min(bytes.len());
            bytes[from..to].fill(0);
        }
    });
    println!("zeroed sectors: {sum:?}");
    assert!(sum.refused >= 3 && sum.right >= 100, "{sum:?}");
}

/// The power fails at each call of going on without what is lost: it is refused again, or done.
#[test]
fn an_accepted_loss_is_never_taken_for_a_new_store() {
    let (disk, _) = store(3, End::Killed);
    disk.tamper(FileName::Log, |bytes| bytes.truncate(10_000));
    let Some(OpenError::DataLoss { revision, .. }) =
        Node::open(&disk, options(Durability::Sync)).err()
    else {
        panic!("the log is lost");
    };
    let accepting = || StoreOptions {
        accept_data_loss: Some(revision),
        new_store_id: "another".into(),
        ..options(Durability::Sync)
    };
    let mut done = 0;
    for calls in 0..400 {
        let disk = disk.copied(calls);
        disk.die_after(calls);
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
    let (disk, _) = store(7, End::Killed);
    let (before, mut workload) = (disk.copied(7), Workload::new(8));
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    node.call(&mut workload);
    while node.done < 20 {
        node.call(&mut workload);
        node.settle();
    }
    node.kill();
    disk.process_killed();
    // Both files as they were, or one of them, undamaged.
    let both = [FileName::Log, FileName::Wal];
    for (back, expected) in [
        (&both[..], "gone back"),
        (&both[..1], "has no record"),
        (&both[1..], "gone back"),
    ] {
        let disk = disk.copied(7);
        for name in back {
            disk.tamper(*name, |bytes| *bytes = before.bytes(*name));
        }
        let error = Node::open(&disk, options(Durability::Sync)).err().unwrap();
        assert!(error.to_string().contains(expected), "{back:?}: {error}");
        refused(&error, "the log of yesterday", &disk);
    }
}

/// Every page of the tail is damaged in turn: what can be read up to there is what `--accept-data-loss` goes on with.
#[test]
fn a_loss_in_the_tail_keeps_what_was_before_it() {
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
        node.settle();
        states.push((node.machine.revision(), Everything::of(&mut node.machine)));
    }
    node.kill();
    disk.process_killed();
    let (last, everything) = states.last().unwrap();
    let mut lost = 0;
    for page in 0..disk.len(FileName::Wal) / 4_096 {
        let disk = disk.copied(page as u64);
        disk.tamper(FileName::Wal, |bytes| bytes[page * 4_096 + 9] ^= 1);
        let options = match Node::open(&disk, options()) {
            Ok(mut node) => {
                assert_eq!(
                    Everything::of(&mut node.machine),
                    *everything,
                    "page {page}"
                );
                node.kill();
                continue;
            }
            Err(error) => {
                refused(&error, &format!("page {page}"), &disk.copied(1));
                let OpenError::DataLoss { revision, .. } = error else {
                    unreachable!("that is what a refusal is")
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
        let found = Everything::of(&mut node.machine);
        let as_of = |(of, state): &(i64, Everything)| *of == revision && *state == found;
        assert!(
            states.iter().any(as_of) || (revision == 0 && found.entries.is_empty()),
            "page {page}: {found:?}"
        );
        node.kill();
    }
    assert!(lost >= 15, "{lost}");
}

/// After an orderly end the engine has everything, and the tail nothing that is missed.
#[test]
fn a_tail_is_not_missed_after_an_orderly_end() {
    let (disk, expected) = store(4, End::InOrder);
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[0] ^= 1,
        |bytes| bytes[..512].fill(0),
        |bytes| bytes.truncate(10),
        Vec::clear,
    ];
    for damage in damages {
        let disk = disk.copied(1);
        disk.tamper(FileName::Wal, damage);
        for _ in 0..2 {
            let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
            assert_eq!(Everything::of(&mut node.machine), expected);
            node.kill();
            disk.process_killed();
        }
    }
}

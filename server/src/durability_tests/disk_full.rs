//! The disk fills up: changes are refused until there is space again, and no acknowledged change is lost.

use std::time::Duration;

use super::full_state::FullState;
use super::node::{Node, options};
use super::workload::Workload;
use crate::config::Durability;
use crate::journal::{Disk as _, FileName, OpenError, SimDisk, StoreOptions};
use crate::machine::Cause;
use crate::owner::CallError;

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut workload = Workload::new(seed);
        let mut options = options(Durability::Sync);
        // With even seeds, snapshots fill the disk too.
        options.snapshot_log_bytes = if seed % 2 == 0 { 4_000 } else { u64::MAX };
        let mut node = Node::open(&disk, options.clone()).unwrap();
        for _ in 0..20 {
            node.call(&mut workload);
            node.commit_all();
        }
        disk.set_capacity(disk.used() + workload.up_to(100_000));
        let full = |error: &CallError| matches!(error, CallError::DiskFull(_));
        while !node.commits.refusal().as_ref().is_some_and(full) {
            node.call(&mut workload);
            node.send();
            if node.commits.is_busy() {
                assert!(node.handle_event().is_ok(), "seed {seed}");
            }
        }
        let acknowledged = node.acknowledged();
        // With snapshots, the meta record may be what waits for space, while all calls are in the write-ahead log.
        assert!(
            acknowledged < node.calls || seed % 2 == 0,
            "seed {seed}: no call waits for space"
        );

        disk.set_capacity(u64::MAX);
        while node.acknowledged() < node.calls {
            assert!(node.handle_event().is_ok(), "seed {seed}");
            node.send();
        }
        while node.commits.refusal().is_some() {
            assert!(node.handle_event().is_ok(), "seed {seed}");
        }
        node.call(&mut workload);
        node.commit_all();
        assert_eq!(node.acknowledged(), node.calls, "seed {seed}");
        let expected = FullState::of(&mut node.machine);
        node.kill();
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(FullState::of(&mut node.machine), expected, "seed {seed}");
        node.kill();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_answered_early_either() {
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        let mut workload = Workload::new(seed);
        let options = StoreOptions {
            snapshot_log_bytes: u64::MAX,
            ..options(Durability::Interval(Duration::from_millis(20)))
        };
        let mut node = Node::open(&disk, options.clone()).unwrap();
        disk.set_capacity(disk.used() + 50_000);
        while node.commits.refusal().is_none() {
            node.call(&mut workload);
            node.send();
            if node.commits.is_busy() {
                assert!(node.handle_event().is_ok(), "seed {seed}");
            }
        }
        disk.set_capacity(u64::MAX);
        while node.commits.refusal().is_some() {
            assert!(node.handle_event().is_ok(), "seed {seed}");
        }
        node.commit_all();
        let expected = FullState::of(&mut node.machine);
        assert!(node.close().is_ok(), "seed {seed}");
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(FullState::of(&mut node.machine), expected, "seed {seed}");
        node.kill();
    }
}

#[test]
fn little_space_refuses_growth_and_lets_deletes_pass() {
    let disk = SimDisk::new(1);
    disk.set_capacity(1 << 20);
    let mut options = options(Durability::Sync);
    options.min_free_bytes = 2 << 20;
    let mut node = Node::open(&disk, options).unwrap();
    // The first event reports the disk space.
    assert!(node.handle_event().is_ok());
    let write = |key: &str| crate::machine::Write {
        key: key.into(),
        value: Some(crate::machine::Value::Int(1)),
        options: None,
    };
    let refused = node.machine.write(write("k"), None, node.now).unwrap_err();
    let crate::machine::Cause::DiskFull(low) = refused.cause else {
        panic!("{refused:?}");
    };
    assert_eq!(low.least, 2 << 20);
    // The figures are the present ones, also if the space is as scarce as before.
    disk.set_capacity(3 << 19);
    let free = disk.free_bytes().unwrap();
    let names = |node: &mut Node, free| matches!(node.write("k", 1), Err(Cause::DiskFull(low)) if low.free == free);
    while !names(&mut node, free) {
        assert!(node.handle_event().is_ok());
    }
    let delete = crate::machine::Delete {
        key: "k".into(),
        expect: None,
    };
    assert!(node.machine.delete(delete, None, node.now).is_ok());
    assert!(node.commits.refusal().is_none());
    disk.set_capacity(u64::MAX);
    while node.machine.write(write("k"), None, node.now).is_err() {
        assert!(node.handle_event().is_ok());
    }
    node.kill();
}

fn is_full(node: &Node) -> bool {
    matches!(node.commits.refusal(), Some(CallError::DiskFull(_)))
}

#[test]
fn a_start_needs_no_free_space() {
    for seed in 0..12 {
        let disk = SimDisk::new(seed);
        let mut workload = Workload::new(seed);
        let mut options = options(Durability::Sync);
        options.snapshot_log_bytes = if seed % 2 == 0 { 4_000 } else { u64::MAX };
        let mut node = Node::open(&disk, options.clone()).unwrap();
        let mut states = vec![FullState::of(&mut node.machine)];
        let mut call = |node: &mut Node| {
            node.call(&mut workload);
            states.push(FullState::of(&mut node.machine));
        };
        for _ in 0..20 {
            call(&mut node);
            node.commit_all();
        }
        disk.set_capacity(disk.used() + 3_000 * seed);
        while !is_full(&node) {
            call(&mut node);
            node.send();
            if node.commits.is_busy() {
                assert!(node.handle_event().is_ok(), "seed {seed}");
            }
        }
        let allowed = &states[node.acknowledged() as usize..];
        node.kill();
        for _ in 0..2 {
            disk.process_killed();
            disk.set_capacity(disk.used());
            let mut node = Node::open(&disk, options.clone())
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = FullState::of(&mut node.machine);
            assert!(allowed.contains(&found), "seed {seed}");
            node.kill();
        }
        disk.process_killed();
        let mut node = Node::open(&disk, options.clone()).unwrap();
        let before = FullState::of(&mut node.machine);
        disk.set_capacity(u64::MAX);
        while node.commits.refusal().is_some() {
            assert!(node.handle_event().is_ok(), "seed {seed}");
        }
        assert_eq!(node.write("k", 1).err(), None, "seed {seed}");
        node.commit_all();
        let expected = FullState::of(&mut node.machine);
        assert_ne!(before, expected);
        node.kill();
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(FullState::of(&mut node.machine), expected, "seed {seed}");
        node.kill();
    }
}

#[test]
fn a_store_that_cannot_begin_says_how_much_space_it_needs() {
    let disk = SimDisk::new(1);
    disk.set_capacity(10_000);
    let options = StoreOptions {
        reserve_bytes: 1_234_567,
        ..options(Durability::Sync)
    };
    let error = Node::open(&disk, options).err().unwrap();
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error:?}");
    let says = error.to_string();
    assert!(
        says.contains("1234567") && says.contains("bytes are free"),
        "{says}"
    );
}

/// A store on a disk without a free byte, all of it in the log; and the number of its keys.
fn full_store(disk: &SimDisk, options: &StoreOptions) -> (Node, u32) {
    disk.set_capacity(12 << 20);
    let mut node = Node::open(disk, options.clone()).unwrap();
    let mut keys = 0;
    while node.write(&format!("k{keys}"), 30_000).is_ok() {
        keys += 1;
        node.commit_all();
    }
    // Others use up the rest.
    disk.set_capacity(disk.used());
    (node, keys)
}

fn full_store_options() -> StoreOptions {
    StoreOptions {
        min_free_bytes: 300_000,
        reserve_bytes: 600_000,
        snapshot_log_bytes: 64 << 20,
        wal_bytes_max: 64 << 10,
        ..options(Durability::Sync)
    }
}

#[test]
fn deletes_on_a_full_disk_bring_the_space_back() {
    for is_restarted in [false, true] {
        let disk = SimDisk::new(7);
        let options = full_store_options();
        let (mut node, keys) = full_store(&disk, &options);
        let log_before = disk.occupied_bytes(FileName::Log);
        if is_restarted {
            node.kill();
            disk.process_killed();
            node = Node::open(&disk, options.clone()).unwrap();
        }
        for key in 0..keys {
            node.delete(&format!("k{key}"));
            node.commit_all();
            assert!(!is_full(&node), "restarted: {is_restarted}");
        }
        while node.write("new", 3_000).is_err() {
            node.send();
            assert!(node.handle_event().is_ok());
        }
        node.commit_all();
        let log = disk.occupied_bytes(FileName::Log);
        assert!(log < log_before / 2, "{log} of {log_before}");
        assert_eq!(disk.reserved_bytes(), Some(600_000));
        let expected = FullState::of(&mut node.machine);
        node.kill();
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(FullState::of(&mut node.machine), expected);
        node.kill();
    }
}

#[test]
fn without_its_reserve_a_full_store_still_starts_and_goes_on_when_there_is_space() {
    let disk = SimDisk::new(7);
    let options = full_store_options();
    let (node, _) = full_store(&disk, &options);
    node.kill();
    disk.process_killed();
    disk.remove_reserve();
    disk.set_capacity(disk.used());
    let mut node = Node::open(&disk, options).unwrap();
    assert!(node.machine.usage().key_count > 0);
    disk.set_capacity(u64::MAX);
    while node.write("new", 3_000).is_err() {
        assert!(node.handle_event().is_ok());
    }
    node.commit_all();
    node.kill();
}

#[test]
fn a_fast_writer_is_refused_before_the_disk_is_full() {
    let disk = SimDisk::new(3);
    let options = StoreOptions {
        min_free_bytes: 1 << 20,
        snapshot_log_bytes: 64 << 20,
        ..options(Durability::Sync)
    };
    disk.set_capacity(10 << 20);
    let mut node = Node::open(&disk, options).unwrap();
    let mut number = 0;
    'full: loop {
        // As many as the owner takes while the disk is busy.
        while node.commits.refusal().is_none() {
            number += 1;
            assert!(number < 1_000, "never refused");
            if node.write(&format!("k{number}"), 100_000).is_err() {
                break 'full;
            }
        }
        node.send();
        assert!(node.handle_event().is_ok());
        assert!(!is_full(&node), "after {number} writes");
        node.send();
    }
    node.commit_all();
    assert!(!is_full(&node));
    assert!(disk.free_bytes().unwrap() > 0);
    node.kill();
}

#[test]
fn a_snapshot_that_does_not_fit_takes_no_space() {
    let disk = SimDisk::new(5);
    disk.set_capacity(12 << 20);
    let options = StoreOptions {
        min_free_bytes: 1 << 20,
        reserve_bytes: 600_000,
        // The first snapshot is due when there is no space for it.
        snapshot_log_bytes: 7 << 20,
        ..options(Durability::Sync)
    };
    let mut node = Node::open(&disk, options).unwrap();
    let mut keys = 0;
    while node.write(&format!("k{keys}"), 30_000).is_ok() {
        keys += 1;
        // The log must grow faster than the state.
        if keys % 4 == 0 && node.write("k0", 30_000).is_err() {
            break;
        }
        node.commit_all();
        assert_eq!(disk.full_count(), 0, "after {keys} keys");
    }
    assert!(keys > 200, "no snapshot was due after {keys} keys");
    assert_eq!(disk.reserved_bytes(), Some(600_000));
    node.kill();
}

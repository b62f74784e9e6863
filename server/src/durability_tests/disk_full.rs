//! The disk fills up: changes are refused until there is space again, and no acknowledged change is lost.

use std::time::Duration;

use super::full_state::FullState;
use super::node::{Node, options};
use super::workload::Workload;
use crate::config::Durability;
use crate::journal::{SimDisk, StoreOptions};
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

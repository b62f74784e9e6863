//! The disk fills up: what changes anything is refused, what is there can be read, and it goes on when there is space.

use super::*;
use crate::owner::CallError;

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut workload = Workload::new(seed);
        let mut options = options(Durability::Sync);
        // Snapshots fill it, too.
        options.snapshot_log_bytes = if seed % 2 == 0 { 4_000 } else { u64::MAX };
        let mut node = Node::open(&disk, options.clone()).unwrap();
        for _ in 0..20 {
            node.call(&mut workload);
            node.settle();
        }
        disk.set_room(disk.used() + workload.up_to(100_000));
        let full = |error: &CallError| matches!(error, CallError::DiskFull(_));
        while !node.commits.refusal().as_ref().is_some_and(full) {
            node.call(&mut workload);
            node.send();
            if node.commits.is_busy() {
                assert!(node.hear().is_ok(), "seed {seed}");
            }
        }
        let under_way = node.acknowledged();
        // With snapshots it may be the note of one that waits, while what was called is in the tail.
        assert!(
            under_way < node.done || seed % 2 == 0,
            "seed {seed}: something waits for space"
        );

        disk.set_room(u64::MAX);
        while node.acknowledged() < node.done {
            assert!(node.hear().is_ok(), "seed {seed}");
            node.send();
        }
        while node.commits.refusal().is_some() {
            assert!(node.hear().is_ok(), "seed {seed}");
        }
        node.call(&mut workload);
        node.settle();
        assert_eq!(node.acknowledged(), node.done, "seed {seed}");
        let expected = Everything::of(&mut node.machine);
        node.kill();
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(Everything::of(&mut node.machine), expected, "seed {seed}");
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
        disk.set_room(disk.used() + 50_000);
        while node.commits.refusal().is_none() {
            node.call(&mut workload);
            node.send();
            if node.commits.is_busy() {
                assert!(node.hear().is_ok(), "seed {seed}");
            }
        }
        disk.set_room(u64::MAX);
        while node.commits.refusal().is_some() {
            assert!(node.hear().is_ok(), "seed {seed}");
        }
        node.settle();
        let expected = Everything::of(&mut node.machine);
        assert!(node.close().is_ok(), "seed {seed}");
        disk.process_killed();
        let mut node = Node::open(&disk, options).unwrap();
        assert_eq!(Everything::of(&mut node.machine), expected, "seed {seed}");
        node.kill();
    }
}

#[test]
fn little_space_refuses_growth_and_lets_deletes_pass() {
    let disk = SimDisk::new(1);
    disk.set_room(1 << 20);
    let mut options = options(Durability::Sync);
    options.min_free_bytes = 2 << 20;
    let mut node = Node::open(&disk, options).unwrap();
    // It looks before anything else.
    assert!(node.hear().is_ok());
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
    disk.set_room(u64::MAX);
    while node.machine.write(write("k"), None, node.now).is_err() {
        assert!(node.hear().is_ok());
    }
    node.kill();
}

//! What a recovery, a check of the files, and a backup say of how far they are.

use tempfile::TempDir;

use super::node::{Node, options};
use super::workload::Workload;
use crate::config::{Durability, Limits};
use crate::journal::backup::BackupWriter;
use crate::journal::{self, SimDisk, StoreOptions, inspect};
use crate::machine::{StateMachine, Time};
use crate::progress::{Look, Progress, Unit};

/// The steps that have ended: what was done, how much of it, and how much there was to do.
fn ended(progress: &Progress) -> Vec<(String, u64, Option<u64>)> {
    let ended = progress.ended().into_iter();
    ended
        .map(|look| (look.what, look.done, look.total))
        .collect()
}

/// A store with a snapshot and records after it. Returns how many keys it has.
fn store(disk: &SimDisk) -> u64 {
    let mut workload = Workload::new(1);
    let mut node = Node::open(disk, options(Durability::Sync)).unwrap();
    for _ in 0..200 {
        node.call(&mut workload);
        node.commit_all();
    }
    let key_count = node.machine.usage().key_count as u64;
    assert!(key_count > 0);
    node.kill();
    disk.process_killed();
    key_count
}

#[test]
fn a_recovery_counts_bytes_keys_and_records_to_the_last() {
    let disk = SimDisk::new(1);
    store(&disk);
    let (progress, limits) = (Progress::default(), Limits::DEFAULT.store_limits());
    let summary = inspect::verify_disk(&disk.copy(1), &limits, &progress).unwrap();
    let (_, last) = summary.records.unwrap();

    let progress = Progress::default();
    let options = StoreOptions {
        progress: progress.clone(),
        ..options(Durability::Sync)
    };
    let node = Node::open(&disk, options).unwrap();
    progress.end();
    let ended = progress.ended();
    let step = |begins: &str| -> Look {
        let found = ended.iter().find(|look| look.what.starts_with(begins));
        found
            .unwrap_or_else(|| panic!("{begins}: {ended:?}"))
            .clone()
    };
    for check in ["checking log.redb", "checking snapshot-"] {
        let check = step(check);
        assert_eq!(check.unit, Unit::Bytes);
        assert!(check.done > 0 && check.total > Some(0), "{check:?}");
    }
    let reading = step("reading snapshot-");
    assert_eq!(reading.total, Some(reading.done), "{reading:?}");
    let replaying = step("replaying the log");
    assert_eq!(replaying.total, Some(replaying.done), "{replaying:?}");
    let of_snapshot = summary.snapshots.last().unwrap().0;
    assert_eq!(replaying.done, last - of_snapshot);
    node.kill();
}

#[test]
fn a_backup_and_a_restore_count_to_the_last_key() {
    let disk = SimDisk::new(1);
    let key_count = store(&disk);
    let mut node = Node::open(&disk, options(Durability::Sync)).unwrap();
    let machine: &mut StateMachine = &mut node.machine;
    let (id, head) = machine.begin_copy(0);
    assert_eq!(head.key_count as u64, key_count);
    let mut writer = BackupWriter::new("store", Time::MIN, &head);
    let mut bytes = Vec::new();
    loop {
        let slice = machine.next_copy_slice(id, 3, usize::MAX).unwrap();
        let end = writer.write(&slice);
        bytes.extend(writer.take_chunks().concat());
        if end.is_some() {
            break;
        }
    }
    assert_eq!(writer.key_count(), key_count);
    node.kill();

    let dir = TempDir::new().unwrap();
    let (file, data_dir) = (dir.path().join("backup"), dir.path().join("data"));
    std::fs::write(&file, &bytes).unwrap();
    let (progress, limits) = (Progress::default(), Limits::DEFAULT.store_limits());
    journal::restore(&file, &data_dir, &limits, Time::MIN, "restored", &progress).unwrap();
    progress.end();
    let (keys, len) = (key_count, bytes.len() as u64);
    for (what, done) in [
        ("reading the backup", len),
        ("computing the digest", keys),
        ("writing snapshot-a.redb", keys),
    ] {
        let step = (what.to_owned(), done, Some(done));
        assert!(
            ended(&progress).contains(&step),
            "{step:?}: {:?}",
            ended(&progress)
        );
    }
}

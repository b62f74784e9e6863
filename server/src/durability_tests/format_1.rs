//! A data directory and a backup that an earlier server wrote, with format 1, are still read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::full_state::FullState;
use super::node::options;
use crate::config::{Durability, Limits};
use crate::journal::{self, Directory, IfMissing, inspect};
use crate::machine::Time;
use crate::progress::Progress;

/// SHA-256 of the state in the directory, as the server that wrote it computed it.
const DIGEST: &str = "5f841b4910bd12963236ad751b726f63468595781d61cf87e45051b8761d07bb";

fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/src/durability_tests/format_1");
    Path::new(fixtures).join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens the store in a directory, and returns its full state.
fn full_state_of(path: &Path) -> FullState {
    let directory = Directory::acquire(path, IfMissing::Refuse).unwrap();
    let opened = journal::open(Arc::new(directory), options(Durability::Sync));
    let mut opened = opened.unwrap();
    let state = FullState::of(&mut opened.machine);
    drop(opened.journal);
    opened.persister.join().unwrap();
    state
}

#[test]
fn a_directory_and_a_backup_of_format_1_are_read() {
    let dir = TempDir::new().unwrap();
    let directory = dir.path().join("data");
    fs::create_dir(&directory).unwrap();
    for file in fs::read_dir(fixture("directory")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), directory.join(file.file_name())).unwrap();
    }
    let (limits, progress) = (Limits::DEFAULT.store_limits(), Progress::default());
    let summary = inspect::verify(&directory, &limits, &progress).unwrap();
    assert_eq!(summary.snapshots, [(141, 149), (165, 175)]);
    // Records 170 to 172 are in `tail` alone.
    assert_eq!(summary.records, Some((142, 172)));
    assert_eq!(summary.revision, 183);
    let digests: Vec<String> = summary
        .replays
        .iter()
        .map(|(_, digest)| hex(digest))
        .collect();
    assert_eq!(digests, [DIGEST, DIGEST]);
    let state = full_state_of(&directory);
    assert_eq!(
        (
            state.machines.len(),
            state.sessions.len(),
            state.entries.len(),
            state.applied_requests.len()
        ),
        (1, 1, 8, 43)
    );

    // The first start has brought the files up to date.
    assert_eq!(full_state_of(&directory), state);
    let summary = inspect::verify(&directory, &limits, &progress).unwrap();
    assert!(summary.revision > 183, "{summary:?}");

    let restored = dir.path().join("restored");
    let backup = fixture("backup");
    let (backup, _) =
        journal::restore(&backup, &restored, &limits, Time::MIN, "other", &progress).unwrap();
    assert_eq!(backup.key_count, 8);
    assert_eq!(full_state_of(&restored), state);
}

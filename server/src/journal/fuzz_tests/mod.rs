//! Fuzz tests of what reads records, pages and backups. `soloist_fuzz` tells how inputs are made and
//! replayed. Checksums are put right after a mutation, more often than not: otherwise hardly an input would get past them.

mod backups;
mod records;

use crate::config::Limits;
use crate::machine::{StateMachine, StoreLimits};

/// A record and a page as a server of format 1 wrote them, without checksums.
const RECORD: &[u8] = include_bytes!("../stored/format_1/record.bin");
const PAGE: &[u8] = include_bytes!("../stored/format_1/page.bin");

/// A backup as a server of format 1 wrote it.
const BACKUP: &[u8] = include_bytes!("../../durability_tests/format_1/backup");

/// Words of the messages on disk.
const WORDS: [&[u8]; 5] = [b"job", b"busy", b"holder", b"\xff", b"job/1"];

fn limits() -> StoreLimits {
    Limits::DEFAULT.store_limits()
}

fn empty_machine() -> StateMachine {
    StateMachine::new(limits())
}

//! The file `tail`: a write-ahead log whose frames are whole, damaged, out of order, or of other times.

use prost::Message as _;
use soloist_fuzz::{Format, Shape, Target};

use crate::journal::local::directory_id::DirectoryId;
use crate::journal::local::file_name::FileName;
use crate::journal::local::sim_disk::SimDisk;
use crate::journal::local::wal::{Appended, Wal, WalDamage};
use crate::journal::record::{EncodedRecord, Position, START, seal};
use crate::journal::stored::{FORMAT, LogRecord};

const PAGE: usize = 4_096;
const LEN_MAX: u64 = 16 * PAGE as u64;

fn record(last: Position) -> EncodedRecord {
    let record = LogRecord {
        format: FORMAT,
        epoch: 1,
        seq: last.seq + 1,
        revision: 1,
        time: last.seq,
        previous_crc: last.crc,
        effects: Vec::new(),
        ..LogRecord::default()
    };
    EncodedRecord::of(&record, last)
}

/// A file with a header and four records.
fn file() -> Vec<u8> {
    let disk = SimDisk::new(1);
    let mut wal = Wal::open(&disk, LEN_MAX, START).unwrap();
    wal.begin(DirectoryId::of_bytes(&[7; DirectoryId::LEN]).unwrap())
        .unwrap();
    let mut last = START;
    for _ in 0..4 {
        let record = record(last);
        last = record.position;
        assert_eq!(wal.append(&record).unwrap(), Appended::Written);
    }
    wal.sync().unwrap();
    let mut file = disk.bytes(FileName::Wal);
    file.truncate(6 * PAGE);
    file
}

/// Changes `file` as the input says. Each step has four bytes: what to change, the page, and where in the page.
fn damage(file: &mut Vec<u8>, input: &[u8]) {
    let salt: [u8; 8] = file[12..20].try_into().unwrap();
    let frame_crc = |record: &[u8]| crc32c::crc32c_append(crc32c::crc32c(&salt), record);
    let mut steps = input;
    while let Some((step, rest)) = steps.split_first_chunk::<4>() {
        steps = rest;
        let [what, page, at, value] = *step;
        let page = usize::from(page) % 6 * PAGE;
        let at = page + usize::from(at);
        if at + PAGE > file.len() {
            continue;
        }
        match what % 8 {
            0 => file[at] = value,
            1 => file[at] ^= 1 << (value % 8),
            2 => file.truncate(at),
            // One frame in the place of another.
            3 => {
                let to = usize::from(value) % (file.len() / PAGE) * PAGE;
                file.copy_within(page..page + PAGE, to);
            }
            4 => file[page..page + PAGE].fill(value),
            // A base: the record after which the file begins.
            5 => {
                let base = [512, 1024][usize::from(value) % 2];
                let crc =
                    crc32c::crc32c_append(crc32c::crc32c(b"soltail\x01"), &file[base..base + 12]);
                file[base + 12..base + 16].copy_from_slice(&crc.to_le_bytes());
            }
            // The checksum of a frame is put right, and with it that of the record.
            6 => {
                let len = u32::from_le_bytes(file[page..page + 4].try_into().unwrap()) as usize;
                if (5..PAGE - 8).contains(&len) {
                    let mut record = file[page + 8..page + 8 + len - 4].to_vec();
                    seal(&mut record, 0);
                    file[page + 8..page + 8 + len].copy_from_slice(&record);
                    let crc = frame_crc(&record);
                    file[page + 4..page + 8].copy_from_slice(&crc.to_le_bytes());
                }
            }
            // A record that continues the log, or the one of a number nearby.
            _ => {
                let last = Position {
                    seq: u64::from(value),
                    crc: u32::from(at as u8),
                };
                let record = record(last).bytes;
                file[page..page + 4].copy_from_slice(&(record.len() as u32).to_le_bytes());
                file[page + 4..page + 8].copy_from_slice(&frame_crc(&record).to_le_bytes());
                file[page + 8..page + 8 + record.len()].copy_from_slice(&record);
            }
        }
    }
}

fn check(whole: &[u8], input: &[u8]) -> Shape {
    let Some((checkpointed, steps)) = input.split_first() else {
        return Shape::of("empty");
    };
    let mut bytes = whole.to_vec();
    damage(&mut bytes, steps);
    let disk = SimDisk::new(1);
    disk.tamper(FileName::Wal, |file| *file = bytes);
    let checkpointed = Position {
        seq: u64::from(*checkpointed % 8),
        crc: 0,
    };
    let mut wal = Wal::open(&disk, LEN_MAX, checkpointed).unwrap();
    let pending: Vec<_> = wal.pending().iter().map(|record| record.position).collect();
    // Each pending record continues the one before, and the engine has none of them.
    assert!(pending.windows(2).all(|two| two[1].seq == two[0].seq + 1));
    assert!(
        pending
            .iter()
            .all(|position| position.seq > checkpointed.seq)
    );
    for record in wal.pending() {
        let record = LogRecord::decode(&record.bytes[..record.bytes.len() - 4]).unwrap();
        assert_eq!(record.format, FORMAT);
    }
    let shape = match wal.damage() {
        None => Shape::of("sound"),
        Some(WalDamage::Unreadable(what) | WalDamage::Gap(what)) => Shape::of(what),
    };
    if wal.damage().is_none() && wal.found().directory.is_some() {
        // The file goes on where it ended, and the next start finds the new record behind the others.
        let last = pending.last().copied().unwrap_or(checkpointed);
        let next = record(last);
        if wal.append(&next).unwrap() == Appended::Written {
            wal.sync().unwrap();
            drop(wal);
            let again = Wal::open(&disk, LEN_MAX, checkpointed).unwrap();
            let found = again.pending().iter().map(|record| record.position);
            let expected = pending.iter().copied().chain([next.position]);
            assert!(found.eq(expected), "{:?}", again.damage());
        }
    }
    shape.with(pending.len().min(6))
}

#[test]
fn a_write_ahead_log_is_read_or_found_damaged() {
    let whole = file();
    Target::new("wal", Format::Bytes)
        .seeds([
            vec![0],
            vec![0, 3, 1, 0, 2],
            vec![0, 0, 1, 9, 1, 6, 1, 0, 0],
            vec![2, 7, 3, 0, 9, 7, 4, 0, 10],
            vec![0, 0, 0, 200, 9, 5, 0, 0, 0],
            vec![4, 2, 2, 0, 0],
        ])
        .len_max(40)
        .cost(10)
        .run(|input| check(&whole, input));
}

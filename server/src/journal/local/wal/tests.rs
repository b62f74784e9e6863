use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::journal::local::sim_disk::SimDisk;
use crate::journal::record::{START, seal};
use crate::journal::stored::{FORMAT, LogRecord};

const LEN_MAX: u64 = 10 * PAGE as u64;

/// The record after `last`, with about `len` bytes. No two records are equal.
fn record(last: Position, len: usize) -> EncodedRecord {
    static TIMES: AtomicU64 = AtomicU64::new(1);
    let record = LogRecord {
        format: FORMAT,
        epoch: 1,
        seq: last.seq + 1,
        revision: 1,
        time: TIMES.fetch_add(1, Ordering::Relaxed),
        previous_crc: last.crc,
        effects: Vec::new(),
        ..LogRecord::default()
    };
    let mut encoded = EncodedRecord::of(&record, last);
    if len > 0 {
        // Pad with an unknown field, which decoding ignores.
        let mut bytes = encoded.bytes[..encoded.bytes.len() - 4].to_vec();
        bytes.extend([0xfa, 0x01]);
        prost::encoding::encode_varint(len as u64, &mut bytes);
        bytes.resize(bytes.len() + len, 7);
        encoded.position.crc = seal(&mut bytes, 0);
        encoded.bytes = bytes.into();
    }
    encoded
}

/// Records of these lengths, after `last`.
fn records(mut last: Position, lens: &[usize]) -> Vec<EncodedRecord> {
    let next = |len: &usize| {
        let record = record(last, *len);
        last = record.position;
        record
    };
    lens.iter().map(next).collect()
}

fn open(disk: &SimDisk, checkpointed: u64) -> Wal {
    let checkpointed = Position {
        seq: checkpointed,
        crc: 0,
    };
    Wal::open(disk, LEN_MAX, checkpointed).unwrap()
}

/// Appends and syncs each record.
fn fill(wal: &mut Wal, records: &[EncodedRecord]) {
    for record in records {
        assert_eq!(wal.append(record).unwrap(), Appended::Written);
        wal.sync().unwrap();
    }
}

/// The numbers of the records that the engine does not have.
fn numbers(wal: &Wal) -> Vec<u64> {
    let pending = wal.pending().iter();
    pending.map(|record| record.position.seq).collect()
}

#[test]
fn appended_records_are_read_again() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, 0);
    assert_eq!(
        disk.len(FileName::Wal),
        0,
        "the first record creates the header"
    );
    let written = records(START, &[0, 5_000, 0, 4_000]);
    fill(&mut wal, &written);
    let wal = open(&disk, 0);
    assert_eq!(numbers(&wal), [1, 2, 3, 4]);
    for (read, written) in wal.pending().iter().zip(&written) {
        assert_eq!(
            (read.position, &read.bytes),
            (written.position, &written.bytes)
        );
    }
    assert!(wal.is_unsynced() && wal.damage().is_none());
    // Records that the engine has are left out.
    assert_eq!(numbers(&open(&disk, 2)), [3, 4]);
    assert!(numbers(&open(&disk, 4)).is_empty());
}

#[test]
fn a_record_without_room_is_not_written() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, 0);
    // Ten pages: one for the header, nine for records.
    let long = records(START, &[9 * PAGE]);
    assert_eq!(wal.append(&long[0]).unwrap(), Appended::NoRoom);
    assert_eq!(disk.len(FileName::Wal), 0);
    let written = records(START, &[0; 10]);
    fill(&mut wal, &written[..9]);
    assert_eq!(wal.append(&written[9]).unwrap(), Appended::NoRoom);
    assert_eq!(disk.len(FileName::Wal) as u64, LEN_MAX);
    assert_eq!(numbers(&wal).len(), 9);
}

#[test]
fn a_full_disk_is_no_room() {
    let disk = SimDisk::new(1);
    let written = records(START, &[0]);
    disk.set_capacity(LEN_MAX - 1);
    let mut wal = open(&disk, 0);
    assert_eq!(wal.append(&written[0]).unwrap(), Appended::NoRoom);
    disk.set_capacity(LEN_MAX);
    assert_eq!(wal.append(&written[0]).unwrap(), Appended::Written);
}

#[test]
fn frames_of_an_earlier_pass_are_ignored() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, 0);
    let written = records(START, &[0; 12]);
    fill(&mut wal, &written[..9]);
    wal.restart(written[8].position);
    assert!(numbers(&wal).is_empty());
    assert!(numbers(&open(&disk, 9)).is_empty());
    fill(&mut wal, &written[9..]);
    let wal = open(&disk, 9);
    assert_eq!(numbers(&wal), [10, 11, 12]);
    assert!(wal.damage().is_none());
    // The next frame comes after the header and three frames.
    assert_eq!(wal.next, 4 * PAGE as u64);
}

#[test]
fn a_gap_names_both_records() {
    let disk = SimDisk::new(1);
    fill(&mut open(&disk, 0), &records(START, &[0; 5]));
    disk.tamper(FileName::Wal, |bytes| bytes[3 * PAGE + 20] ^= 1);
    let mut wal = open(&disk, 0);
    assert_eq!(numbers(&wal), [1, 2]);
    let Some(WalDamage::Gap(what)) = wal.damage() else {
        panic!("{:?}", wal.damage());
    };
    for part in ["tail", "byte 12288", "record 3", "record 4", "byte 16384"] {
        assert!(what.contains(part), "{what}");
    }
    // After the file is begun anew, the old frames are gone, and new ones have another salt.
    wal.restart(START);
    wal.begin(DirectoryId::random()).unwrap();
    let other = records(START, &[0]);
    fill(&mut wal, &other);
    let wal = open(&disk, 0);
    assert_eq!(numbers(&wal), [1]);
    assert!(wal.damage().is_none());
}

#[test]
fn a_torn_last_record_is_no_damage() {
    let disk = SimDisk::new(1);
    fill(&mut open(&disk, 0), &records(START, &[0, 0, 6_000]));
    disk.tamper(FileName::Wal, |bytes| bytes[4 * PAGE + 20] ^= 1);
    let wal = open(&disk, 0);
    assert_eq!(numbers(&wal), [1, 2]);
    assert!(wal.damage().is_none());
}

#[test]
fn a_record_that_continues_another_one_is_a_gap() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, 0);
    let [first, second] = &records(START, &[0, 0])[..] else {
        unreachable!()
    };
    let other = records(START, &[0]);
    fill(&mut wal, &[other[0].clone(), second.clone()]);
    assert_ne!(first.position.crc, other[0].position.crc);
    let wal = open(&disk, 0);
    assert_eq!(numbers(&wal), [1]);
    assert!(matches!(wal.damage(), Some(WalDamage::Gap(_))));
}

/// A client writes a value with a forged frame at the start of a page, under another salt or none. The frame around the value
/// is torn.
#[test]
fn no_value_passes_for_a_frame() {
    for crc in [crc32c::crc32c as fn(&[u8]) -> u32, |bytes| {
        Salt(0).crc(bytes)
    }] {
        let disk = SimDisk::new(1);
        let mut wal = open(&disk, 0);
        let last = records(START, &[0, 3 * PAGE]);
        let forged = record(last[1].position, 0);
        let mut value = last[1].bytes[..last[1].bytes.len() - 4].to_vec();
        let at = 2 * PAGE - FRAME_HEADER_LEN;
        let mut frame = (forged.bytes.len() as u32).to_le_bytes().to_vec();
        frame.extend(crc(&forged.bytes).to_le_bytes());
        frame.extend(&*forged.bytes);
        value[at..at + frame.len()].copy_from_slice(&frame);
        let crc = seal(&mut value, 0);
        let carrier = EncodedRecord {
            position: Position { seq: 2, crc },
            bytes: value.into(),
        };
        fill(&mut wal, &[last[0].clone(), carrier]);
        disk.tamper(FileName::Wal, |bytes| bytes[2 * PAGE + 100] ^= 1);
        let wal = open(&disk, 0);
        assert_eq!(numbers(&wal), [1]);
        assert!(wal.damage().is_none(), "{:?}", wal.damage());
    }
}

#[test]
fn a_damaged_header_is_reported() {
    type Damage = fn(&mut Vec<u8>);
    let disk = SimDisk::new(1);
    fill(&mut open(&disk, 0), &records(START, &[0; 2]));
    let damages: [(&str, Damage); 5] = [
        ("header", |bytes| bytes[0] ^= 1),
        ("header", |bytes| bytes[15] ^= 1),
        // A zeroed header before frames that are not.
        ("header", |bytes| bytes[..512].fill(0)),
        ("too short", |bytes| bytes.truncate(10)),
        ("version is 3", |bytes| {
            bytes[8] = 3;
            let crc = crc32c::crc32c(&bytes[..36]);
            bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        }),
    ];
    for (expected, damage) in damages {
        let disk = disk.copy(1);
        disk.tamper(FileName::Wal, damage);
        let wal = open(&disk, 0);
        assert!(numbers(&wal).is_empty());
        let Some(WalDamage::Unreadable(what)) = wal.damage() else {
            panic!("{:?}", wal.damage());
        };
        assert!(what.contains("tail") && what.contains(expected), "{what}");
    }
    for blank in [0, 10, PAGE, 10 * PAGE] {
        disk.tamper(FileName::Wal, |bytes| *bytes = vec![0; blank]);
        assert!(open(&disk, 0).damage().is_none());
    }
}

#[test]
fn another_format_is_damage() {
    let disk = SimDisk::new(1);
    let mut bytes = prost::Message::encode_to_vec(&LogRecord {
        format: FORMAT + 1,
        seq: 1,
        ..LogRecord::default()
    });
    let crc = seal(&mut bytes, 0);
    let record = EncodedRecord {
        position: Position { seq: 1, crc },
        bytes: bytes.into(),
    };
    fill(&mut open(&disk, 0), &[record]);
    let wal = open(&disk, 0);
    assert!(
        matches!(wal.damage(), Some(WalDamage::Unreadable(what)) if what.contains("format is 2")),
        "{:?}",
        wal.damage()
    );
}

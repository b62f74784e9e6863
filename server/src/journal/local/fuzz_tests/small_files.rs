//! The watermark, and the meta record.

use prost::Message as _;
use soloist_fuzz::{Format, Shape, Target};

use super::META;
use crate::journal::local::directory_id::DirectoryId;
use crate::journal::local::file_name::FileName;
use crate::journal::local::sim_disk::SimDisk;
use crate::journal::local::watermark::{Named, Watermark};
use crate::journal::stored::StoreMeta;

/// A watermark as a server writes it.
fn written(seq: u64) -> Vec<u8> {
    let disk = SimDisk::new(1);
    let directory = DirectoryId::of_bytes(&[7; DirectoryId::LEN]).unwrap();
    Watermark::open(&disk, directory, 3).unwrap().set(seq);
    disk.bytes(FileName::Watermark)
}

/// Puts the checksum of a layout right, which follows so many bytes.
fn with_checksum(mut bytes: Vec<u8>, checked: usize) -> Vec<u8> {
    if let Some((checked, rest)) = bytes.split_at_mut_checked(checked)
        && let Some(crc) = rest.first_chunk_mut()
    {
        *crc = crc32c::crc32c(checked).to_le_bytes();
    }
    bytes
}

fn check_watermark(input: &[u8]) -> Shape {
    let Some((selector, bytes)) = input.split_first() else {
        return Shape::of("empty");
    };
    let bytes = match selector % 3 {
        0 => bytes.to_vec(),
        1 => with_checksum(bytes.to_vec(), 36),
        // The layout without the number of a start.
        _ => with_checksum(bytes.to_vec(), 32),
    };
    let disk = SimDisk::new(1);
    disk.tamper(FileName::Watermark, |file| *file = bytes);
    match Watermark::read(&disk).unwrap() {
        Named::Nothing => Shape::of("nothing"),
        Named::Damaged => Shape::of("damaged"),
        Named::Record {
            seq,
            directory,
            epoch,
        } => {
            // The next server writes over it, and reads its own.
            let own = directory.unwrap_or_else(DirectoryId::random);
            Watermark::open(&disk, own, 5).unwrap().set(seq);
            let directory_again = Some(own);
            let again = Watermark::read(&disk).unwrap();
            assert_eq!(
                again,
                Named::Record {
                    seq,
                    directory: directory_again,
                    epoch: Some(5)
                }
            );
            Shape::of("record")
                .with(usize::from(directory.is_some()))
                .with(usize::from(epoch.is_some()))
        }
    }
}

fn check_meta(input: &[u8]) -> Shape {
    let Some((_, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    match StoreMeta::decode(message) {
        Ok(meta) => {
            let again = StoreMeta::decode(meta.encode_to_vec().as_slice());
            assert_eq!(again.as_ref(), Ok(&meta));
            let numbered = meta.directory().is_some();
            Shape::of("meta")
                .with(meta.snapshots.len().min(3))
                .with(numbered.into())
        }
        Err(error) => Shape::of(&error.to_string()),
    }
}

#[test]
fn watermarks_are_read_or_found_damaged() {
    let mut of_1 = b"soloist\x01".to_vec();
    of_1.extend_from_slice(&9_u64.to_le_bytes());
    of_1.extend_from_slice(&crc32c::crc32c(&of_1).to_le_bytes());
    of_1.extend_from_slice(&[0; 4]);
    Target::new("watermarks", Format::Bytes)
        .seeds([
            [&[0][..], &of_1].concat(),
            [&[0][..], &written(5)].concat(),
            [&[1][..], &written(u64::MAX)].concat(),
            vec![0; 41],
        ])
        .words([&b"soloist\x03"[..], b"soloist\x02", b"soloist\x01"])
        .len_max(60)
        .run(check_watermark);
}

#[test]
fn meta_records_are_read_or_refused() {
    Target::new("meta_records", Format::Protobuf)
        .seeds([[&[0][..], META].concat()])
        .run(check_meta);
}

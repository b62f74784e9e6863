//! Backups, and so the pages of snapshots: a check reads them to their end, and a restore uses what was read.

use std::cell::Cell;
use std::fs;

use soloist_fuzz::{Format, Shape, Target};
use tempfile::TempDir;

use super::{BACKUP, PAGE, WORDS, limits};
use crate::journal::pages::{PageReader, digest_of};
use crate::journal::record::seal;
use crate::journal::stored::Damaged;
use crate::journal::{self, backup};
use crate::machine::Time;
use crate::progress::Progress;

/// The first bytes of a backup.
const MAGIC: &[u8] = b"soloist backup 1\n";

/// Takes pages, each behind its length in two bytes and without its checksum, and puts the checksums right.
fn sealed(input: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut rest = input;
    let mut crc = 0;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (page, after) = after.split_at(length);
        let mut page = page.to_vec();
        crc = seal(&mut page, crc);
        pages.push(page);
        rest = after;
    }
    pages
}

/// The reverse of [`sealed`], of a whole backup.
fn unsealed(backup: &[u8]) -> Vec<u8> {
    let mut rest = backup.strip_prefix(MAGIC).unwrap();
    let mut input = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (page, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        let page = &page[..page.len() - 4];
        input.extend_from_slice(&u16::try_from(page.len()).unwrap().to_le_bytes());
        input.extend_from_slice(page);
        rest = after;
    }
    input
}

/// Pages of one message each, with a length that follows what a mutation made of it.
fn check_pages(input: &[u8]) -> Shape {
    let Some((selector, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    let mut reader = PageReader::new(super::empty_machine());
    // The message as the only page, or in two parts as two pages: a message cut between its fields is two messages.
    let at = message.len() * usize::from(*selector) / 255;
    let (front, back) = message.split_at(at);
    let mut crc = 0;
    for page in [front, back] {
        let mut page = page.to_vec();
        crc = seal(&mut page, crc);
        if let Err(Damaged(what)) = reader.read(&page) {
            return Shape::of(&what);
        }
    }
    match reader.finish() {
        Ok(mut restored) => {
            assert_eq!(
                digest_of(&mut restored.machine, &Progress::default()),
                restored.digest
            );
            Shape::of("restored")
        }
        Err(Damaged(what)) => Shape::of(&what),
    }
}

#[test]
fn pages_are_restored_or_refused() {
    Target::new("pages", Format::Protobuf)
        .seeds([[&[255][..], PAGE].concat()])
        .words(WORDS)
        .cost(3)
        .run(check_pages);
}

#[test]
fn backups_are_checked_and_restored_or_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("backup");
    let data = Cell::new(0);
    let check = |input: &[u8]| {
        let Some((selector, rest)) = input.split_first() else {
            return Shape::of("empty");
        };
        let mut bytes = MAGIC.to_vec();
        match selector % 4 {
            0 => bytes = rest.to_vec(),
            1 => bytes.extend_from_slice(rest),
            _ => {
                for page in sealed(rest) {
                    bytes.extend_from_slice(&u32::try_from(page.len()).unwrap().to_le_bytes());
                    bytes.extend(page);
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
        let limits = limits();
        let checked = backup::check(&path, &limits, &Progress::default());
        match checked {
            Err(error) => {
                let what = error.to_string();
                assert!(what.contains("backup"), "{what}");
                Shape::of(&what)
            }
            Ok(checked) => {
                // Few inputs come here, and each writes a store.
                data.set(data.get() + 1);
                let to = dir.path().join(format!("data-{}", data.get()));
                let restored = journal::restore(
                    &path,
                    &to,
                    &limits,
                    Time::MIN,
                    "store",
                    &Progress::default(),
                );
                let _ = fs::remove_dir_all(&to);
                match restored {
                    Ok((restored, revision)) => {
                        assert_eq!(restored.contents_digest, checked.contents_digest);
                        assert!(revision > checked.revision);
                        Shape::of("restored")
                    }
                    Err(error) => Shape::of(&error.to_string()),
                }
            }
        }
    };
    let pages = unsealed(BACKUP);
    Target::new("backups", Format::Bytes)
        .seeds([
            [&[0][..], BACKUP].concat(),
            [&[2][..], &pages].concat(),
            [&[1][..], &BACKUP[MAGIC.len()..]].concat(),
        ])
        .words([MAGIC])
        .len_max(8_000)
        .cost(100)
        .run(check);
}

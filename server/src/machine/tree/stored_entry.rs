//! An entry as a few bytes in one piece.
//!
//! ```text
//! what is here    1 byte
//! revision        4, or 8 from 2^32 on
//! age             0, 4 or 8: how many revisions ago it was created
//! value           the rest
//! ```
//!
//! A value as long as the one before takes its place, with no allocation. Few entries have something that hangs on them, or a
//! long value, which is better shared than copied: they are kept whole.

use super::entry::{EntryRef, ValueRef};
use crate::machine::value::{Entry, Revision};

const KIND_MASK: u8 = 3;
const INT: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const LONG_REVISION: u8 = 4;
const SHORT_AGE: u8 = 8;
const LONG_AGE: u8 = 16;

#[derive(Debug)]
pub(super) enum StoredEntry {
    /// One allocation, without a counter or room to spare.
    Packed(Box<[u8]>),
    Whole(Box<Entry>),
}

impl StoredEntry {
    pub(super) fn new(entry: Entry) -> Self {
        let plain = EntryRef::from(&entry);
        if !plain.is_packable() {
            return Self::Whole(Box::new(entry));
        }
        let what = what(plain);
        let mut packed = vec![0; packed_len(what, plain)];
        put(&mut packed, what, plain);
        Self::Packed(packed.into())
    }

    /// Puts another entry in the place of this one.
    #[inline]
    pub(super) fn set(&mut self, entry: Entry) {
        let plain = EntryRef::from(&entry);
        if let Self::Packed(packed) = self
            && plain.is_packable()
        {
            let what = what(plain);
            if packed_len(what, plain) == packed.len() {
                put(packed, what, plain);
                return;
            }
        }
        *self = Self::new(entry);
    }

    #[inline]
    pub(super) fn entry(&self) -> EntryRef<'_> {
        let packed = match self {
            Self::Packed(packed) => packed,
            Self::Whole(entry) => return EntryRef::from(&**entry),
        };
        let (what, mut rest) = packed.split_first().expect(WHOLE);
        let revision = take_int(&mut rest, what & LONG_REVISION != 0);
        let age = match what & (SHORT_AGE | LONG_AGE) {
            0 => 0,
            age => take_int(&mut rest, age == LONG_AGE),
        };
        EntryRef {
            value: match what & KIND_MASK {
                INT => ValueRef::Int(i64::from_le_bytes(rest.try_into().expect(WHOLE))),
                TEXT => ValueRef::Text(rest),
                _ => ValueRef::Bytes(rest),
            },
            revision,
            create_revision: revision - age,
            attached: None,
        }
    }
}

const WHOLE: &str = "a stored is read as it was written";

/// The first byte.
#[inline]
fn what(entry: EntryRef<'_>) -> u8 {
    let kind = match entry.value.unshared() {
        ValueRef::Int(_) => INT,
        ValueRef::Text(_) => TEXT,
        ValueRef::Bytes(_) | ValueRef::Shared(_) => BYTES,
    };
    let revision = match is_short(entry.revision) {
        true => 0,
        false => LONG_REVISION,
    };
    let age = match entry.revision - entry.create_revision {
        0 => 0,
        age if is_short(age) => SHORT_AGE,
        _ => LONG_AGE,
    };
    kind | revision | age
}

fn is_short(revisions: Revision) -> bool {
    u32::try_from(revisions).is_ok()
}

#[inline]
fn packed_len(what: u8, entry: EntryRef<'_>) -> usize {
    let revision = if what & LONG_REVISION == 0 { 4 } else { 8 };
    let age = match what & (SHORT_AGE | LONG_AGE) {
        0 => 0,
        SHORT_AGE => 4,
        _ => 8,
    };
    1 + revision + age + entry.value.byte_len()
}

/// Fills a stored of the right length.
#[inline]
fn put(packed: &mut [u8], what: u8, entry: EntryRef<'_>) {
    let (first, mut rest) = packed.split_first_mut().expect(WHOLE);
    *first = what;
    put_int(&mut rest, entry.revision, what & LONG_REVISION != 0);
    if what & (SHORT_AGE | LONG_AGE) != 0 {
        let age = entry.revision - entry.create_revision;
        put_int(&mut rest, age, what & LONG_AGE != 0);
    }
    match entry.value.unshared() {
        ValueRef::Int(int) => rest.copy_from_slice(&int.to_le_bytes()),
        ValueRef::Text(bytes) | ValueRef::Bytes(bytes) => rest.copy_from_slice(bytes),
        ValueRef::Shared(_) => unreachable!("it was told what it shares"),
    }
}

#[inline]
fn put_int(rest: &mut &mut [u8], int: i64, long: bool) {
    let bytes = int.to_le_bytes();
    let bytes = if long { &bytes } else { &bytes[..4] };
    let (key_state, behind) = std::mem::take(rest).split_at_mut(bytes.len());
    key_state.copy_from_slice(bytes);
    *rest = behind;
}

#[inline]
fn take_int(rest: &mut &[u8], long: bool) -> i64 {
    if long {
        i64::from_le_bytes(take(rest))
    } else {
        u32::from_le_bytes(take(rest)).into()
    }
}

#[inline]
fn take<const LEN: usize>(rest: &mut &[u8]) -> [u8; LEN] {
    let (bytes, behind) = rest.split_first_chunk().expect(WHOLE);
    *rest = behind;
    *bytes
}

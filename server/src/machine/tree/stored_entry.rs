//! An entry as the tree stores it: mostly packed into one short allocation.
//!
//! ```text
//! flags       1 byte: the kind of the value, and how long revision and age are
//! revision    4 bytes, or 8 from 2^32 on
//! age         0, 4 or 8 bytes: how many revisions the entry's creation is before its revision
//! value       the rest
//! ```
//!
//! An entry that is packed to the same length as the one before replaces it in place, without an allocation. Entries with a
//! lifetime, a machine state or a long value are few, and stored whole: a long value is better shared than copied.

use super::entry::{EntryRef, ValueRef};
use crate::machine::value::{Entry, Revision};

const KIND_MASK: u8 = 3;
const INT: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const LONG_REVISION: u8 = 4;
const SHORT_AGE: u8 = 8;
const LONG_AGE: u8 = 16;

/// An entry in a leaf.
#[derive(Debug)]
pub(super) enum StoredEntry {
    /// The packed form. A boxed slice has neither a counter nor spare room.
    Packed(Box<[u8]>),
    /// An entry that cannot be packed.
    Whole(Box<Entry>),
}

impl StoredEntry {
    pub(super) fn new(entry: Entry) -> Self {
        let borrowed = EntryRef::from(&entry);
        if !borrowed.is_packable() {
            return Self::Whole(Box::new(entry));
        }
        let flags = flags(borrowed);
        let mut packed = vec![0; packed_len(flags, borrowed)];
        pack(&mut packed, flags, borrowed);
        Self::Packed(packed.into())
    }

    /// Replaces the entry, in place if it is packed to the same length.
    #[inline]
    pub(super) fn set(&mut self, entry: Entry) {
        let borrowed = EntryRef::from(&entry);
        if let Self::Packed(packed) = self
            && borrowed.is_packable()
        {
            let flags = flags(borrowed);
            if packed_len(flags, borrowed) == packed.len() {
                pack(packed, flags, borrowed);
                return;
            }
        }
        *self = Self::new(entry);
    }

    /// Unpacks the entry. The value is borrowed.
    #[inline]
    pub(super) fn entry(&self) -> EntryRef<'_> {
        let packed = match self {
            Self::Packed(packed) => packed,
            Self::Whole(entry) => return EntryRef::from(&**entry),
        };
        let (flags, mut rest) = packed.split_first().expect(INTACT);
        let revision = take_int(&mut rest, flags & LONG_REVISION != 0);
        let age = match flags & (SHORT_AGE | LONG_AGE) {
            0 => 0,
            age => take_int(&mut rest, age == LONG_AGE),
        };
        EntryRef {
            value: match flags & KIND_MASK {
                INT => ValueRef::Int(i64::from_le_bytes(rest.try_into().expect(INTACT))),
                TEXT => ValueRef::Text(rest),
                _ => ValueRef::Bytes(rest),
            },
            revision,
            create_revision: revision - age,
            attached: None,
        }
    }
}

const INTACT: &str = "packed entries are read as they were written";

/// The flags of an entry that can be packed.
#[inline]
fn flags(entry: EntryRef<'_>) -> u8 {
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
fn packed_len(flags: u8, entry: EntryRef<'_>) -> usize {
    let revision = if flags & LONG_REVISION == 0 { 4 } else { 8 };
    let age = match flags & (SHORT_AGE | LONG_AGE) {
        0 => 0,
        SHORT_AGE => 4,
        _ => 8,
    };
    1 + revision + age + entry.value.byte_len()
}

/// Packs an entry into a buffer of exactly [`packed_len`] bytes.
#[inline]
fn pack(packed: &mut [u8], flags: u8, entry: EntryRef<'_>) {
    let (first, mut rest) = packed.split_first_mut().expect(INTACT);
    *first = flags;
    put_int(&mut rest, entry.revision, flags & LONG_REVISION != 0);
    if flags & (SHORT_AGE | LONG_AGE) != 0 {
        let age = entry.revision - entry.create_revision;
        put_int(&mut rest, age, flags & LONG_AGE != 0);
    }
    match entry.value.unshared() {
        ValueRef::Int(int) => rest.copy_from_slice(&int.to_le_bytes()),
        ValueRef::Text(bytes) | ValueRef::Bytes(bytes) => rest.copy_from_slice(bytes),
        ValueRef::Shared(_) => unreachable!("unshared returns no shared value"),
    }
}

#[inline]
fn put_int(rest: &mut &mut [u8], int: i64, long: bool) {
    let bytes = int.to_le_bytes();
    let bytes = if long { &bytes } else { &bytes[..4] };
    let (written, behind) = std::mem::take(rest).split_at_mut(bytes.len());
    written.copy_from_slice(bytes);
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
    let (bytes, behind) = rest.split_first_chunk().expect(INTACT);
    *rest = behind;
    *bytes
}

//! Records: a key and its entry, packed into one short piece of a leaf's bytes.
//!
//! ```text
//! flags       1 byte: the kind of the value, and which of the numbers below are long
//! suffix      its length in 1 byte, or in 4 from 256 bytes on; then the key behind the leaf's prefix
//! revision    4 bytes, or 8 from 2^32 on
//! age         0, 4 or 8 bytes: how many revisions the entry's creation is before its revision
//! value       8 bytes of an int; or the length in 1 or 4 bytes, and the bytes
//! ```
//!
//! Entries with a lifetime, a machine state or a long value are few, and stored whole beside the records: a long value is
//! better shared than copied. Such a record has one byte behind the suffix, which says where the entry is.

use super::entry::{EntryRef, ValueRef};
use crate::machine::value::Revision;

const KIND_MASK: u8 = 3;
const INT: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const WHOLE: u8 = 3;
const LONG_REVISION: u8 = 4;
const SHORT_AGE: u8 = 8;
const LONG_AGE: u8 = 16;
const LONG_VALUE: u8 = 32;
const LONG_SUFFIX: u8 = 64;

/// How an entry is written: everything of the flags but what concerns the key, and how many bytes follow the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    flags: u8,
    pub(super) len: usize,
}

impl Form {
    #[inline(always)]
    pub(super) fn of(entry: EntryRef<'_>) -> Self {
        if !entry.is_packable() {
            return Self {
                flags: WHOLE,
                len: 1,
            };
        }
        let value_len = entry.value.byte_len();
        let long_value = if is_short_len(value_len) {
            0
        } else {
            LONG_VALUE
        };
        let len = len_len(long_value != 0) + value_len;
        let (value, len) = match entry.value.unshared() {
            ValueRef::Int(_) => (INT, value_len),
            ValueRef::Text(_) => (TEXT | long_value, len),
            ValueRef::Bytes(_) | ValueRef::Shared(_) => (BYTES | long_value, len),
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
        let flags = value | revision | age;
        Self {
            flags,
            len: revisions_len(flags) + len,
        }
    }

    #[inline]
    pub(super) fn is_whole(self) -> bool {
        self.flags & KIND_MASK == WHOLE
    }
}

/// A record, read as far as its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    flags: u8,
    /// The key behind the prefix that all keys of the leaf have in common.
    pub(super) suffix: &'a [u8],
    /// Begins with the entry, and does not end with it.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes`.
    #[inline(always)]
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let (flags, mut rest) = bytes.split_first().expect(INTACT);
        let len = take_len(&mut rest, flags & LONG_SUFFIX != 0);
        let (suffix, rest) = rest.split_at(len);
        Self {
            flags: *flags,
            suffix,
            rest,
        }
    }

    /// How many bytes come before the entry: flags and suffix.
    #[inline]
    pub(super) fn key_len(&self) -> usize {
        key_len(self.suffix.len())
    }

    /// How the entry is written.
    #[inline]
    pub(super) fn form(&self) -> Form {
        let flags = self.flags & !LONG_SUFFIX;
        let before = revisions_len(flags);
        let len = match flags & KIND_MASK {
            WHOLE => 1,
            INT => before + size_of::<i64>(),
            _ => {
                let is_long = flags & LONG_VALUE != 0;
                before + len_len(is_long) + take_len(&mut &self.rest[before..], is_long)
            }
        };
        Form { flags, len }
    }

    /// The entry, as it is written.
    pub(super) fn packed_entry(&self) -> &'a [u8] {
        &self.rest[..self.form().len]
    }

    /// Where the entry is, if it is stored whole.
    #[inline]
    pub(super) fn whole_at(&self) -> Option<usize> {
        (self.flags & KIND_MASK == WHOLE).then(|| usize::from(self.rest[0]))
    }

    /// Unpacks the entry, which must not be stored whole. The value is borrowed.
    #[inline(always)]
    pub(super) fn entry(&self) -> EntryRef<'a> {
        let (flags, mut rest) = (self.flags, self.rest);
        let revision = take_int(&mut rest, flags & LONG_REVISION != 0);
        let age = match flags & (SHORT_AGE | LONG_AGE) {
            0 => 0,
            age => take_int(&mut rest, age == LONG_AGE),
        };
        let value = match flags & KIND_MASK {
            INT => ValueRef::Int(i64::from_le_bytes(take(&mut rest))),
            kind => {
                let len = take_len(&mut rest, flags & LONG_VALUE != 0);
                let bytes = &rest[..len];
                match kind {
                    TEXT => ValueRef::Text(bytes),
                    _ => ValueRef::Bytes(bytes),
                }
            }
        };
        EntryRef {
            value,
            revision,
            create_revision: revision - age,
            attached: None,
        }
    }
}

/// How many bytes a record has before its entry.
pub(super) fn key_len(suffix_len: usize) -> usize {
    1 + len_len(!is_short_len(suffix_len)) + suffix_len
}

/// Appends a record whose suffix is these two pieces. The bytes of its entry are zeros: returns where they begin.
pub(super) fn push(bytes: &mut Vec<u8>, suffix: [&[u8]; 2], form: Form) -> usize {
    let suffix_len = suffix[0].len() + suffix[1].len();
    match u8::try_from(suffix_len) {
        Ok(short) => bytes.extend([form.flags, short]),
        Err(_) => {
            let len = u32::try_from(suffix_len).expect("keys are short");
            bytes.push(form.flags | LONG_SUFFIX);
            bytes.extend(len.to_le_bytes());
        }
    }
    for piece in suffix {
        bytes.extend_from_slice(piece);
    }
    let entry = bytes.len();
    bytes.resize(entry + form.len, 0);
    entry
}

/// Replaces the flags of a record by those of another form of entry.
pub(super) fn set_form(flags: &mut u8, form: Form) {
    *flags = (*flags & LONG_SUFFIX) | form.flags;
}

/// Packs an entry into as many bytes as its form says, or more. It is not to be stored whole.
#[inline(always)]
pub(super) fn pack(packed: &mut [u8], form: Form, entry: EntryRef<'_>) {
    let (flags, mut rest) = (form.flags, packed);
    put_int(&mut rest, entry.revision, flags & LONG_REVISION != 0);
    if flags & (SHORT_AGE | LONG_AGE) != 0 {
        let age = entry.revision - entry.create_revision;
        put_int(&mut rest, age, flags & LONG_AGE != 0);
    }
    match entry.value.unshared() {
        ValueRef::Int(int) => put_int(&mut rest, int, true),
        ValueRef::Text(bytes) | ValueRef::Bytes(bytes) => {
            put_len(&mut rest, bytes.len(), flags & LONG_VALUE != 0);
            rest[..bytes.len()].copy_from_slice(bytes);
        }
        ValueRef::Shared(_) => unreachable!("unshared returns no shared value"),
    }
}

const INTACT: &str = "records are read as they were written";

fn is_short(revisions: Revision) -> bool {
    u32::try_from(revisions).is_ok()
}

fn is_short_len(len: usize) -> bool {
    u8::try_from(len).is_ok()
}

/// How many bytes a length takes.
#[inline]
fn len_len(is_long: bool) -> usize {
    if is_long { 4 } else { 1 }
}

/// How many bytes revision and age take.
#[inline]
fn revisions_len(flags: u8) -> usize {
    let revision = if flags & LONG_REVISION == 0 { 4 } else { 8 };
    let age = match flags & (SHORT_AGE | LONG_AGE) {
        0 => 0,
        SHORT_AGE => 4,
        _ => 8,
    };
    revision + age
}

#[inline]
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (written, behind) = std::mem::take(rest).split_at_mut(bytes.len());
    written.copy_from_slice(bytes);
    *rest = behind;
}

#[inline]
fn put_int(rest: &mut &mut [u8], int: i64, is_long: bool) {
    let bytes = int.to_le_bytes();
    put(rest, if is_long { &bytes } else { &bytes[..4] });
}

#[inline]
fn put_len(rest: &mut &mut [u8], len: usize, is_long: bool) {
    let bytes = len.to_le_bytes();
    put(rest, &bytes[..len_len(is_long)]);
}

#[inline(always)]
fn take_int(rest: &mut &[u8], is_long: bool) -> i64 {
    if is_long {
        i64::from_le_bytes(take(rest))
    } else {
        u32::from_le_bytes(take(rest)).into()
    }
}

#[inline(always)]
fn take_len(rest: &mut &[u8], is_long: bool) -> usize {
    if is_long {
        u32::from_le_bytes(take(rest)) as usize
    } else {
        let [len] = take(rest);
        usize::from(len)
    }
}

#[inline(always)]
fn take<const LEN: usize>(rest: &mut &[u8]) -> [u8; LEN] {
    let (bytes, behind) = rest.split_first_chunk().expect(INTACT);
    *rest = behind;
    *bytes
}

//! A change packed into a few bytes: one whose entries have only a value, which is not long, and revisions.
//!
//! ```text
//! flags              1 byte: the cause, and whether there is an entry, and one before
//! length             3 bytes: how many bytes follow
//! revision           a varint, as all numbers below
//! key                length and bytes
//! entry              create_revision and value, if there is an entry
//! previous entry     revision, create_revision and value, if there is one
//! ```

use crate::machine::change::{Change, ChangeCause, ChangeRef, Keeps};
use crate::machine::tree::{EntryRef, ValueRef};
use crate::machine::value::{Entry, Key, Revision, Value};
use crate::varint;

/// Stands in the place of a change that is not packed. No packed change begins with this byte, because there is no cause 7.
pub(super) const WHOLE_MARK: u8 = 7;

const CAUSE_MASK: u8 = 7;
const HAS_ENTRY: u8 = 8;
const HAS_PREVIOUS: u8 = 16;

const CAUSES: [ChangeCause; 6] = [
    ChangeCause::Written,
    ChangeCause::Transitioned,
    ChangeCause::Deleted,
    ChangeCause::Expired,
    ChangeCause::SessionEnded,
    ChangeCause::TimedOut,
];

/// Whether a change can be packed.
#[inline]
pub(super) fn is_packable(change: &ChangeRef<'_>) -> bool {
    let is_packable = |entry: Option<EntryRef<'_>>| entry.is_none_or(EntryRef::is_packable);
    is_packable(change.entry) && is_packable(change.previous)
}

/// Most bytes that a packed change takes.
#[inline]
pub(super) fn len_max(change: &ChangeRef<'_>) -> usize {
    let entry = |entry: Option<EntryRef<'_>>| entry.map_or(0, |entry| entry.value.byte_len());
    OVERHEAD_MAX + change.key.as_str().len() + entry(change.entry) + entry(change.previous)
}

/// The head, four revisions of up to 10 bytes, three lengths and two kinds; and an int may take two bytes more than its eight.
const OVERHEAD_MAX: usize = HEAD + 4 * 10 + 3 * 4 + 2 + 2 * 2;

/// Appends a packed change.
#[inline]
pub(super) fn put(packed: &mut Vec<u8>, change: ChangeRef<'_>) {
    let ChangeRef {
        key,
        revision,
        cause,
        entry,
        previous,
    } = change;
    let has = |flag, entry: Option<EntryRef<'_>>| if entry.is_some() { flag } else { 0 };
    let start = packed.len();
    // The length is filled in at the end.
    packed.extend([
        cause as u8 | has(HAS_ENTRY, entry) | has(HAS_PREVIOUS, previous),
        0,
        0,
        0,
    ]);
    put_int(packed, revision);
    put_bytes(packed, key.as_str().as_bytes());
    if let Some(entry) = entry {
        put_int(packed, entry.create_revision);
        put_value(packed, entry.value);
    }
    if let Some(previous) = previous {
        put_int(packed, previous.revision);
        put_int(packed, previous.create_revision);
        put_value(packed, previous.value);
    }
    let len = u32::try_from(packed.len() - start - HEAD).expect("keys and values are short");
    packed[start + 1..start + HEAD].copy_from_slice(&len.to_le_bytes()[..3]);
}

/// Bytes of flags and length. Three bytes of length are enough for a key and two short values.
const HEAD: usize = 4;

fn put_int(packed: &mut Vec<u8>, int: i64) {
    varint::put(packed, int.cast_unsigned());
}

fn put_bytes(packed: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(packed, bytes.len() as u64);
    packed.extend_from_slice(bytes);
}

fn put_value(packed: &mut Vec<u8>, value: ValueRef<'_>) {
    match value.unshared() {
        ValueRef::Int(int) => {
            packed.push(0);
            put_int(packed, int);
        }
        ValueRef::Text(text) => {
            packed.push(1);
            put_bytes(packed, text);
        }
        ValueRef::Bytes(bytes) => {
            packed.push(2);
            put_bytes(packed, bytes);
        }
        ValueRef::Shared(_) => unreachable!("unshared returns no shared value"),
    }
}

/// A packed change, read as far as its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct PackedChange<'a> {
    flags: u8,
    pub(super) revision: Revision,
    pub(super) key: &'a str,
    rest: &'a [u8],
}

impl<'a> PackedChange<'a> {
    /// Reads a packed change off the front of `packed`.
    #[inline]
    pub(super) fn take(packed: &mut &'a [u8]) -> Self {
        let (head, rest) = packed.split_first_chunk::<HEAD>().expect(INTACT);
        let [flags, len @ ..] = *head;
        let len = u32::from_le_bytes([len[0], len[1], len[2], 0]);
        let (mut change, rest) = rest.split_at(len as usize);
        *packed = rest;
        let revision = take_int(&mut change);
        let key = take_bytes(&mut change);
        Self {
            flags,
            revision,
            key: std::str::from_utf8(key).expect("only text was packed as text"),
            rest: change,
        }
    }

    /// Unpacks the whole change.
    pub(super) fn change(&self) -> Change {
        let mut rest = self.rest;
        let entry = (self.flags & HAS_ENTRY != 0).then(|| take_entry(&mut rest, self.revision));
        let previous = (self.flags & HAS_PREVIOUS != 0).then(|| {
            let revision = take_int(&mut rest);
            take_entry(&mut rest, revision)
        });
        Change {
            key: Key::from(self.key),
            revision: self.revision,
            cause: CAUSES[usize::from(self.flags & CAUSE_MASK)],
            entry,
            previous,
            keeps: Keeps::Previous,
        }
    }
}

const INTACT: &str = "packed changes are read as they were written";

fn take_int(bytes: &mut &[u8]) -> i64 {
    varint::take(bytes).expect(INTACT).cast_signed()
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let len = varint::take(bytes).expect(INTACT);
    let (taken, rest) = bytes.split_at(usize::try_from(len).expect(INTACT));
    *bytes = rest;
    taken
}

fn take_entry(bytes: &mut &[u8], revision: Revision) -> Entry {
    let create_revision = take_int(bytes);
    let (kind, rest) = bytes.split_first().expect(INTACT);
    *bytes = rest;
    let value = match kind {
        0 => Value::Int(take_int(bytes)),
        1 => {
            let text =
                std::str::from_utf8(take_bytes(bytes)).expect("only text was packed as text");
            Value::Text(text.into())
        }
        _ => Value::Bytes(take_bytes(bytes).into()),
    };
    Entry {
        value,
        revision,
        create_revision,
        attached: None,
    }
}

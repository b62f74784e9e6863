//! A leaf: up to 64 keys in order, each with its entry.
//!
//! All keys and entries of a leaf are records in one buffer (`record.rs`), so a look-up goes to few places in memory: the leaf
//! with its heads, and the record. A key is stored without the prefix that all keys of the leaf have in common. The records are
//! in any order: a new one is appended, and what a removed or outgrown one took is garbage until the buffer is written anew.

use std::cmp::Ordering;
use std::ops::Range;

use super::entry::EntryRef;
use super::head::{common_len, head, touch};
use super::node::{Child, FANOUT};
use super::record::{self, Form, Record};
use crate::machine::value::{Entry, Key};

/// How many heads are compared at once.
const HEADS_AT_ONCE: usize = 8;

/// Keys of up to this many bytes are put together without an allocation.
const SHORT_KEY: usize = 64;

/// Keys in order, each with its entry.
pub(super) struct Leaf {
    /// The four bytes behind the prefix of each key; `u32::MAX` behind the last key.
    heads: [u32; FANOUT],
    /// Where the record of each key begins.
    starts: [u32; FANOUT],
    len: u8,
    /// All keys have at least this many bytes in common at their beginning.
    prefix_len: u32,
    /// How many of the bytes belong to no record any more.
    garbage: u32,
    /// The common prefix, then the records.
    bytes: Vec<u8>,
    /// The entries that cannot be packed.
    whole: Vec<Option<Box<Entry>>>,
}

/// Whether two suffixes with the same head are equal.
#[inline]
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    // The head has all bytes of a short one.
    one.len() == other.len() && (one.len() <= size_of::<u32>() || one == other)
}

impl Default for Leaf {
    fn default() -> Self {
        Self::with_prefix(&[], 0)
    }
}

impl Leaf {
    /// An empty leaf with room for so many bytes of records.
    fn with_prefix(prefix: &[u8], records_len: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity_for(prefix.len() + records_len));
        bytes.extend_from_slice(prefix);
        Self {
            heads: [u32::MAX; FANOUT],
            starts: [0; FANOUT],
            len: 0,
            prefix_len: offset(prefix.len()),
            garbage: 0,
            bytes,
            whole: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix_len as usize]
    }

    #[inline(always)]
    fn record(&self, at: usize) -> Record<'_> {
        Record::read(&self.bytes[self.starts[at] as usize..])
    }

    /// The index of a key, or as an error the index at which it would be inserted.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.look_up(key).map(|(at, _)| at)
    }

    /// The entry of a key.
    #[inline(always)]
    pub(super) fn get(&self, key: &[u8]) -> Option<EntryRef<'_>> {
        let (_, record) = self.look_up(key).ok()?;
        Some(self.entry_of(record))
    }

    /// The index of a key and its record, or as an error the index at which the key would be inserted.
    #[inline(always)]
    fn look_up(&self, key: &[u8]) -> Result<(usize, Record<'_>), usize> {
        let prefix = self.prefix();
        let Some(suffix) = key.strip_prefix(prefix) else {
            let is_before = key < prefix;
            return Err(if is_before { 0 } else { self.len() });
        };
        let head = head(suffix);
        let at = self.count_less(head);
        if self.heads.get(at) != Some(&head) {
            return Err(at);
        }
        // Mostly one key has this head, and mostly it is the key that is looked for.
        let record = self.record(at);
        if is_equal(record.suffix, suffix) {
            return Ok((at, record));
        }
        let at = self.find_among_equal(at, head, suffix)?;
        Ok((at, self.record(at)))
    }

    /// The index of a suffix whose head is that of the key at `at`, and of no key before it.
    fn find_among_equal(&self, mut at: usize, head: u32, suffix: &[u8]) -> Result<usize, usize> {
        let mut end = at + self.heads[at..].partition_point(|other| *other == head);
        while at < end {
            let middle = usize::midpoint(at, end);
            match self.record(middle).suffix.cmp(suffix) {
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => end = middle,
                Ordering::Less => at = middle + 1,
            }
        }
        Err(at)
    }

    /// How many heads are less than this one. Counting has no branches; a binary search has six, each predicted only half of
    /// the time.
    #[inline]
    fn count_less(&self, head: u32) -> usize {
        let used = self.len().div_ceil(HEADS_AT_ONCE);
        let pieces = self.heads.chunks_exact(HEADS_AT_ONCE).take(used);
        let less = pieces.map(|heads| {
            heads
                .iter()
                .map(|other| u32::from(*other < head))
                .sum::<u32>()
        });
        less.sum::<u32>() as usize
    }

    /// The key at an index.
    pub(super) fn key(&self, at: usize) -> Key {
        let pieces = [self.prefix(), self.record(at).suffix];
        let len = pieces[0].len() + pieces[1].len();
        let (mut short, long);
        let key = if len <= SHORT_KEY {
            short = [0; SHORT_KEY];
            short[..pieces[0].len()].copy_from_slice(pieces[0]);
            short[pieces[0].len()..len].copy_from_slice(pieces[1]);
            &short[..len]
        } else {
            long = pieces.concat();
            &long[..]
        };
        Key::from(std::str::from_utf8(key).expect("keys are stored as they came"))
    }

    fn key_bytes(&self, at: usize) -> Vec<u8> {
        [self.prefix(), self.record(at).suffix].concat()
    }

    /// The greatest key.
    pub(super) fn last_key(&self) -> Option<Key> {
        let last = self.len().checked_sub(1)?;
        Some(self.key(last))
    }

    /// The entry at an index.
    #[inline]
    pub(super) fn entry(&self, at: usize) -> EntryRef<'_> {
        self.entry_of(self.record(at))
    }

    #[inline(always)]
    fn entry_of<'a>(&'a self, record: Record<'a>) -> EntryRef<'a> {
        match record.whole_at() {
            Some(at) => EntryRef::from(self.whole[at].as_deref().expect(KEPT)),
            None => record.entry(),
        }
    }

    /// Keys and entries from an index on.
    pub(super) fn entries_from(&self, at: usize) -> impl Iterator<Item = (Key, EntryRef<'_>)> {
        (at..self.len()).map(|at| (self.key(at), self.entry(at)))
    }

    /// Replaces the entry at an index, in place if it is not longer than the one before.
    #[inline]
    pub(super) fn set(&mut self, at: usize, entry: Entry) {
        let form = Form::of((&entry).into());
        let record = self.record(at);
        if form == record.form() && !form.is_whole() {
            // Most entries replace one of the same form.
            let at = self.starts[at] as usize + record.key_len();
            record::pack(&mut self.bytes[at..], form, (&entry).into());
        } else {
            self.replace(at, form, entry);
        }
    }

    fn replace(&mut self, at: usize, form: Form, entry: Entry) {
        let record = self.record(at);
        let (key_len, old) = (record.key_len(), record.form());
        if form.len > old.len {
            self.make_room(key_len + form.len);
        }
        let start = self.starts[at] as usize;
        let start = if form.len > old.len {
            // The record is written again behind all others.
            let moved = self.bytes.len();
            self.bytes.extend_from_within(start..start + key_len);
            self.bytes.resize(moved + key_len + form.len, 0);
            self.garbage += offset(key_len + old.len);
            moved
        } else {
            self.garbage += offset(old.len - form.len);
            start
        };
        self.forget_whole(at);
        self.starts[at] = offset(start);
        record::set_form(&mut self.bytes[start], form);
        self.put_entry(start + key_len, form, entry);
        self.tidy();
    }

    /// Inserts a key at the index where [`find`](Self::find) says. A full leaf is split: returns the leaf that has to follow it.
    pub(super) fn insert_or_split(
        &mut self,
        at: usize,
        key: &Key,
        entry: Entry,
    ) -> Option<Box<Self>> {
        let key = key.as_str().as_bytes();
        if self.len() < FANOUT {
            self.insert(at, key, entry);
            return None;
        }
        // Keys that come in order leave full leaves behind them, not half-full ones.
        let half = if at == FANOUT { FANOUT } else { FANOUT / 2 };
        let mut behind = Box::new(Self::default());
        if half < FANOUT {
            let mut all = std::mem::take(self);
            *self = all.split_off(0..half);
            *behind = all.split_off(half..FANOUT);
        }
        match at.checked_sub(half) {
            Some(at) => behind.insert(at, key, entry),
            None => self.insert(at, key, entry),
        }
        Some(behind)
    }

    fn insert(&mut self, at: usize, key: &[u8], entry: Entry) {
        let form = Form::of((&entry).into());
        if self.len() == 0 {
            *self = Self::with_prefix(key, record::key_len(0) + form.len);
        }
        let prefix_len = common_len(self.prefix(), key);
        if prefix_len < self.prefix().len() {
            self.rebuild(
                prefix_len,
                record::key_len(key.len() - prefix_len) + form.len,
            );
        }
        let suffix = &key[prefix_len..];
        self.make_room(record::key_len(suffix.len()) + form.len);
        let start = self.bytes.len();
        let entry_at = record::push(&mut self.bytes, [suffix, &[]], form);
        self.put_entry(entry_at, form, entry);
        let len = self.len();
        self.heads.copy_within(at..len, at + 1);
        self.starts.copy_within(at..len, at + 1);
        self.heads[at] = head(suffix);
        self.starts[at] = offset(start);
        self.len += 1;
    }

    /// Removes the key at an index. The common prefix may have become longer: it is still right.
    pub(super) fn remove(&mut self, at: usize) {
        let record = self.record(at);
        self.garbage += offset(record.key_len() + record.form().len);
        self.forget_whole(at);
        let len = self.len();
        self.heads.copy_within(at + 1..len, at);
        self.starts.copy_within(at + 1..len, at);
        self.heads[len - 1] = u32::MAX;
        self.len -= 1;
        self.tidy();
    }

    /// Writes the buffer anew if more than half of it is garbage.
    fn tidy(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        } else if self.garbage as usize > self.bytes.len() / 2 {
            self.rebuild(self.prefix().len(), 0);
        }
    }

    /// Makes room for a record of so many bytes. Writes the buffer anew, instead of enlarging it, if enough of it is garbage.
    fn make_room(&mut self, record_len: usize) {
        let needed = self.bytes.len() + record_len;
        if needed <= self.bytes.capacity() {
            return;
        }
        if self.garbage as usize > self.bytes.len() / 16 {
            self.rebuild(self.prefix().len(), record_len);
        } else {
            let more = capacity_for(needed) - self.bytes.len();
            self.bytes.reserve_exact(more);
        }
    }

    /// Writes the entry of a record whose flags have its form already. No entry that is stored whole may be there.
    fn put_entry(&mut self, at: usize, form: Form, entry: Entry) {
        if form.is_whole() {
            self.bytes[at] = self.keep_whole(Box::new(entry));
        } else {
            record::pack(&mut self.bytes[at..], form, (&entry).into());
        }
    }

    /// Keeps an entry beside the records, and returns where.
    fn keep_whole(&mut self, entry: Box<Entry>) -> u8 {
        let free = self.whole.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.whole.push(None);
            self.whole.len() - 1
        });
        self.whole[at] = Some(entry);
        u8::try_from(at).expect("a leaf has few entries")
    }

    /// Drops the entry of the key at an index, if it is stored whole.
    fn forget_whole(&mut self, at: usize) {
        if let Some(at) = self.record(at).whole_at() {
            self.whole[at] = None;
        }
    }

    /// Writes all records anew, behind a prefix of this length, with room for so many more bytes.
    fn rebuild(&mut self, prefix_len: usize, room: usize) {
        let first = self.key_bytes(0);
        let all = 0..self.len();
        let live = self.bytes.len() - self.garbage as usize;
        let longer = all.len() * self.prefix().len().saturating_sub(prefix_len);
        let mut old = std::mem::replace(
            self,
            Self::with_prefix(&first[..prefix_len], live + longer + room),
        );
        self.take_over(&mut old, all);
    }

    /// Moves these records to a leaf of their own. The others are still there, but the leaf is of no other use any more.
    fn split_off(&mut self, records: Range<usize>) -> Self {
        let first = self.key_bytes(records.start);
        let prefix_len = common_len(&first, &self.key_bytes(records.end - 1));
        let shorter = records.len() * (prefix_len - self.prefix().len());
        let lens = records.clone().map(|at| {
            let record = self.record(at);
            record.key_len() + record.form().len
        });
        let len = lens.sum::<usize>() - shorter;
        let mut leaf = Self::with_prefix(&first[..prefix_len], len);
        leaf.take_over(self, records);
        leaf
    }

    /// Appends records of another leaf, whose keys are greater than those of this one and have its prefix.
    fn take_over(&mut self, from: &mut Self, records: Range<usize>) {
        let own = self.prefix().len();
        for at in records {
            let record = from.record(at);
            let suffix = [
                from.prefix().get(own..).unwrap_or_default(),
                &record.suffix[own.saturating_sub(from.prefix().len())..],
            ];
            let suffix_len = suffix[0].len() + suffix[1].len();
            let start = self.bytes.len();
            let entry = record::push(&mut self.bytes, suffix, record.form());
            match record.whole_at() {
                None => self.bytes[entry..].copy_from_slice(record.packed_entry()),
                Some(at) => {
                    let whole = from.whole[at].take().expect(KEPT);
                    self.bytes[entry] = self.keep_whole(whole);
                }
            }
            let last = self.len();
            self.heads[last] = head(&self.bytes[entry - suffix_len..entry]);
            self.starts[last] = offset(start);
            self.len += 1;
        }
    }

    /// Reads a few bytes of each line of the processor's caches that a search for a key will look at first.
    #[inline]
    pub(super) fn touch(&self) -> u32 {
        touch(&self.heads) ^ u32::from(self.bytes.first().copied().unwrap_or_default())
    }

    /// The index of the first key with the head of this one.
    #[inline]
    pub(super) fn find_head(&self, key: &[u8]) -> usize {
        let suffix = key.get(self.prefix_len as usize..);
        self.count_less(head(suffix.unwrap_or_default()))
    }

    /// Where the record of the key at an index begins; anywhere if there is no such key.
    #[inline]
    pub(super) fn start_of(&self, at: usize) -> usize {
        self.starts.get(at).map_or(0, |start| *start as usize)
    }

    /// Reads a byte of the buffer.
    #[inline]
    pub(super) fn touch_byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
impl Leaf {
    /// Asserts that each key is found, that a key between two of them is not, and that every byte is accounted for.
    pub(super) fn assert_consistent(&self) {
        let keys: Vec<_> = self.entries_from(0).map(|(key, _)| key).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(self.find(key.as_str().as_bytes()), Ok(at), "{keys:?}");
            let behind = format!("{key}\0");
            if keys.get(at + 1).is_none_or(|next| next.as_str() != behind) {
                assert_eq!(self.find(behind.as_bytes()), Err(at + 1), "{keys:?}");
            }
        }
        let records = || (0..self.len()).map(|at| self.record(at));
        let live: usize = records()
            .map(|record| record.key_len() + record.form().len)
            .sum();
        let all = self.prefix().len() + live + self.garbage as usize;
        assert_eq!(all, self.bytes.len());
        let mut whole: Vec<_> = records().filter_map(|record| record.whole_at()).collect();
        whole.sort_unstable();
        let kept = self
            .whole
            .iter()
            .enumerate()
            .filter(|(_, kept)| kept.is_some());
        assert!(kept.map(|(at, _)| at).eq(whole));
        assert!(
            self.heads[self.len()..]
                .iter()
                .all(|head| *head == u32::MAX)
        );
    }

    /// How many bytes the buffer takes.
    pub(super) fn buffer_len(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Child for Box<Leaf> {
    fn len(&self) -> usize {
        Leaf::len(self)
    }

    fn merge(&mut self, mut right: Self) {
        let Some(last) = right.len().checked_sub(1) else {
            return;
        };
        if self.len() == 0 {
            *self = right;
            return;
        }
        let first = self.key_bytes(0);
        let prefix_len = common_len(&first, &right.key_bytes(last));
        let len = |leaf: &Leaf| {
            let longer = leaf.len() * leaf.prefix().len().saturating_sub(prefix_len);
            leaf.bytes.len() - leaf.garbage as usize + longer
        };
        let merged = Leaf::with_prefix(&first[..prefix_len], len(self) + len(&right));
        let mut left = std::mem::replace(&mut **self, merged);
        let (all_left, all_right) = (0..left.len(), 0..right.len());
        self.take_over(&mut left, all_left);
        self.take_over(&mut right, all_right);
    }
}

const KEPT: &str = "a record that says so has an entry beside it";

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("64 keys with short values take less than 4 GiB")
}

/// The capacity of a buffer of so many bytes: a multiple of a quarter of the power of two below it. Allocators have these
/// sizes, too, so nothing is rounded up a second time.
fn capacity_for(len: usize) -> usize {
    len.next_multiple_of((len.next_power_of_two() / 8).max(16))
}

//! A part of the history: changes one after another, with marks from which reading can begin.

use super::packed_change::{self, PackedChange};
use crate::machine::change::{Change, ChangeRef};
use crate::machine::value::Revision;

/// What a change that is kept whole counts beyond its key and values.
const WHOLE_BYTES: usize = size_of::<Change>();

/// The first capacity of a buffer.
const CAPACITY_MIN: usize = 1_024;

/// A mark stands before every 32nd change of a chunk, so that at most as many are read in vain to find a revision.
pub(super) const MARK_EVERY: usize = 32;

/// Changes, one after another, in the order of their revisions.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The revision of the last change.
    pub(super) last: Revision,
    /// How many changes there are.
    pub(super) count: usize,
    /// All changes in order: a packed change, or a mark that stands for the next one of `whole`.
    packed: Vec<u8>,
    whole: Vec<Change>,
    whole_bytes: usize,
    marks: Vec<Mark>,
}

/// A position between two changes, at which reading can begin.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The revision of the change behind the mark.
    revision: Revision,
    /// Where that change begins in `packed`.
    packed: usize,
    /// How many changes of `whole` come before it.
    whole: usize,
}

impl Chunk {
    /// An empty chunk. `packed` is an empty buffer, which may have room already.
    pub(super) fn new(packed: Vec<u8>) -> Self {
        Self {
            last: 0,
            count: 0,
            packed,
            whole: Vec::new(),
            whole_bytes: 0,
            marks: Vec::new(),
        }
    }

    /// Appends a change in packed form. Returns how many bytes it takes. The buffer grows up to `bytes_max`, and beyond only by
    /// what does not fit: doubled once too often, it would take as much again.
    #[inline]
    pub(super) fn push_packed(&mut self, change: ChangeRef<'_>, bytes_max: usize) -> usize {
        self.count_next(change.revision);
        let before = self.packed.len();
        let needed = before + packed_change::len_max(&change);
        if needed > self.packed.capacity() {
            let doubled = (2 * self.packed.capacity()).max(CAPACITY_MIN);
            let capacity = match needed <= bytes_max {
                true => doubled.clamp(needed, bytes_max),
                false => needed + needed / 8,
            };
            self.packed.reserve_exact(capacity - before);
        }
        packed_change::put(&mut self.packed, change);
        self.packed.len() - before
    }

    /// Appends a change that cannot be packed. Returns how many bytes it takes.
    pub(super) fn push_whole(&mut self, change: Change) -> usize {
        self.count_next(change.revision);
        let bytes = change.byte_len() + WHOLE_BYTES;
        self.packed.push(packed_change::WHOLE_MARK);
        self.whole_bytes += bytes;
        self.whole.push(change);
        bytes + 1
    }

    /// Counts a change of this revision, which is about to be appended, and sets a mark before it if one is due.
    #[inline]
    fn count_next(&mut self, revision: Revision) {
        self.last = revision;
        if self.count.is_multiple_of(MARK_EVERY) {
            self.marks.push(Mark {
                revision,
                packed: self.packed.len(),
                whole: self.whole.len(),
            });
        }
        self.count += 1;
    }

    /// Drops the changes. Returns their buffer, emptied.
    pub(super) fn into_spare(self) -> Vec<u8> {
        let mut spare = self.packed;
        spare.clear();
        spare
    }

    /// The changes from the last mark at or before `revision`: some may not be after it.
    pub(super) fn since_mark_before(&self, revision: Revision) -> Changes<'_> {
        let behind = self.marks.partition_point(|mark| mark.revision <= revision);
        let (packed, whole) = match behind.checked_sub(1) {
            Some(at) => (self.marks[at].packed, self.marks[at].whole),
            None => (0, 0),
        };
        Changes {
            packed: &self.packed[packed..],
            whole: self.whole[whole..].iter(),
        }
    }

    /// Bytes that count towards the limit of the history.
    pub(super) fn bytes(&self) -> usize {
        self.packed.len() + self.whole_bytes
    }
}

/// Reads the changes of a chunk in order.
pub(super) struct Changes<'a> {
    packed: &'a [u8],
    whole: std::slice::Iter<'a, Change>,
}

impl<'a> Iterator for Changes<'a> {
    type Item = StoredChange<'a>;

    fn next(&mut self) -> Option<StoredChange<'a>> {
        match self.packed {
            [] => None,
            [packed_change::WHOLE_MARK, rest @ ..] => {
                self.packed = rest;
                self.whole.next().map(StoredChange::Whole)
            }
            _ => Some(StoredChange::Packed(PackedChange::take(&mut self.packed))),
        }
    }
}

/// A change where it is stored. Only its key and revision are read until the whole change is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) enum StoredChange<'a> {
    Packed(PackedChange<'a>),
    Whole(&'a Change),
}

impl<'a> StoredChange<'a> {
    pub(in crate::machine) fn key(&self) -> &'a str {
        match self {
            Self::Packed(packed) => packed.key,
            Self::Whole(change) => change.key.as_str(),
        }
    }

    pub(in crate::machine) fn revision(&self) -> Revision {
        match self {
            Self::Packed(packed) => packed.revision,
            Self::Whole(change) => change.revision,
        }
    }

    pub(in crate::machine) fn change(&self) -> Change {
        match self {
            Self::Packed(packed) => packed.change(),
            Self::Whole(change) => (*change).clone(),
        }
    }
}

//! Changes one after another, of which each is found without looking at all.

use super::packed_change::{self, PackedChange};
use crate::machine::change::{Change, ChangeRef};
use crate::machine::value::Revision;

/// What a change that is not plain costs beside its key and values.
const WHOLE_BYTES: usize = size_of::<Change>();

/// After so many changes of a chunk there is a mark: no more are looked at in vain to find where to go on.
pub(super) const MARK_EVERY: usize = 32;

/// Changes, one after another. All changes of one revision are in the same chunk.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) last: Revision,
    pub(super) count: usize,
    /// The plain changes, and in between where the others come in.
    packed: Vec<u8>,
    whole: Vec<Change>,
    whole_bytes: usize,
    marks: Vec<Mark>,
}

/// A place between the changes of a chunk.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Of the change behind it.
    revision: Revision,
    packed: usize,
    whole: usize,
}

impl Chunk {
    /// An empty one. `records` is empty, and has room.
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

    /// Appends a plain change. Returns how many bytes it takes.
    #[inline]
    pub(super) fn push_packed(&mut self, change: ChangeRef<'_>) -> usize {
        self.go_on_to(change.revision);
        let before = self.packed.len();
        packed_change::put(&mut self.packed, change);
        self.packed.len() - before
    }

    /// Appends any other change. Returns how many bytes it takes.
    pub(super) fn push_whole(&mut self, change: Change) -> usize {
        self.go_on_to(change.revision);
        let bytes = change.byte_len() + WHOLE_BYTES;
        self.packed.push(packed_change::WHOLE_MARK);
        self.whole_bytes += bytes;
        self.whole.push(change);
        bytes + 1
    }

    /// Counts a change of this revision, which is about to be appended.
    #[inline]
    fn go_on_to(&mut self, revision: Revision) {
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

    /// Lets go of the changes, and gives back the room of the plain ones.
    pub(super) fn into_spare(self) -> Vec<u8> {
        let mut spare = self.packed;
        spare.clear();
        spare
    }

    /// The changes after `revision`, and before them some that are not.
    pub(super) fn beginning_before(&self, revision: Revision) -> Changes<'_> {
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

    pub(super) fn bytes(&self) -> usize {
        self.packed.len() + self.whole_bytes
    }
}

/// The changes of a chunk.
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

/// A change, as it is kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) enum StoredChange<'a> {
    Packed(PackedChange<'a>),
    Whole(&'a Change),
}

impl<'a> StoredChange<'a> {
    pub(in crate::machine) fn key(&self) -> &'a str {
        match self {
            Self::Packed(record) => record.key,
            Self::Whole(change) => change.key.as_str(),
        }
    }

    pub(in crate::machine) fn revision(&self) -> Revision {
        match self {
            Self::Packed(record) => record.revision,
            Self::Whole(change) => change.revision,
        }
    }

    pub(in crate::machine) fn change(&self) -> Change {
        match self {
            Self::Packed(record) => record.change(),
            Self::Whole(change) => (*change).clone(),
        }
    }
}

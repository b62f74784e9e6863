//! Changes one after another, of which each is found without looking at all.

use super::record::{self, Record};
use crate::machine::change::{Change, ChangeRef};
use crate::machine::value::Revision;

/// What a change that is not plain costs beside its key and values.
const RICH_BYTES: usize = size_of::<Change>();

/// After so many changes of a chunk there is a mark: no more are looked at in vain to find where to go on.
pub(super) const MARK_EVERY: usize = 32;

/// Changes, one after another. All changes of one revision are in the same chunk.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) last: Revision,
    pub(super) count: usize,
    /// The plain changes, and in between where the others come in.
    records: Vec<u8>,
    rich: Vec<Change>,
    rich_bytes: usize,
    marks: Vec<Mark>,
}

/// A place between the changes of a chunk.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Of the change behind it.
    revision: Revision,
    records: usize,
    rich: usize,
}

impl Chunk {
    /// An empty one. `records` is empty, and has room.
    pub(super) fn new(records: Vec<u8>) -> Self {
        Self {
            last: 0,
            count: 0,
            records,
            rich: Vec::new(),
            rich_bytes: 0,
            marks: Vec::new(),
        }
    }

    /// Appends a plain change. Returns how many bytes it takes.
    #[inline]
    pub(super) fn push_plain(&mut self, change: ChangeRef<'_>) -> usize {
        self.go_on_to(change.revision);
        let before = self.records.len();
        record::put(&mut self.records, change);
        self.records.len() - before
    }

    /// Appends any other change. Returns how many bytes it takes.
    pub(super) fn push_rich(&mut self, change: Change) -> usize {
        self.go_on_to(change.revision);
        let bytes = change.byte_len() + RICH_BYTES;
        self.records.push(record::RICH);
        self.rich_bytes += bytes;
        self.rich.push(change);
        bytes + 1
    }

    /// Counts a change of this revision, which is about to be appended.
    #[inline]
    fn go_on_to(&mut self, revision: Revision) {
        self.last = revision;
        if self.count.is_multiple_of(MARK_EVERY) {
            self.marks.push(Mark {
                revision,
                records: self.records.len(),
                rich: self.rich.len(),
            });
        }
        self.count += 1;
    }

    /// Lets go of the changes, and gives back the room of the plain ones.
    pub(super) fn into_spare(self) -> Vec<u8> {
        let mut spare = self.records;
        spare.clear();
        spare
    }

    /// The changes after `revision`, and before them some that are not.
    pub(super) fn beginning_before(&self, revision: Revision) -> Changes<'_> {
        let behind = self.marks.partition_point(|mark| mark.revision <= revision);
        let (records, rich) = match behind.checked_sub(1) {
            Some(at) => (self.marks[at].records, self.marks[at].rich),
            None => (0, 0),
        };
        Changes {
            records: &self.records[records..],
            rich: self.rich[rich..].iter(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.records.len() + self.rich_bytes
    }
}

/// The changes of a chunk.
pub(super) struct Changes<'a> {
    records: &'a [u8],
    rich: std::slice::Iter<'a, Change>,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Kept<'a>;

    fn next(&mut self) -> Option<Kept<'a>> {
        match self.records {
            [] => None,
            [record::RICH, rest @ ..] => {
                self.records = rest;
                self.rich.next().map(Kept::Rich)
            }
            _ => Some(Kept::Plain(Record::take(&mut self.records))),
        }
    }
}

/// A change, as it is kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) enum Kept<'a> {
    Plain(Record<'a>),
    Rich(&'a Change),
}

impl<'a> Kept<'a> {
    pub(in crate::machine) fn key(&self) -> &'a str {
        match self {
            Self::Plain(record) => record.key,
            Self::Rich(change) => change.key.as_str(),
        }
    }

    pub(in crate::machine) fn revision(&self) -> Revision {
        match self {
            Self::Plain(record) => record.revision,
            Self::Rich(change) => change.revision,
        }
    }

    pub(in crate::machine) fn change(&self) -> Change {
        match self {
            Self::Plain(record) => record.change(),
            Self::Rich(change) => (*change).clone(),
        }
    }
}

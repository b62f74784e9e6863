//! What changed: the latest changes, kept for watches to go on from.
//!
//! Every write leaves a change here, so keeping one must cost next to nothing. Most are plain, and are kept as a few bytes
//! at the end of a chunk; the others are kept as they are, beside them. What is too old goes chunk by chunk.

mod record;

use std::collections::VecDeque;

use record::Record;

use super::effect::{Effect, Followers};
use super::store::EntryRef;
use super::value::{Entry, Key, Revision};

/// What a change that is not plain costs beside its key and values.
const RICH_BYTES: usize = size_of::<Change>();

/// Into so many chunks the changes are divided: so large a part goes at once when there are too many.
const CHUNKS: usize = 16;

/// After so many changes of a chunk there is a mark: no more are looked at in vain to find where to go on.
const MARK_EVERY: usize = 32;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The store revision of the change.
    pub revision: Revision,
    /// Why.
    pub cause: ChangeCause,
    /// The entry after it; none if the key is gone.
    pub entry: Option<Entry>,
    /// The entry before it; none if there was none, or it is not kept.
    pub previous: Option<Entry>,
    /// Whether it is kept.
    pub keeps: Keeps,
}

/// A change, of entries where they are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeRef<'a> {
    pub(super) key: &'a Key,
    pub(super) revision: Revision,
    pub(super) cause: ChangeCause,
    pub(super) entry: Option<EntryRef<'a>>,
    pub(super) previous: Option<EntryRef<'a>>,
}

impl ChangeRef<'_> {
    pub(super) fn to_change(self) -> Change {
        Change {
            key: self.key.clone(),
            revision: self.revision,
            cause: self.cause,
            entry: self.entry.map(EntryRef::to_entry),
            previous: self.previous.map(EntryRef::to_entry),
            keeps: Keeps::Previous,
        }
    }
}

impl<'a> From<&'a Change> for ChangeRef<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            key: &change.key,
            revision: change.revision,
            cause: change.cause,
            entry: change.entry.as_ref().map(EntryRef::from),
            previous: change.previous.as_ref().map(EntryRef::from),
        }
    }
}

/// Whether a change is kept with the entry as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is.
    Previous,
    /// It was too large.
    NoPrevious,
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeCause {
    /// By a Write or an Add.
    Written,
    /// By a Transition.
    Transitioned,
    /// By a Delete.
    Deleted,
    /// Its ttl ended.
    Expired,
    /// Its session ended.
    SessionEnded,
    /// Its state's timeout moved it on.
    TimedOut,
}

impl Change {
    /// Bytes of the key and of the values after and before.
    fn byte_len(&self) -> usize {
        let value =
            |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.value.byte_len());
        self.key.as_str().len() + value(&self.entry) + value(&self.previous)
    }
}

/// The latest changes, in the order of their revisions.
#[derive(Debug)]
pub(super) struct History {
    chunks: VecDeque<Chunk>,
    count: usize,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
    /// Every change after this revision is kept.
    oldest: Revision,
    /// No change after this revision is let go of, however many there are.
    floor: Revision,
    /// The changes of a batch that is being done, in the order in which it makes them.
    batch: Option<Vec<Change>>,
    /// Of the last chunk that went, to be filled again.
    spare: Vec<u8>,
    /// Who else is told, if anybody: most servers keep no log, and make no copy just now.
    followers: Option<Box<Followers>>,
}

/// Changes, one after another. All changes of one revision are in the same chunk.
#[derive(Debug)]
struct Chunk {
    last: Revision,
    count: usize,
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
    /// The changes after `revision`, and before them some that are not.
    fn beginning_before(&self, revision: Revision) -> Changes<'_> {
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

    fn bytes(&self) -> usize {
        self.records.len() + self.rich_bytes
    }
}

impl History {
    pub(super) fn new(changes_max: usize, bytes_max: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            count: 0,
            bytes: 0,
            changes_max,
            bytes_max,
            oldest: 0,
            floor: Revision::MAX,
            batch: None,
            spare: Vec::new(),
            followers: None,
        }
    }

    /// Lets go of every change up to `revision`, at which the state is.
    pub(super) fn restart(&mut self, revision: Revision) {
        self.chunks.clear();
        (self.count, self.bytes) = (0, 0);
        self.oldest = revision;
    }

    /// Keeps every change after this revision: they have not been shown yet.
    pub(super) fn keep_after(&mut self, revision: Revision) {
        self.floor = revision;
    }

    pub(super) fn followers_mut(&mut self) -> &mut Followers {
        self.followers.get_or_insert_default()
    }

    /// Lets go of the followers if there is nobody among them.
    pub(super) fn forget_followers(&mut self) {
        self.followers
            .take_if(|followers| followers.effects.is_none() && followers.copies.is_empty());
    }

    /// Notes what happened, for who keeps a log.
    pub(super) fn happened(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(followers) = &mut self.followers
            && let Some(effects) = &mut followers.effects
        {
            effects.push(effect());
        }
    }

    /// Appends what happened since it was last taken.
    pub(super) fn take_effects(&mut self, taken: &mut Vec<Effect>) {
        let followers = self.followers.as_mut();
        if let Some(effects) = followers.and_then(|followers| followers.effects.as_mut()) {
            taken.append(effects);
        }
    }

    /// A key changes in a way that watches are not told.
    pub(super) fn changes_unseen(&mut self, key: &Key, previous: EntryRef<'_>) {
        if let Some(followers) = &mut self.followers {
            followers.copies.changes(key, Some(previous));
        }
    }

    /// The revision after which every change is there.
    pub(super) fn oldest(&self) -> Revision {
        self.oldest
    }

    /// The changes after `revision`, which must not be before the oldest.
    pub(super) fn after(&self, revision: Revision) -> impl Iterator<Item = Kept<'_>> {
        let from = self.chunks.partition_point(|chunk| chunk.last <= revision);
        self.chunks
            .range(from..)
            .flat_map(move |chunk| chunk.beginning_before(revision))
            .skip_while(move |change| change.revision() <= revision)
    }

    /// Takes a change.
    #[inline]
    pub(super) fn record(&mut self, change: ChangeRef<'_>) {
        if let Some(batch) = &mut self.batch {
            batch.push(change.to_change());
            return;
        }
        if let Some(followers) = &mut self.followers {
            followers.changed(change);
        }
        if record::is_plain(&change) {
            self.keep_plain(change);
        } else {
            self.keep_rich(change.to_change());
        }
    }

    /// Begins a batch: the changes from here on are of one revision, and may yet be taken back.
    pub(super) fn begin_batch(&mut self) {
        self.batch = Some(Vec::new());
    }

    /// Gives the changes of a batch back, which is not done after all.
    pub(super) fn take_back(&mut self) -> Vec<Change> {
        self.batch.take().unwrap_or_default()
    }

    /// Takes the changes of a batch. Those of one key become one: from before the first to after the last, for the reason
    /// of the last.
    pub(super) fn end_batch(&mut self) {
        let mut batch = self.take_back();
        if batch.len() > 1 {
            // Stable: those of one key stay in order.
            batch.sort_by(|a, b| a.key.cmp(&b.key));
            batch.dedup_by(|later, earlier| {
                let same = later.key == earlier.key;
                if same {
                    earlier.cause = later.cause;
                    earlier.entry = later.entry.take();
                }
                same
            });
        }
        let bytes: usize = batch.iter().map(Change::byte_len).sum();
        // What there was before is a courtesy; it must not push everything else out.
        let keeps_previous = bytes <= self.bytes_max / 2;
        for mut change in batch {
            if let Some(followers) = &mut self.followers {
                followers.changed((&change).into());
            }
            if !keeps_previous {
                change.previous = None;
                change.keeps = Keeps::NoPrevious;
            }
            self.keep(change);
        }
    }

    /// Keeps a change.
    pub(super) fn keep(&mut self, change: Change) {
        let plain = ChangeRef::from(&change);
        if change.keeps == Keeps::Previous && record::is_plain(&plain) {
            self.keep_plain(plain);
        } else {
            self.keep_rich(change);
        }
    }

    #[inline]
    fn keep_plain(&mut self, change: ChangeRef<'_>) {
        let chunk = self.chunk(change.revision);
        let before = chunk.records.len();
        record::put(&mut chunk.records, change);
        let bytes = chunk.records.len() - before;
        chunk.count += 1;
        self.kept(bytes);
    }

    fn keep_rich(&mut self, change: Change) {
        let bytes = change.byte_len() + RICH_BYTES;
        let chunk = self.chunk(change.revision);
        chunk.records.push(record::RICH);
        chunk.rich_bytes += bytes;
        chunk.rich.push(change);
        chunk.count += 1;
        self.kept(bytes + 1);
    }

    /// The chunk for the next change, which is of this revision.
    #[inline]
    fn chunk(&mut self, revision: Revision) -> &mut Chunk {
        let full = self.chunks.back().is_none_or(|chunk| {
            chunk.last != revision
                && (chunk.count >= self.changes_max / CHUNKS
                    || chunk.bytes() >= self.bytes_max / CHUNKS)
        });
        if full {
            self.chunks.push_back(Chunk {
                last: revision,
                count: 0,
                records: std::mem::take(&mut self.spare),
                rich: Vec::new(),
                rich_bytes: 0,
                marks: Vec::new(),
            });
        }
        let chunk = self.chunks.back_mut().expect("there is one now");
        chunk.last = revision;
        if chunk.count.is_multiple_of(MARK_EVERY) {
            chunk.marks.push(Mark {
                revision,
                records: chunk.records.len(),
                rich: chunk.rich.len(),
            });
        }
        chunk
    }

    /// Counts a change, and lets go of the oldest where there are too many.
    #[inline]
    fn kept(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
        while self.count > self.changes_max || self.bytes > self.bytes_max {
            if self
                .chunks
                .front()
                .is_none_or(|chunk| chunk.last > self.floor)
            {
                return;
            }
            let chunk = self.chunks.pop_front().expect("it was just there");
            self.oldest = chunk.last;
            self.count -= chunk.count;
            self.bytes -= chunk.bytes();
            self.spare = chunk.records;
            self.spare.clear();
        }
    }
}

/// The changes of a chunk.
struct Changes<'a> {
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
pub(super) enum Kept<'a> {
    Plain(Record<'a>),
    Rich(&'a Change),
}

impl<'a> Kept<'a> {
    pub(super) fn key(&self) -> &'a str {
        match self {
            Self::Plain(record) => record.key,
            Self::Rich(change) => change.key.as_str(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        match self {
            Self::Plain(record) => record.revision,
            Self::Rich(change) => change.revision,
        }
    }

    pub(super) fn change(&self) -> Change {
        match self {
            Self::Plain(record) => record.change(),
            Self::Rich(change) => (*change).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::{Attached, Value};

    fn entry(value: Value, revision: Revision) -> Entry {
        Entry {
            value,
            revision,
            create_revision: 1,
            attached: None,
        }
    }

    fn change(key: &str, revision: Revision) -> Change {
        Change {
            key: key.into(),
            revision,
            cause: ChangeCause::Written,
            entry: Some(entry(Value::Int(revision), revision)),
            previous: Some(entry(Value::Int(-revision), revision - 1)),
            keeps: Keeps::Previous,
        }
    }

    fn record(history: &mut History, change: &Change) {
        history.record(change.into());
    }

    fn batch(history: &mut History, changes: &[Change]) {
        history.begin_batch();
        for change in changes {
            record(history, change);
        }
        history.end_batch();
    }

    fn keys(history: &History, after: Revision) -> String {
        let keys = history.after(after);
        keys.map(|change| change.key().to_owned()).collect()
    }

    #[test]
    fn changes_come_back_as_they_were() {
        let long = "x".repeat(300);
        let values = [
            Value::Int(0),
            Value::Int(i64::MIN),
            Value::Text("".into()),
            Value::Text("é".into()),
            Value::Text(long.as_str().into()),
            Value::Bytes(b"\0\xff".as_slice().into()),
        ];
        let causes = [
            ChangeCause::Written,
            ChangeCause::Transitioned,
            ChangeCause::Deleted,
            ChangeCause::Expired,
            ChangeCause::SessionEnded,
            ChangeCause::TimedOut,
        ];
        let mut changes = Vec::new();
        for value in &values {
            for cause in causes {
                for (after, before) in [(true, true), (true, false), (false, true), (false, false)]
                {
                    let revision = (changes.len() as i64 + 1) << 9;
                    let entry = |revision| entry(value.clone(), revision);
                    let mut change = Change {
                        key: long.get(..changes.len()).unwrap_or("k").into(),
                        revision,
                        cause,
                        entry: after.then(|| entry(revision)),
                        previous: before.then(|| entry(7)),
                        keeps: Keeps::Previous,
                    };
                    if cause == ChangeCause::TimedOut
                        && let Some(entry) = &mut change.entry
                    {
                        entry.attached = Some(Arc::new(Attached::default()));
                    }
                    changes.push(change);
                }
            }
        }
        let mut history = History::new(usize::MAX, usize::MAX);
        for change in &changes {
            record(&mut history, change);
        }
        let kept: Vec<_> = history.after(0).map(|change| change.change()).collect();
        assert_eq!(kept, changes);
        let (_, later) = changes.split_at(50);
        let kept: Vec<_> = history.after(50 << 9).map(|kept| kept.change()).collect();
        assert_eq!(kept, later);
    }

    #[test]
    fn it_goes_on_after_any_revision() {
        let mut history = History::new(1 << 12, 1 << 20);
        let mut expected = Vec::new();
        for revision in 1..400 {
            // Alone and plain, or some of one revision: now and then more than lie between two marks.
            let count = match revision % 50 {
                7 => 3 * MARK_EVERY,
                n => (n % 7 == 0).into(),
            };
            let changes: Vec<_> = (0..count)
                .map(|n| change(&format!("{n:03}"), revision))
                .collect();
            if changes.is_empty() {
                record(&mut history, &change("k", revision));
                expected.push(revision);
            } else {
                batch(&mut history, &changes);
                expected.extend(changes.iter().map(|change| change.revision));
            }
        }
        assert!(history.chunks.len() > 1, "{}", history.chunks.len());
        for after in 0..400 {
            let kept: Vec<_> = history.after(after).map(|kept| kept.revision()).collect();
            let from = expected.partition_point(|revision| *revision <= after);
            assert_eq!(kept, expected[from..], "after {after}");
            for chunk in &history.chunks {
                let before = |kept: &Kept<'_>| kept.revision() <= after;
                let in_vain = chunk.beginning_before(after).take_while(before);
                // More only where they are of one revision.
                let in_vain = in_vain.filter(|kept| kept.revision() < after).count();
                assert!(in_vain <= MARK_EVERY, "{in_vain} after {after}");
            }
        }
    }

    #[test]
    fn a_revision_goes_whole() {
        let mut history = History::new(3, usize::MAX);
        for (revision, changed) in [(1, "a"), (2, "bc"), (5, "d"), (6, "e")] {
            let changes: Vec<_> = changed
                .chars()
                .map(|key| change(&key.to_string(), revision))
                .collect();
            batch(&mut history, &changes);
        }
        // Of five, the three latest would split revision 2.
        assert_eq!((history.oldest(), keys(&history, 2)), (2, "de".into()));
        assert_eq!(keys(&history, 5), "e");
        assert_eq!(keys(&history, 6), "");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for (changes_max, bytes_max) in [(160, usize::MAX), (usize::MAX, 4_000), (1, 4_000)] {
            let mut history = History::new(changes_max, bytes_max);
            for revision in 1..=5_000 {
                let mut change = change("key", revision);
                if revision % 7 == 0 {
                    // Not a plain one.
                    change.entry = Some(entry(Value::Text("x".repeat(260).into()), revision));
                }
                record(&mut history, &change);
                let (count, bytes) = history.chunks.iter().fold((0, 0), |(count, bytes), chunk| {
                    (count + chunk.count, bytes + chunk.bytes())
                });
                assert_eq!((history.count, history.bytes), (count, bytes));
                assert!(count <= changes_max && bytes <= bytes_max);
                assert_eq!(history.after(history.oldest()).count(), count);
                // Not much less than there may be, once there is so much.
                if revision > 1_000 && changes_max > 1 {
                    assert!(
                        count >= 150.min(changes_max) || bytes >= 3_000,
                        "{count}, {bytes}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_large_batch_leaves_out_what_was_before() {
        let mut history = History::new(usize::MAX, 1_000);
        let large = |key: &str, revision| Change {
            previous: Some(entry(Value::Text("x".repeat(600).into()), 1)),
            ..change(key, revision)
        };
        batch(&mut history, &[large("a", 2)]);
        for change in history.after(0) {
            let Change {
                previous, keeps, ..
            } = change.change();
            assert_eq!((previous, keeps), (None, Keeps::NoPrevious));
        }
        assert_eq!(keys(&history, 0), "a");
    }

    #[test]
    fn changes_of_one_key_are_joined() {
        let mut history = History::new(9, usize::MAX);
        let deleted = Change {
            cause: ChangeCause::Deleted,
            entry: None,
            ..change("b", 1)
        };
        batch(
            &mut history,
            &[change("b", 1), change("a", 1), deleted.clone()],
        );
        let kept: Vec<_> = history.after(0).map(|kept| kept.change()).collect();
        assert_eq!(kept, [change("a", 1), deleted]);
    }

    #[test]
    fn what_a_batch_changed_can_be_taken_back() {
        let mut history = History::new(9, usize::MAX);
        history.begin_batch();
        record(&mut history, &change("a", 1));
        assert_eq!(history.take_back(), [change("a", 1)]);
        record(&mut history, &change("b", 1));
        assert_eq!(keys(&history, 0), "b");
    }
}

//! The change history: the latest changes, from which watches go on.
//!
//! Every write adds a change, so adding one must cost next to nothing. Most changes are packed into a few bytes at the end
//! of a chunk (`packed_change.rs`); a change with a long value, a lifetime or a machine state is kept whole beside them.
//! The oldest changes are evicted chunk by chunk.

mod chunk;
mod packed_change;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use chunk::Chunk;
pub(super) use chunk::StoredChange;

use super::change::{Change, ChangeRef, Keeps};
use super::effect::Effect;
use super::followers::Followers;
use super::tree::EntryRef;
use super::value::{Key, Revision};

/// A full history has about this many chunks: one of them is evicted at a time.
const CHUNKS: usize = 16;

/// The latest changes, in the order of their revisions, within a limit of changes and one of bytes.
#[derive(Debug)]
pub(super) struct ChangeHistory {
    chunks: VecDeque<Chunk>,
    count: usize,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
    /// Every change after this revision is in the history.
    oldest: Revision,
    /// No change after this revision is evicted, whatever the limits.
    floor: Revision,
    /// The changes of an atomic batch that is being applied, in order.
    batch: Option<Vec<Change>>,
    /// The buffer of the chunk that was evicted last, for the next chunk.
    spare: Vec<u8>,
    /// The log and the copies, if there are any.
    followers: Option<Box<Followers>>,
}

impl ChangeHistory {
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

    /// Drops all changes: the history goes on after `revision`, the store's present one.
    pub(super) fn restart(&mut self, revision: Revision) {
        self.chunks.clear();
        (self.count, self.bytes) = (0, 0);
        self.oldest = revision;
    }

    /// Protects every change after this revision from eviction, because watches have not been shown them yet.
    pub(super) fn keep_after(&mut self, revision: Revision) {
        self.floor = revision;
    }

    pub(super) fn followers_mut(&mut self) -> &mut Followers {
        self.followers.get_or_insert_default()
    }

    /// Drops the followers if there is neither a log nor a copy.
    pub(super) fn forget_followers(&mut self) {
        self.followers
            .take_if(|followers| followers.effects.is_none() && followers.copies.is_empty());
    }

    /// Adds an effect, if there is a log to take it.
    pub(super) fn push_effect(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(followers) = &mut self.followers
            && let Some(effects) = &mut followers.effects
        {
            effects.push(effect());
        }
    }

    /// Moves the effects since the last call to the end of `taken`.
    pub(super) fn take_effects(&mut self, taken: &mut Vec<Effect>) {
        let followers = self.followers.as_mut();
        if let Some(effects) = followers.and_then(|followers| followers.effects.as_mut()) {
            taken.append(effects);
        }
    }

    /// Preserves an entry for the copies, before a change that is not recorded.
    pub(super) fn preserve_for_copies(&mut self, key: &Key, previous: EntryRef<'_>) {
        if let Some(followers) = &mut self.followers {
            followers.copies.preserve(key, Some(previous));
        }
    }

    /// The revision after which every change is in the history.
    pub(super) fn oldest(&self) -> Revision {
        self.oldest
    }

    /// The changes after `revision`, which must not be before [`oldest`](Self::oldest).
    pub(super) fn after(&self, revision: Revision) -> impl Iterator<Item = StoredChange<'_>> {
        let from = self.chunks.partition_point(|chunk| chunk.last <= revision);
        self.chunks
            .range(from..)
            .flat_map(move |chunk| chunk.since_mark_before(revision))
            .skip_while(move |change| change.revision() <= revision)
    }

    /// Adds a change.
    #[inline]
    pub(super) fn record(&mut self, change: ChangeRef<'_>) {
        if let Some(batch) = &mut self.batch {
            batch.push(change.to_change());
            return;
        }
        if let Some(followers) = &mut self.followers {
            followers.changed(change);
        }
        if packed_change::is_packable(&change) {
            self.keep_packed(change);
        } else {
            self.keep_whole(change.to_change());
        }
    }

    /// Begins a batch: the changes that follow have one revision, and can still be undone.
    pub(super) fn begin_batch(&mut self) {
        self.batch = Some(Vec::new());
    }

    /// Ends a batch without adding its changes, and returns them to be undone.
    pub(super) fn abort_batch(&mut self) -> Vec<Change> {
        self.batch.take().unwrap_or_default()
    }

    /// Ends a batch and adds its changes. Several changes of one key become one, from the entry before the first to the
    /// entry after the last, with the cause of the last.
    pub(super) fn end_batch(&mut self) {
        let mut batch = self.abort_batch();
        if batch.len() > 1 {
            // A stable sort: the changes of one key stay in order.
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
        // Watches can do without the entries before. They must not evict everything else.
        let keeps_previous = bytes <= self.bytes_max / 2;
        for mut change in batch {
            if let Some(followers) = &mut self.followers {
                followers.changed((&change).into());
            }
            if !keeps_previous && change.previous.take().is_some() {
                change.keeps = Keeps::NoPrevious;
            }
            self.keep(change);
        }
    }

    /// Adds a change of the past: followers are not told.
    pub(super) fn keep(&mut self, change: Change) {
        let borrowed = ChangeRef::from(&change);
        if change.keeps == Keeps::Previous && packed_change::is_packable(&borrowed) {
            self.keep_packed(borrowed);
        } else {
            self.keep_whole(change);
        }
    }

    #[inline]
    fn keep_packed(&mut self, change: ChangeRef<'_>) {
        let chunk_max = self.bytes_max / CHUNKS;
        let len_max = packed_change::len_max(&change);
        let chunk = self.chunk(change.revision, len_max);
        let bytes = chunk.push_packed(change, chunk_max);
        self.count_and_evict(bytes);
    }

    fn keep_whole(&mut self, change: Change) {
        let bytes = self.chunk(change.revision, 1).push_whole(change);
        self.count_and_evict(bytes);
    }

    /// The chunk for the next change, which has this revision and takes at most so many bytes. All changes of a revision go into
    /// one chunk.
    #[inline]
    fn chunk(&mut self, revision: Revision, len_max: usize) -> &mut Chunk {
        let full = self.chunks.back().is_none_or(|chunk| {
            chunk.last != revision
                && (chunk.count >= self.changes_max / CHUNKS
                    || chunk.bytes() + len_max > self.bytes_max / CHUNKS)
        });
        if full {
            let spare = std::mem::take(&mut self.spare);
            self.chunks.push_back(Chunk::new(spare));
        }
        self.chunks
            .back_mut()
            .expect("a chunk was added if there was none")
    }

    /// Counts a change that was added, and evicts the oldest chunks while there is too much.
    #[inline]
    fn count_and_evict(&mut self, bytes: usize) {
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
            let chunk = self
                .chunks
                .pop_front()
                .expect("the front chunk was just looked at");
            self.oldest = chunk.last;
            self.count -= chunk.count;
            self.bytes -= chunk.bytes();
            self.spare = chunk.into_spare();
        }
    }
}

//! What changed: the latest changes, kept for watches to go on from.
//!
//! Every write leaves a change here, so keeping one must cost next to nothing. Most are plain, and are kept as a few bytes
//! at the end of a chunk; the others are kept as they are, beside them. What is too old goes chunk by chunk.

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

/// Into so many chunks the changes are divided: so large a part goes at once when there are too many.
const CHUNKS: usize = 16;

/// The latest changes, in the order of their revisions.
#[derive(Debug)]
pub(super) struct ChangeHistory {
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
    pub(super) fn push_effect(&mut self, effect: impl FnOnce() -> Effect) {
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
    pub(super) fn after(&self, revision: Revision) -> impl Iterator<Item = StoredChange<'_>> {
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
        if packed_change::is_packable(&change) {
            self.keep_packed(change);
        } else {
            self.keep_whole(change.to_change());
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
        if change.keeps == Keeps::Previous && packed_change::is_packable(&plain) {
            self.keep_packed(plain);
        } else {
            self.keep_whole(change);
        }
    }

    #[inline]
    fn keep_packed(&mut self, change: ChangeRef<'_>) {
        let bytes = self.chunk(change.revision).push_packed(change);
        self.kept(bytes);
    }

    fn keep_whole(&mut self, change: Change) {
        let bytes = self.chunk(change.revision).push_whole(change);
        self.kept(bytes);
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
            let spare = std::mem::take(&mut self.spare);
            self.chunks.push_back(Chunk::new(spare));
        }
        self.chunks.back_mut().expect("there is one now")
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
            self.spare = chunk.into_spare();
        }
    }
}

//! The open streams of a connection, by id.
//!
//! Ids are odd and grow by two, and calls end roughly in the order in which they began. So the streams are in a ring
//! buffer from the oldest open id to the newest, where looking up is a subtraction. A stream that lags far behind moves
//! to a map, so that one slow call does not make the ring long.

use std::collections::{BTreeMap, VecDeque};

use crate::http2::message::Body;

/// The length of the ring at which the oldest stream moves to the map. Servers allow 100 to 1,000 streams; four times
/// as many ids leave room for calls that overtake each other.
const SPAN_MAX: usize = 4_096;

/// A stream with its call.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The caller's name for the call.
    pub(super) tag: u64,
    pub(super) body: Body,
    /// The part of the receive window that the server has used since the last WINDOW_UPDATE.
    pub(super) window_used: u32,
    pub(super) phase: Phase,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The call has ended. The place in the ring is free.
    #[default]
    Closed,
    /// Nothing has arrived.
    AwaitingHeaders,
    /// The headers have arrived, and perhaps a message.
    AwaitingTrailers,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Streams {
    ring: VecDeque<Stream>,
    /// The id of the first stream in the ring.
    first: u32,
    /// Streams older than the ring.
    overtaken: BTreeMap<u32, Stream>,
    open: usize,
}

impl Streams {
    /// No streams. The first one that is opened has the id `first`.
    pub(super) fn new(first: u32) -> Self {
        Self {
            ring: VecDeque::new(),
            first,
            overtaken: BTreeMap::new(),
            open: 0,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Opens the stream with the next id.
    pub(super) fn push(&mut self, tag: u64) {
        if self.ring.len() >= SPAN_MAX
            && let Some(oldest) = self.ring.pop_front()
        {
            self.overtaken.insert(self.first, oldest);
            self.first += 2;
            self.trim();
        }
        self.ring.push_back(Stream {
            tag,
            phase: Phase::AwaitingHeaders,
            ..Stream::default()
        });
        self.open += 1;
    }

    /// Returns the stream `id` if it is open.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let stream = match id.checked_sub(self.first) {
            Some(distance) => self.ring.get_mut(distance as usize / 2)?,
            None => self.overtaken.get_mut(&id)?,
        };
        (stream.phase != Phase::Closed).then_some(stream)
    }

    /// Closes the stream `id`, and returns it if it was open.
    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = match id.checked_sub(self.first) {
            Some(distance) => {
                let stream = std::mem::take(self.ring.get_mut(distance as usize / 2)?);
                if distance == 0 {
                    self.trim();
                }
                stream
            }
            None => self.overtaken.remove(&id)?,
        };
        if stream.phase == Phase::Closed {
            return None;
        }
        self.open -= 1;
        Some(stream)
    }

    /// Returns the oldest open stream above `id`.
    pub(super) fn next_after(&self, id: u32) -> Option<u32> {
        if let Some((older, _)) = self.overtaken.range(id + 1..).next() {
            return Some(*older);
        }
        let skipped = match id.checked_sub(self.first) {
            Some(distance) => distance as usize / 2 + 1,
            None => 0,
        };
        let open = |stream: &Stream| stream.phase != Phase::Closed;
        let at = self.ring.iter().skip(skipped).position(open)?;
        Some(self.first + 2 * (skipped + at) as u32)
    }

    /// Removes closed streams from the front of the ring.
    fn trim(&mut self) {
        while let Some(stream) = self.ring.front()
            && stream.phase == Phase::Closed
        {
            self.ring.pop_front();
            // After the last id of all this is no valid id. No stream is ever looked up there.
            self.first = self.first.wrapping_add(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Compares it with a map, while streams are closed in any order and some never.
    #[test]
    fn behaves_as_a_map_from_ids() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut streams = Streams::new(5);
        let mut model = BTreeMap::new();
        let mut next = 5;
        for step in 0..200_000_u64 {
            if model.len() < 100 && rng.random_bool(0.6) {
                streams.push(step);
                model.insert(next, step);
                next += 2;
            } else if let Some(id) = model
                .keys()
                .copied()
                .nth(rng.random_range(0..=model.len()))
                // These stay open for good.
                .filter(|id| id % 4_001 != 0)
            {
                assert_eq!(streams.get(id).map(|stream| stream.tag), Some(model[&id]));
                let removed = streams.remove(id);
                assert_eq!(removed.map(|stream| stream.tag), model.remove(&id));
                assert!(streams.remove(id).is_none() && streams.get(id).is_none());
            }
            assert_eq!(streams.open(), model.len());
            assert!(streams.ring.len() <= SPAN_MAX && streams.overtaken.len() <= model.len());
            if step % 1_000 == 0 {
                let mut listed = Vec::new();
                let mut after = 0;
                while let Some(id) = streams.next_after(after) {
                    listed.push(id);
                    after = id;
                }
                assert!(listed.iter().eq(model.keys()));
            }
        }
        assert!(!streams.overtaken.is_empty());
        assert!(streams.get(next).is_none() && streams.remove(next + 2).is_none());
    }

    #[test]
    fn the_last_id_of_all_can_be_closed() {
        let mut streams = Streams::new(0x7fff_ffff);
        streams.push(1);
        assert!(streams.remove(0x7fff_ffff).is_some());
        assert_eq!(streams.next_after(0), None);
    }
}

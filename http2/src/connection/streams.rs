//! The open streams of a connection: an array whose places are used again.

use crate::connection::event::{StreamKey, Then};
use crate::connection::index::Index;

/// Whether a stream's answer waits for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing waits.
    #[default]
    No,
    /// The stream's own window has no room.
    ForWindow,
    /// The stream is in the queue of those that share the connection's window and the output.
    InQueue,
}

/// An open stream. A stream whose answer is whole is closed, so the answer's side is always open.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// 0 if the place is free.
    id: u32,
    /// Whether the request goes on.
    pub(super) is_receiving: bool,
    /// Whether the head of the answer was sent.
    pub(super) has_head: bool,
    pub(super) waiting: Waiting,
    /// How much DATA may be sent. Negative if the client has lowered INITIAL_WINDOW_SIZE.
    pub(super) send_window: i64,
    /// DATA that has come, and for which the window was not given back.
    pub(super) received: u32,
    /// The part of it that the user has consumed.
    pub(super) consumed: u32,
    /// What `content-length` says is still to come.
    pub(super) length_left: Option<u64>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u32>,
    index: Index,
}

impl Streams {
    /// The number of open streams.
    #[inline]
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Opens a stream, which must not be open.
    #[inline]
    pub(super) fn insert(
        &mut self,
        id: u32,
        send_window: i64,
        then: Then,
        length_left: Option<u64>,
    ) -> StreamKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Stream::default());
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Stream {
            id,
            is_receiving: then == Then::More,
            send_window,
            length_left,
            ..Stream::default()
        };
        self.index.insert(id, slot);
        StreamKey { slot, id }
    }

    /// The stream of an id, if it is open.
    #[inline]
    pub(super) fn find(&mut self, id: u32) -> Option<(StreamKey, &mut Stream)> {
        let slot = self.index.get(id)?;
        let stream = self.slots.get_mut(slot as usize)?;
        Some((StreamKey { slot, id }, stream))
    }

    /// The stream of a name, if it is open.
    #[inline]
    pub(super) fn get(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let stream = self.slots.get_mut(key.slot as usize)?;
        (stream.id == key.id).then_some(stream)
    }

    /// Closes a stream.
    #[inline]
    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        let stream = std::mem::take(self.get(key)?);
        self.index.remove(key.id);
        self.free.push(key.slot);
        Some(stream)
    }

    /// All open streams.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (StreamKey, &mut Stream)> {
        let slots = self.slots.iter_mut().enumerate();
        slots
            .filter(|(_, stream)| stream.id != 0)
            .map(|(slot, stream)| {
                let key = StreamKey {
                    slot: slot as u32,
                    id: stream.id,
                };
                (key, stream)
            })
    }

    /// Closes all streams, and frees their memory.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn held(&self) -> usize {
        self.slots.capacity() * size_of::<Stream>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_an_old_name_means_nothing() {
        let mut streams = Streams::default();
        let one = streams.insert(1, 10, Then::More, None);
        let three = streams.insert(3, 10, Then::End, Some(5));
        assert_eq!((streams.open(), one.slot(), three.slot()), (2, 0, 1));
        assert_eq!(streams.find(3).unwrap().0, three);
        assert!(streams.remove(one).is_some() && streams.remove(one).is_none());
        let five = streams.insert(5, 10, Then::More, None);
        assert_eq!((streams.open(), five.slot()), (2, 0));
        assert!(streams.get(one).is_none() && streams.find(1).is_none());
        assert!(!streams.get(three).unwrap().is_receiving);
        let all: Vec<_> = streams.all().map(|(key, _)| key.id()).collect();
        assert_eq!(all, [5, 3]);
        streams.clear();
        assert_eq!((streams.open(), streams.held()), (0, 0));
        assert!(streams.get(three).is_none());
    }
}

//! What the connection has for what goes out: the output, the windows of the client, and the streams that wait for room.

use std::collections::VecDeque;

use crate::connection::event::StreamKey;
use crate::connection::output::Output;
use crate::connection::streams::{Streams, Waiting};
use crate::frame::{PAYLOAD_MAX, WINDOW_INITIAL, WINDOW_MAX};

/// The table with which a client decodes, unless it says otherwise.
const TABLE_BYTES: u32 = 4_096;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) output: Output,
    /// How much DATA may be sent on all streams together.
    pub(super) window: i64,
    /// The window of a new stream: the client's INITIAL_WINDOW_SIZE.
    pub(super) stream_window: i64,
    /// Streams that wait for the connection's window or the output, the next one first. Each is there once, and open.
    queue: VecDeque<StreamKey>,
    /// The size of the dynamic table that the client has last been told, or knows.
    table_bytes: u32,
    /// Whether the next header block has to begin with that size, because the client has lowered it (RFC 7541, section 4.2).
    pub(super) owes_table_size: bool,
}

impl Sending {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            window: i64::from(WINDOW_INITIAL),
            stream_window: i64::from(WINDOW_INITIAL),
            queue: VecDeque::new(),
            table_bytes: TABLE_BYTES,
            owes_table_size: false,
        }
    }

    /// How much DATA a stream may send now: a frame while others wait, so that a small answer does not wait for all of a large one.
    /// Puts the stream among those that wait if that is less than `wanted`.
    #[inline]
    pub(super) fn room(&mut self, streams: &mut Streams, key: StreamKey, wanted: usize) -> usize {
        let Some(stream) = streams.get(key) else {
            return 0;
        };
        let windows = self.window.min(stream.send_window).max(0);
        let others = self.queue.len() - usize::from(stream.waiting == Waiting::InQueue);
        let share = match others {
            0 => usize::MAX,
            _ => PAYLOAD_MAX,
        };
        let room = self.output.room().min(windows as usize).min(share);
        if room >= wanted {
            return wanted;
        }
        // What is left over after `room` bytes waits.
        if stream.send_window <= room as i64 {
            stream.waiting = Waiting::ForWindow;
        } else if stream.waiting != Waiting::InQueue {
            stream.waiting = Waiting::InQueue;
            self.queue.push_back(key);
        }
        room
    }

    /// Queues a stream if it has waited for its own window, which has grown.
    pub(super) fn window_has_grown(&mut self, streams: &mut Streams, key: StreamKey) {
        if let Some(stream) = streams.get(key)
            && stream.waiting == Waiting::ForWindow
            && stream.send_window > 0
        {
            stream.waiting = Waiting::InQueue;
            self.queue.push_back(key);
        }
    }

    /// Takes the next stream that has waited, if there is room.
    #[inline]
    pub(super) fn next_writable(&mut self, streams: &mut Streams) -> Option<StreamKey> {
        if self.queue.is_empty() || self.window <= 0 || self.output.room() == 0 {
            return None;
        }
        while let Some(key) = self.queue.pop_front() {
            if let Some(stream) = streams.get(key) {
                // Its window may have gone below zero meanwhile.
                if stream.send_window <= 0 {
                    stream.waiting = Waiting::ForWindow;
                    continue;
                }
                stream.waiting = Waiting::No;
                return Some(key);
            }
        }
        None
    }

    /// Forgets a stream that has waited in the queue, and was closed.
    pub(super) fn forget(&mut self, key: StreamKey) {
        self.queue.retain(|waiting| *waiting != key);
    }

    /// Takes the client's INITIAL_WINDOW_SIZE, whose change applies to open streams. `false` if the window of one gets too large.
    #[must_use]
    pub(super) fn set_stream_window(&mut self, streams: &mut Streams, size: u32) -> bool {
        let change = i64::from(size) - self.stream_window;
        self.stream_window = i64::from(size);
        for (key, stream) in streams.all() {
            stream.send_window += change;
            if stream.send_window > WINDOW_MAX {
                return false;
            }
            if stream.waiting == Waiting::ForWindow && stream.send_window > 0 {
                stream.waiting = Waiting::InQueue;
                self.queue.push_back(key);
            }
        }
        true
    }

    /// Takes the client's HEADER_TABLE_SIZE. Nothing is ever put into the table, but the client has to be told that it is as
    /// small as it wants.
    pub(super) fn set_table_bytes(&mut self, bytes: u32) {
        if bytes < self.table_bytes {
            self.table_bytes = bytes;
            self.owes_table_size = true;
        }
    }

    /// The size that the next header block begins with, if it has to.
    pub(super) fn take_table_size(&mut self) -> Option<u32> {
        std::mem::take(&mut self.owes_table_size).then_some(self.table_bytes)
    }

    /// Forgets all streams.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
    }

    pub(super) fn held(&self) -> usize {
        self.output.held() + self.queue.capacity() * size_of::<StreamKey>()
    }
}

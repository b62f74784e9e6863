//! What waits to be sent: bytes for the socket, and messages that the server has not made room for.
//!
//! Source: RFC 9113, sections 5.2 and 6.9.

use std::collections::VecDeque;

use crate::http2::config::Config;
use crate::http2::connection_error::ConnectionError;
use crate::http2::frame::{END_STREAM, ErrorCode, FrameHeader, PAYLOAD_MAX, WINDOW_MAX, kind};
use crate::http2::message::MESSAGE_PREFIX_BYTES;

/// Every connection and stream begins with this window (RFC 9113, section 6.9.2).
const WINDOW_INITIAL: i64 = 65_535;

/// What may wait beyond the limit for calls: the head and first frame of the call that reached it, and 10,000 answers to
/// pings or settings.
const CONTROL_MAX: usize = 256 * 1024;

/// A message that was begun and not sent to its end.
#[derive(Debug)]
struct UnsentMessage {
    stream: u32,
    /// Below 0 when the server made windows smaller.
    window: i64,
    bytes: Vec<u8>,
    sent: usize,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    /// For the socket, from `written` on.
    pub(super) output: Vec<u8>,
    written: usize,
    /// The connection's window.
    window: i64,
    /// The window that a stream begins with.
    initial_stream_window: i64,
    /// In the order of their streams.
    unsent: VecDeque<UnsentMessage>,
    unsent_bytes: usize,
    output_max: usize,
    unsent_max: usize,
}

impl Outgoing {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            output: Vec::new(),
            written: 0,
            window: WINDOW_INITIAL,
            initial_stream_window: WINDOW_INITIAL,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            output_max: config.output_bytes_max,
            unsent_max: config.unsent_bytes_max,
        }
    }

    /// The bytes to write next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `count` pending bytes were written.
    pub(super) fn consume(&mut self, count: usize) {
        self.written += count;
        debug_assert!(
            self.written <= self.output.len(),
            "more was written than there is"
        );
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written > self.output_max {
            // A socket that takes a little now and then must not make the buffer grow.
            self.output.drain(..self.written);
            self.written = 0;
        }
        if !self.unsent.is_empty() {
            self.send_unsent();
        }
    }

    /// Whether a message of `length` bytes may be taken now. One that is larger than the limit alone may, when no other
    /// waits.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.unwritten().len() < self.output_max
            && (self.unsent.is_empty() || self.unsent_bytes + length <= self.unsent_max)
    }

    /// Whether the server lets our answers to its pings and settings pile up.
    pub(super) fn is_overfull(&self) -> bool {
        self.unwritten().len() > self.output_max + CONTROL_MAX
    }

    /// Appends the frames of a message, as far as the windows allow, and keeps the rest.
    #[inline]
    pub(super) fn send(&mut self, stream: u32, message: &[u8]) {
        let length = MESSAGE_PREFIX_BYTES + message.len();
        let [a, b, c, d] = (message.len() as u32).to_be_bytes();
        let header = [0, a, b, c, d];
        let room = self.window.min(self.initial_stream_window);
        if self.unsent.is_empty() && length as i64 <= room && length <= PAYLOAD_MAX {
            self.window -= length as i64;
            self.put_data_head(stream, length, END_STREAM);
            self.output.extend_from_slice(&header);
            self.output.extend_from_slice(message);
            return;
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(message);
        self.unsent_bytes += length;
        self.unsent.push_back(UnsentMessage {
            stream,
            window: self.initial_stream_window,
            bytes,
            sent: 0,
        });
        self.send_unsent();
    }

    /// Forgets what is left of a stream's message. Tells whether there was any.
    pub(super) fn forget(&mut self, stream: u32) -> bool {
        match self.position(stream) {
            Some(at) => {
                self.remove(at);
                true
            }
            None => false,
        }
    }

    /// The server reads on: the connection.
    pub(super) fn increase_connection_window(
        &mut self,
        increment: u32,
    ) -> Result<(), ConnectionError> {
        self.window += i64::from(increment);
        if self.window > WINDOW_MAX {
            return Err(ConnectionError::new(
                ErrorCode::FLOW_CONTROL_ERROR,
                format!(
                    "window of the connection became {}, the limit is {WINDOW_MAX}",
                    self.window
                ),
            ));
        }
        self.send_unsent();
        Ok(())
    }

    /// The server reads on: one stream. `Err`: it made the stream's window too large.
    pub(super) fn increase_stream_window(
        &mut self,
        stream: u32,
        increment: u32,
    ) -> Result<(), i64> {
        // A stream whose message is sent needs no window.
        let Some(at) = self.position(stream) else {
            return Ok(());
        };
        let unsent = &mut self.unsent[at];
        unsent.window += i64::from(increment);
        if unsent.window > WINDOW_MAX {
            return Err(unsent.window);
        }
        self.send_unsent();
        Ok(())
    }

    /// The server's INITIAL_WINDOW_SIZE: for streams to come, and a difference for those that are open.
    pub(super) fn set_initial_stream_window(&mut self, size: u32) -> Result<(), ConnectionError> {
        let difference = i64::from(size) - self.initial_stream_window;
        self.initial_stream_window = i64::from(size);
        for unsent in &mut self.unsent {
            unsent.window += difference;
            if unsent.window > WINDOW_MAX {
                return Err(ConnectionError::new(
                    ErrorCode::FLOW_CONTROL_ERROR,
                    format!(
                        "window of a stream became {}, the limit is {WINDOW_MAX}",
                        unsent.window
                    ),
                ));
            }
        }
        self.send_unsent();
        Ok(())
    }

    /// Whether the message of `stream` is sent only in part.
    pub(super) fn is_sending(&self, stream: u32) -> bool {
        self.position(stream).is_some()
    }

    fn position(&self, stream: u32) -> Option<usize> {
        if self.unsent.is_empty() {
            return None;
        }
        self.unsent
            .binary_search_by_key(&stream, |unsent| unsent.stream)
            .ok()
    }

    fn remove(&mut self, at: usize) {
        if let Some(unsent) = self.unsent.remove(at) {
            self.unsent_bytes -= unsent.bytes.len();
        }
    }

    /// Sends what the windows allow, oldest first, until the output is full.
    fn send_unsent(&mut self) {
        let mut at = 0;
        while self.window > 0 && self.unwritten().len() < self.output_max {
            let Some(unsent) = self.unsent.get_mut(at) else {
                return;
            };
            let rest = unsent.bytes.len() - unsent.sent;
            let room = unsent.window.min(self.window).min(PAYLOAD_MAX as i64);
            if room <= 0 {
                at += 1;
                continue;
            }
            let count = rest.min(room as usize);
            let start = unsent.sent;
            let stream = unsent.stream;
            unsent.window -= count as i64;
            unsent.sent += count;
            self.window -= count as i64;
            let flags = match count == rest {
                true => END_STREAM,
                false => 0,
            };
            self.put_data_head(stream, count, flags);
            self.output
                .extend_from_slice(&self.unsent[at].bytes[start..start + count]);
            if count == rest {
                self.remove(at);
            }
        }
    }

    fn put_data_head(&mut self, stream: u32, length: usize, flags: u8) {
        let header = FrameHeader {
            length,
            kind: kind::DATA,
            flags,
            stream,
        };
        self.output.extend_from_slice(&header.bytes());
    }
}

//! What waits to be sent: frames for the socket, and messages for which the flow-control windows have no room yet.
//!
//! Source: RFC 9113, sections 5.2 and 6.9.

use std::collections::VecDeque;

use soloist_http2::frame::{
    END_STREAM, FrameHeader, PAYLOAD_MAX, WINDOW_INITIAL, WINDOW_MAX, kind,
};
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::config::Config;
use crate::http2::message::MESSAGE_PREFIX_BYTES;

/// How far the output may exceed its limit for calls: by the first frames of the call that reached the limit, and by
/// some 10,000 acknowledgements of PING and SETTINGS.
const CONTROL_BYTES_MAX: usize = 256 * 1024;

/// A message of which a part is not in the output yet.
#[derive(Debug)]
struct UnsentMessage {
    stream: u32,
    /// The stream's send window. Negative if the server reduced INITIAL_WINDOW_SIZE below what was sent.
    window: i64,
    /// With the length prefix.
    bytes: Vec<u8>,
    sent: usize,
}

/// The output of a connection, and its send windows.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whole frames for the socket. The first `written` bytes are written already.
    pub(super) output: Vec<u8>,
    written: usize,
    /// The connection's send window.
    window: i64,
    /// The send window of a new stream: the server's INITIAL_WINDOW_SIZE.
    initial_stream_window: i64,
    /// In the order of their stream ids.
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
            window: i64::from(WINDOW_INITIAL),
            initial_stream_window: i64::from(WINDOW_INITIAL),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            output_max: config.output_bytes_max,
            unsent_max: config.unsent_bytes_max,
        }
    }

    /// Returns the bytes to write next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Removes the first `count` unwritten bytes, which were written, and adds messages that waited for room.
    pub(super) fn consume(&mut self, count: usize) {
        self.written += count;
        debug_assert!(
            self.written <= self.output.len(),
            "no more is written than there is"
        );
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written > self.output_max {
            // If the socket never takes everything, the buffer must not grow without end.
            self.output.drain(..self.written);
            self.written = 0;
        }
        if !self.unsent.is_empty() {
            self.send_unsent();
        }
    }

    /// Whether a message of `length` bytes may be sent now. A message above the limit may be, if no other message
    /// waits.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.unwritten().len() < self.output_max
            && (self.unsent.is_empty() || self.unsent_bytes + length <= self.unsent_max)
    }

    /// Whether the acknowledgements of PING and SETTINGS pile up, because the server does not read them.
    pub(super) fn is_overfull(&self) -> bool {
        self.unwritten().len() > self.output_max + CONTROL_BYTES_MAX
    }

    /// Appends the DATA frames of a message as far as the windows allow, and keeps the rest for later.
    #[inline]
    pub(super) fn send(&mut self, stream: u32, message: &[u8]) {
        let length = MESSAGE_PREFIX_BYTES + message.len();
        let [a, b, c, d] = (message.len() as u32).to_be_bytes();
        let header = [0, a, b, c, d];
        let room = self.window.min(self.initial_stream_window);
        if self.unsent.is_empty() && length as i64 <= room && length <= PAYLOAD_MAX {
            self.window -= length as i64;
            self.put_data_header(stream, length, END_STREAM);
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

    /// Drops the unsent rest of a stream's message. Returns whether there was one.
    pub(super) fn forget(&mut self, stream: u32) -> bool {
        match self.position(stream) {
            Some(at) => {
                self.remove(at);
                true
            }
            None => false,
        }
    }

    /// Takes a WINDOW_UPDATE of the connection.
    pub(super) fn increase_connection_window(
        &mut self,
        increment: u32,
    ) -> Result<(), ConnectionError> {
        self.window += i64::from(increment);
        if self.window > WINDOW_MAX {
            return Err(ConnectionError::new(
                ErrorCode::FLOW_CONTROL_ERROR,
                format!(
                    "window of the connection is {}, the limit is {WINDOW_MAX}",
                    self.window
                ),
            ));
        }
        self.send_unsent();
        Ok(())
    }

    /// Takes a WINDOW_UPDATE of a stream. Returns the new window as an error if it is too large.
    pub(super) fn increase_stream_window(
        &mut self,
        stream: u32,
        increment: u32,
    ) -> Result<(), i64> {
        // If the whole message is sent, the window does not matter any more.
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

    /// Takes the server's INITIAL_WINDOW_SIZE. It applies to new streams, and its change to the windows of open
    /// streams.
    pub(super) fn set_initial_stream_window(&mut self, size: u32) -> Result<(), ConnectionError> {
        let difference = i64::from(size) - self.initial_stream_window;
        self.initial_stream_window = i64::from(size);
        for unsent in &mut self.unsent {
            unsent.window += difference;
            if unsent.window > WINDOW_MAX {
                return Err(ConnectionError::new(
                    ErrorCode::FLOW_CONTROL_ERROR,
                    format!(
                        "window of a stream is {}, the limit is {WINDOW_MAX}",
                        unsent.window
                    ),
                ));
            }
        }
        self.send_unsent();
        Ok(())
    }

    /// Whether a part of the message of `stream` is not sent.
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

    /// Moves messages to the output, the oldest first, as far as the windows and the size of the output allow.
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
            self.put_data_header(stream, count, flags);
            self.output
                .extend_from_slice(&self.unsent[at].bytes[start..start + count]);
            if count == rest {
                self.remove(at);
            }
        }
    }

    fn put_data_header(&mut self, stream: u32, length: usize, flags: u8) {
        let header = FrameHeader {
            length,
            kind: kind::DATA,
            flags,
            stream,
        };
        self.output.extend_from_slice(&header.bytes());
    }
}

//! One HTTP/2 connection of a client that makes unary gRPC calls, without a socket.
//!
//! [`Connection::output`] has the bytes to write to the socket, [`Connection::receive`] takes the bytes read from it,
//! and each call ends with an [`Event`]. The usual call is cheap and allocates nothing: its request is a copy of
//! encoded headers and of the message, and the two header blocks of its response equal those of an earlier success,
//! which are kept. All other calls take the slow path, which decodes every header block.
//!
//! Sources: RFC 9113, RFC 7541, gRPC over HTTP/2.

use std::fmt;

use soloist_http2::frame::{self, FrameHeader, PAYLOAD_MAX, PREFACE, WINDOW_INITIAL, setting};
use soloist_http2::hpack::Decoder;
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::config::Config;
use crate::http2::failure::CallFailure;
use crate::http2::header_cache::HeaderCache;
use crate::http2::message::{Body, MESSAGE_PREFIX_BYTES};
use crate::http2::method::Method;
use crate::http2::outgoing::Outgoing;
use crate::http2::response_fields::HEADER_LIST_BYTES_MAX;
use crate::http2::streams::Streams;

/// The most calls that may be open before the server's SETTINGS arrive. Most servers allow as many, and gRPC's clients
/// assume as many.
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// The highest stream id.
const STREAM_LAST: u32 = 0x7fff_ffff;

/// The id of a stream, which stands for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(pub(super) u32);

/// Why a call was refused. Nothing of it was sent, and the connection is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// As many calls are open as the server and the configuration allow. Try again after the next event.
    StreamLimit,
    /// Too many bytes wait to be written. Try again after a write, or after the next event.
    Backlog,
    /// The message has 4 GiB or more, which the length prefix of gRPC cannot express.
    TooLarge,
    /// The server sent GOAWAY, or all stream ids are used. Open calls go on; new calls need another connection.
    Draining,
    /// The connection has ended.
    Closed,
}

/// How a call ended. Each call has exactly one event, unless it is cancelled.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Status OK, with exactly this one message.
    Response {
        tag: u64,
        message: &'a [u8],
    },
    Failed {
        tag: u64,
        failure: CallFailure,
    },
}

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed(pub(crate) String);

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Closed {}

/// A header block whose last CONTINUATION has not arrived.
#[derive(Debug)]
pub(super) struct OpenHeaderBlock {
    pub(super) stream: u32,
    pub(super) flags: u8,
    pub(super) frames: usize,
}

/// The state of one connection: see the [module](self).
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) config: Config,
    pub(super) outgoing: Outgoing,
    pub(super) header_cache: HeaderCache,
    pub(super) streams: Streams,
    /// The lesser of the server's MAX_CONCURRENT_STREAMS and `Config::streams_max`.
    pub(super) streams_max: usize,
    /// The stream id of the next call.
    pub(super) stream_next: u32,
    /// The highest stream that this side reset. Frames that the server sent before it knew may still arrive on it, or
    /// on an older stream.
    pub(super) highest_reset: u32,
    /// The last stream id of the server's GOAWAY. The server has not processed streams above it.
    pub(super) goaway: Option<u32>,
    /// The GOAWAY's error code and debug data, for messages.
    pub(super) goaway_text: String,
    pub(super) closed: Option<Closed>,
    pub(super) settings_seen: bool,
    pub(super) settings_acked: bool,
    /// The beginning of a frame whose rest was not in the bytes read so far.
    pub(super) partial_frame: Vec<u8>,
    /// The part of the open header block that has arrived.
    pub(super) block: Vec<u8>,
    pub(super) open_header_block: Option<OpenHeaderBlock>,
    pub(super) decoder: Decoder<()>,
    /// The last header block that was found to begin a gRPC response.
    pub(super) last_response_headers: Vec<u8>,
    /// The last header block that was found to be trailers with status OK.
    pub(super) last_ok_trailers: Vec<u8>,
    /// Streams whose complete message still lies in the bytes being received.
    pub(super) in_input: Vec<u32>,
    /// Bytes in all `Body::Owned` together.
    pub(super) buffered: usize,
    /// Empty buffers, to be used for messages again.
    pub(super) spare_buffers: Vec<Vec<u8>>,
    /// The part of the connection's receive window that the server has used since the last WINDOW_UPDATE.
    pub(super) window_used: u32,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Self {
        let mut outgoing = Outgoing::new(&config);
        let out = &mut outgoing.output;
        out.extend_from_slice(PREFACE);
        let settings = [
            // Without a dynamic table header blocks do not depend on each other, so equal headers are equal bytes.
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_FRAME_SIZE, PAYLOAD_MAX as u32),
            (setting::MAX_HEADER_LIST_SIZE, HEADER_LIST_BYTES_MAX as u32),
        ];
        frame::put_settings(out, &settings);
        if let Some(more) = config.connection_window.checked_sub(WINDOW_INITIAL)
            && more > 0
        {
            frame::put_window_update(out, 0, more);
        }
        Self {
            outgoing,
            header_cache: HeaderCache::new(),
            streams: Streams::new(config.stream_first),
            streams_max: config.streams_max.min(STREAMS_BEFORE_SETTINGS),
            stream_next: config.stream_first,
            highest_reset: 0,
            goaway: None,
            goaway_text: String::new(),
            closed: None,
            settings_seen: false,
            settings_acked: false,
            partial_frame: Vec::new(),
            block: Vec::new(),
            open_header_block: None,
            // No block is too large to be decoded: frames of a block have a limit.
            decoder: Decoder::new(0, usize::MAX),
            last_response_headers: Vec::new(),
            last_ok_trailers: Vec::new(),
            in_input: Vec::new(),
            buffered: 0,
            spare_buffers: Vec::new(),
            window_used: 0,
            config,
        }
    }

    /// Starts a call of `method`. The call's event carries `tag`.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    #[inline]
    pub(crate) fn send(
        &mut self,
        method: &Method,
        tag: u64,
        message: &[u8],
    ) -> Result<StreamId, SendError> {
        self.check_send(message.len())?;
        let stream = self.stream_next;
        // After the last id this is past `STREAM_LAST`, which `check_send` refuses.
        self.stream_next += 2;
        self.streams.push(tag);
        self.header_cache
            .put(&mut self.outgoing.output, method, stream);
        self.outgoing.send(stream, message);
        Ok(StreamId(stream))
    }

    /// Checks that [`send`](Self::send) would take a message of `length` bytes now.
    ///
    /// # Errors
    ///
    /// The [`SendError`] that `send` would return.
    #[inline]
    pub(crate) fn check_send(&self, length: usize) -> Result<(), SendError> {
        if self.closed.is_some() {
            Err(SendError::Closed)
        } else if self.is_draining() || self.is_exhausted() {
            Err(SendError::Draining)
        } else if self.streams.open() >= self.streams_max {
            Err(SendError::StreamLimit)
        } else if u32::try_from(length).is_err() {
            Err(SendError::TooLarge)
        } else if self.outgoing.has_room(MESSAGE_PREFIX_BYTES + length) {
            Ok(())
        } else {
            Err(SendError::Backlog)
        }
    }

    /// Cancels a call by RST_STREAM, and returns its tag. The call has no event then. `None` if the call has already
    /// ended.
    ///
    /// Servers count resets, and some close a connection that has many.
    pub(crate) fn cancel(&mut self, stream: StreamId) -> Option<u64> {
        let tag = self.end_stream(stream.0)?;
        self.reset(stream.0, ErrorCode::CANCEL);
        Some(tag)
    }

    /// Returns the bytes to write to the socket. Call [`consume`](Self::consume) with the number that were written.
    pub(crate) fn output(&self) -> &[u8] {
        self.outgoing.unwritten()
    }

    /// Removes the first `count` bytes of the output, which were written.
    pub(crate) fn consume(&mut self, count: usize) {
        self.outgoing.consume(count);
    }

    /// Returns the number of calls that have neither had their event nor been cancelled.
    pub(crate) fn open_calls(&self) -> usize {
        self.streams.open()
    }

    /// Returns the number of calls that may be open at once.
    #[cfg(test)]
    pub(crate) fn open_calls_max(&self) -> usize {
        self.streams_max
    }

    /// Whether the server's SETTINGS have arrived. Until then only [`STREAMS_BEFORE_SETTINGS`] calls may be open.
    pub(crate) fn is_ready(&self) -> bool {
        self.settings_seen
    }

    /// Whether the server has sent GOAWAY, so that this connection takes no new calls.
    pub(crate) fn is_draining(&self) -> bool {
        self.goaway.is_some()
    }

    /// Whether all stream ids are used.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.stream_next > STREAM_LAST
    }

    /// Returns why the connection has ended, if it has.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// Closes a stream on this side, and returns the tag of its call. `None` if it was closed before.
    pub(super) fn end_stream(&mut self, id: u32) -> Option<u64> {
        let stream = self.streams.remove(id)?;
        if let Body::Owned(bytes) = stream.body {
            self.recycle(bytes);
        }
        Some(stream.tag)
    }

    /// Sends RST_STREAM. Frames that still arrive on the stream are ignored.
    pub(super) fn reset(&mut self, id: u32, code: ErrorCode) {
        self.outgoing.forget(id);
        self.highest_reset = self.highest_reset.max(id);
        frame::put_reset(&mut self.outgoing.output, id, code);
    }

    /// Checks that a frame names a stream that this side has opened.
    #[inline]
    pub(super) fn check_stream_id(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.stream % 2 == 1
            && (self.config.stream_first..self.stream_next).contains(&header.stream)
        {
            return Ok(());
        }
        Err(ConnectionError::protocol(format!(
            "a frame of type {} on stream {}, which was never opened",
            header.kind, header.stream
        )))
    }

    /// Checks a frame on a closed stream. It is an error only if the server itself had closed the stream: otherwise the
    /// server may have sent the frame before it knew.
    pub(super) fn check_late_frame(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.stream <= self.highest_reset
            || self.goaway.is_some_and(|last| header.stream > last)
        {
            return Ok(());
        }
        let text = format!(
            "a frame of type {} on stream {}, which the server had closed",
            header.kind, header.stream
        );
        Err(ConnectionError::new(ErrorCode::STREAM_CLOSED, text))
    }

    /// Keeps a message's buffer for another message.
    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>) {
        /// Larger buffers are freed.
        const BUFFER_BYTES_MAX: usize = 4 * 1024;
        /// One for each of the 256 calls that a Soloist server allows by default.
        const BUFFERS_MAX: usize = 256;
        self.buffered -= bytes.len();
        if bytes.capacity() <= BUFFER_BYTES_MAX && self.spare_buffers.len() < BUFFERS_MAX {
            bytes.clear();
            self.spare_buffers.push(bytes);
        }
    }
}

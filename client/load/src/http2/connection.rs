//! One HTTP/2 connection of a client that makes unary gRPC calls, without a socket.
//!
//! Bytes to write come out of [`Connection::output`], bytes read go into [`Connection::receive`], and what became of the
//! calls comes out as [`Event`]s. The common case costs little: a request is a copy of a head made beforehand and one of
//! its message, an answer is three frames of which two are compared with the last of their kind, and nothing is
//! allocated. Everything else takes the long way, which is the whole protocol.
//!
//! Sources: RFC 9113, RFC 7541, gRPC over HTTP/2.

use std::fmt;

use crate::http2::config::Config;
use crate::http2::connection_error::ConnectionError;
use crate::http2::failure::CallFailure;
use crate::http2::frame::{self, ErrorCode, FrameHeader, PAYLOAD_MAX, PREFACE, setting};
use crate::http2::header_cache::HeaderCache;
use crate::http2::hpack::Decoder;
use crate::http2::message::{Body, MESSAGE_PREFIX_BYTES};
use crate::http2::method::Method;
use crate::http2::outgoing::Outgoing;
use crate::http2::response_fields::HEADER_LIST_BYTES_MAX;
use crate::http2::streams::Streams;

/// What may be open before the server has said: what most servers allow, and what gRPC's clients assume.
const STREAMS_FIRST: usize = 100;

/// The highest stream id.
const STREAM_LAST: u32 = 0x7fff_ffff;

/// Which call: its stream's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(pub(super) u32);

/// Why a call was not taken. Nothing of it was sent, and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// As many are open as may be. Try again after the next event.
    StreamLimit,
    /// Too much waits to be sent. Try again after writing, or after the next event.
    Backlog,
    /// The message is longer than gRPC can say.
    TooLarge,
    /// The server takes no new calls here, or the ids are used up. The open ones go on; use another connection.
    Draining,
    /// The connection has ended.
    Closed,
}

/// What became of a call. Each call has one event, unless it is cancelled.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The server answered with status OK and exactly this message.
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

/// A header block of which more is to come.
#[derive(Debug)]
pub(super) struct OpenHeaderBlock {
    pub(super) stream: u32,
    pub(super) flags: u8,
    pub(super) frames: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) config: Config,
    pub(super) outgoing: Outgoing,
    pub(super) header_cache: HeaderCache,
    pub(super) streams: Streams,
    /// The server's MAX_CONCURRENT_STREAMS and ours, whichever is less.
    pub(super) streams_max: usize,
    /// The id of the next call.
    pub(super) stream_next: u32,
    /// Streams up to this one may still have frames under way, because we reset it or an older one.
    pub(super) highest_reset: u32,
    /// Streams of a GOAWAY above this one were not begun.
    pub(super) goaway: Option<u32>,
    /// What the GOAWAY said.
    pub(super) goaway_text: String,
    pub(super) closed: Option<Closed>,

    pub(super) settings_seen: bool,
    pub(super) settings_acked: bool,
    /// The beginning of a frame that was cut by the end of what was read.
    pub(super) partial_frame: Vec<u8>,
    pub(super) block: Vec<u8>,
    pub(super) open_header_block: Option<OpenHeaderBlock>,
    pub(super) decoder: Decoder,
    /// The last header block that said: a gRPC answer begins.
    pub(super) last_response_headers: Vec<u8>,
    /// The last header block that said: status OK.
    pub(super) last_ok_trailers: Vec<u8>,
    /// Calls whose message is whole and still in the input.
    pub(super) in_input: Vec<u32>,
    /// Bytes in `Body::Owned`.
    pub(super) buffered: usize,
    /// Room for messages, used again.
    pub(super) spare_buffers: Vec<Vec<u8>>,
    /// What the server used of the connection's window.
    pub(super) window_used: u32,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Self {
        let mut outgoing = Outgoing::new(&config);
        let out = &mut outgoing.output;
        out.extend_from_slice(PREFACE);
        let settings = [
            // So that blocks depend on nothing, and the same answer is the same bytes.
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_FRAME_SIZE, PAYLOAD_MAX as u32),
            (setting::MAX_HEADER_LIST_SIZE, HEADER_LIST_BYTES_MAX as u32),
        ];
        frame::put_settings(out, &settings);
        if let Some(more) = config.connection_window.checked_sub(65_535)
            && more > 0
        {
            frame::put_window_update(out, 0, more);
        }
        Self {
            outgoing,
            header_cache: HeaderCache::new(),
            streams: Streams::new(config.stream_first),
            streams_max: config.streams_max.min(STREAMS_FIRST),
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
            decoder: Decoder::default(),
            last_response_headers: Vec::new(),
            last_ok_trailers: Vec::new(),
            in_input: Vec::new(),
            buffered: 0,
            spare_buffers: Vec::new(),
            window_used: 0,
            config,
        }
    }

    /// Begins a call. `tag` comes back in its event.
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
        // The last id is followed by none: `check` finds it.
        self.stream_next += 2;
        self.streams.push(tag);
        self.header_cache
            .put(&mut self.outgoing.output, method, stream);
        self.outgoing.send(stream, message);
        Ok(StreamId(stream))
    }

    /// Whether a call with a message of `length` bytes would be taken now.
    ///
    /// # Errors
    ///
    /// [`SendError`], if not.
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

    /// Gives a call up: the server is told, and no event comes. `None`: it has already ended. Else its tag.
    ///
    /// Servers count such calls, and some end a connection that has many.
    pub(crate) fn cancel(&mut self, stream: StreamId) -> Option<u64> {
        let tag = self.end_stream(stream.0)?;
        self.reset(stream.0, ErrorCode::CANCEL);
        Some(tag)
    }

    /// Bytes for the socket. Call [`consume`](Self::consume) with how many were written.
    pub(crate) fn output(&self) -> &[u8] {
        self.outgoing.unwritten()
    }

    /// The first `count` bytes of the output were written.
    pub(crate) fn consume(&mut self, count: usize) {
        self.outgoing.consume(count);
    }

    /// Calls begun that have had no event.
    pub(crate) fn open_calls(&self) -> usize {
        self.streams.open()
    }

    /// Calls that may be open at once.
    #[cfg(test)]
    pub(crate) fn open_calls_max(&self) -> usize {
        self.streams_max
    }

    /// Whether the server has said its settings: until then few calls may be open.
    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        self.settings_seen
    }

    /// Whether the server takes no new calls here.
    pub(crate) fn is_draining(&self) -> bool {
        self.goaway.is_some()
    }

    /// Whether no stream id is left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.stream_next > STREAM_LAST
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// Ends a stream here. The tag of its call, if it was open.
    pub(super) fn end_stream(&mut self, id: u32) -> Option<u64> {
        let stream = self.streams.remove(id)?;
        if let Body::Owned(bytes) = stream.body {
            self.recycle(bytes);
        }
        Some(stream.tag)
    }

    /// Tells the server that a stream has ended for us; what is still under way on it will be ignored.
    pub(super) fn reset(&mut self, id: u32, code: ErrorCode) {
        self.outgoing.forget(id);
        self.highest_reset = self.highest_reset.max(id);
        frame::put_reset(&mut self.outgoing.output, id, code);
    }

    /// A frame that belongs to a stream must name one that we began.
    #[inline]
    pub(super) fn check_stream_id(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.stream % 2 == 1
            && (self.config.stream_first..self.stream_next).contains(&header.stream)
        {
            return Ok(());
        }
        Err(ConnectionError::protocol(format!(
            "a frame of kind {} on stream {}, which was never opened",
            header.kind, header.stream
        )))
    }

    /// A frame on a stream that has ended: no fault if we ended it.
    pub(super) fn check_late_frame(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.stream <= self.highest_reset
            || self.goaway.is_some_and(|last| header.stream > last)
        {
            return Ok(());
        }
        let text = format!(
            "a frame of kind {} on stream {}, which it had ended",
            header.kind, header.stream
        );
        Err(ConnectionError::new(ErrorCode::STREAM_CLOSED, text))
    }

    /// Keeps a message's room for another.
    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>) {
        /// Room worth keeping, and how often: the small answers of as many calls as a server allows.
        const KEPT_BYTES: usize = 4 * 1024;
        const KEPT: usize = 256;
        self.buffered -= bytes.len();
        if bytes.capacity() <= KEPT_BYTES && self.spare_buffers.len() < KEPT {
            bytes.clear();
            self.spare_buffers.push(bytes);
        }
    }
}

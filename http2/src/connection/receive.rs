//! Makes frames of the bytes that were read, hands each to its handler, and makes events of what the handlers say.

use std::mem;
use std::ops::Range;
use std::time::Duration;

use crate::connection::event::{Event, Side, StreamKey, Then};
use crate::connection::state::{Connection, Health};
use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::fields::Head;
use crate::frame::{ACK, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_MAX, PREFACE, kind};

/// A buffer for frames in parts above this is freed after a frame.
const PARTIAL_BYTES_KEPT: usize = 2 * 1_024;

/// What a handler made of a frame: an event without what it borrows.
pub(super) enum Outcome {
    Nothing,
    Request(StreamKey, Then),
    /// The part of the frame's payload that is data.
    Data(StreamKey, Range<usize>, Then),
    Trailers(StreamKey),
    Reset(StreamKey, ErrorCode, Side),
    Pong([u8; 8]),
    GoAway(ErrorCode),
}

/// What was made of the input.
enum Step<'i> {
    /// The input has no whole frame any more.
    Exhausted,
    /// A frame was handled. Its payload lies in the input, or in `partial`.
    Frame(Outcome, Option<&'i [u8]>),
}

impl Connection {
    /// Takes bytes from the front of `input` until there is an event, and returns it. `None` when there is no event.
    ///
    /// The user calls it until it returns `None`: after each read with the bytes that were read, and after each write with
    /// what is left of them. If it returns `None` and bytes are left, the output is full: they are taken when it was written, and
    /// nothing more should be read before.
    #[inline]
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        now: Duration,
    ) -> Option<Event<'a>> {
        if self.is_partial_done {
            self.clear_partial();
        }
        let (outcome, payload) = loop {
            if self.is_over() {
                *input = &[];
                return self.failed().map(Event::Failed);
            }
            if let Some(stream) = self.sending.next_writable(&mut self.streams) {
                return Some(Event::Writable { stream });
            }
            if input.is_empty() || self.sending.output.room() == 0 {
                return None;
            }
            match self.step(input, now) {
                Ok(Step::Exhausted) => return None,
                Ok(Step::Frame(Outcome::Nothing, _)) => {
                    if self.is_partial_done {
                        self.clear_partial();
                    }
                }
                Ok(Step::Frame(outcome, payload)) => break (outcome, payload),
                Err(error) => self.fail(error),
            }
        };
        Some(self.event(outcome, payload))
    }

    #[inline]
    fn event<'a>(&'a self, outcome: Outcome, payload: Option<&'a [u8]>) -> Event<'a> {
        match outcome {
            Outcome::Request(stream, then) => Event::Request {
                stream,
                head: Head::new(&self.fields),
                then,
            },
            Outcome::Data(stream, range, then) => {
                let payload = payload.or_else(|| self.partial.get(FRAME_HEADER_BYTES..));
                let data = payload.and_then(|payload| payload.get(range));
                Event::Data {
                    stream,
                    data: data.unwrap_or_default(),
                    then,
                }
            }
            Outcome::Trailers(stream) => Event::Trailers {
                stream,
                fields: self.fields.fields(),
            },
            Outcome::Reset(stream, code, by) => Event::Reset { stream, code, by },
            Outcome::Pong(payload) => Event::Pong { payload },
            Outcome::GoAway(code) => Event::GoAway { code },
            Outcome::Nothing => unreachable!("`next` goes on after nothing"),
        }
    }

    fn failed(&mut self) -> Option<ConnectionError> {
        match mem::replace(&mut self.health, Health::Over) {
            Health::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn clear_partial(&mut self) {
        self.is_partial_done = false;
        self.partial.clear();
        if self.partial.capacity() > PARTIAL_BYTES_KEPT {
            self.partial = Vec::new();
        }
    }

    /// Takes one frame, or what there is of it.
    #[inline]
    fn step<'i>(
        &mut self,
        input: &mut &'i [u8],
        now: Duration,
    ) -> Result<Step<'i>, ConnectionError> {
        if self.preface_left > 0 && !self.preface(input)? {
            return Ok(Step::Exhausted);
        }
        if !self.partial.is_empty() {
            return self.complete_partial(input, now);
        }
        let Some((header, rest)) = input.split_first_chunk() else {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(Step::Exhausted);
        };
        let header = FrameHeader::parse(header);
        self.check_header(header)?;
        let Some((payload, rest)) = rest.split_at_checked(header.length) else {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(Step::Exhausted);
        };
        *input = rest;
        let outcome = self.handle(header, payload, now)?;
        Ok(Step::Frame(outcome, Some(payload)))
    }

    /// Takes what there is of the preface. Returns whether it is whole.
    #[cold]
    fn preface(&mut self, input: &mut &[u8]) -> Result<bool, ConnectionError> {
        let expected = &PREFACE[PREFACE.len() - self.preface_left..];
        let count = expected.len().min(input.len());
        let (come, rest) = input.split_at(count);
        if *come != expected[..count] {
            return Err(ConnectionError::protocol(
                "the client does not begin with the preface of HTTP/2",
            ));
        }
        *input = rest;
        self.preface_left -= count;
        Ok(self.preface_left == 0)
    }

    /// Completes the frame in `partial`, and handles it if it is whole.
    fn complete_partial<'i>(
        &mut self,
        input: &mut &'i [u8],
        now: Duration,
    ) -> Result<Step<'i>, ConnectionError> {
        if !self.fill_partial(input, FRAME_HEADER_BYTES) {
            return Ok(Step::Exhausted);
        }
        let Some(header) = self.partial.first_chunk() else {
            return Ok(Step::Exhausted);
        };
        let header = FrameHeader::parse(header);
        self.check_header(header)?;
        if !self.fill_partial(input, FRAME_HEADER_BYTES + header.length) {
            return Ok(Step::Exhausted);
        }
        let frame = mem::take(&mut self.partial);
        let outcome = self.handle(header, &frame[FRAME_HEADER_BYTES..], now);
        self.partial = frame;
        self.is_partial_done = true;
        Ok(Step::Frame(outcome?, None))
    }

    /// Moves bytes to `partial` until it has `length`. Returns whether it has.
    fn fill_partial(&mut self, input: &mut &[u8], length: usize) -> bool {
        let missing = length.saturating_sub(self.partial.len());
        let (more, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(more);
        *input = rest;
        more.len() == missing
    }

    /// Checks what can be known of a frame before its payload is there.
    #[inline]
    fn check_header(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.length > PAYLOAD_MAX {
            let length = header.length;
            return Err(ConnectionError::new(
                ErrorCode::FRAME_SIZE_ERROR,
                format!("a frame of {length} bytes, the limit is {PAYLOAD_MAX}"),
            ));
        }
        if !self.has_settings && (header.kind != kind::SETTINGS || header.has(ACK)) {
            let kind = header.kind;
            return Err(ConnectionError::protocol(format!(
                "the first frame is of type {kind}, not SETTINGS"
            )));
        }
        match self.open_block {
            Some(open) if header.kind != kind::CONTINUATION || header.stream != open.stream => {
                Err(ConnectionError::protocol(format!(
                    "a frame of type {} on stream {} inside the header block of stream {}",
                    header.kind, header.stream, open.stream
                )))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn handle(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        match header.kind {
            kind::HEADERS => self.on_headers(header, payload, now),
            kind::DATA => self.on_data(header, payload, now),
            kind::WINDOW_UPDATE => self.on_window_update(header, payload, now),
            kind::RST_STREAM => self.on_rst_stream(header, payload, now),
            kind::CONTINUATION => self.on_continuation(header, payload, now),
            kind::SETTINGS => self.on_settings(header, payload, now),
            kind::PING => self.on_ping(header, payload, now),
            kind::PRIORITY => self.on_priority(header, payload, now),
            kind::GOAWAY => self.on_goaway(header, payload, now),
            kind::PUSH_PROMISE => Err(ConnectionError::protocol("a PUSH_PROMISE from a client")),
            // Frames of unknown types must be ignored (section 5.5).
            _ => self.idle(1, now).map(|()| Outcome::Nothing),
        }
    }

    /// Counts a frame that carries nothing.
    #[inline]
    pub(super) fn idle(&mut self, cost: u32, now: Duration) -> Result<(), ConnectionError> {
        match self.idle_frames.spend(cost, now) {
            true => Ok(()),
            false => {
                let rate = self.idle_frames.rate();
                let text = format!(
                    "too many frames that carry nothing: the limit is {} at once, and {} a second",
                    rate.burst, rate.per_second
                );
                Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text))
            }
        }
    }
}

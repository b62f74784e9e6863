//! How streams and the connection end.

use std::time::Duration;

use crate::connection::event::{Side, StreamKey, Then};
use crate::connection::receive::Outcome;
use crate::connection::state::{Connection, Goodbye, Health};
use crate::connection::streams::{Stream, Waiting};
use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame;
use crate::header_block::HeaderBlock;

/// The highest stream id: what a GOAWAY names that refuses no stream yet.
const STREAM_LAST: u32 = 0x7fff_ffff;

/// The ping that follows the first GOAWAY. When its answer comes, every stream has come that the client began before it knew.
pub(super) const GOODBYE_PING: [u8; 8] = *b"goodbye!";

impl Connection {
    /// Closes a stream with an error of the client's: the client and the user are told.
    #[cold]
    pub(super) fn stream_error(
        &mut self,
        key: StreamKey,
        code: ErrorCode,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        self.count_stream_error(now)?;
        self.put_reset(key.id, code);
        self.remove(key);
        Ok(Outcome::Reset(key, code, Side::Server))
    }

    /// Closes a stream that was not opened yet: the user never hears of it.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        id: u32,
        code: ErrorCode,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        self.count_stream_error(now)?;
        self.put_reset(id, code);
        Ok(Outcome::Nothing)
    }

    /// Answers a request whose header list is too large.
    #[cold]
    pub(super) fn refuse_head(
        &mut self,
        id: u32,
        then: Then,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        self.count_stream_error(now)?;
        self.put_last_block(&HeaderBlock::new([(":status", "431")]), id);
        if then == Then::More {
            self.put_reset(id, ErrorCode::NO_ERROR);
        }
        Ok(Outcome::Nothing)
    }

    fn count_stream_error(&mut self, now: Duration) -> Result<(), ConnectionError> {
        match self.stream_errors.spend(1, now) {
            true => Ok(()),
            false => {
                let rate = self.stream_errors.rate();
                let text = format!(
                    "too many requests with errors: the limit is {} at once, and {} a second",
                    rate.burst, rate.per_second
                );
                Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text))
            }
        }
    }

    /// Handles a frame on a stream that is not open.
    #[cold]
    pub(super) fn on_closed_stream(
        &mut self,
        name: &str,
        id: u32,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        self.check_is_used(name, id)?;
        if id <= self.highest_reset || id > self.last_stream {
            // It was under way, or on a stream that this side has not taken.
            return self.idle(1, now).map(|()| Outcome::Nothing);
        }
        let (above, below) = self.left_out;
        if above < id && id < below {
            return Err(ConnectionError::protocol(format!(
                "{name} on stream {id}, which was left out"
            )));
        }
        let text = format!("{name} on stream {id}, which is closed");
        Err(ConnectionError::new(ErrorCode::STREAM_CLOSED, text))
    }

    /// Checks that the client may have opened a stream.
    #[inline]
    pub(super) fn check_is_used(&self, name: &str, id: u32) -> Result<(), ConnectionError> {
        let is_ignored = matches!(self.goodbye, Goodbye::Last(last) if id > last);
        if id <= self.last_stream || is_ignored {
            return Ok(());
        }
        Err(ConnectionError::protocol(format!(
            "{name} on stream {id}, which was never opened"
        )))
    }

    /// Sends RST_STREAM. What the client has sent before it knows of it is ignored.
    pub(super) fn put_reset(&mut self, id: u32, code: ErrorCode) {
        self.highest_reset = self.highest_reset.max(id);
        frame::put_reset(&mut self.sending.output.bytes, id, code);
    }

    /// Removes a stream from everywhere.
    #[inline]
    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        let stream = self.streams.remove(key)?;
        if stream.waiting == Waiting::InQueue {
            self.sending.forget(key);
        }
        if stream.received > stream.consumed {
            self.return_connection_window(stream.received - stream.consumed);
        }
        Some(stream)
    }

    /// Closes a stream with RST_STREAM. If the request was not whole, or its answer is not, this says why.
    pub fn reset(&mut self, stream: StreamKey, code: ErrorCode) {
        if self.remove(stream).is_some() {
            self.put_reset(stream.id, code);
        }
    }

    /// Closes a stream as [`reset`](Self::reset) does, because its request has a fault that only the user sees. It counts as the
    /// faults that are seen here do: when there were too many, the connection ends, and [`next`](Self::next) has the event.
    #[cold]
    pub fn reset_at_fault(&mut self, stream: StreamKey, code: ErrorCode, now: Duration) {
        if self.streams.get(stream).is_none() {
            return;
        }
        match self.count_stream_error(now) {
            Ok(()) => self.reset(stream, code),
            Err(error) => self.fail(error),
        }
    }

    /// Asks for an answer, which becomes [`Event::Pong`](super::Event::Pong).
    pub fn ping(&mut self, payload: [u8; 8]) {
        if !self.is_over() {
            frame::put(
                &mut self.sending.output.bytes,
                frame::kind::PING,
                0,
                0,
                &payload,
            );
        }
    }

    /// Says goodbye, so that no request gets lost: the client is told to begin no more, and the requests that are under way are
    /// taken. When they have all come, or if this is called again, further ones are not taken.
    pub fn drain(&mut self) {
        if self.is_over() {
            return;
        }
        match self.goodbye {
            Goodbye::No => {
                self.goodbye = Goodbye::Announced;
                let out = &mut self.sending.output.bytes;
                frame::put_goaway(out, STREAM_LAST, ErrorCode::NO_ERROR, "");
                self.ping(GOODBYE_PING);
            }
            Goodbye::Announced => self.take_no_more(),
            Goodbye::Last(_) => {}
        }
    }

    /// Says which stream is the last.
    pub(super) fn take_no_more(&mut self) {
        self.goodbye = Goodbye::Last(self.last_stream);
        let out = &mut self.sending.output.bytes;
        frame::put_goaway(out, self.last_stream, ErrorCode::NO_ERROR, "");
    }

    /// Whether goodbye was said and every request is answered: when the output is written, the connection may be closed.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        matches!(self.goodbye, Goodbye::Last(_)) && self.streams.open() == 0
    }

    /// Ends the connection at once, with a GOAWAY.
    pub fn close(&mut self, code: ErrorCode, text: &str) {
        if !self.is_over() {
            self.fail(ConnectionError::new(code, text));
            self.health = Health::Over;
        }
    }

    /// Ends the connection. Its memory is freed but for the output, which gets a GOAWAY.
    #[cold]
    pub(super) fn fail(&mut self, error: ConnectionError) {
        /// What a client is told besides the code.
        const TEXT_BYTES_MAX: usize = 200;
        let text = error.text.get(..TEXT_BYTES_MAX).unwrap_or(&error.text);
        let out = &mut self.sending.output.bytes;
        frame::put_goaway(out, self.last_stream, error.code, text);
        self.streams.clear();
        self.sending.clear();
        self.partial = Vec::new();
        self.is_partial_done = false;
        self.block = Vec::new();
        self.open_block = None;
        self.health = Health::Failed(error);
    }

    /// When [`tick`](Self::tick) should be called at the latest, if nothing comes before.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.awaited().map(|(due, ..)| due)
    }

    /// Ends the connection if the client lets it wait for too long. [`next`](Self::next) has the event then.
    pub fn tick(&mut self, now: Duration) {
        if let Some((due, code, text)) = self.awaited()
            && now >= due
        {
            self.fail(ConnectionError::new(code, text));
        }
    }

    /// What the client has to do next: until when, and the error if it does not.
    fn awaited(&self) -> Option<(Duration, ErrorCode, &'static str)> {
        let Health::Sound = self.health else {
            return None;
        };
        let limits = &self.limits;
        let preface = (!self.has_settings).then(|| {
            let text = "no preface and SETTINGS in time";
            let due = self.since + limits.preface_timeout;
            (due, ErrorCode::PROTOCOL_ERROR, text)
        });
        let settings = (!self.is_acknowledged).then(|| {
            let text = "no acknowledgement of SETTINGS in time";
            let due = self.since + limits.settings_timeout;
            (due, ErrorCode::SETTINGS_TIMEOUT, text)
        });
        let header = self.open_block.map(|open| {
            let text = "a header block that does not end in time";
            let due = open.since + limits.header_timeout;
            (due, ErrorCode::ENHANCE_YOUR_CALM, text)
        });
        let all = [preface, settings, header].into_iter().flatten();
        all.min_by_key(|(due, ..)| *due)
    }
}

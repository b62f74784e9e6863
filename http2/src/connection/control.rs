//! The handlers of the frames that control a connection or its streams: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM,
//! PRIORITY.

use std::time::Duration;

use crate::checks::{
    self, check_client_stream, check_setting, depends_on_itself, expect_connection, expect_length,
};
use crate::connection::closing::GOODBYE_PING;
use crate::connection::event::Side;
use crate::connection::receive::Outcome;
use crate::connection::state::{Connection, Goodbye};
use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame::{self, ACK, FrameHeader, WINDOW_MAX, kind, leading_u32, setting};

impl Connection {
    pub(super) fn on_settings(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        expect_connection("SETTINGS", header)?;
        if header.has(ACK) {
            expect_length("SETTINGS with ACK", payload, 0)?;
            if !self.is_acknowledged {
                self.is_acknowledged = true;
                let table = self.limits.header_table_bytes;
                self.decoder.set_table_bytes_max(table as usize);
            }
            return self.idle(1, now).map(|()| Outcome::Nothing);
        }
        let settings = checks::settings(payload)?;
        let (count, limit) = (settings.len(), self.limits.settings_max);
        if count > limit {
            let text = format!("SETTINGS with {count} settings, the limit is {limit}");
            return Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        self.idle(1 + count as u32, now)?;
        self.has_settings = true;
        let mut window = None;
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            let name = u16::from_be_bytes([*a, *b]);
            check_setting(name, value)?;
            match name {
                setting::INITIAL_WINDOW_SIZE => window = Some(value),
                setting::HEADER_TABLE_SIZE => self.sending.set_table_bytes(value),
                // Nothing is pushed, frames keep to the smallest limit, and answers have short headers.
                _ => {}
            }
        }
        // Of several values the last one holds, so that open streams are looked at once.
        if let Some(size) = window
            && !self.sending.set_stream_window(&mut self.streams, size)
        {
            let text =
                format!("INITIAL_WINDOW_SIZE of {size} makes the window of a stream too large");
            return Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, text));
        }
        frame::put(&mut self.sending.output.bytes, kind::SETTINGS, ACK, 0, &[]);
        Ok(Outcome::Nothing)
    }

    pub(super) fn on_ping(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        expect_connection("PING", header)?;
        expect_length("PING", payload, 8)?;
        self.idle(1, now)?;
        let payload = *payload.first_chunk().unwrap_or(&[0; 8]);
        if !header.has(ACK) {
            let out = &mut self.sending.output.bytes;
            frame::put(out, kind::PING, ACK, 0, &payload);
            return Ok(Outcome::Nothing);
        }
        if payload != GOODBYE_PING {
            return Ok(Outcome::Pong(payload));
        }
        if self.goodbye == Goodbye::Announced {
            self.take_no_more();
        }
        Ok(Outcome::Nothing)
    }

    pub(super) fn on_goaway(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        expect_connection("GOAWAY", header)?;
        let Some(code) = payload.get(4..).and_then(leading_u32) else {
            let length = payload.len();
            let text = format!("GOAWAY of {length} bytes, at least 8 are needed");
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text));
        };
        self.idle(1, now)?;
        Ok(Outcome::GoAway(ErrorCode(code)))
    }

    pub(super) fn on_window_update(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        expect_length("WINDOW_UPDATE", payload, 4)?;
        self.idle(1, now)?;
        let increment = i64::from(leading_u32(payload).unwrap_or_default() & 0x7fff_ffff);
        if header.stream == 0 {
            let window = &mut self.sending.window;
            *window += increment;
            let window = *window;
            return match (increment, window > WINDOW_MAX) {
                (0, _) => Err(ConnectionError::protocol("a WINDOW_UPDATE by 0")),
                (_, true) => {
                    let text = format!(
                        "the window of the connection is {window}, the limit is {WINDOW_MAX}"
                    );
                    Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, text))
                }
                _ => Ok(Outcome::Nothing),
            };
        }
        self.check_is_used("WINDOW_UPDATE", header.stream)?;
        let Some((key, stream)) = self.streams.find(header.stream) else {
            return Ok(Outcome::Nothing);
        };
        stream.send_window += increment;
        if increment == 0 {
            return self.stream_error(key, ErrorCode::PROTOCOL_ERROR, now);
        }
        if stream.send_window > WINDOW_MAX {
            return self.stream_error(key, ErrorCode::FLOW_CONTROL_ERROR, now);
        }
        self.sending.window_has_grown(&mut self.streams, key);
        Ok(Outcome::Nothing)
    }

    pub(super) fn on_rst_stream(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        check_client_stream("RST_STREAM", header)?;
        expect_length("RST_STREAM", payload, 4)?;
        self.check_is_used("RST_STREAM", header.stream)?;
        let Some((key, _)) = self.streams.find(header.stream) else {
            return self.idle(1, now).map(|()| Outcome::Nothing);
        };
        if !self.cancellations.spend(1, now) {
            let rate = self.cancellations.rate();
            let text = format!(
                "too many requests that were given up: the limit is {} at once, and {} a second",
                rate.burst, rate.per_second
            );
            return Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        self.remove(key);
        let code = ErrorCode(leading_u32(payload).unwrap_or_default());
        Ok(Outcome::Reset(key, code, Side::Client))
    }

    /// Priorities have no meaning any more (section 5.3.2), but a frame has to be sound.
    pub(super) fn on_priority(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        if header.stream == 0 {
            return Err(ConnectionError::protocol("PRIORITY on stream 0"));
        }
        self.idle(1, now)?;
        let (code, text) = match payload.first_chunk().filter(|_| payload.len() == 5) {
            None => (
                ErrorCode::FRAME_SIZE_ERROR,
                format!("PRIORITY of {} bytes instead of 5", payload.len()),
            ),
            Some(priority) if depends_on_itself(priority, header.stream) => (
                ErrorCode::PROTOCOL_ERROR,
                format!("stream {} depends on itself", header.stream),
            ),
            Some(_) => return Ok(Outcome::Nothing),
        };
        match self.streams.find(header.stream) {
            Some((key, _)) => self.stream_error(key, code, now),
            // A stream that is not open cannot be reset.
            None => Err(ConnectionError::new(code, text)),
        }
    }
}

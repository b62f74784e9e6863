//! The handler of DATA, and the windows for what comes in.

use std::time::Duration;

use crate::checks::{check_client_stream, unpad};
use crate::connection::event::{StreamKey, Then};
use crate::connection::headers::IDLE_FRAMES_EARNED;
use crate::connection::receive::Outcome;
use crate::connection::state::Connection;
use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame::{self, END_STREAM, FrameHeader, WINDOW_INITIAL};

impl Connection {
    #[inline]
    pub(super) fn on_data(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        check_client_stream("DATA", header)?;
        let (data, skipped) = unpad(header, payload)?;
        let range = skipped..skipped + data.len();
        // Padding counts as well (section 6.9.1).
        let length = payload.len() as u32;
        if !self.receiving.receive(length) {
            let text = format!(
                "DATA beyond the window of the connection, which is {}",
                self.receiving.window()
            );
            return Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, text));
        }
        let window = self.stream_window();
        let Some((key, stream)) = self.streams.find(header.stream) else {
            // Nobody will consume it.
            self.return_connection_window(length);
            return self.on_closed_stream("DATA", header.stream, now);
        };
        if !stream.is_receiving {
            self.return_connection_window(length);
            return self.stream_error(key, ErrorCode::STREAM_CLOSED, now);
        }
        stream.received = stream.received.saturating_add(length);
        // An empty frame needs no room, not even in a window below zero.
        if length > 0 && stream.received > window {
            return self.stream_error(key, ErrorCode::FLOW_CONTROL_ERROR, now);
        }
        let ends = header.has(END_STREAM);
        if let Some(left) = stream.length_left {
            let left = left.checked_sub(range.len() as u64);
            stream.length_left = left;
            if left.is_none() || (ends && left != Some(0)) {
                return self.stream_error(key, ErrorCode::PROTOCOL_ERROR, now);
            }
        }
        let padding = length - range.len() as u32;
        if ends {
            stream.is_receiving = false;
        }
        if padding > 0 {
            self.consumed(key, padding as usize);
        }
        match (ends, range.is_empty()) {
            (false, true) => return self.idle(1, now).map(|()| Outcome::Nothing),
            (_, false) => self.idle_frames.earn(IDLE_FRAMES_EARNED),
            (true, true) => {}
        }
        let then = if ends { Then::End } else { Then::More };
        Ok(Outcome::Data(key, range, then))
    }

    /// How much a stream may have sent. Until the client has acknowledged SETTINGS, it may not know of a smaller window
    /// (section 6.9.3).
    #[inline]
    fn stream_window(&self) -> u32 {
        match self.is_acknowledged {
            true => self.limits.stream_window,
            false => self.limits.stream_window.max(WINDOW_INITIAL),
        }
    }

    /// Says that `bytes` of a stream's DATA are consumed, so that the client may send as many more. Padding is not counted. What
    /// a stream has not consumed when it is closed, is taken as consumed.
    #[inline]
    pub fn consumed(&mut self, stream: StreamKey, bytes: usize) {
        let window = self.limits.stream_window;
        let Some(open) = self.streams.get(stream) else {
            return;
        };
        let most = open.received - open.consumed;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(most);
        open.consumed += bytes;
        // A client that has ended its request needs no window.
        if open.is_receiving && open.consumed > 0 && open.consumed >= window / 2 {
            let increment = std::mem::take(&mut open.consumed);
            open.received -= increment;
            frame::put_window_update(&mut self.sending.output.bytes, stream.id, increment);
        }
        self.return_connection_window(bytes);
    }

    /// Gives bytes back to the window of the connection.
    #[inline]
    pub(super) fn return_connection_window(&mut self, bytes: u32) {
        if let Some(increment) = self.receiving.consume(bytes) {
            frame::put_window_update(&mut self.sending.output.bytes, 0, increment);
        }
    }
}

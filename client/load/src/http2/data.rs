//! The handler of DATA frames: it collects the message of a response, and keeps account of the receive windows.

use std::mem;

use soloist_http2::checks::unpad;
use soloist_http2::frame::{self, END_STREAM, FrameHeader, WINDOW_INITIAL};
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::connection::{Connection, Event};
use crate::http2::failure::CallFailure;
use crate::http2::message::{
    Body, Input, MESSAGE_PREFIX_BYTES, check_partial_message, is_whole_message,
};
use crate::http2::streams::Phase;

impl Connection {
    pub(super) fn on_data<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.check_stream_id(header)?;
        let (data, skipped) = unpad(header, payload)?;
        self.count_received(header.length as u32)?;
        let Some(stream) = self.streams.get(header.stream) else {
            return self.check_late_frame(header);
        };
        if stream.phase == Phase::AwaitingHeaders {
            let failure = CallFailure::malformed("the response begins with DATA");
            return self.reset_and_fail(header.stream, failure, on_event);
        }
        stream.window_used += header.length as u32;
        if stream.window_used > self.config.stream_window {
            return Err(self.stream_window_exceeded(header.stream));
        }
        let is_half_used = stream.window_used > self.config.stream_window / 2;
        // The usual case: the frame holds the whole message. It stays in the input until the trailers arrive.
        if matches!(stream.body, Body::Empty)
            && let Some(at) = input.payload_start
            && is_whole_message(data)
            && data.len() - MESSAGE_PREFIX_BYTES <= self.config.message_bytes_max
        {
            let start = (at + skipped) as u32;
            stream.body = Body::Input(start..start + data.len() as u32);
            self.in_input.push(header.stream);
        } else if !data.is_empty() {
            if let Err(failure) = self.append_to_body(header.stream, data, input.bytes) {
                return self.reset_and_fail(header.stream, failure, on_event);
            }
            self.check_buffered()?;
        }
        if header.has(END_STREAM) {
            let failure = CallFailure::malformed("the response ends without trailers");
            return self.fail(header.stream, failure, on_event);
        }
        if is_half_used {
            self.return_stream_window(header.stream);
        }
        Ok(())
    }

    /// Appends a part of a message to the stream's body.
    ///
    /// # Errors
    ///
    /// If the body is not the beginning of one message within the limit.
    fn append_to_body(&mut self, id: u32, data: &[u8], input: &[u8]) -> Result<(), CallFailure> {
        let Some(stream) = self.streams.get(id) else {
            return Ok(());
        };
        let body = mem::take(&mut stream.body);
        let mut owned = self.owned_body(body, input);
        owned.extend_from_slice(data);
        self.buffered += data.len();
        let checked = check_partial_message(&owned, self.config.message_bytes_max);
        if let Some(stream) = self.streams.get(id) {
            stream.body = Body::Owned(owned);
        }
        checked
    }

    #[cold]
    fn stream_window_exceeded(&self, id: u32) -> ConnectionError {
        let limit = self.config.stream_window;
        let text = format!("DATA beyond the window of stream {id}, which is {limit}");
        ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, text)
    }

    /// Returns the used part of the stream's window to the server.
    fn return_stream_window(&mut self, id: u32) {
        if let Some(stream) = self.streams.get(id) {
            let used = mem::take(&mut stream.window_used);
            frame::put_window_update(&mut self.outgoing.output, id, used);
        }
    }

    /// Counts bytes against the connection's window. Once half of the window is used, returns that half to the server.
    fn count_received(&mut self, length: u32) -> Result<(), ConnectionError> {
        let window = self.config.connection_window.max(WINDOW_INITIAL);
        self.window_used += length;
        if self.window_used > window {
            return Err(ConnectionError::new(
                ErrorCode::FLOW_CONTROL_ERROR,
                format!("DATA beyond the window of the connection, which is {window}"),
            ));
        }
        if self.window_used > window / 2 {
            let used = mem::take(&mut self.window_used);
            frame::put_window_update(&mut self.outgoing.output, 0, used);
        }
        Ok(())
    }

    /// Copies the messages that still lie in `bytes`, because the caller reuses these bytes afterwards.
    pub(super) fn copy_out_of_input(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        if self.in_input.is_empty() {
            return Ok(());
        }
        let mut in_input = mem::take(&mut self.in_input);
        for id in in_input.drain(..) {
            if let Some(stream) = self.streams.get(id)
                && let Body::Input(_) = stream.body
            {
                let body = mem::take(&mut stream.body);
                let owned = self.owned_body(body, bytes);
                if let Some(stream) = self.streams.get(id) {
                    stream.body = Body::Owned(owned);
                }
            }
        }
        self.in_input = in_input;
        self.check_buffered()
    }

    /// Returns a body's bytes as a vector, copied from the input if they lie there.
    fn owned_body(&mut self, body: Body, bytes: &[u8]) -> Vec<u8> {
        match body {
            Body::Owned(owned) => owned,
            Body::Empty => self.spare_buffers.pop().unwrap_or_default(),
            Body::Input(at) => {
                let mut owned = self.spare_buffers.pop().unwrap_or_default();
                owned.extend_from_slice(&bytes[at.start as usize..at.end as usize]);
                self.buffered += owned.len();
                owned
            }
        }
    }

    fn check_buffered(&self) -> Result<(), ConnectionError> {
        let limit = self.config.buffered_bytes_max;
        if self.buffered <= limit {
            return Ok(());
        }
        let text = format!(
            "{} bytes of incomplete responses, the limit is {limit}",
            self.buffered
        );
        Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text))
    }
}

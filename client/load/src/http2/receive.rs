//! Makes frames of the bytes read from the socket, and hands each frame to its handler.

use std::mem;

use soloist_http2::checks::expect_length;
use soloist_http2::frame::{self, ACK, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_MAX, kind};
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::connection::{Closed, Connection, Event};
use crate::http2::message::Input;
use crate::http2::plaintext::{SPEAKS_TLS, speaks_tls};

impl Connection {
    /// Takes bytes read from the socket, and calls `on_event` for each call that ends. The bytes may begin and end in
    /// the middle of a frame. `on_event` may send and cancel calls.
    ///
    /// # Errors
    ///
    /// If the server broke the protocol, or the connection had ended before. All calls have had their events then. The
    /// output ends with a GOAWAY, which should be written if the socket takes it.
    pub(crate) fn receive<F>(&mut self, bytes: &[u8], mut on_event: F) -> Result<(), Closed>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        if !self.settings_seen && self.partial_frame.is_empty() && speaks_tls(bytes) {
            self.close(SPEAKS_TLS, on_event);
            return Err(self.closed.clone().unwrap_or(Closed(SPEAKS_TLS.to_owned())));
        }
        let mut taken = self.take_frames(bytes, &mut on_event);
        if taken.is_ok() && self.outgoing.is_overfull() {
            taken = Err(ConnectionError::new(
                ErrorCode::ENHANCE_YOUR_CALM,
                "it sends PING and SETTINGS and does not read the acknowledgements",
            ));
        }
        let Err(ConnectionError { code, text }) = taken else {
            return Ok(());
        };
        let text = format!("the server broke the protocol: {text} ({code})");
        // The output has only whole frames, so another frame can follow. The server has opened no streams: push is disabled.
        frame::put_goaway(&mut self.outgoing.output, 0, code, &text);
        self.partial_frame.clear();
        self.close(&text, on_event);
        Err(self.closed.clone().unwrap_or(Closed(text)))
    }

    fn take_frames<F>(&mut self, bytes: &[u8], on_event: &mut F) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let mut at = 0;
        if !self.partial_frame.is_empty() {
            at = self.complete_partial_frame(bytes, on_event)?;
        }
        while let Some(header) = bytes[at..].first_chunk() {
            let header = FrameHeader::parse(header);
            self.check_header(header)?;
            let payload_start = at + FRAME_HEADER_BYTES;
            let Some(payload) = bytes.get(payload_start..payload_start + header.length) else {
                break;
            };
            let input = Input {
                bytes,
                payload_start: Some(payload_start),
            };
            self.handle_frame(header, payload, input, on_event)?;
            at = payload_start + header.length;
        }
        // If `partial_frame` is not empty, it holds the beginning of the frame to which these bytes belong.
        self.partial_frame.extend_from_slice(&bytes[at..]);
        self.copy_out_of_input(bytes)
    }

    /// Completes the partial frame with the bytes read now, and handles the frame if it is complete. Returns how many
    /// of the bytes belong to that frame.
    fn complete_partial_frame<F>(
        &mut self,
        bytes: &[u8],
        on_event: &mut F,
    ) -> Result<usize, ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let header_rest = FRAME_HEADER_BYTES
            .saturating_sub(self.partial_frame.len())
            .min(bytes.len());
        let (header_bytes, after) = bytes.split_at(header_rest);
        self.partial_frame.extend_from_slice(header_bytes);
        let Some(header) = self.partial_frame.first_chunk() else {
            return Ok(header_rest);
        };
        let header = FrameHeader::parse(header);
        self.check_header(header)?;
        let rest = FRAME_HEADER_BYTES + header.length - self.partial_frame.len();
        let Some(payload_rest) = after.get(..rest) else {
            self.partial_frame.extend_from_slice(after);
            return Ok(bytes.len());
        };
        self.partial_frame.extend_from_slice(payload_rest);
        let mut whole = mem::take(&mut self.partial_frame);
        let input = Input {
            bytes,
            payload_start: None,
        };
        let handled = self.handle_frame(header, &whole[FRAME_HEADER_BYTES..], input, on_event);
        whole.clear();
        self.partial_frame = whole;
        handled.map(|()| header_rest + rest)
    }

    fn check_header(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        // First of all: a server that does not speak HTTP/2 may have sent text, which has no meaningful length.
        if !self.settings_seen && (header.kind != kind::SETTINGS || header.has(ACK)) {
            return Err(ConnectionError::protocol(format!(
                "its first frame is of type {}, not SETTINGS",
                header.kind
            )));
        }
        if header.length > PAYLOAD_MAX {
            return Err(ConnectionError::new(
                ErrorCode::FRAME_SIZE_ERROR,
                format!(
                    "a frame of {} bytes, the limit is {PAYLOAD_MAX}",
                    header.length
                ),
            ));
        }
        if let Some(open) = &self.open_header_block
            && (header.kind != kind::CONTINUATION || header.stream != open.stream)
        {
            return Err(ConnectionError::protocol(format!(
                "a frame of type {} on stream {} inside the header block of stream {}",
                header.kind, header.stream, open.stream
            )));
        }
        Ok(())
    }

    #[inline]
    fn handle_frame<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        match header.kind {
            kind::DATA => self.on_data(header, payload, input, on_event),
            kind::HEADERS => self.on_headers(header, payload, input, on_event),
            kind::CONTINUATION => self.on_continuation(header, payload, input, on_event),
            kind::PRIORITY => expect_length("PRIORITY", payload, 5),
            kind::RST_STREAM => self.on_rst_stream(header, payload, on_event),
            kind::SETTINGS => self.on_settings(header, payload),
            kind::PUSH_PROMISE => Err(ConnectionError::protocol(
                "a PUSH_PROMISE, which SETTINGS forbade",
            )),
            kind::PING => self.on_ping(header, payload),
            kind::GOAWAY => self.on_goaway(header, payload, on_event),
            kind::WINDOW_UPDATE => self.on_window_update(header, payload, on_event),
            // Frames of unknown types must be ignored (section 4.1).
            _ => Ok(()),
        }
    }
}

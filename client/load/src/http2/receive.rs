//! What comes in on a connection: bytes, cut anywhere, become frames.

use std::mem;

use crate::http2::checks::expect_length;
use crate::http2::connection::{Closed, Connection, Event};
use crate::http2::connection_error::ConnectionError;
use crate::http2::frame::{
    self, ACK, ErrorCode, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_MAX, kind,
};
use crate::http2::message::Input;

impl Connection {
    /// Takes bytes from the server, cut anywhere, and tells what became of calls. The callback may begin and cancel
    /// calls.
    ///
    /// # Errors
    ///
    /// If the server broke the protocol, or the connection had ended before. All calls have had their events then; the
    /// output ends with a GOAWAY, to be written if the socket takes it.
    pub(crate) fn receive<F>(&mut self, bytes: &[u8], mut on_event: F) -> Result<(), Closed>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        let mut taken = self.take(bytes, &mut on_event);
        if taken.is_ok() && self.outgoing.is_overfull() {
            taken = Err(ConnectionError::new(
                ErrorCode::ENHANCE_YOUR_CALM,
                "it asks for answers and does not read them",
            ));
        }
        let Err(connection_error) = taken else {
            return Ok(());
        };
        let ConnectionError { code, text } = connection_error;
        let text = format!("the server broke the protocol: {text} ({code})");
        // Only whole frames are in the output, so one more can follow.
        frame::put_goaway(&mut self.outgoing.output, code, &text);
        self.partial_frame.clear();
        self.close(&text, on_event);
        Err(self.closed.clone().unwrap_or(Closed(text)))
    }

    fn take<F>(&mut self, bytes: &[u8], on_event: &mut F) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let mut at = 0;
        if !self.partial_frame.is_empty() {
            at = self.complete_partial(bytes, on_event)?;
        }
        while let Some(header) = bytes[at..].first_chunk() {
            let header = FrameHeader::parse(header);
            self.check_length(header)?;
            let payload_start = at + FRAME_HEADER_BYTES;
            let Some(payload) = bytes.get(payload_start..payload_start + header.length) else {
                break;
            };
            let input = Input {
                bytes,
                payload_start: Some(payload_start),
            };
            self.frame(header, payload, input, on_event)?;
            at = payload_start + header.length;
        }
        // Empty, or the rest of the input belongs to the frame that is in it already.
        self.partial_frame.extend_from_slice(&bytes[at..]);
        self.copy_out_of_input(bytes)
    }

    /// Puts a frame that was cut together with what has come now, and handles it if it is whole. Returns how much of the
    /// input it took.
    fn complete_partial<F>(
        &mut self,
        bytes: &[u8],
        on_event: &mut F,
    ) -> Result<usize, ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let head_rest = FRAME_HEADER_BYTES
            .saturating_sub(self.partial_frame.len())
            .min(bytes.len());
        let (head_bytes, after) = bytes.split_at(head_rest);
        self.partial_frame.extend_from_slice(head_bytes);
        let Some(header) = self.partial_frame.first_chunk() else {
            return Ok(head_rest);
        };
        let header = FrameHeader::parse(header);
        self.check_length(header)?;
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
        let handled = self.frame(header, &whole[FRAME_HEADER_BYTES..], input, on_event);
        whole.clear();
        self.partial_frame = whole;
        handled.map(|()| head_rest + rest)
    }

    fn check_length(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        // Before its first frame we do not know that the other side speaks HTTP/2 at all, and its head may be text.
        if !self.settings_seen && (header.kind != kind::SETTINGS || header.has(ACK)) {
            return Err(ConnectionError::protocol(format!(
                "its first frame is of kind {}, not SETTINGS",
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
                "a frame of kind {} on stream {} inside the header block of stream {}",
                header.kind, header.stream, open.stream
            )));
        }
        Ok(())
    }

    #[inline]
    fn frame<F>(
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
                "a PUSH_PROMISE, which we forbade",
            )),
            kind::PING => self.on_ping(header, payload),
            kind::GOAWAY => self.on_goaway(header, payload, on_event),
            kind::WINDOW_UPDATE => self.on_window_update(header, payload, on_event),
            // Kinds that are unknown mean nothing (section 4.1).
            _ => Ok(()),
        }
    }
}

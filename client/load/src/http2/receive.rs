//! What comes in on a connection: bytes, cut anywhere, become frames.

use std::mem;

use crate::http2::checks::expect_length;
use crate::http2::connection::{Closed, Connection, Event};
use crate::http2::frame::{self, ACK, HEAD, Head, PAYLOAD_MAX, Reason, kind};
use crate::http2::message::Input;
use crate::http2::violation::Violation;

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
            taken = Err(Violation::new(
                Reason::ENHANCE_YOUR_CALM,
                "it asks for answers and does not read them",
            ));
        }
        let Err(violation) = taken else {
            return Ok(());
        };
        let Violation { reason, text } = violation;
        let text = format!("the server broke the protocol: {text} ({reason})");
        // Only whole frames are in the output, so one more can follow.
        frame::put_goaway(&mut self.outgoing.output, reason, &text);
        self.partial.clear();
        self.close(&text, on_event);
        Err(self.closed.clone().unwrap_or(Closed(text)))
    }

    fn take<F>(&mut self, bytes: &[u8], on_event: &mut F) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let mut at = 0;
        if !self.partial.is_empty() {
            at = self.complete_partial(bytes, on_event)?;
        }
        while let Some(head) = bytes[at..].first_chunk() {
            let head = Head::parse(head);
            self.check_length(head)?;
            let payload_at = at + HEAD;
            let Some(payload) = bytes.get(payload_at..payload_at + head.length) else {
                break;
            };
            let input = Input {
                bytes,
                payload_at: Some(payload_at),
            };
            self.frame(head, payload, input, on_event)?;
            at = payload_at + head.length;
        }
        // Empty, or the rest of the input belongs to the frame that is in it already.
        self.partial.extend_from_slice(&bytes[at..]);
        self.keep_loose(bytes)
    }

    /// Puts a frame that was cut together with what has come now, and handles it if it is whole. Returns how much of the
    /// input it took.
    fn complete_partial<F>(&mut self, bytes: &[u8], on_event: &mut F) -> Result<usize, Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let head_rest = HEAD.saturating_sub(self.partial.len()).min(bytes.len());
        let (head_bytes, after) = bytes.split_at(head_rest);
        self.partial.extend_from_slice(head_bytes);
        let Some(head) = self.partial.first_chunk() else {
            return Ok(head_rest);
        };
        let head = Head::parse(head);
        self.check_length(head)?;
        let rest = HEAD + head.length - self.partial.len();
        let Some(payload_rest) = after.get(..rest) else {
            self.partial.extend_from_slice(after);
            return Ok(bytes.len());
        };
        self.partial.extend_from_slice(payload_rest);
        let mut whole = mem::take(&mut self.partial);
        let input = Input {
            bytes,
            payload_at: None,
        };
        let handled = self.frame(head, &whole[HEAD..], input, on_event);
        whole.clear();
        self.partial = whole;
        handled.map(|()| head_rest + rest)
    }

    fn check_length(&self, head: Head) -> Result<(), Violation> {
        // Before its first frame we do not know that the other side speaks HTTP/2 at all, and its head may be text.
        if !self.settings_seen && (head.kind != kind::SETTINGS || head.has(ACK)) {
            return Err(Violation::protocol(format!(
                "its first frame is of kind {}, not SETTINGS",
                head.kind
            )));
        }
        if head.length > PAYLOAD_MAX {
            return Err(Violation::new(
                Reason::FRAME_SIZE_ERROR,
                format!(
                    "a frame of {} bytes, the limit is {PAYLOAD_MAX}",
                    head.length
                ),
            ));
        }
        if let Some(open) = &self.block_open
            && (head.kind != kind::CONTINUATION || head.stream != open.stream)
        {
            return Err(Violation::protocol(format!(
                "a frame of kind {} on stream {} inside the header block of stream {}",
                head.kind, head.stream, open.stream
            )));
        }
        Ok(())
    }

    #[inline]
    fn frame<F>(
        &mut self,
        head: Head,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        match head.kind {
            kind::DATA => self.on_data(head, payload, input, on_event),
            kind::HEADERS => self.on_headers(head, payload, input, on_event),
            kind::CONTINUATION => self.on_continuation(head, payload, input, on_event),
            kind::PRIORITY => expect_length("PRIORITY", payload, 5),
            kind::RST_STREAM => self.on_reset(head, payload, on_event),
            kind::SETTINGS => self.on_settings(head, payload),
            kind::PUSH_PROMISE => Err(Violation::protocol("a PUSH_PROMISE, which we forbade")),
            kind::PING => self.on_ping(head, payload),
            kind::GOAWAY => self.on_goaway(head, payload, on_event),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload, on_event),
            // Kinds that are unknown mean nothing (section 4.1).
            _ => Ok(()),
        }
    }
}

//! The ends of calls: by a response, a failure, a reset, or the end of the connection.

use soloist_http2::checks::expect_length;
use soloist_http2::frame::{FrameHeader, leading_u32};
use soloist_http2::{ConnectionError, ErrorCode};
use tonic::Code;

use crate::http2::connection::{Closed, Connection, Event};
use crate::http2::failure::{CallFailure, Processed};
use crate::http2::message::{Body, MESSAGE_PREFIX_BYTES, is_whole_message};

impl Connection {
    /// Ends a call with status OK. It must have one message and nothing else.
    #[inline]
    pub(super) fn complete<F>(&mut self, id: u32, bytes: &[u8], on_event: &mut F)
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        let tag = stream.tag;
        self.reset_if_sending(id);
        match stream.body {
            // `on_data` has checked that this is one whole message.
            Body::Input(at) => {
                let message = &bytes[at.start as usize + MESSAGE_PREFIX_BYTES..at.end as usize];
                on_event(self, Event::Response { tag, message });
            }
            Body::Empty => {
                let failure = CallFailure::malformed("the response has status OK and no message");
                on_event(self, Event::Failed { tag, failure });
            }
            Body::Owned(owned) => {
                if is_whole_message(&owned) {
                    let message = &owned[MESSAGE_PREFIX_BYTES..];
                    on_event(self, Event::Response { tag, message });
                } else {
                    let failure = CallFailure::malformed(format!(
                        "the response has status OK and {} bytes of an incomplete message",
                        owned.len()
                    ));
                    on_event(self, Event::Failed { tag, failure });
                }
                self.recycle(owned);
            }
        }
    }

    /// Fails a call whose stream the server has closed.
    pub(super) fn fail<F>(
        &mut self,
        id: u32,
        failure: CallFailure,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.reset_if_sending(id);
        if let Some(tag) = self.end_stream(id) {
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    /// Fails a call whose stream the server has not closed, and resets the stream (a stream error: section 5.4.2).
    pub(super) fn reset_and_fail<F>(
        &mut self,
        id: u32,
        failure: CallFailure,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        if let Some(tag) = self.end_stream(id) {
            self.reset(id, ErrorCode::CANCEL);
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    pub(super) fn on_rst_stream<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.check_stream_id(header)?;
        expect_length("RST_STREAM", payload, 4)?;
        let code = ErrorCode(leading_u32(payload).unwrap_or_default());
        if let Some(tag) = self.end_stream(header.stream) {
            self.outgoing.forget(header.stream);
            let failure = CallFailure::reset(code);
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    /// Resets the stream if its request is not sent completely. A server may respond before it has the whole request
    /// (section 8.1); the rest is not sent then.
    fn reset_if_sending(&mut self, id: u32) {
        if self.outgoing.is_sending(id) {
            self.reset(id, ErrorCode::CANCEL);
        }
    }

    /// Ends the connection for a reason outside the protocol, such as the end of the socket. All open calls fail with
    /// [`Processed::Unknown`].
    pub(crate) fn close<F>(&mut self, why: &str, mut on_event: F)
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        if self.closed.is_some() {
            return;
        }
        let text = match self.goaway_text.is_empty() {
            true => why.to_owned(),
            false => format!("{why}, after {}", self.goaway_text),
        };
        self.closed = Some(Closed(text.clone()));
        self.fail_above(0, Processed::Unknown, &text, &mut on_event);
    }

    /// Fails all open calls on streams above `last`.
    pub(super) fn fail_above<F>(
        &mut self,
        last: u32,
        processed: Processed,
        text: &str,
        on_event: &mut F,
    ) where
        F: FnMut(&mut Self, Event<'_>),
    {
        let mut at = last;
        while let Some(stream) = self.streams.next_after(at) {
            at = stream;
            if let Some(tag) = self.end_stream(stream) {
                self.outgoing.forget(stream);
                let failure = CallFailure::new(processed, Code::Unavailable, text);
                on_event(self, Event::Failed { tag, failure });
            }
        }
    }
}

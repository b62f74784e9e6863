//! How calls end: with an answer, a failure, a reset, or with their connection.

use tonic::Code;

use crate::http2::checks::expect_length;
use crate::http2::connection::{Closed, Connection, Event};
use crate::http2::failure::{Failure, Fate};
use crate::http2::frame::{Head, Reason, number};
use crate::http2::message::{Body, MESSAGE_HEAD, holds_message};
use crate::http2::violation::Violation;

impl Connection {
    /// Status OK: there must be one message, and nothing else.
    #[inline]
    pub(super) fn succeed<F>(&mut self, id: u32, bytes: &[u8], on_event: &mut F)
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        let tag = stream.tag;
        self.stop_sending(id);
        match stream.body {
            // Was checked when it came.
            Body::Input(at) => {
                let message = &bytes[at.start as usize + MESSAGE_HEAD..at.end as usize];
                on_event(self, Event::Answer { tag, message });
            }
            Body::Empty => {
                let failure = Failure::malformed("the answer has status OK and no message");
                on_event(self, Event::Failed { tag, failure });
            }
            Body::Owned(owned) => {
                if holds_message(&owned) {
                    let message = &owned[MESSAGE_HEAD..];
                    on_event(self, Event::Answer { tag, message });
                } else {
                    let failure = Failure::malformed(format!(
                        "the answer has status OK and {} bytes of an unfinished message",
                        owned.len()
                    ));
                    on_event(self, Event::Failed { tag, failure });
                }
                self.recycle(owned);
            }
        }
    }

    /// The server ended a stream, and the call has failed.
    pub(super) fn fail_ended<F>(
        &mut self,
        id: u32,
        failure: Failure,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.stop_sending(id);
        if let Some(tag) = self.end_stream(id) {
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    /// The server has not ended a stream, and nothing it could still say would be of use.
    pub(super) fn give_up<F>(
        &mut self,
        id: u32,
        failure: Failure,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        if let Some(tag) = self.end_stream(id) {
            self.reset(id, Reason::CANCEL);
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    pub(super) fn on_reset<F>(
        &mut self,
        head: Head,
        payload: &[u8],
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.check_stream(head)?;
        expect_length("RST_STREAM", payload, 4)?;
        let reason = Reason(number(payload).unwrap_or_default());
        if let Some(tag) = self.end_stream(head.stream) {
            self.outgoing.forget(head.stream);
            let failure = Failure::reset(reason);
            on_event(self, Event::Failed { tag, failure });
        }
        Ok(())
    }

    /// A server may answer before it has all of the request (section 8.1). The rest is not sent, and it is told so.
    fn stop_sending(&mut self, id: u32) {
        if self.outgoing.is_sending(id) {
            self.reset(id, Reason::CANCEL);
        }
    }

    /// Ends the connection for a reason outside it, such as the socket's end. All open calls fail; nothing is known of
    /// them, but for those that the server said it would not begin.
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
        self.fail_above(0, Fate::Unknown, &text, &mut on_event);
    }

    /// Fails all calls on streams above `last`.
    pub(super) fn fail_above<F>(&mut self, last: u32, fate: Fate, text: &str, on_event: &mut F)
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let mut at = last;
        while let Some(stream) = self.streams.next_after(at) {
            at = stream;
            if let Some(tag) = self.end_stream(stream) {
                self.outgoing.forget(stream);
                let failure = Failure::new(fate, Code::Unavailable, text);
                on_event(self, Event::Failed { tag, failure });
            }
        }
    }
}

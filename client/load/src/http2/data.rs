//! DATA frames: the message of an answer, and the windows that it comes through.

use std::mem;

use crate::http2::checks::unpad;
use crate::http2::connection::{Connection, Event};
use crate::http2::failure::Failure;
use crate::http2::frame::{self, END_STREAM, Head, Reason};
use crate::http2::message::{Body, Input, MESSAGE_HEAD, check_message_growth, holds_message};
use crate::http2::streams::Phase;
use crate::http2::violation::Violation;

impl Connection {
    pub(super) fn on_data<F>(
        &mut self,
        head: Head,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        self.check_stream(head)?;
        let (data, skipped) = unpad(head, payload)?;
        self.use_window(head.length as u32)?;
        let Some(stream) = self.streams.get(head.stream) else {
            return self.late(head);
        };
        if stream.phase == Phase::Asked {
            let failure = Failure::malformed("the answer begins with DATA");
            return self.give_up(head.stream, failure, on_event);
        }
        stream.window_used += head.length as u32;
        if stream.window_used > self.config.stream_window {
            return Err(self.beyond_stream_window(head.stream));
        }
        let is_narrow = stream.window_used > self.config.stream_window / 2;
        // Almost always: the first DATA is the whole message, and it stays where it is until the trailers come.
        if matches!(stream.body, Body::Empty)
            && let Some(at) = input.payload_at
            && holds_message(data)
            && data.len() - MESSAGE_HEAD <= self.config.message_bytes_max
        {
            let start = (at + skipped) as u32;
            stream.body = Body::Input(start..start + data.len() as u32);
            self.loose.push(head.stream);
        } else if !data.is_empty() {
            if let Err(failure) = self.put_aside(head.stream, data, input.bytes) {
                return self.give_up(head.stream, failure, on_event);
            }
            self.check_buffered()?;
        }
        if head.has(END_STREAM) {
            let failure = Failure::malformed("the answer ends without trailers");
            return self.fail_ended(head.stream, failure, on_event);
        }
        if is_narrow {
            self.widen_stream(head.stream);
        }
        Ok(())
    }

    /// Adds what came of a message to what is kept of it. Fails if it cannot become a message that we take.
    fn put_aside(&mut self, id: u32, data: &[u8], input: &[u8]) -> Result<(), Failure> {
        let Some(stream) = self.streams.get(id) else {
            return Ok(());
        };
        let body = mem::take(&mut stream.body);
        let mut owned = self.own(body, input);
        owned.extend_from_slice(data);
        self.buffered += data.len();
        let checked = check_message_growth(&owned, self.config.message_bytes_max);
        if let Some(stream) = self.streams.get(id) {
            stream.body = Body::Owned(owned);
        }
        checked
    }

    #[cold]
    fn beyond_stream_window(&self, id: u32) -> Violation {
        let limit = self.config.stream_window;
        let text = format!("DATA beyond the window of stream {id}, which is {limit}");
        Violation::new(Reason::FLOW_CONTROL_ERROR, text)
    }

    /// Lets the server send more on a stream whose message is not whole.
    fn widen_stream(&mut self, id: u32) {
        if let Some(stream) = self.streams.get(id) {
            let used = mem::take(&mut stream.window_used);
            frame::put_window_update(&mut self.outgoing.output, id, used);
        }
    }

    /// Counts what came, and lets the server send more when half is used.
    fn use_window(&mut self, length: u32) -> Result<(), Violation> {
        let window = self.config.connection_window.max(65_535);
        self.window_used += length;
        if self.window_used > window {
            return Err(Violation::new(
                Reason::FLOW_CONTROL_ERROR,
                format!("DATA beyond the window of the connection, which is {window}"),
            ));
        }
        if self.window_used > window / 2 {
            let used = mem::take(&mut self.window_used);
            frame::put_window_update(&mut self.outgoing.output, 0, used);
        }
        Ok(())
    }

    /// Copies the messages that are still in the input: the bytes are the caller's again after this.
    pub(super) fn keep_loose(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.loose.is_empty() {
            return Ok(());
        }
        let mut loose = mem::take(&mut self.loose);
        for id in loose.drain(..) {
            if let Some(stream) = self.streams.get(id)
                && let Body::Input(_) = stream.body
            {
                let body = mem::take(&mut stream.body);
                let owned = self.own(body, bytes);
                if let Some(stream) = self.streams.get(id) {
                    stream.body = Body::Owned(owned);
                }
            }
        }
        self.loose = loose;
        self.check_buffered()
    }

    /// A body's bytes, put aside.
    fn own(&mut self, body: Body, bytes: &[u8]) -> Vec<u8> {
        match body {
            Body::Owned(owned) => owned,
            Body::Empty => self.spare.pop().unwrap_or_default(),
            Body::Input(at) => {
                let mut owned = self.spare.pop().unwrap_or_default();
                owned.extend_from_slice(&bytes[at.start as usize..at.end as usize]);
                self.buffered += owned.len();
                owned
            }
        }
    }

    fn check_buffered(&self) -> Result<(), Violation> {
        let limit = self.config.buffered_bytes_max;
        if self.buffered <= limit {
            return Ok(());
        }
        let text = format!(
            "{} bytes of unfinished answers, the limit is {limit}",
            self.buffered
        );
        Err(Violation::new(Reason::ENHANCE_YOUR_CALM, text))
    }
}

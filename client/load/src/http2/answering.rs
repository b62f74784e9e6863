//! Frames that belong to calls: DATA, HEADERS with CONTINUATION, RST_STREAM.

use std::mem;

use crate::http2::answer::{Failure, Fate, Fields, HEADER_LIST_MAX, Headers};
use crate::http2::connection::{Connection, Event, OpenBlock};
use crate::http2::control::expect_length;
use crate::http2::frame::{
    self, END_HEADERS, END_STREAM, Head, PADDED, PRIORITY_GIVEN, Reason, kind, number,
};
use crate::http2::outgoing::MESSAGE_HEAD;
use crate::http2::receive::Input;
use crate::http2::streams::{Body, Phase};
use crate::http2::violation::Violation;

/// Frames of one header block: its length is limited, but empty ones would cost without end (CVE-2024-27316).
const BLOCK_FRAMES_MAX: usize = 64;

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
            let limit = self.config.stream_window;
            let text = format!(
                "DATA beyond the window of stream {}, which is {limit}",
                head.stream
            );
            return Err(Violation::new(Reason::FLOW_CONTROL_ERROR, text));
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
            let owned = mem::take(&mut stream.body);
            let mut owned = self.own(owned, input.bytes);
            owned.extend_from_slice(data);
            self.buffered += data.len();
            let checked = check_message_growth(&owned, self.config.message_bytes_max);
            if let Some(stream) = self.streams.get(head.stream) {
                stream.body = Body::Owned(owned);
            }
            if let Err(failure) = checked {
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

    pub(super) fn on_headers<F>(
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
        let (mut block, _) = unpad(head, payload)?;
        if head.has(PRIORITY_GIVEN) {
            let text = "a HEADERS frame too short for its priority";
            block = block
                .get(5..)
                .ok_or_else(|| Violation::new(Reason::FRAME_SIZE_ERROR, text))?;
        }
        if head.has(END_HEADERS) {
            return self.on_block(head.stream, head.flags, block, input, on_event);
        }
        self.block.clear();
        self.block.extend_from_slice(block);
        self.block_open = Some(OpenBlock {
            stream: head.stream,
            flags: head.flags,
            frames: 1,
        });
        Ok(())
    }

    pub(super) fn on_continuation<F>(
        &mut self,
        head: Head,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let Some(open) = &mut self.block_open else {
            return Err(Violation::protocol("a CONTINUATION after no header block"));
        };
        open.frames += 1;
        let length = self.block.len() + payload.len();
        // No encoder makes a list longer, and each field has 32 bytes more in the list.
        if length > HEADER_LIST_MAX || open.frames > BLOCK_FRAMES_MAX {
            let text = format!(
                "a header block of {length} bytes in {} frames, the limits are {HEADER_LIST_MAX} and {BLOCK_FRAMES_MAX}",
                open.frames
            );
            return Err(Violation::new(Reason::ENHANCE_YOUR_CALM, text));
        }
        self.block.extend_from_slice(payload);
        if !head.has(END_HEADERS) {
            return Ok(());
        }
        let OpenBlock { stream, flags, .. } = *open;
        self.block_open = None;
        let block = mem::take(&mut self.block);
        let handled = self.on_block(stream, flags, &block, input, on_event);
        self.block = block;
        handled
    }

    /// A whole header block.
    #[inline]
    fn on_block<F>(
        &mut self,
        id: u32,
        flags: u8,
        block: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let ends = flags & END_STREAM != 0;
        let Some(stream) = self.streams.get(id) else {
            // No table changes, so it need not be decoded.
            return self.late(Head {
                length: block.len(),
                kind: kind::HEADERS,
                flags,
                stream: id,
            });
        };
        match (stream.phase, ends) {
            (Phase::Asked, false) if block == self.known_headers => {
                stream.phase = Phase::Answering;
                Ok(())
            }
            (Phase::Answering, true) if block == self.known_trailers => {
                self.succeed(id, input.bytes, on_event);
                Ok(())
            }
            (Phase::Asked, false) => {
                match self.read_block(block)?.into_headers() {
                    Headers::Informational => {}
                    Headers::Begin => {
                        self.known_headers.clear();
                        self.known_headers.extend_from_slice(block);
                        if let Some(stream) = self.streams.get(id) {
                            stream.phase = Phase::Answering;
                        }
                    }
                    Headers::Failed(failure) => return self.give_up(id, failure, on_event),
                }
                Ok(())
            }
            (Phase::Asked, true) => {
                let failure = self.read_block(block)?.into_only();
                self.fail_ended(id, failure, on_event)
            }
            (Phase::Answering, true) => match self.read_block(block)?.into_trailers() {
                Some(failure) => self.fail_ended(id, failure, on_event),
                None => {
                    self.known_trailers.clear();
                    self.known_trailers.extend_from_slice(block);
                    self.succeed(id, input.bytes, on_event);
                    Ok(())
                }
            },
            (Phase::Answering | Phase::Ended, _) => {
                self.read_block(block)?;
                let failure = Failure::malformed("the answer has headers twice");
                self.give_up(id, failure, on_event)
            }
        }
    }

    fn read_block(&mut self, block: &[u8]) -> Result<Fields, Violation> {
        Fields::read(&mut self.decoder, block)
            .map_err(|error| Violation::new(Reason::COMPRESSION_ERROR, error.to_string()))
    }

    /// Status OK: there must be one message, and nothing else.
    #[inline]
    fn succeed<F>(&mut self, id: u32, bytes: &[u8], on_event: &mut F)
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
    fn fail_ended<F>(
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

    /// A server may answer before it has all of the request (section 8.1). The rest is not sent, and it is told so.
    fn stop_sending(&mut self, id: u32) {
        if self.outgoing.is_sending(id) {
            self.reset(id, Reason::CANCEL);
        }
    }

    /// A frame on a stream that has ended: no fault if we ended it.
    fn late(&self, head: Head) -> Result<(), Violation> {
        if head.stream <= self.reset_last || self.goaway.is_some_and(|last| head.stream > last) {
            return Ok(());
        }
        let text = format!(
            "a frame of kind {} on stream {}, which it had ended",
            head.kind, head.stream
        );
        Err(Violation::new(Reason::STREAM_CLOSED, text))
    }

    /// A frame that belongs to a stream must name one that we began.
    #[inline]
    pub(super) fn check_stream(&self, head: Head) -> Result<(), Violation> {
        if head.stream % 2 == 1
            && (self.config.stream_first..self.stream_next).contains(&head.stream)
        {
            return Ok(());
        }
        Err(Violation::protocol(format!(
            "a frame of kind {} on stream {}, which was never opened",
            head.kind, head.stream
        )))
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

/// Whether these bytes are one message that is not compressed, with its head, and no more.
#[inline]
fn holds_message(data: &[u8]) -> bool {
    match data {
        [0, a, b, c, d, message @ ..] => {
            u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len()
        }
        _ => false,
    }
}

/// Whether these bytes can be the beginning of one message that we take.
fn check_message_growth(owned: &[u8], limit: usize) -> Result<(), Failure> {
    let Some((head, message)) = owned.split_first_chunk::<MESSAGE_HEAD>() else {
        return Ok(());
    };
    let [compressed, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        Err(Failure::malformed(
            "the answer is compressed, and compression was not offered",
        ))
    } else if length > limit {
        Err(Failure::new(
            Fate::Unknown,
            tonic::Code::ResourceExhausted,
            format!("the answer has {length} bytes, the limit is {limit}"),
        ))
    } else if message.len() > length {
        let more = message.len() - length;
        Err(Failure::malformed(format!(
            "the answer has {more} bytes after its message"
        )))
    } else {
        Ok(())
    }
}

/// A payload without its padding, and how much was before it.
#[inline]
fn unpad(head: Head, payload: &[u8]) -> Result<(&[u8], usize), Violation> {
    if !head.has(PADDED) {
        return Ok((payload, 0));
    }
    let (padding, rest) = payload
        .split_first()
        .ok_or_else(|| Violation::new(Reason::FRAME_SIZE_ERROR, "a padded frame that is empty"))?;
    let padding = usize::from(*padding);
    match rest.len().checked_sub(padding) {
        Some(length) => Ok((&rest[..length], 1)),
        None => Err(Violation::protocol(format!(
            "padding of {padding} bytes in a frame of {}",
            payload.len()
        ))),
    }
}

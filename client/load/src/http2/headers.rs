//! HEADERS frames with their CONTINUATIONs: header blocks, and what each means to its call.

use std::mem;

use crate::http2::answer::{Fields, HEADER_LIST_MAX, Headers};
use crate::http2::checks::unpad;
use crate::http2::connection::{Connection, Event, OpenBlock};
use crate::http2::failure::Failure;
use crate::http2::frame::{END_HEADERS, END_STREAM, Head, PRIORITY_GIVEN, Reason, kind};
use crate::http2::message::Input;
use crate::http2::streams::Phase;
use crate::http2::violation::Violation;

/// Frames of one header block: its length is limited, but empty ones would cost without end (CVE-2024-27316).
const BLOCK_FRAMES_MAX: usize = 64;

impl Connection {
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
}

//! The handlers of HEADERS and CONTINUATION frames: they put header blocks together, and move calls on.

use std::mem;

use soloist_http2::checks::unpad;
use soloist_http2::frame::{END_HEADERS, END_STREAM, FrameHeader, PRIORITY, kind};
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::connection::{Connection, Event, OpenHeaderBlock};
use crate::http2::failure::CallFailure;
use crate::http2::message::Input;
use crate::http2::response_fields::{HEADER_LIST_BYTES_MAX, InitialHeaders, ResponseFields};
use crate::http2::streams::Phase;

/// The most frames in a header block. The limit of its bytes alone would let a server send empty frames without end
/// (CVE-2024-27316).
const BLOCK_FRAMES_MAX: usize = 64;

impl Connection {
    pub(super) fn on_headers<F>(
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
        let (mut block, _) = unpad(header, payload)?;
        if header.has(PRIORITY) {
            let text = "HEADERS too short for the priority";
            block = block
                .get(5..)
                .ok_or_else(|| ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text))?;
        }
        if header.has(END_HEADERS) {
            return self.on_block(header.stream, header.flags, block, input, on_event);
        }
        self.block.clear();
        self.block.extend_from_slice(block);
        self.open_header_block = Some(OpenHeaderBlock {
            stream: header.stream,
            flags: header.flags,
            frames: 1,
        });
        Ok(())
    }

    pub(super) fn on_continuation<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let Some(open) = &mut self.open_header_block else {
            return Err(ConnectionError::protocol(
                "a CONTINUATION outside a header block",
            ));
        };
        open.frames += 1;
        let length = self.block.len() + payload.len();
        // A block within the limit of the list has fewer bytes than that: the list counts 32 bytes more for each field.
        if length > HEADER_LIST_BYTES_MAX || open.frames > BLOCK_FRAMES_MAX {
            let text = format!(
                "a header block of {length} bytes in {} frames, the limits are {HEADER_LIST_BYTES_MAX} and {BLOCK_FRAMES_MAX}",
                open.frames
            );
            return Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        self.block.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            return Ok(());
        }
        let OpenHeaderBlock { stream, flags, .. } = *open;
        self.open_header_block = None;
        let block = mem::take(&mut self.block);
        let handled = self.on_block(stream, flags, &block, input, on_event);
        self.block = block;
        handled
    }

    /// Handles a complete header block.
    #[inline]
    fn on_block<F>(
        &mut self,
        id: u32,
        flags: u8,
        block: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let ends = flags & END_STREAM != 0;
        let Some(stream) = self.streams.get(id) else {
            // The block can be skipped: without a dynamic table no later block depends on it.
            return self.check_late_frame(FrameHeader {
                length: block.len(),
                kind: kind::HEADERS,
                flags,
                stream: id,
            });
        };
        match (stream.phase, ends) {
            (Phase::AwaitingHeaders, false) if block == self.last_response_headers => {
                stream.phase = Phase::AwaitingTrailers;
                Ok(())
            }
            (Phase::AwaitingTrailers, true) if block == self.last_ok_trailers => {
                self.complete(id, input.bytes, on_event);
                Ok(())
            }
            (phase, _) => self.on_new_block(id, phase, ends, block, input, on_event),
        }
    }

    /// Handles a block that differs from the last ones: it has to be decoded.
    fn on_new_block<F>(
        &mut self,
        id: u32,
        phase: Phase,
        ends: bool,
        block: &[u8],
        input: Input<'_>,
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        let fields = self.read_block(block)?;
        match (phase, ends) {
            (Phase::AwaitingHeaders, false) => match fields.into_initial() {
                InitialHeaders::Informational => Ok(()),
                InitialHeaders::Response => {
                    self.last_response_headers.clear();
                    self.last_response_headers.extend_from_slice(block);
                    if let Some(stream) = self.streams.get(id) {
                        stream.phase = Phase::AwaitingTrailers;
                    }
                    Ok(())
                }
                InitialHeaders::Failed(failure) => self.reset_and_fail(id, failure, on_event),
            },
            (Phase::AwaitingHeaders, true) => self.fail(id, fields.into_trailers_only(), on_event),
            (Phase::AwaitingTrailers, true) => match fields.into_trailers() {
                Some(failure) => self.fail(id, failure, on_event),
                None => {
                    self.last_ok_trailers.clear();
                    self.last_ok_trailers.extend_from_slice(block);
                    self.complete(id, input.bytes, on_event);
                    Ok(())
                }
            },
            (Phase::AwaitingTrailers | Phase::Closed, _) => {
                let failure = CallFailure::malformed("the response has headers twice");
                self.reset_and_fail(id, failure, on_event)
            }
        }
    }

    fn read_block(&mut self, block: &[u8]) -> Result<ResponseFields, ConnectionError> {
        ResponseFields::read(&mut self.decoder, block)
            .map_err(|error| ConnectionError::new(ErrorCode::COMPRESSION_ERROR, error.to_string()))
    }
}

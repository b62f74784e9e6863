//! The handlers of HEADERS and CONTINUATION: they put header blocks together, open streams, and end them with trailers.

use std::mem;
use std::time::Duration;

use crate::checks::{check_client_stream, depends_on_itself, unpad};
use crate::connection::event::Then;
use crate::connection::receive::Outcome;
use crate::connection::state::{Connection, Goodbye, OpenBlock};
use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::frame::{END_HEADERS, END_STREAM, FrameHeader, PRIORITY};
use crate::hpack::HpackError;

/// A buffer for blocks above this is freed after a block.
const BLOCK_BYTES_KEPT: usize = 2 * 1_024;

/// What a frame that carries something adds to the budget of those that carry nothing.
pub(super) const IDLE_FRAMES_EARNED: u32 = 4;

impl Connection {
    #[inline]
    pub(super) fn on_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        check_client_stream("HEADERS", header)?;
        let (mut block, _) = unpad(header, payload)?;
        let mut depends_on_itself = false;
        if header.has(PRIORITY) {
            let Some((priority, rest)) = block.split_first_chunk::<5>() else {
                let text = "HEADERS too short for the priority";
                return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text));
            };
            depends_on_itself = self::depends_on_itself(priority, header.stream);
            block = rest;
        }
        let mut flags = header.flags;
        if depends_on_itself {
            // Remembered until the block is whole, which has to be decoded in any case.
            flags |= DEPENDS_ON_ITSELF;
        } else {
            flags &= !DEPENDS_ON_ITSELF;
        }
        if header.has(END_HEADERS) {
            return self.on_block(header.stream, flags, block, now);
        }
        self.block.clear();
        self.block.extend_from_slice(block);
        self.open_block = Some(OpenBlock {
            stream: header.stream,
            flags,
            frames: 1,
            since: now,
        });
        Ok(Outcome::Nothing)
    }

    pub(super) fn on_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        let Some(open) = &mut self.open_block else {
            return Err(ConnectionError::protocol(
                "a CONTINUATION outside a header block",
            ));
        };
        open.frames += 1;
        let length = self.block.len() + payload.len();
        let (bytes_max, frames_max) = (
            self.limits.header_bytes_decoded_max,
            self.limits.header_frames_max,
        );
        if length > bytes_max as usize || open.frames > frames_max {
            let text = format!(
                "a header block of {length} bytes in {} frames, the limits are {bytes_max} and {frames_max}",
                open.frames
            );
            return Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        self.block.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            return Ok(Outcome::Nothing);
        }
        let OpenBlock { stream, flags, .. } = *open;
        self.open_block = None;
        let block = mem::take(&mut self.block);
        let outcome = self.on_block(stream, flags, &block, now);
        if block.capacity() <= BLOCK_BYTES_KEPT {
            self.block = block;
        }
        outcome
    }

    /// Handles a whole header block.
    #[inline]
    fn on_block(
        &mut self,
        id: u32,
        flags: u8,
        block: &[u8],
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        self.decode(block)?;
        let then = match flags & END_STREAM != 0 {
            true => Then::End,
            false => Then::More,
        };
        match id > self.last_stream {
            true => self.on_head(id, flags, then, now),
            false => self.on_trailers(id, flags, then, now),
        }
    }

    #[inline]
    fn decode(&mut self, block: &[u8]) -> Result<(), ConnectionError> {
        let fields = &mut self.fields;
        fields.clear();
        self.decoder
            .decode(block, &*self.routes, |class, name, value| {
                fields.push(class, name, value);
            })
            .map_err(|error| {
                let code = match error {
                    HpackError::ListTooLarge => ErrorCode::ENHANCE_YOUR_CALM,
                    _ => ErrorCode::COMPRESSION_ERROR,
                };
                ConnectionError::new(code, error.to_string())
            })
    }

    /// Handles a block on a stream that the client has not used yet.
    #[inline]
    fn on_head(
        &mut self,
        id: u32,
        flags: u8,
        then: Then,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        if let Goodbye::Last(last) = self.goodbye
            && id > last
        {
            // Not taken, as the client knows or will know. The block had to be decoded.
            return self.idle(1, now).map(|()| Outcome::Nothing);
        }
        if id > self.last_stream + 2 {
            self.left_out = (self.last_stream, id);
        }
        self.last_stream = id;
        if flags & DEPENDS_ON_ITSELF != 0 || self.is_malformed_head(then) {
            return self.refuse(id, ErrorCode::PROTOCOL_ERROR, now);
        }
        if self.streams.open() >= self.limits.streams_max as usize {
            return self.refuse(id, ErrorCode::REFUSED_STREAM, now);
        }
        if self.fields.is_too_large() {
            return self.refuse_head(id, then, now);
        }
        let (window, length) = (self.sending.stream_window, self.fields.content_length());
        let key = self.streams.insert(id, window, then, length);
        self.idle_frames.earn(IDLE_FRAMES_EARNED);
        Ok(Outcome::Request(key, then))
    }

    #[inline]
    fn is_malformed_head(&self, then: Then) -> bool {
        // Of a list that is too large nothing is known of the end.
        if self.fields.is_too_large() {
            return false;
        }
        // A body that never comes (section 8.1.1).
        let is_short = then == Then::End && self.fields.content_length().unwrap_or(0) > 0;
        is_short || self.fields.malformed_head().is_some()
    }

    /// Handles a block on a stream that the client has used before.
    fn on_trailers(
        &mut self,
        id: u32,
        flags: u8,
        then: Then,
        now: Duration,
    ) -> Result<Outcome, ConnectionError> {
        let Some((key, stream)) = self.streams.find(id) else {
            return self.on_closed_stream("HEADERS", id, now);
        };
        if !stream.is_receiving {
            return self.stream_error(key, ErrorCode::STREAM_CLOSED, now);
        }
        let is_short = stream.length_left.unwrap_or(0) > 0;
        let is_malformed = flags & DEPENDS_ON_ITSELF != 0
            || then == Then::More
            || is_short
            || self.fields.is_too_large()
            || self.fields.malformed_trailers().is_some();
        if is_malformed {
            return self.stream_error(key, ErrorCode::PROTOCOL_ERROR, now);
        }
        stream.is_receiving = false;
        Ok(Outcome::Trailers(key))
    }
}

/// A flag of this side's own among those of HEADERS, which does not use it: the priority of the stream depends on the stream.
const DEPENDS_ON_ITSELF: u8 = 0x40;

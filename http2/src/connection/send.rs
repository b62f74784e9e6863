//! Answers: what the user sends on streams.

use crate::connection::event::StreamKey;
use crate::connection::headers::IDLE_FRAMES_EARNED;
use crate::connection::state::Connection;
use crate::error_code::ErrorCode;
use crate::frame::{END_STREAM, FrameHeader, PAYLOAD_MAX, kind};
use crate::header_block::HeaderBlock;
use crate::hpack::put_integer;

/// DATA of fewer bytes does not count as something: a client that opens its window by a byte at a time could ask for it without
/// end (CVE-2019-9511).
const USEFUL_BYTES_MIN: usize = 128;

/// The stream is closed: its answer was whole, the client has reset it, or the connection has ended. This is no fault of the user's;
/// there was or will be an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stream is closed")
    }
}

impl std::error::Error for Gone {}

/// Whether DATA ends the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl Connection {
    /// Sends a whole answer: head, data and trailers. Returns how much of the data was taken. If that is not all, the trailers are
    /// not sent: the user goes on with the rest of the data at the event [`Writable`](super::Event::Writable), then with
    /// the trailers.
    ///
    /// # Errors
    /// If the stream is closed.
    #[inline]
    pub fn respond(
        &mut self,
        stream: StreamKey,
        head: &HeaderBlock,
        data: &[u8],
        trailers: &HeaderBlock,
    ) -> Result<usize, Gone> {
        self.send_head(stream, head)?;
        let taken = self.send_data(stream, data)?;
        if taken == data.len() {
            self.send_trailers(stream, trailers)?;
        }
        Ok(taken)
    }

    /// Sends the head of an answer.
    ///
    /// # Errors
    /// If the stream is closed.
    #[inline]
    pub fn send_head(&mut self, stream: StreamKey, head: &HeaderBlock) -> Result<(), Gone> {
        self.streams.get(stream).ok_or(Gone)?.has_head = true;
        self.put_block(head, stream.id);
        Ok(())
    }

    /// Whether the head of a stream's answer was sent.
    pub fn has_head(&mut self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|open| open.has_head)
    }

    /// Sends DATA, as much as the windows of the client and the output have room for. Returns how many bytes were taken. If
    /// that is not all, there is an event [`Writable`](super::Event::Writable) when there is room for more.
    ///
    /// # Errors
    /// If the stream is closed.
    #[inline]
    pub fn send_data(&mut self, stream: StreamKey, data: &[u8]) -> Result<usize, Gone> {
        self.put_data(stream, data, Last::No)
    }

    /// Sends DATA as [`send_data`](Self::send_data) does, and ends the answer if all of it is taken.
    ///
    /// # Errors
    /// If the stream is closed.
    pub fn send_last_data(&mut self, stream: StreamKey, data: &[u8]) -> Result<usize, Gone> {
        self.put_data(stream, data, Last::Yes)
    }

    /// Ends an answer with trailers; or sends all of it, if no head was sent. A client that is still sending its request is
    /// told that the rest is not needed.
    ///
    /// # Errors
    /// If the stream is closed.
    #[inline]
    pub fn send_trailers(&mut self, stream: StreamKey, trailers: &HeaderBlock) -> Result<(), Gone> {
        self.streams.get(stream).ok_or(Gone)?;
        self.put_last_block(trailers, stream.id);
        self.finish(stream);
        Ok(())
    }

    #[inline]
    fn put_data(&mut self, key: StreamKey, data: &[u8], last: Last) -> Result<usize, Gone> {
        self.streams.get(key).ok_or(Gone)?;
        let room = self.sending.room(&mut self.streams, key, data.len());
        let is_last = last == Last::Yes && room == data.len();
        let mut rest = &data[..room];
        while !rest.is_empty() {
            let (payload, after) = rest.split_at(rest.len().min(PAYLOAD_MAX));
            let is_end = is_last && after.is_empty();
            self.put_data_frame(key.id, payload, is_end);
            rest = after;
        }
        if data.is_empty() && is_last {
            self.put_data_frame(key.id, &[], true);
        }
        self.sending.window -= room as i64;
        if let Some(stream) = self.streams.get(key) {
            stream.send_window -= room as i64;
        }
        if room >= USEFUL_BYTES_MIN {
            self.idle_frames.earn(IDLE_FRAMES_EARNED);
        }
        if is_last {
            self.finish(key);
        }
        Ok(room)
    }

    #[inline]
    fn put_data_frame(&mut self, stream: u32, payload: &[u8], is_end: bool) {
        let header = FrameHeader {
            length: payload.len(),
            kind: kind::DATA,
            flags: if is_end { END_STREAM } else { 0 },
            stream,
        };
        let out = &mut self.sending.output.bytes;
        out.extend_from_slice(&header.bytes());
        out.extend_from_slice(payload);
    }

    /// Closes a stream whose answer is whole.
    #[inline]
    fn finish(&mut self, key: StreamKey) {
        let Some(stream) = self.remove(key) else {
            return;
        };
        if stream.is_receiving {
            // Section 8.1: the answer did not depend on the rest of the request.
            self.put_reset(key.id, ErrorCode::NO_ERROR);
        }
        self.cancellations.earn(1);
        self.idle_frames.earn(IDLE_FRAMES_EARNED);
    }

    #[inline]
    fn put_block(&mut self, block: &HeaderBlock, stream: u32) {
        match self.sending.owes_table_size {
            false => block.put(&mut self.sending.output.bytes, stream),
            true => {
                let block = self.with_table_size(block);
                block.put(&mut self.sending.output.bytes, stream);
            }
        }
    }

    #[inline]
    pub(super) fn put_last_block(&mut self, block: &HeaderBlock, stream: u32) {
        match self.sending.owes_table_size {
            false => block.put_last(&mut self.sending.output.bytes, stream),
            true => {
                let block = self.with_table_size(block);
                block.put_last(&mut self.sending.output.bytes, stream);
            }
        }
    }

    /// A block with the size of the dynamic table in front.
    #[cold]
    fn with_table_size(&mut self, block: &HeaderBlock) -> HeaderBlock {
        let mut encoded = Vec::new();
        if let Some(size) = self.sending.take_table_size() {
            put_integer(&mut encoded, 0x20, 5, size as usize);
        }
        encoded.extend(block.encoded());
        HeaderBlock::from_encoded(&encoded)
    }
}

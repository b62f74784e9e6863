//! A header block that is encoded once and sent many times.

use crate::frame::{END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_MAX, kind};
use crate::hpack::{put_integer, put_string, static_index, static_name_index};

/// Where a frame header has its flags.
const FLAGS_OFFSET: usize = 4;

/// Where a frame header has the stream id.
const STREAM_ID_OFFSET: usize = 5;

/// The frames of a header block, on stream 0: HEADERS, with CONTINUATION frames if the block is long. To send them is to copy
/// them, and to fill in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderBlock {
    frames: Vec<u8>,
}

impl HeaderBlock {
    /// Encodes fields without the dynamic table of the peer, so that the block may be sent any number of times, on any
    /// connection. Names must be in lower case.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::of_bytes(
            fields
                .into_iter()
                .map(|(name, value)| (name, value.as_bytes())),
        )
    }

    /// Encodes fields whose values may be any bytes that a field may have, as [`new`](Self::new) does.
    pub fn of_bytes<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut block = Vec::new();
        for (name, value) in fields {
            let indexed = str::from_utf8(value).map(|value| static_index(name, value));
            if let Ok(Some(index)) = indexed {
                put_integer(&mut block, 0x80, 7, index);
                continue;
            }
            match static_name_index(name) {
                Some(index) => put_integer(&mut block, 0, 4, index),
                None => {
                    block.push(0);
                    put_string(&mut block, name.as_bytes());
                }
            }
            put_string(&mut block, value);
        }
        Self::from_encoded(&block)
    }

    /// Makes the frames of a block that was encoded elsewhere.
    #[must_use]
    pub fn from_encoded(block: &[u8]) -> Self {
        let count = block.chunks(PAYLOAD_MAX).count().max(1);
        let mut frames = Vec::with_capacity(count * FRAME_HEADER_BYTES + block.len());
        for index in 0..count {
            let rest = &block[index * PAYLOAD_MAX..];
            let chunk = &rest[..rest.len().min(PAYLOAD_MAX)];
            let header = FrameHeader {
                length: chunk.len(),
                kind: match index {
                    0 => kind::HEADERS,
                    _ => kind::CONTINUATION,
                },
                flags: match index + 1 == count {
                    true => END_HEADERS,
                    false => 0,
                },
                stream: 0,
            };
            frames.extend_from_slice(&header.bytes());
            frames.extend_from_slice(chunk);
        }
        Self { frames }
    }

    /// Appends the frames, on `stream`.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>, stream: u32) {
        let mut at = out.len();
        out.extend_from_slice(&self.frames);
        // Nearly always a single frame.
        while let Some(header) = out[at..].first_chunk_mut::<FRAME_HEADER_BYTES>() {
            let length = FrameHeader::parse(header).length;
            header[STREAM_ID_OFFSET..].copy_from_slice(&stream.to_be_bytes());
            at += FRAME_HEADER_BYTES + length;
        }
    }

    /// Appends the frames, on `stream`, which ends with them.
    #[inline]
    pub fn put_last(&self, out: &mut Vec<u8>, stream: u32) {
        let at = out.len();
        self.put(out, stream);
        if let Some(flags) = out.get_mut(at + FLAGS_OFFSET) {
            *flags |= END_STREAM;
        }
    }

    /// The block itself, out of its frames.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let mut rest = &self.frames[..];
        while let Some((header, after)) = rest.split_first_chunk() {
            let (payload, next) = after.split_at(FrameHeader::parse(header).length);
            block.extend_from_slice(payload);
            rest = next;
        }
        block
    }

    /// The bytes of the frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(block: &HeaderBlock, last: bool) -> Vec<u8> {
        let mut out = b"before".to_vec();
        match last {
            true => block.put_last(&mut out, 5),
            false => block.put(&mut out, 5),
        }
        out.split_off(6)
    }

    #[test]
    fn a_short_block_is_one_frame() {
        let block = HeaderBlock::new([(":status", "200"), ("grpc-status", "0"), ("te", "")]);
        let payload = b"\x88\x00\x0bgrpc-status\x010\x00\x02te\x00";
        assert_eq!(put(&block, false)[..9], [0, 0, 21, 1, 4, 0, 0, 0, 5]);
        assert_eq!(put(&block, true)[..9], [0, 0, 21, 1, 5, 0, 0, 0, 5]);
        assert_eq!(put(&block, true)[9..], *payload);
        assert_eq!(block.encoded(), payload);
        let empty = HeaderBlock::new([]);
        assert_eq!(put(&empty, true), [0, 0, 0, 1, 5, 0, 0, 0, 5]);
    }

    #[test]
    fn a_value_may_have_any_bytes() {
        let block = HeaderBlock::of_bytes([("via", &b"\xff\xfe"[..]), (":status", b"200")]);
        assert_eq!(block.encoded(), b"\x0f\x2d\x02\xff\xfe\x88");
    }

    #[test]
    fn a_long_block_goes_on_in_continuations() {
        let value = "v".repeat(2 * PAYLOAD_MAX);
        let block = HeaderBlock::new([("via", value.as_str())]);
        let out = put(&block, true);
        let mut rest = &out[..];
        let mut seen = Vec::new();
        while let Some((header, after)) = rest.split_first_chunk() {
            let header = FrameHeader::parse(header);
            seen.push((header.kind, header.flags, header.length, header.stream));
            rest = &after[header.length..];
        }
        let left = block.encoded().len() - 2 * PAYLOAD_MAX;
        let expected = [
            (kind::HEADERS, END_STREAM, PAYLOAD_MAX, 5),
            (kind::CONTINUATION, 0, PAYLOAD_MAX, 5),
            (kind::CONTINUATION, END_HEADERS, left, 5),
        ];
        assert_eq!(seen, expected);
        assert_eq!(block.len(), out.len());
    }
}

//! Frames: their header, types and flags, and the writing of frames.
//!
//! Source: RFC 9113, sections 4 and 6.

use crate::error_code::ErrorCode;

/// The connection preface of a client (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame header.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The largest payload of a frame, in both directions: the smallest limit that SETTINGS_MAX_FRAME_SIZE can set, so
/// every peer accepts it.
pub const PAYLOAD_MAX: usize = 16_384;

/// The largest flow-control window.
pub const WINDOW_MAX: i64 = 0x7fff_ffff;

/// The flow-control window that every connection and stream begins with (section 6.9.2).
pub const WINDOW_INITIAL: u32 = 65_535;

/// Flag of DATA and HEADERS: the last frame of the stream in this direction.
pub const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: acknowledges the frame of the other side.
pub const ACK: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: ends the header block.
pub const END_HEADERS: u8 = 0x4;
/// Flag of DATA and HEADERS: the payload is padded.
pub const PADDED: u8 = 0x8;
/// Flag of HEADERS: five bytes of priority precede the header block.
pub const PRIORITY: u8 = 0x20;

/// Frame types.
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0x0;
    /// A header block, or its beginning. The first one of a stream opens it.
    pub const HEADERS: u8 = 0x1;
    /// Advice that nobody follows any more.
    pub const PRIORITY: u8 = 0x2;
    /// Ends a stream at once.
    pub const RST_STREAM: u8 = 0x3;
    /// What the sender is ready for.
    pub const SETTINGS: u8 = 0x4;
    /// Announces a stream that a server opens.
    pub const PUSH_PROMISE: u8 = 0x5;
    /// Asks for an answer.
    pub const PING: u8 = 0x6;
    /// The sender takes no more streams.
    pub const GOAWAY: u8 = 0x7;
    /// Allows more bytes of DATA.
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// A further part of a header block.
    pub const CONTINUATION: u8 = 0x9;
}

/// Identifiers of settings.
pub mod setting {
    /// Most bytes of the dynamic table with which the sender decodes.
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    /// Whether a server may push: 0 or 1.
    pub const ENABLE_PUSH: u16 = 0x2;
    /// Most streams that the peer may have open.
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    /// The window with which a stream of the peer's DATA begins.
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    /// The largest payload that the sender takes.
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    /// The largest header list that the sender takes: advice.
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// The header of a frame: its first nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the payload.
    pub length: usize,
    /// The frame type: see [`kind`].
    pub kind: u8,
    /// What the flags mean depends on the type.
    pub flags: u8,
    /// 0 for frames of the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads a header.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The highest bit is reserved.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Encodes the header. The length must be below 2^24; payloads made here are.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Whether a flag is set.
    #[inline]
    #[must_use]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
#[inline]
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let header = FrameHeader {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&header.bytes());
    out.extend_from_slice(payload);
}

/// Appends a SETTINGS frame.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| {
            let [a, b] = name.to_be_bytes();
            let [c, d, e, f] = value.to_be_bytes();
            [a, b, c, d, e, f]
        })
        .collect();
    put(out, kind::SETTINGS, 0, 0, &payload);
}

/// Appends a WINDOW_UPDATE.
#[inline]
pub fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(
        out,
        kind::WINDOW_UPDATE,
        0,
        stream,
        &increment.to_be_bytes(),
    );
}

/// Appends an RST_STREAM.
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    put(out, kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
}

/// Appends a GOAWAY. `last_stream` is the highest stream of the peer that was, or may be, processed.
pub fn put_goaway(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, text: &str) {
    let mut payload = last_stream.to_be_bytes().to_vec();
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(text.as_bytes());
    put(out, kind::GOAWAY, 0, 0, &payload);
}

/// Returns the first four bytes of a payload as an integer.
#[inline]
#[must_use]
pub fn leading_u32(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

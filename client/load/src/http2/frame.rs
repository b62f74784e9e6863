//! HTTP/2 frames: their header, types, flags and error codes, and the writing of frames.
//!
//! Source: RFC 9113, sections 4 and 6.

use std::fmt;

/// The connection preface of a client (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame header.
pub(crate) const FRAME_HEADER_BYTES: usize = 9;

/// The largest payload of a frame, in both directions: the smallest limit that SETTINGS_MAX_FRAME_SIZE can set, so
/// every peer accepts it.
pub(crate) const PAYLOAD_MAX: usize = 16_384;

/// The largest flow-control window.
pub(crate) const WINDOW_MAX: i64 = 0x7fff_ffff;

/// The flow-control window that every connection and stream begins with (section 6.9.2).
pub(crate) const WINDOW_INITIAL: u32 = 65_535;

/// Flag of DATA and HEADERS: the last frame of the stream in this direction.
pub(crate) const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: acknowledges the frame of the other side.
pub(crate) const ACK: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: ends the header block.
pub(crate) const END_HEADERS: u8 = 0x4;
/// Flag of DATA and HEADERS: the payload is padded.
pub(crate) const PADDED: u8 = 0x8;
/// Flag of HEADERS: five bytes of priority precede the header block.
pub(crate) const PRIORITY: u8 = 0x20;

/// Frame types.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

/// Identifiers of settings.
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// Why a stream or connection was closed (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub(crate) u32);

impl ErrorCode {
    #[cfg(test)]
    pub(crate) const NO_ERROR: Self = Self(0x0);
    pub(crate) const PROTOCOL_ERROR: Self = Self(0x1);
    #[cfg(test)]
    pub(crate) const INTERNAL_ERROR: Self = Self(0x2);
    pub(crate) const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub(crate) const STREAM_CLOSED: Self = Self(0x5);
    pub(crate) const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub(crate) const REFUSED_STREAM: Self = Self(0x7);
    pub(crate) const CANCEL: Self = Self(0x8);
    pub(crate) const COMPRESSION_ERROR: Self = Self(0x9);
    pub(crate) const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub(crate) const INADEQUATE_SECURITY: Self = Self(0xc);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match usize::try_from(self.0).ok().and_then(|at| NAMES.get(at)) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {:#x}", self.0),
        }
    }
}

/// The header of a frame: its first nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Length of the payload.
    pub(crate) length: usize,
    /// The frame type: see [`kind`].
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// 0 for frames of the connection.
    pub(crate) stream: u32,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
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
    pub(crate) fn bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
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
pub(crate) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
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
pub(crate) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(
        out,
        kind::WINDOW_UPDATE,
        0,
        stream,
        &increment.to_be_bytes(),
    );
}

/// Appends an RST_STREAM.
pub(crate) fn put_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    put(out, kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
}

/// Appends a GOAWAY. Its last stream is 0: a server opens no streams here, since push is disabled.
pub(crate) fn put_goaway(out: &mut Vec<u8>, code: ErrorCode, text: &str) {
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(text.as_bytes());
    put(out, kind::GOAWAY, 0, 0, &payload);
}

/// Returns the first four bytes of a payload as an integer.
pub(crate) fn leading_u32(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

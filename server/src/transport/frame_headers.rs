//! The headers of the frames that a connection sends, wherever its bytes are cut.

/// The header of a frame. Source: RFC 9113, section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: u8,
    pub(super) flags: u8,
}

/// Walks from header to header.
pub(super) struct FrameHeaders {
    /// The first bytes of a header that has not arrived whole, and how many.
    begun: [u8; HEADER_BYTES],
    begun_len: usize,
    /// Bytes until the next header.
    ahead: usize,
}

const HEADER_BYTES: usize = 9;

/// Bytes before the first frame.
const PREFACE_BYTES: usize = 24;

impl FrameHeaders {
    /// For the bytes of a client from the preface on.
    pub(super) fn after_preface() -> Self {
        Self {
            begun: [0; HEADER_BYTES],
            begun_len: 0,
            ahead: PREFACE_BYTES,
        }
    }

    /// Passes over these bytes, and calls `found` with each header that ends in them.
    #[inline]
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHeader)) {
        loop {
            let passed = self.ahead.min(bytes.len());
            self.ahead -= passed;
            bytes = &bytes[passed..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEADER_BYTES - self.begun_len).min(bytes.len());
            let (start, rest) = bytes.split_at(taken);
            self.begun[self.begun_len..self.begun_len + taken].copy_from_slice(start);
            self.begun_len += taken;
            bytes = rest;
            if self.begun_len < HEADER_BYTES {
                return;
            }
            self.begun_len = 0;
            let [high, middle, low, kind, flags, ..] = self.begun;
            self.ahead = u32::from_be_bytes([0, high, middle, low]) as usize;
            found(FrameHeader { kind, flags });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_wherever_the_bytes_are_cut() {
        let mut bytes = vec![0; PREFACE_BYTES];
        let mut expected = Vec::new();
        for (kind, len) in [
            (4, 0),
            (1, 70),
            (0, 300),
            (9, 1),
            (6, 8),
            (255, 70_000),
            (4, 6),
        ] {
            bytes.extend(&u32::to_be_bytes(len)[1..]);
            bytes.extend([kind, kind / 2, 0, 0, 0, 1]);
            bytes.extend(vec![7; len as usize]);
            expected.push(FrameHeader {
                kind,
                flags: kind / 2,
            });
        }
        for chunk in [1, 2, 3, 8, 9, 10, 64, 1000, bytes.len()] {
            let mut headers = FrameHeaders::after_preface();
            let mut found = Vec::new();
            for part in bytes.chunks(chunk) {
                headers.read(part, |header| found.push(header));
            }
            assert_eq!(found, expected, "chunks of {chunk}");
        }
    }
}

//! A place to encode short fields in.
//!
//! A vector looks for room at each byte, which takes longer than the byte. Most results have some forty bytes: they are encoded
//! here, and appended together.

/// Most bytes of a result besides texts and bytes: two nested messages around a Write's revisions and the entry before it.
const SCRATCH_BYTES: usize = 96;

/// Encoded fields. What has texts or bytes is moved to a vector in between.
pub(super) struct Scratch {
    bytes: [u8; SCRATCH_BYTES],
    len: usize,
}

impl Scratch {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; SCRATCH_BYTES],
            len: 0,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends everything to `buf`.
    #[inline]
    pub(super) fn move_to(&mut self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(self.bytes());
        self.len = 0;
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Puts the tag and the length of a nested message, text or bytes.
    #[inline]
    pub(super) fn prefix(&mut self, field: u8, len: usize) {
        self.byte(field << 3 | 2);
        self.varint(len as u64);
    }

    /// Puts an int64 field, which is left out if it is 0.
    #[inline]
    pub(super) fn int(&mut self, field: u8, int: i64) {
        if int != 0 {
            self.byte(field << 3);
            self.varint(int.cast_unsigned());
        }
    }

    /// Puts a bool field, which is left out if it is false.
    #[inline]
    pub(super) fn flag(&mut self, field: u8, flag: bool) {
        self.int(field, flag.into());
    }
}

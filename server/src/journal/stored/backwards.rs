//! Protobuf messages, written from their last field to their first: the length of a message stands before it, and is known once
//! the message is written. So nothing is measured first, and no message is made of what is only to be encoded.
//!
//! Source: the protobuf documentation, "Encoding".

/// Bytes of messages, from the last to the first.
#[derive(Debug)]
pub(super) struct Backwards {
    /// The first bytes are not written yet.
    bytes: Vec<u8>,
    /// Where the written bytes begin.
    start: usize,
}

/// How a field's value follows its number.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Length = 2,
}

impl Backwards {
    /// Begins with room for so many bytes, of which there may be more.
    pub(super) fn with_room(len: usize) -> Self {
        Self {
            bytes: vec![0; len],
            start: len,
        }
    }

    /// How many bytes are written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes. The vector has room for as many more as were not needed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }

    /// Writes bytes as they are.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    /// Writes the number and the length of a message. Its fields were written since there were `before` bytes.
    #[inline]
    pub(super) fn head_of_message(&mut self, field: u8, before: usize) {
        self.varint((self.len() - before) as u64);
        self.tag(field, Wire::Length);
    }

    /// Writes a number, even if it is 0.
    #[inline]
    pub(super) fn number(&mut self, field: u8, number: u64) {
        self.varint(number);
        self.tag(field, Wire::Varint);
    }

    /// Writes a number. A 0 is left out, because it is what a missing one means.
    #[inline]
    pub(super) fn number_unless_0(&mut self, field: u8, number: u64) {
        if number != 0 {
            self.number(field, number);
        }
    }

    /// Writes bytes or text, even if there is none.
    #[inline]
    pub(super) fn text(&mut self, field: u8, text: &[u8]) {
        self.put(text);
        self.varint(text.len() as u64);
        self.tag(field, Wire::Length);
    }

    /// Writes text. An empty one is left out, because it is what a missing one means.
    #[inline]
    pub(super) fn text_unless_empty(&mut self, field: u8, text: &str) {
        if !text.is_empty() {
            self.text(field, text.as_bytes());
        }
    }

    #[inline]
    fn tag(&mut self, field: u8, wire: Wire) {
        debug_assert!(field < 16, "the number of the field has one byte");
        self.room(1)[0] = field << 3 | wire as u8;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        let len = (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize;
        let (last, others) = self
            .room(len)
            .split_last_mut()
            .expect("a varint has at least one byte");
        for byte in others {
            *byte = value as u8 | 0x80;
            value >>= 7;
        }
        *last = value as u8;
    }

    /// The place of the next `len` bytes.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.start < len {
            self.grow(len);
        }
        let end = self.start;
        self.start -= len;
        &mut self.bytes[self.start..end]
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let more = self.bytes.len().max(len);
        let mut grown = vec![0; more + self.bytes.len()];
        grown[more..].copy_from_slice(&self.bytes);
        self.bytes = grown;
        self.start += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint;

    #[test]
    fn numbers_are_the_same_as_from_the_front() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 35, u64::MAX] {
            let mut forwards = Vec::new();
            varint::put(&mut forwards, value);
            let mut backwards = Backwards::with_room(0);
            backwards.varint(value);
            assert_eq!(backwards.finish(), forwards, "{value}");
        }
    }

    #[test]
    fn messages_get_their_length_however_little_room_there_was() {
        for room in 0..20 {
            let mut out = Backwards::with_room(room);
            let before = out.len();
            out.text(2, b"abc");
            out.number_unless_0(1, 0);
            out.text_unless_empty(1, "");
            out.number(1, 300);
            out.head_of_message(7, before);
            out.put(b"!");
            let expected = [b"!", &[0x3a, 8, 8, 0xac, 2, 0x12, 3][..], b"abc"].concat();
            assert_eq!(out.finish(), expected, "room for {room}");
        }
    }
}

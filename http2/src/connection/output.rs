//! What waits to be written: whole frames in one buffer.

/// A buffer above this is freed when everything is written.
const BYTES_KEPT: usize = 32 * 1_024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    written: usize,
    bytes_max: usize,
}

impl Output {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            bytes_max,
        }
    }

    /// What to write next.
    #[inline]
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Removes the first `count` unwritten bytes.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            if self.bytes.capacity() > BYTES_KEPT {
                self.bytes = Vec::new();
            }
        } else if self.written > self.bytes_max {
            // If the socket never takes everything, the buffer must not grow without end.
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// How much DATA there is room for.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.unwritten().len())
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_leaves_and_the_rest_stays() {
        let mut output = Output::new(4);
        output.bytes.extend(0..12);
        assert_eq!((output.room(), output.unwritten().len()), (0, 12));
        output.wrote(3);
        assert_eq!(output.unwritten()[0], 3);
        output.wrote(3);
        assert_eq!((output.bytes.len(), output.unwritten()[0]), (6, 6));
        output.wrote(9);
        assert_eq!((output.room(), output.unwritten().len()), (4, 0));
        output.bytes.resize(BYTES_KEPT + 1, 0);
        output.wrote(BYTES_KEPT + 1);
        assert_eq!(output.held(), 0);
    }
}

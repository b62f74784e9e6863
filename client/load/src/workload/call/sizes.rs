//! The sizes of messages.

/// How many messages there were, and how long they were, encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// 0 without messages.
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Sizes {
    #[inline]
    pub(crate) fn count(&mut self, length: usize) {
        let length = length as u64;
        self.min = match self.messages {
            0 => length,
            _ => self.min.min(length),
        };
        self.max = self.max.max(length);
        self.messages += 1;
        self.bytes += length;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.min = match (self.messages, other.messages) {
            (0, _) => other.min,
            (_, 0) => self.min,
            _ => self.min.min(other.min),
        };
        self.max = self.max.max(other.max);
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

//! How many bytes of values one answer may hold.

use super::rejection::Cause;
use super::tree::EntryRef;

/// How many bytes of values the answer to one message may hold, and holds already. The answer to a single operation always
/// fits; that to a frame of large reads may not.
pub(super) struct AnswerBudget {
    used: usize,
    limit: usize,
}

impl AnswerBudget {
    pub(super) const fn of(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Bytes of values that the answer holds so far.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Adds the value of `entry`.
    ///
    /// # Errors
    /// [`Cause::AnswerTooLarge`] if the answer would hold too much; the operation that would show `entry` is refused then.
    #[inline]
    pub(super) fn take(&mut self, entry: Option<EntryRef<'_>>) -> Result<(), Cause> {
        let used = self.used + entry.map_or(0, |entry| entry.value.byte_len());
        if used > self.limit {
            return Err(Cause::AnswerTooLarge {
                limit: self.limit,
                actual: used,
            });
        }
        self.used = used;
        Ok(())
    }
}

//! How much one answer may hold.

use super::rejection::Cause;
use super::tree::EntryRef;

/// How much the answer to one message may still carry. A single entry always fits; a frame of large reads may not.
pub(super) struct AnswerBudget {
    used: usize,
    limit: usize,
}

impl AnswerBudget {
    pub(super) const fn of(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Bytes of values that it carries so far.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Makes room for `entry`, or refuses the operation that would show it.
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

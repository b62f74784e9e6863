//! The sizes of the last records: those that fill the history for watches stay in the log, for a standby to have them too.

use std::collections::VecDeque;

use crate::machine::StoreLimits;

/// The records that fill the history, the newest last.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    records: VecDeque<Size>,
    changes: usize,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    seq: u64,
    changes: usize,
    bytes: usize,
}

impl Recent {
    pub(super) fn new(limits: &StoreLimits) -> Self {
        Self {
            records: VecDeque::new(),
            changes: 0,
            bytes: 0,
            changes_max: limits.ring_changes,
            bytes_max: limits.ring_bytes,
        }
    }

    /// Adds the next record.
    pub(super) fn add(&mut self, seq: u64, changes: usize, bytes: usize) {
        let size = Size {
            seq,
            changes,
            bytes,
        };
        self.records.push_back(size);
        self.changes += changes;
        self.bytes += bytes;
        while let Some(first) = self.records.front()
            && (self.changes - first.changes >= self.changes_max
                || self.bytes - first.bytes >= self.bytes_max)
        {
            self.changes -= first.changes;
            self.bytes -= first.bytes;
            self.records.pop_front();
        }
    }

    /// The first record that is to stay.
    pub(super) fn first(&self) -> Option<u64> {
        self.records.front().map(|first| first.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn the_records_that_fill_the_history_stay() {
        let mut limits = Limits::DEFAULT.store_limits();
        (limits.ring_changes, limits.ring_bytes) = (10, 100);
        let mut recent = Recent::new(&limits);
        assert_eq!(recent.first(), None);
        (1..=4).for_each(|seq| recent.add(seq, 5, 1));
        assert_eq!(recent.first(), Some(3));
        recent.add(5, 0, 200);
        assert_eq!(recent.first(), Some(5));
        recent.add(6, 1, 99);
        assert_eq!(recent.first(), Some(5));
        recent.add(7, 1, 1);
        assert_eq!(recent.first(), Some(6));
    }
}

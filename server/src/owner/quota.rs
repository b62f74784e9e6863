//! What the frames of one connection take: their places in the mailbox, and the bytes of their answers until the client
//! takes them.
//!
//! The answers to a stream's frames wait until its client reads them, and keep alive the values that they show, also
//! when the store has long replaced them. So there is a limit to what one connection may leave unread.
//!
//! A connection can send more frames at once than the mailbox has places. That it takes them all would have everybody else
//! refused, so no more of its frames may wait than there are places left: one greedy connection gets half of the mailbox, two
//! get a third each, and there is always something left for others. Source: A. K. Choudhury and E. L. Hahne, "Dynamic queue
//! length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998. Calls need no such
//! rule: the streams of a connection are fewer (`--max-streams`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The account of one connection. Clones share it. Only the owner adds to what is unread, so what it finds free stays free.
#[derive(Clone, Debug)]
pub struct ConnectionQuota {
    counters: Arc<Counters>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Counters {
    /// Bytes of answers.
    unread_bytes: AtomicUsize,
    /// Frames in the mailbox.
    queued_frames: AtomicUsize,
    /// Bytes of them.
    queued_bytes: AtomicUsize,
}

/// What the frames of one connection take in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl ConnectionQuota {
    /// An account of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            counters: Arc::default(),
            limit,
        }
    }

    /// Bytes that may still be added.
    pub(super) fn free_bytes(&self) -> usize {
        // Relaxed: the number guards no other memory.
        self.limit
            .saturating_sub(self.counters.unread_bytes.load(Ordering::Relaxed))
    }

    /// What waits in the mailbox.
    pub(super) fn queued(&self) -> Queued {
        Queued {
            frames: self.counters.queued_frames.load(Ordering::Relaxed),
            bytes: self.counters.queued_bytes.load(Ordering::Relaxed),
        }
    }

    /// A frame goes into the mailbox.
    pub(super) fn enqueue(&self, bytes: usize) {
        self.counters.queued_frames.fetch_add(1, Ordering::Relaxed);
        self.counters
            .queued_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// A frame was taken from the mailbox, or found no place there.
    pub(super) fn dequeue(&self, bytes: usize) {
        self.counters.queued_frames.fetch_sub(1, Ordering::Relaxed);
        self.counters
            .queued_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds `bytes`, until what this returns is dropped.
    pub(super) fn charge(self, bytes: usize) -> QuotaGuard {
        self.counters
            .unread_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        QuotaGuard { quota: self, bytes }
    }
}

/// Bytes on an account. Drop it with the answer.
#[derive(Debug)]
pub struct QuotaGuard {
    quota: ConnectionQuota,
    bytes: usize,
}

impl Drop for QuotaGuard {
    fn drop(&mut self) {
        self.quota
            .counters
            .unread_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

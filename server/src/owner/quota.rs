//! What one connection may use: bytes of answers that its client has not read, and room in the mailbox.
//!
//! **Answers.** The answers to frames wait until the client reads them. Meanwhile they keep alive the values that they
//! show, even values that the store has replaced since. So each connection has a limit of unread bytes.
//!
//! **Mailbox.** One connection can send more frames at once than the mailbox holds. If it could fill the mailbox, all
//! others would be refused. So a connection may have at most as many frames waiting as there is room left: one greedy
//! connection gets half of the mailbox, two get a third each, and there is always room for others. Source: A. K.
//! Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
//! Transactions on Networking 6(2), 1998. Unary calls need no such rule, because a connection has few streams
//! (`--max-streams`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The quota of one connection. Clones share the counters. Only the owner adds unread bytes, so bytes that it finds
/// free stay free until it charges them.
#[derive(Clone, Debug)]
pub struct ConnectionQuota {
    counters: Arc<Counters>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Counters {
    /// Bytes of values in answers that the client has not read.
    unread_bytes: AtomicUsize,
    /// Messages in the mailbox that carry frames.
    queued_frames: AtomicUsize,
    /// Bytes of these messages.
    queued_bytes: AtomicUsize,
}

/// The share of the mailbox that one connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuedFrames {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl ConnectionQuota {
    /// Returns a quota of `limit` unread bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            counters: Arc::default(),
            limit,
        }
    }

    /// Returns how many bytes may still be charged.
    pub(super) fn free_bytes(&self) -> usize {
        // Relaxed, as everywhere in this file: the counters guard no other memory.
        self.limit
            .saturating_sub(self.counters.unread_bytes.load(Ordering::Relaxed))
    }

    /// Returns how much of this connection waits in the mailbox.
    pub(super) fn queued(&self) -> QueuedFrames {
        QueuedFrames {
            frames: self.counters.queued_frames.load(Ordering::Relaxed),
            bytes: self.counters.queued_bytes.load(Ordering::Relaxed),
        }
    }

    /// Counts a message that goes into the mailbox.
    pub(super) fn enqueue(&self, bytes: usize) {
        self.counters.queued_frames.fetch_add(1, Ordering::Relaxed);
        self.counters
            .queued_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a message that has left the mailbox, or was not accepted there.
    pub(super) fn dequeue(&self, bytes: usize) {
        self.counters.queued_frames.fetch_sub(1, Ordering::Relaxed);
        self.counters
            .queued_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Charges `bytes`, until the returned guard is dropped.
    pub(super) fn charge(self, bytes: usize) -> QuotaGuard {
        self.counters
            .unread_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        QuotaGuard { quota: self, bytes }
    }
}

/// Bytes charged to a connection's quota. Dropping the guard gives them back: drop it when the answer has been encoded.
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

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
pub struct Unread {
    account: Arc<Account>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Account {
    /// Bytes of answers.
    unread: AtomicUsize,
    /// Frames in the mailbox.
    waiting: AtomicUsize,
    /// Bytes of them.
    waiting_bytes: AtomicUsize,
}

/// What the frames of one connection take in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Unread {
    /// An account of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            account: Arc::default(),
            limit,
        }
    }

    /// Bytes that may still be added.
    pub(super) fn room(&self) -> usize {
        // Relaxed: the number guards no other memory.
        self.limit
            .saturating_sub(self.account.unread.load(Ordering::Relaxed))
    }

    /// What waits in the mailbox.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            messages: self.account.waiting.load(Ordering::Relaxed),
            bytes: self.account.waiting_bytes.load(Ordering::Relaxed),
        }
    }

    /// A frame goes into the mailbox.
    pub(super) fn wait(&self, bytes: usize) {
        self.account.waiting.fetch_add(1, Ordering::Relaxed);
        self.account
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// A frame was taken from the mailbox, or found no place there.
    pub(super) fn take(&self, bytes: usize) {
        self.account.waiting.fetch_sub(1, Ordering::Relaxed);
        self.account
            .waiting_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds `bytes`, until what this returns is dropped.
    pub(super) fn hold(self, bytes: usize) -> Held {
        self.account.unread.fetch_add(bytes, Ordering::Relaxed);
        Held {
            unread: self,
            bytes,
        }
    }
}

/// Bytes on an account. Drop it with the answer.
#[derive(Debug)]
pub struct Held {
    unread: Unread,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread
            .account
            .unread
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

//! What clients have asked for and not taken yet, in bytes.
//!
//! The answers to a stream's frames wait until its client reads them, and keep alive the values that they show, also
//! when the store has long replaced them. So there is a limit to what one connection may leave unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The account of one connection. Clones share it. Only the owner adds to it, so what it finds free stays free.
#[derive(Clone, Debug)]
pub struct Unread {
    bytes: Arc<AtomicUsize>,
    limit: usize,
}

impl Unread {
    /// An account of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Arc::default(),
            limit,
        }
    }

    /// Bytes that may still be added.
    pub(super) fn room(&self) -> usize {
        // Relaxed: the number guards no other memory.
        self.limit
            .saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    /// Adds `bytes`, until what this returns is dropped.
    pub(super) fn hold(self, bytes: usize) -> Held {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
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
        self.unread.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

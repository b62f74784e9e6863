//! What a connection has open of things whose number is limited for all connections together.
//!
//! The rule is that of `quota.rs`: a connection may have as many open as are left. One greedy connection gets half of them, two
//! get a third each, and there is always one left for somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::CallError;

/// How much one connection has open.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) watches: Share,
    pub(super) backups: Share,
}

/// How many of one kind a connection has open.
#[derive(Debug, Default)]
pub(super) struct Share(Arc<AtomicUsize>);

/// One that is open. Dropping it closes it for the count.
#[derive(Debug)]
pub(super) struct Open(Arc<AtomicUsize>);

/// A number that is limited for all connections together.
pub(super) struct Limited {
    /// What is open: "watches" or "backups".
    pub(super) what: &'static str,
    /// What is open of one connection, in words.
    pub(super) of_one: &'static str,
    /// How many are open.
    pub(super) open: usize,
    /// How many may be open.
    pub(super) limit: usize,
}

impl Share {
    /// Counts another one.
    ///
    /// # Errors
    /// [`CallError::TooManyOpen`] if all that may be open are, or if this connection has as many as are left.
    pub(super) fn open(&self, all: &Limited) -> Result<Open, CallError> {
        let free = all.limit.saturating_sub(all.open);
        let too_many = |what, limit| Err(CallError::TooManyOpen { what, limit });
        if free == 0 {
            return too_many(all.what, all.limit);
        }
        // Relaxed: the counter guards no other memory. Only the owner counts up.
        if self.0.load(Ordering::Relaxed) >= free {
            return too_many(all.of_one, free);
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Open(Arc::clone(&self.0)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

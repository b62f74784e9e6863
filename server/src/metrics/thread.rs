//! What each thread that serves connections counts.

use std::cell::OnceCell;
use std::sync::Arc;

use super::calls::{CODES, METHODS};
use super::cells::{Cell, Times};
use super::server::ServerCells;

/// Reasons of refusals are numbers below this.
pub(crate) const REASONS: usize = 128;

/// One of so many messages tells how long it waited in the mailbox.
const SAMPLED: u64 = 64;

/// The counts of one thread. Aligned, so that no other thread's counts are on its cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ThreadCells {
    /// Calls, by method.
    pub(crate) calls: [MethodCells; METHODS.len()],
    /// Refusals, by the number of their reason.
    pub(crate) refusals: [Cell; REASONS],
    /// Messages that were put into the mailbox, to tell whose wait is measured.
    sent: Cell,
    /// What is counted seldom, by whichever thread.
    pub(crate) server: Arc<ServerCells>,
}

/// The calls of one method.
#[derive(Debug, Default)]
pub(crate) struct MethodCells {
    pub(crate) started: Cell,
    /// Calls that have ended, by their code.
    pub(crate) handled: [Cell; CODES.len()],
    pub(crate) handling: Times,
}

impl ThreadCells {
    pub(crate) fn new(server: Arc<ServerCells>) -> Self {
        Self {
            calls: Default::default(),
            refusals: std::array::from_fn(|_| Cell::default()),
            sent: Cell::default(),
            server,
        }
    }

    /// Counts a message to the owner. Returns whether its wait is to be measured.
    #[inline]
    pub(crate) fn samples_message(&self) -> bool {
        self.sent.add(1);
        self.sent.get() % SAMPLED == 1
    }
}

thread_local! {
    /// Where this thread counts. Empty on other threads, and if nobody can look at the counts.
    static HERE: OnceCell<Arc<ThreadCells>> = const { OnceCell::new() };
}

/// From now on this thread counts in `cells`.
pub(crate) fn count_here(cells: Arc<ThreadCells>) {
    // A thread belongs to one server only.
    let _ = HERE.with(|here| here.set(cells));
}

/// Calls `count` with the cells of this thread, if it counts at all.
#[inline]
pub(crate) fn here<T>(count: impl FnOnce(&ThreadCells) -> T) -> Option<T> {
    HERE.try_with(|here| here.get().map(|cells| count(cells)))
        .ok()
        .flatten()
}

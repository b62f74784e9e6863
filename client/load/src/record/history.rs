//! The history of one thread: what its workers and watches have recorded.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use soloist_verify::{Capacity, PackedOperation, Watch};

use crate::record::key_numbers::KeyNumbers;

/// The most operations of a history. 72 bytes each are 3.6 GB, and the checker takes about as much again.
pub(crate) const OPERATIONS_MAX: u64 = 50_000_000;

/// What each thread needs to record a history. The threads share it.
#[derive(Clone, Debug)]
pub(crate) struct HistorySetup {
    pub(crate) numbers: Arc<KeyNumbers>,
    /// The room for the operations of all threads.
    pub(crate) room: Capacity,
    /// The revision before the run. Watches are told of everything after it.
    pub(crate) revision: i64,
}

/// Where the workers and watches of one thread leave what they have recorded.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRecording {
    setup: Rc<HistorySetup>,
    history: Rc<RefCell<ThreadHistory>>,
}

/// What the workers and watches of one thread, and in the end of all threads, have recorded.
#[derive(Debug, Default)]
pub(crate) struct ThreadHistory {
    /// Of each worker, its operations; the error says why they are not complete.
    pub(crate) workers: Vec<Result<Vec<PackedOperation>, String>>,
    pub(crate) watches: Vec<Watch>,
}

impl HistoryRecording {
    pub(crate) fn new(setup: HistorySetup) -> Self {
        Self {
            setup: Rc::new(setup),
            history: Rc::default(),
        }
    }

    pub(crate) fn setup(&self) -> &HistorySetup {
        &self.setup
    }

    /// Takes what a worker has recorded when it is done.
    pub(crate) fn push_worker(&self, operations: Result<Vec<PackedOperation>, String>) {
        self.history.borrow_mut().workers.push(operations);
    }

    /// Takes what a watch has recorded when it is done.
    pub(crate) fn push_watch(&self, watched: Watch) {
        self.history.borrow_mut().watches.push(watched);
    }

    /// Returns everything. All workers and watches must be done.
    pub(crate) fn finish(self) -> ThreadHistory {
        self.history.take()
    }
}

impl ThreadHistory {
    /// Adds what another thread has recorded.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.workers.append(&mut other.workers);
        self.watches.append(&mut other.watches);
    }
}

//! What is due in an open loop, on its way from the pacer to the workers of a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Mutex, mpsc};

/// Starts that are due, for whichever worker is free first.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Those who wait for it take turns.
    due: Mutex<mpsc::Receiver<Instant>>,
    /// What was handed out and is not answered, in all threads: the pacer drops what is beyond its limit.
    outstanding: Arc<AtomicU64>,
    /// What was due and never sent.
    unsent: Arc<AtomicU64>,
}

impl Feed {
    pub(crate) fn new(
        due: mpsc::Receiver<Instant>,
        outstanding: Arc<AtomicU64>,
        unsent: Arc<AtomicU64>,
    ) -> Self {
        Self {
            due: Mutex::new(due),
            outstanding,
            unsent,
        }
    }

    /// Waits for what is due next, and says when it was to start; `None` when nothing will be any more. Dropped midway,
    /// nothing is lost.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.due.lock().await.recv().await
    }

    /// What was due is answered, or has failed.
    pub(crate) fn answered(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    /// What was due will never be sent.
    pub(crate) fn give_back(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        self.answered();
    }
}

//! The arrivals of an open loop, from the pacer to the workers of one thread.

use std::time::Instant;

use tokio::sync::{Mutex, mpsc};

/// Operations that are due, for whichever worker of the thread is free first.
#[derive(Debug)]
pub(crate) struct ArrivalQueue {
    /// Workers that wait for the next operation take turns at this lock.
    due: Mutex<mpsc::Receiver<Instant>>,
}

impl ArrivalQueue {
    pub(crate) fn new(due: mpsc::Receiver<Instant>) -> Self {
        Self {
            due: Mutex::new(due),
        }
    }

    /// Takes no more operations, and returns those that are due and that no worker has taken. No worker may wait for one.
    pub(crate) fn close(&self) -> Vec<Instant> {
        let Ok(mut due) = self.due.try_lock() else {
            return Vec::new();
        };
        due.close();
        std::iter::from_fn(|| due.try_recv().ok()).collect()
    }

    /// Waits until the next operation is due, and returns when it was meant to start. Returns `None` when no operation
    /// will be due any more. If the future is dropped midway, no operation is lost.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.due.lock().await.recv().await
    }

    /// Returns whether no operation will be due any more, as far as that can be told without waiting.
    pub(crate) fn has_ended(&self) -> bool {
        let due = self.due.try_lock();
        due.is_ok_and(|due| due.is_closed() && due.is_empty())
    }
}

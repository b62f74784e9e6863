//! What is due in an open loop, on its way from the pacer to the workers of a thread.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, mpsc};

use crate::pace::admission::Admission;

/// Starts that are due, for whichever worker is free first.
#[derive(Debug)]
pub(crate) struct ArrivalQueue {
    /// Those who wait for it take turns.
    due: Mutex<mpsc::Receiver<Instant>>,
    /// Where it is told what becomes of them.
    pub(crate) admission: Arc<Admission>,
}

impl ArrivalQueue {
    pub(crate) fn new(due: mpsc::Receiver<Instant>, admission: Arc<Admission>) -> Self {
        Self {
            due: Mutex::new(due),
            admission,
        }
    }

    /// Waits for what is due next, and says when it was to start; `None` when nothing will be any more. Dropped midway,
    /// nothing is lost.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.due.lock().await.recv().await
    }
}

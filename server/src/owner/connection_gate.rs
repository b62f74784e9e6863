//! The room of one connection for its costly messages: `gate.rs` says what for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::COST_WAITING_CONNECTION_MAX;

/// The room of a connection for its costly messages. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ConnectionGate(Arc<Semaphore>);

impl Default for ConnectionGate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COST_WAITING_CONNECTION_MAX)))
    }
}

impl ConnectionGate {
    /// Waits for room for a message of this cost.
    pub(super) async fn enter(&self, cost: usize) -> OwnedSemaphorePermit {
        acquire(&self.0, cost).await
    }
}

/// Waits for room for a message of this cost. One that costs more than a connection's share takes all of the share.
pub(super) async fn acquire(semaphore: &Arc<Semaphore>, cost: usize) -> OwnedSemaphorePermit {
    let cost = u32::try_from(cost.min(COST_WAITING_CONNECTION_MAX)).unwrap_or(u32::MAX);
    let permit = Arc::clone(semaphore).acquire_many_owned(cost).await;
    permit.expect("nothing closes the semaphore")
}

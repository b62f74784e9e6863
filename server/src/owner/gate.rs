//! The gate in front of the mailbox: unary calls that cost the owner much go in a few at a time.
//!
//! The owner takes messages in the order in which they come. If thousands of long Lists could wait in the mailbox, a small
//! call behind them would wait for all of them. So a message above [`COST_SMALL_MAX`] first needs room at two semaphores:
//! one of its connection, so that each connection has a few messages at most in the queue for the second; and one for all
//! connections, which bounds what a small call finds ahead of it. Both are first come, first served, so connections with costly
//! calls take turns. Frames do not wait here, because a Pipeline never stops reading: the bytes of the mailbox, with the memory
//! of each operation, bound them, and `quota.rs` shares these out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::config::COST_WAITING_MAX;

use super::connection_gate::acquire;
use super::error::CallError;
use super::quota::{ConnectionQuota, NoRoom};

/// The room for costly messages of all connections. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Semaphore>);

/// The room of one costly message. Dropping it gives the room to the next.
#[derive(Debug)]
pub(super) struct Place {
    _of_connection: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COST_WAITING_MAX)))
    }
}

impl Gate {
    /// Waits for room for a message of this cost, and of `bytes`, which are charged to the connection meanwhile.
    ///
    /// # Errors
    /// [`CallError::NotStarted`] at the deadline, and [`CallError::Overloaded`] if the connection may not hold the bytes.
    pub(super) async fn enter(
        &self,
        quota: &ConnectionQuota,
        (cost, bytes): (usize, usize),
        deadline: Instant,
    ) -> Result<Place, CallError> {
        let _waiting = quota.reserve(bytes)?;
        timeout_at(deadline, self.enter_at_any_time(quota, cost))
            .await
            .map_err(|_| CallError::NotStarted)
    }

    /// Waits for room for a message of this cost, however long that takes.
    pub(super) async fn enter_at_any_time(&self, quota: &ConnectionQuota, cost: usize) -> Place {
        let of_connection = quota.gate().enter(cost).await;
        Place {
            _of_connection: of_connection,
            _of_all: acquire(&self.0, cost).await,
        }
    }
}

impl From<NoRoom> for CallError {
    fn from(NoRoom { limit, .. }: NoRoom) -> Self {
        Self::Overloaded {
            limit,
            unit: "bytes of one connection",
        }
    }
}

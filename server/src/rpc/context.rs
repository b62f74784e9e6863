//! The context of a call.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Limits;
use crate::owner::{ConnectionQuota, OwnerHandle};

/// The owner's handle, and everything else that handlers need. Clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    pub(super) owner: OwnerHandle,
    pub(super) limits: Arc<Limits>,
    pub(super) store_id: Arc<str>,
    /// True once the server drains.
    pub(super) drain: watch::Receiver<bool>,
    /// Bounds the answers that the client of this connection leaves unread, and its frames in the mailbox.
    pub(super) quota: ConnectionQuota,
}

impl CallContext {
    pub(crate) fn new(
        owner: OwnerHandle,
        limits: Arc<Limits>,
        store_id: Arc<str>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self {
            owner,
            limits,
            store_id,
            drain,
            // Only calls of `State` use it, and they get their context from `for_connection`.
            quota: ConnectionQuota::new(0),
        }
    }

    /// The same context with a new quota.
    pub(super) fn for_connection(&self) -> Self {
        Self {
            quota: ConnectionQuota::new(self.limits.max_unread_bytes),
            ..self.clone()
        }
    }
}

//! What a call is served with.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Limits;
use crate::owner::{ConnectionQuota, OwnerHandle};

/// The owner's handle, and everything else that calls need. Clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    pub(super) owner: OwnerHandle,
    pub(super) limits: Arc<Limits>,
    pub(super) store_id: Arc<str>,
    /// True once the server shuts down.
    pub(super) drain: watch::Receiver<bool>,
    /// What the clients of this connection have not read yet.
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
            // No call draws on it: those that do get one of their connection.
            quota: ConnectionQuota::new(0),
        }
    }

    /// The same with a new account for what the connection leaves unread.
    pub(super) fn for_connection(&self) -> Self {
        Self {
            quota: ConnectionQuota::new(self.limits.max_unread_bytes),
            ..self.clone()
        }
    }
}

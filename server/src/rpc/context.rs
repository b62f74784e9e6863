//! The context of a call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tonic::Request;

use super::caller::Caller;
use crate::config::Limits;
use crate::owner::{ClientMemory, ConnectionQuota};

/// The caller, and everything else that handlers need. Clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    pub(super) caller: Caller,
    pub(super) limits: Arc<Limits>,
    pub(super) store_id: Arc<str>,
    /// True once the server drains.
    pub(super) drain: watch::Receiver<bool>,
    /// Calls with one answer that take as long are logged.
    pub(super) slow_call: Option<Duration>,
    /// The account of all connections.
    memory: ClientMemory,
    /// Bounds what this connection holds in memory, and its frames in the mailbox.
    pub(super) quota: ConnectionQuota,
    /// As many calls that answer with the value they replace may be under way as the largest values fit into half of the
    /// quota.
    pub(super) previous_permits: Arc<Semaphore>,
}

impl CallContext {
    pub(crate) fn new(
        caller: Caller,
        limits: Arc<Limits>,
        store_id: Arc<str>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let memory = ClientMemory::new(limits.max_client_bytes);
        Self {
            caller,
            limits,
            store_id,
            drain,
            slow_call: None,
            // No call uses it: calls get their context from `for_connection`.
            quota: memory.connection(0),
            memory,
            previous_permits: Arc::new(Semaphore::new(0)),
        }
    }

    /// The same context, in which calls that take as long are logged.
    pub(crate) fn logging_slow_calls(self, slow_call: Option<Duration>) -> Self {
        Self { slow_call, ..self }
    }

    /// The same context, whose connections are part of an account that others have, too.
    pub(crate) fn sharing(self, memory: ClientMemory) -> Self {
        Self { memory, ..self }
    }

    /// The same context, in which `caller` calls.
    pub(super) fn for_caller(&self, caller: Caller) -> Self {
        Self {
            caller,
            ..self.clone()
        }
    }

    /// The context of a call of a service that tonic generates. The router has put it into the request.
    ///
    /// # Panics
    /// If it has not.
    pub(super) fn of_request<T>(request: &Request<T>) -> Arc<Self> {
        let context: Option<&Arc<Self>> = request.extensions().get();
        Arc::clone(context.expect("the router puts the context into each request"))
    }

    /// The same context with a new quota.
    pub(super) fn for_connection(&self) -> Self {
        self.with_quota(self.memory.connection(self.limits.max_unread_bytes))
    }

    /// The same context for a connection that has a quota already.
    pub(super) fn with_quota(&self, quota: ConnectionQuota) -> Self {
        let limits = &self.limits;
        let permits = limits.max_unread_bytes / 2 / limits.max_value_bytes;
        Self {
            previous_permits: Arc::new(Semaphore::new(permits.max(1))),
            caller: self.caller.for_connection(quota.clone()),
            quota,
            ..self.clone()
        }
    }
}

//! The calls of a connection that are open.

use std::time::Duration;

use hyper::rt::Executor;

use crate::rpc::body::unread::CallTask;
use crate::rpc::services::ConnectionQuota;

/// Runs the calls of one connection, each as a task that ends when its response is handed to the connection, and charges
/// them to the connection's quota.
#[derive(Clone)]
pub(super) struct OpenCalls {
    quota: ConnectionQuota,
}

impl OpenCalls {
    pub(super) fn new(quota: ConnectionQuota) -> Self {
        Self { quota }
    }

    /// How many calls have begun, if none is open.
    pub(super) fn begun_if_none_open(&self) -> Option<u64> {
        let quota = &self.quota;
        quota.is_idle().then(|| quota.begun_calls())
    }

    /// Waits until there was no call for `span`, or twice as long. (The counts are compared every `span`.)
    pub(super) async fn none_for(&self, span: Duration) {
        loop {
            let before = self.begun_if_none_open();
            tokio::time::sleep(span).await;
            if before.is_some() && self.begun_if_none_open() == before {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + Unpin + 'static> Executor<F> for OpenCalls {
    fn execute(&self, call: F) {
        tokio::spawn(CallTask::new(call, self.quota.call()));
    }
}

//! The calls of a connection that are open.

use std::time::Duration;

use crate::rpc::services::ConnectionQuota;

/// Which calls of one connection are open, as its quota counts them.
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

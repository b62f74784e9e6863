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

    /// How many calls have begun, if none is open and no answer of one waits to be written.
    fn begun_if_all_written(&self) -> Option<u64> {
        let begun = self.begun_if_none_open()?;
        // A call ends when the last part of its answer is handed over: the connection holds that until the client reads it.
        (self.quota.held_bytes() == 0).then_some(begun)
    }

    /// Waits until there was no call for `span`, or twice as long, and everything is written. (The counts are compared every
    /// `span`.)
    pub(super) async fn none_for(&self, span: Duration) {
        loop {
            let before = self.begun_if_all_written();
            tokio::time::sleep(span).await;
            if before.is_some() && self.begun_if_all_written() == before {
                return;
            }
        }
    }
}

//! How many calls of a connection are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::rt::Executor;

use crate::rpc::body::unread;
use crate::rpc::router::Router;

/// Runs the calls of one connection, each as a task that ends when its response is handed to the connection, and counts
/// them.
#[derive(Clone)]
pub(super) struct OpenCalls {
    counts: Arc<Counts>,
    /// Has the quota to which the calls are charged.
    router: Router,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl OpenCalls {
    pub(super) fn new(router: Router) -> Self {
        Self {
            counts: Arc::default(),
            router,
        }
    }

    /// How many calls have begun, if none is open.
    pub(super) fn begun_if_none_open(&self) -> Option<u64> {
        let begun = self.counts.begun.load(Ordering::Relaxed);
        (self.counts.ended.load(Ordering::Relaxed) == begun).then_some(begun)
    }

    /// Waits until there was no call for `span`, or twice as long. (The counts are compared every `span`.)
    pub(super) async fn none_for(&self, span: Duration) {
        let Counts { begun, ended } = &*self.counts;
        loop {
            let before = begun.load(Ordering::Relaxed);
            let was_idle = ended.load(Ordering::Relaxed) == before;
            tokio::time::sleep(span).await;
            if was_idle && begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OpenCalls {
    fn execute(&self, call: F) {
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        let end = End(Arc::clone(&self.counts));
        let call = unread::run(call, self.router.quota().call());
        tokio::spawn(async move {
            call.await;
            drop(end);
        });
    }
}

/// Counts the end of a call when it is dropped.
struct End(Arc<Counts>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

//! The common start of several generators.

use tokio::sync::oneshot;

/// Several generators that start at the same time.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Told when everything is connected.
    pub(crate) ready: oneshot::Sender<()>,
    /// Tells to start; dropped, that there will be no start.
    pub(crate) go: oneshot::Receiver<()>,
}

//! When a stream has to end, whatever its client does.

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use super::status::{draining, stream_deadline};

/// Waits until a stream must end, and returns the status to end it with: its deadline passes, the server drains, or the
/// receiver of `queue` is dropped because the client has left.
pub(crate) async fn stream_end<T>(
    deadline: Option<Instant>,
    mut drain: watch::Receiver<bool>,
    queue: mpsc::Sender<T>,
) -> Status {
    let passed = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passed => stream_deadline().into_status(),
        // An error means that the sender is gone: the server has stopped.
        _ = drain.wait_for(|drain| *drain) => draining().into_status(),
        // Nobody is left to read this status.
        () = queue.closed() => Status::cancelled("the client takes no more answers"),
    }
}

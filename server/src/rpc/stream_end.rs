//! When a stream has to end, whatever its client does.

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use super::status::{Refusal, draining};
use crate::owner::CallError;

/// Resolves, to what the stream ends with, when its deadline passes, the server shuts down, or nobody takes what is put
/// into `queue` any more.
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
        () = passed => Refusal::from(CallError::NotStarted).into_status(),
        // An error means that whoever could tell is gone, which is the same.
        _ = drain.wait_for(|drain| *drain) => draining().into_status(),
        // Nobody is left to read this.
        () = queue.closed() => Status::cancelled("the client takes no more answers"),
    }
}

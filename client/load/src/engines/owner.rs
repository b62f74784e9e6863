//! Finds the node that owns the store, before a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::v1::GetInfoRequest;
use tonic::Request;

use crate::connect::destination::Destination;
use crate::engines::connection::Connection;

/// How long to wait when no node owns the store, until all are asked again.
const WAIT: Duration = Duration::from_millis(50);

/// Asks the nodes, until one does not say that another owns the store. That one is in use from then on. Gives up after `timeout`:
/// what is done next finds out why there is no answer.
pub(crate) async fn find_owner(
    destination: &Arc<Destination>,
    metadata: &[(String, String)],
    timeout: Duration,
) {
    if !destination.is_searched() {
        return;
    }
    let end = Instant::now() + timeout;
    loop {
        for _ in 0..destination.nodes().round() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let Ok(connection) = Connection::open(destination, left).await else {
                continue;
            };
            let mut request = Request::new(GetInfoRequest {});
            *request.metadata_mut() = connection.metadata(metadata);
            request.set_timeout(left);
            let answer = tokio::time::timeout(left, connection.admin().get_info(request)).await;
            match answer {
                Ok(Err(status)) if connection.is_elsewhere(status.code(), status.details()) => {}
                // A server of another kind answers this call with an error, and is to get the others.
                _ => return,
            }
        }
        tokio::time::sleep(WAIT).await;
    }
}

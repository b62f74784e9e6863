//! Opens the stream of a watch.

use std::time::Duration;

use soloist::v1;
use tonic::Streaming;

use crate::connection::Connection;
use crate::retry::until_seen;
use crate::timeout::within;
use crate::{Error, Outcome};

/// The messages of one stream.
pub(super) type Messages = Streaming<v1::WatchResponse>;

/// Opens a stream. It has no grpc-timeout, because a watch stays open as long as it is used.
pub(super) async fn open(
    connection: &Connection,
    request: v1::WatchRequest,
    timeout: Duration,
) -> Result<Messages, Error> {
    until_seen(&connection.transport, timeout, |left| {
        let (mut state, request) = (connection.state.clone(), request.clone());
        async move { within(left, Outcome::NotApplied, state.watch(request)).await }
    })
    .await
}

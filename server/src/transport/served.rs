//! What serves a connection: the server's own transport, or hyper.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::fairness::FairIo;
use super::open_calls::OpenCalls;
use super::own::OwnConnection;
use super::socket::Socket;
use crate::config::{LOCAL_ERROR_RESET_STREAMS_MAX, TransportLimits};
use crate::rpc::services::ClientServices;

/// How a connection ended. The error is for the debug log.
pub(super) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// A connection that is served while it is polled, until it has ended.
pub(super) trait Served: Future<Output = Ended> {
    /// Says goodbye: calls that are open, and those that are under way, are answered.
    fn drain(self: Pin<&mut Self>);
}

impl Served for OwnConnection {
    fn drain(mut self: Pin<&mut Self>) {
        Self::drain(&mut self);
    }
}

type Http2 = http2::Connection<TokioIo<FairIo<Socket>>, ClientServices, OpenCalls>;

/// A connection that hyper serves. In a box, so that it can be pinned without unsafe code: connections are few.
pub(super) struct HyperConnection(Pin<Box<Http2>>);

impl Future for HyperConnection {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        self.0.as_mut().poll(cx).map_err(Into::into)
    }
}

impl Served for HyperConnection {
    fn drain(mut self: Pin<&mut Self>) {
        self.0.as_mut().graceful_shutdown();
    }
}

/// Lets hyper serve a connection.
pub(super) fn hyper_connection(
    io: FairIo<Socket>,
    services: ClientServices,
    calls: OpenCalls,
    limits: &TransportLimits,
) -> HyperConnection {
    let mut http2 = http2::Builder::new(calls);
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(limits.max_streams as usize)
        .max_local_error_reset_streams(LOCAL_ERROR_RESET_STREAMS_MAX)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        // gRPC clients do not read it.
        .auto_date_header(false);
    HyperConnection(Box::pin(http2.serve_connection(TokioIo::new(io), services)))
}

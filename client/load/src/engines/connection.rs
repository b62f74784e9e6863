//! One HTTP/2 connection for the generated clients.
//!
//! It is a connection of hyper without the channel of tonic around it. The channel would reconnect unnoticed, which must not
//! happen in a measurement, and it passes every call through a queue to another task.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use tokio::net::TcpStream;
use tonic::body::Body;
use tower_service::Service;

use crate::grpc::{ANSWER_BYTES_MAX, root_cause};

/// Flow-control windows that never hold back answers. The answers are read as soon as they arrive.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Body>,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// If that fails, or takes longer than `timeout`. The text names the address.
    pub(crate) async fn open(address: &str, timeout: Duration) -> Result<Self, String> {
        match tokio::time::timeout(timeout, Self::try_open(address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("cannot connect to {address}: {error}")),
            Err(_) => Err(format!("cannot connect to {address} within {timeout:?}")),
        }
    }

    async fn try_open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| io::Error::other(root_cause(&error).to_string()))?;
        // Every call on the connection reports its error. The task need not.
        tokio::spawn(async move { _ = connection.await });
        Ok(Self { requests })
    }

    /// Returns the generated client of the service State on this connection.
    pub(crate) fn state(&self, address: &str) -> StateClient<Self> {
        StateClient::with_origin(self.clone(), origin(address))
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Returns the generated client of the service Sessions on this connection.
    pub(crate) fn sessions(&self, address: &str) -> SessionsClient<Self> {
        SessionsClient::with_origin(self.clone(), origin(address))
    }
}

fn origin(address: &str) -> Uri {
    Uri::builder()
        .scheme("http")
        .authority(address)
        .path_and_query("/")
        .build()
        .expect("the address of an open connection is a URI authority")
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    /// Always ready. A lost connection shows in the call: tonic would turn an error from here into a status without a
    /// source, and the source is needed to recognise it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

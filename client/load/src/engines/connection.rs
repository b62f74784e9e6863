//! One HTTP/2 connection for the generated clients.
//!
//! It is hyper's, without tonic's channel around it: that would reconnect behind our back, which a measurement must
//! not, and passes every call through a queue to another task.

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

/// Windows that never hold back answers: they are read as soon as they arrive.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A connection; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Body>,
}

impl Connection {
    /// Connects to `HOST:PORT`. The error says which, and why not.
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
        // What goes wrong on the connection goes wrong in each of its calls, which report it.
        tokio::spawn(async move { _ = connection.await });
        Ok(Self { requests })
    }

    /// The generated client of states on this connection.
    pub(crate) fn state(&self, address: &str) -> StateClient<Self> {
        StateClient::with_origin(self.clone(), origin(address))
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The generated client of sessions on this connection.
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
        .expect("an address that was connected to is an authority")
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    /// A lost connection is left to the call: tonic turns an error from here into a status without its source.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

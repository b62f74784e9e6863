//! What carries calls: a channel, and the token that goes with each call. Unix sockets.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

use crate::token::Token;

/// A channel to a server whose calls bear the client's token. What the generated clients run on.
///
/// Cheap to clone, and clones share the connection. Once a second the file of the token is read again before a call: so
/// [`poll_ready`](Service::poll_ready) may wait for the file, up to a second, and needs tokio's runtime.
#[derive(Clone, Debug)]
pub struct Transport {
    channel: Channel,
    token: Option<Token>,
    /// Other headers of every call.
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Transport {
    pub(crate) fn new(
        channel: Channel,
        token: Option<Token>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        let headers = headers.into();
        Self {
            channel,
            token,
            headers,
        }
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Some(token) = &mut self.token {
            ready!(token.poll_fresh(cx));
        }
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        for (name, value) in &*self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        self.channel.call(request)
    }
}

/// Connects to a Unix socket, whatever the URI says.
#[derive(Clone, Debug)]
pub(crate) struct UnixConnector(pub(crate) PathBuf);

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            let connected = UnixStream::connect(&path).await;
            connected.map(TokioIo::new).map_err(unix_error)
        })
    }
}

/// Why a Unix socket cannot be connected to, and what to do about it.
pub fn unix_error(error: io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: check the path, and that the server runs"
        }
        io::ErrorKind::ConnectionRefused => "nobody listens on the socket: start the server",
        io::ErrorKind::PermissionDenied => {
            "the permissions of the socket do not allow this user to connect"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

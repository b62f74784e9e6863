//! Connections over Unix sockets.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower_service::Service;

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

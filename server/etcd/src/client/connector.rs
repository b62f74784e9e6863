//! Sockets for the channels: TCP, with or without TLS.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use soloist_client::shared::{Socket as TlsSocket, TlsFiles, open};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::Tls;

/// Connects to the host and port of a URL.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// For `https`.
    files: Option<TlsFiles>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Reads the files once, to say early that they cannot be used. Each connection reads them again.
    pub(super) fn new(uri: &Uri, tls: Option<&Tls>, timeout: Duration) -> Result<Self, String> {
        let files = match (uri.scheme_str(), tls) {
            (Some("https"), tls) => Some(files(tls.cloned().unwrap_or_default())?),
            (_, None) => None,
            (_, Some(_)) => {
                return Err(
                    "there are files for TLS, but the URL does not begin with https".into(),
                );
            }
        };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        Ok(Self { tcp, files })
    }
}

fn files(tls: Tls) -> Result<TlsFiles, String> {
    let identity = match (tls.cert, tls.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err("a certificate needs its key, and a key its certificate".into()),
    };
    let files = TlsFiles {
        ca: tls.ca,
        identity,
        server_name: None,
    };
    files.load()?;
    Ok(files)
}

type Failure = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self.files.clone() {
            None => {
                let connecting = self.tcp.call(uri);
                Box::pin(async move {
                    let stream = connecting.await?.into_inner();
                    Ok(TokioIo::new(Socket::Plain(stream)))
                })
            }
            Some(files) => Box::pin(async move {
                let host = uri.host().unwrap_or_default();
                let port = uri.port_u16().unwrap_or_default();
                let socket = open(&files, host, port).await?;
                Ok(TokioIo::new(Socket::Tls(Box::new(socket))))
            }),
        }
    }
}

/// A connection, with or without TLS.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

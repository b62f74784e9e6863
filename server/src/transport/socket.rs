//! The socket below HTTP/2: TCP, TLS over TCP, or a Unix socket.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::{ClientCertificates, TlsSocket};

/// A connected socket. Bytes that were read too early can be put back in front of it.
pub(crate) struct Socket {
    kind: Kind,
    put_back: PutBack,
}

/// What a socket is made of.
pub(super) enum Kind {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
    Unix(UnixStream),
}

/// Bytes to be read before those of the socket.
#[derive(Default)]
struct PutBack {
    bytes: Vec<u8>,
    read: usize,
}

impl From<Kind> for Socket {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            put_back: PutBack::default(),
        }
    }
}

impl Socket {
    /// The same socket, from which `bytes` are read first.
    pub(super) fn put_back(self, bytes: &[u8]) -> Self {
        Self {
            put_back: PutBack {
                bytes: bytes.into(),
                read: 0,
            },
            ..self
        }
    }

    /// The certificates that the client has shown.
    pub(super) fn client_certificates(&self) -> ClientCertificates {
        match &self.kind {
            Kind::Tls(tls) => ClientCertificates::of(tls),
            Kind::Tcp(_) | Kind::Unix(_) => ClientCertificates::default(),
        }
    }

    /// Lets the current runtime wait for the socket, instead of the one before.
    ///
    /// # Errors
    /// The system's error. The socket is as it was then.
    pub(super) fn attach_here(&mut self) -> io::Result<()> {
        // By a second descriptor, because a runtime gives its own back only with the socket, which TLS keeps.
        match &mut self.kind {
            Kind::Tcp(tcp) => attach_tcp(tcp),
            Kind::Tls(tls) => attach_tcp(tls.get_mut().0),
            Kind::Unix(unix) => {
                let other = unix.as_fd().try_clone_to_owned()?;
                *unix = UnixStream::from_std(other.into())?;
                Ok(())
            }
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }
}

fn attach_tcp(tcp: &mut TcpStream) -> io::Result<()> {
    let other = tcp.as_fd().try_clone_to_owned()?;
    *tcp = TcpStream::from_std(other.into())?;
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let PutBack { bytes, read } = &mut self.put_back;
        if *read < bytes.len() {
            let len = buf.remaining().min(bytes.len() - *read);
            buf.put_slice(&bytes[*read..][..len]);
            *read += len;
            return Poll::Ready(Ok(()));
        }
        match &mut self.kind {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Kind::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
            Kind::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Kind::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
            Kind::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Kind::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, bufs),
            Kind::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.is_write_vectored(),
            Kind::Tls(tls) => tls.is_write_vectored(),
            Kind::Unix(unix) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Kind::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            Kind::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Kind::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            Kind::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

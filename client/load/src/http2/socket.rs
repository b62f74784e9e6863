//! The sockets of connections: over TCP, with TLS, or in the file system. They never wait, except to connect.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::http2::tls::{Tls, TlsSocket};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
    Unix(UnixStream),
}

impl Socket {
    /// Connects, and waits for it, at most for `timeout`, which must be more than 0. Does not wait for TLS.
    pub(super) fn connect(place: &Place, tls: Option<&Tls>, timeout: Duration) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                stream.set_nonblocking(true)?;
                Self::of(stream, tls)
            }
            // It is there at once, or not at all.
            Place::Unix(_) => Self::begin_to_connect(place, tls),
        }
    }

    /// Begins to connect.
    pub(super) fn begin_to_connect(place: &Place, tls: Option<&Tls>) -> io::Result<Self> {
        let family = match place {
            Place::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Place::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Place::Unix(_) => AddressFamily::UNIX,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        let address = match place {
            Place::Tcp(address) => address,
            Place::Unix(path) => return connect_unix(socket, path),
        };
        match net::connect(&socket, address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        // While nobody listens on a port of this machine, the system may choose it as the source, and the socket connects to
        // itself.
        if stream.local_addr()? == *address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Self::of(stream, tls)
    }

    fn of(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        // Without this, a request could wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(match tls {
            None => Self::Tcp(stream),
            Some(tls) => Self::Tls(Box::new(tls.over(stream)?)),
        })
    }

    /// Reads what has arrived. The bytes are at the beginning of `buffer`, whose rest has no meaning afterwards.
    #[inline]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// Whether something that was taken by [`write`](Self::write), or that TLS has to say, is not with the system yet.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.has_unsent(),
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }

    /// Sends what is [unsent](Self::has_unsent), as far as the system takes it.
    pub(super) fn send(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.send(),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }
}

fn connect_unix(socket: OwnedFd, path: &Path) -> io::Result<Socket> {
    let address = SocketAddrUnix::new(path)?;
    net::connect(&socket, &address)
        .map_err(|error| soloist_client::shared::unix_error(error.into()))?;
    Ok(Socket::Unix(UnixStream::from(socket)))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

//! Where connections come from: a TCP port, or a Unix socket.

use std::fmt;
use std::io;
use std::net;
use std::os::unix::net as unix;
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(net::TcpListener),
    /// On a path of the file system. The path stays when the server ends.
    Unix(unix::UnixListener),
}

impl From<net::TcpListener> for Listener {
    fn from(listener: net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<unix::UnixListener> for Listener {
    fn from(listener: unix::UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Where a server listens, in the form in which clients name it: `127.0.0.1:50051`, or `unix:/run/soloist.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port of an address.
    Tcp(net::SocketAddr),
    /// A path of the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// Returns the address, if it is a TCP port.
    #[must_use]
    pub fn tcp(&self) -> Option<net::SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Returns where it listens.
    ///
    /// # Errors
    /// The system's error.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or("".as_ref());
                Ok(ListenAddress::Unix(path.into()))
            }
        }
    }

    /// The same listener, of the current runtime.
    pub(crate) fn into_async(self) -> io::Result<AsyncListener> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(AsyncListener::Tcp)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(AsyncListener::Unix)
            }
        }
    }
}

/// A socket that listens, of a runtime.
pub(crate) enum AsyncListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection, before its first byte.
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection of no runtime.
pub(super) enum Detached {
    Tcp(net::TcpStream),
    Unix(unix::UnixStream),
}

impl AsyncListener {
    /// Waits for the next connection. Cancelling it loses none.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => Ok(Accepted::Tcp(listener.accept().await?.0)),
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    /// Who has connected, for the log.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => match stream.peer_addr() {
                Ok(address) => address.to_string(),
                Err(_) => "gone".into(),
            },
            Self::Unix(_) => "unix".into(),
        }
    }

    /// Takes the connection out of its runtime.
    pub(super) fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Detached::Tcp),
            Self::Unix(stream) => stream.into_std().map(Detached::Unix),
        }
    }
}

impl Detached {
    /// Puts the connection into the current runtime.
    pub(super) fn attach(self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Accepted::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Accepted::Unix),
        }
    }
}

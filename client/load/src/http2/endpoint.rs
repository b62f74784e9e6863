//! A connection with its socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(test)]
use std::os::unix::net::UnixStream;
#[cfg(test)]
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::http2::config::Config;
use crate::http2::connection::{Connection, Event};
use crate::http2::poller::Poller;

/// A good length for the buffer of [`Endpoint::read`], which the endpoints of a thread share. It holds some hundred
/// small responses, and fits the second-level cache.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How often one socket is read before the others get their turn.
const READS_MAX: usize = 8;

/// A connection with its socket, which is non-blocking.
#[derive(Debug)]
pub(crate) struct Endpoint {
    connection: Connection,
    socket: Socket,
    /// The name of the socket at the poller.
    key: u32,
    /// Whether the poller waits for the socket to become writable.
    awaits_writable: bool,
    /// When the server was last heard of, or when the socket was made.
    last_read: Instant,
    /// Why writing failed. Responses that arrived before that can still be read.
    write_error: Option<io::Error>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(test)]
    Unix(UnixStream),
}

impl Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => { stream }.read(buffer),
            #[cfg(test)]
            Self::Unix(stream) => { stream }.read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => { stream }.write(bytes),
            #[cfg(test)]
            Self::Unix(stream) => { stream }.write(bytes),
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(stream) => stream.as_fd(),
            #[cfg(test)]
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Endpoint {
    /// Connects within `timeout`, which must be more than 0, and adds the socket to the poller under the name `key`.
    ///
    /// Nothing is sent before the first [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Errors of the socket and of the poller.
    pub(crate) fn connect(
        address: SocketAddr,
        timeout: Duration,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        // Without this, a request could wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Self::new(Socket::Tcp(stream), config, poller, key)
    }

    /// Begins to connect, and does not wait for it: the connection [is ready](Connection::is_ready) once the server's SETTINGS
    /// have arrived. If the server cannot be reached, reading finds out.
    ///
    /// # Errors
    ///
    /// Errors of the socket and of the poller. Some systems say at once that the server cannot be reached.
    pub(crate) fn begin_to_connect(
        address: SocketAddr,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        // While nobody listens on a port of this machine, the system may choose it as the source, and the socket connects to
        // itself.
        if stream.local_addr()? == address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Self::new(Socket::Tcp(stream), config, poller, key)
    }

    #[cfg(test)]
    /// Like [`connect`](Self::connect), to a socket in the file system.
    pub(crate) fn connect_unix(
        path: &Path,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Self::new(Socket::Unix(stream), config, poller, key)
    }

    fn new(socket: Socket, config: Config, poller: &Poller, key: u32) -> io::Result<Self> {
        let endpoint = Self {
            connection: Connection::new(config),
            socket,
            key,
            awaits_writable: false,
            last_read: Instant::now(),
            write_error: None,
        };
        poller.add(&endpoint, key)?;
        Ok(endpoint)
    }

    /// Returns when the server was last heard of, or when the socket was made.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// Returns the connection, to send and cancel calls and to ask for its state.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Writes the output, as far as the socket accepts it. If some remains, call this again when the poller reports the
    /// socket as writable.
    ///
    /// A broken socket is not an error here: it may still hold responses, and reading will find its end.
    ///
    /// # Errors
    ///
    /// Errors of the poller.
    pub(crate) fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        let mut full = false;
        while !self.connection.output().is_empty() && self.write_error.is_none() {
            match self.socket.write(self.connection.output()) {
                Ok(count) => self.connection.consume(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    full = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.write_error = Some(error),
            }
        }
        if full != self.awaits_writable {
            poller.watch_writable(&*self, self.key, full)?;
            self.awaits_writable = full;
        }
        Ok(())
    }

    /// Reads from the socket while reads fill `buffer`, and calls `on_event` for each call that ends, with the time of
    /// the read. At the end of the socket the connection is closed: all its calls have had their events, and
    /// [`Connection::closed`] says why.
    ///
    /// All responses of one read have the time of that read, because all had arrived by then. Handling some hundred of
    /// them takes some ten microseconds, which are the generator's own and not a part of the latency.
    ///
    /// Calls that `on_event` sends are written by the next [`flush`](Self::flush).
    pub(crate) fn read<F>(&mut self, buffer: &mut [u8], mut on_event: F)
    where
        F: FnMut(&mut Connection, Event<'_>, Instant),
    {
        for _ in 0..READS_MAX {
            let read = self.socket.read(buffer);
            let now = Instant::now();
            let on_event =
                |connection: &mut Connection, event: Event<'_>| on_event(connection, event, now);
            let count = match read {
                Ok(0) => {
                    let why = match self.write_error.take() {
                        Some(error) => format!("the connection broke: {error}"),
                        None => "the server closed the connection".to_owned(),
                    };
                    return self.connection.close(&why, on_event);
                }
                Ok(count) => {
                    self.last_read = now;
                    count
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return self
                        .connection
                        .close(&format!("the connection broke: {error}"), on_event);
                }
            };
            let received = self.connection.receive(&buffer[..count], on_event);
            // A read that does not fill the buffer has emptied the socket. Another would cost a system call for
            // nothing.
            if received.is_err() || count < buffer.len() {
                return;
            }
        }
    }

    /// Closes the socket, whatever calls are open.
    ///
    /// # Errors
    ///
    /// Errors of the poller.
    pub(crate) fn remove(self, poller: &Poller) -> io::Result<()> {
        poller.remove(&self)
    }
}

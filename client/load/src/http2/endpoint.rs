//! A connection with its socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(test)]
use std::os::unix::net::UnixStream;
#[cfg(test)]
use std::path::Path;
use std::time::{Duration, Instant};

use crate::http2::config::Config;
use crate::http2::connection::{Connection, Event};
use crate::http2::poller::Poller;

/// A good length for the buffer that [`Endpoint::read`] reads into, one for all endpoints of a thread: some hundred small
/// answers, and within the second-level cache.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How often a socket is read before others have their turn.
const READS_MAX: usize = 8;

/// A connection with its socket, which never blocks.
#[derive(Debug)]
pub(crate) struct Endpoint {
    connection: Connection,
    socket: Socket,
    /// Its name at the poller.
    key: u32,
    /// Whether the poller watches for room in the socket.
    awaits_writable: bool,
    /// Why the socket took no more. What came before it may still be read.
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
    /// Connects, and waits for that up to `timeout`, more than 0. The poller will call it `key`.
    ///
    /// Nothing is sent before the first [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Those of the socket and of the poller.
    pub(crate) fn connect(
        address: SocketAddr,
        timeout: Duration,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        // A request must not wait for the answer to the one before.
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Self::new(Socket::Tcp(stream), config, poller, key)
    }

    #[cfg(test)]
    /// As [`connect`](Self::connect), to a socket in the file system.
    ///
    /// # Errors
    ///
    /// Those of the socket and of the poller.
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
            write_error: None,
        };
        poller.add(&endpoint, key)?;
        Ok(endpoint)
    }

    /// The protocol: to begin and cancel calls, and to ask how it stands.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Writes what waits, as far as the socket takes it. The rest goes when the poller says that it is writable: then
    /// call this again.
    ///
    /// A socket that is broken is no error here: what it still holds should be read first, and reading finds its end.
    ///
    /// # Errors
    ///
    /// Those of the poller.
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

    /// Reads what is there, as long as `buffer` is filled, and tells what became of calls, and when that was read. When
    /// the socket has ended, so has the connection: all its calls have their events, and [`Connection::closed`] says why.
    ///
    /// What came in one read was all there when it was read, and has that time. The last of some hundred small answers
    /// are looked at some ten microseconds later; that is the generator's doing, and no part of their latency.
    ///
    /// What the callback begins is written by the next [`flush`](Self::flush).
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
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return self
                        .connection
                        .close(&format!("the connection broke: {error}"), on_event);
                }
            };
            let received = self.connection.receive(&buffer[..count], on_event);
            // A socket that gave less has no more: asking again would cost as much as reading.
            if received.is_err() || count < buffer.len() {
                return;
            }
        }
    }

    /// Ends the connection without regard to what is under way.
    ///
    /// # Errors
    ///
    /// Those of the poller.
    pub(crate) fn remove(self, poller: &Poller) -> io::Result<()> {
        poller.remove(&self)
    }
}

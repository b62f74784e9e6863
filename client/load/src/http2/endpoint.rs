//! A connection with its socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::http2::config::Config;
use crate::http2::connection::{Connection, Event};
use crate::http2::poller::{Poller, wait_for};
use crate::http2::socket::{Place, Socket};
use crate::http2::tls::Tls;

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

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Endpoint {
    /// Connects within `timeout`, which must be more than 0, and adds the socket to the poller under the name `key`.
    ///
    /// Nothing is sent before the first [`flush`](Self::flush), not even of TLS.
    ///
    /// # Errors
    ///
    /// Errors of the socket and of the poller.
    pub(crate) fn connect(
        place: &Place,
        tls: Option<&Tls>,
        timeout: Duration,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let socket = Socket::connect(place, tls, timeout)?;
        Self::new(socket, config, poller, key)
    }

    /// Begins to connect, and does not wait for it: the connection [is ready](Connection::is_ready) once the server's SETTINGS
    /// have arrived. If the server cannot be reached, reading finds out.
    ///
    /// # Errors
    ///
    /// Errors of the socket and of the poller. Some systems say at once that the server cannot be reached.
    pub(crate) fn begin_to_connect(
        place: &Place,
        tls: Option<&Tls>,
        config: Config,
        poller: &Poller,
        key: u32,
    ) -> io::Result<Self> {
        let socket = Socket::begin_to_connect(place, tls)?;
        Self::new(socket, config, poller, key)
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

    /// Waits until the server's SETTINGS have arrived, at most until `end`. So a server that does not accept this side's
    /// certificate, or that speaks something else, is noticed.
    ///
    /// # Errors
    ///
    /// Why the connection has ended, or errors of the system.
    pub(crate) fn until_ready(&mut self, end: Instant, poller: &Poller) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.flush(poller)?;
            self.read(&mut buffer, |_, _, _| ());
            if let Some(closed) = self.connection.closed() {
                return Err(io::Error::other(closed.clone()));
            }
            if self.connection.is_ready() {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = "the server accepts connections, and says nothing";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            wait_for(&*self, self.awaits_writable, left)?;
        }
    }

    /// Returns whether there is something to [write](Self::flush), or was.
    pub(crate) fn has_output(&self) -> bool {
        !self.connection.output().is_empty() || self.awaits_writable || self.socket.has_unsent()
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
        if self.write_error.is_none() && self.socket.has_unsent() {
            match self.socket.send() {
                Ok(()) => full |= self.socket.has_unsent(),
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
                    let why = match self.connection.is_ready() {
                        true => format!("the connection broke: {error}"),
                        false => error.to_string(),
                    };
                    return self.connection.close(&why, on_event);
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

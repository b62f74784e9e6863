//! TLS over a socket that never waits. The only file of this tool that knows rustls.
//!
//! The engines of the generated clients have the sockets of the client library, whose files and explanations these are, too.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use soloist_client::shared::{NO_HTTP2, TlsFiles, explained, not_connected};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

/// The name of HTTP/2 in the handshake. Source: RFC 9113, section 3.1.
const ALPN_HTTP2: &[u8] = b"h2";

/// More than the plaintext of the longest record of TLS. Source: RFC 8446, section 5.1.
const RECORD_BYTES_MAX: usize = 17 * 1024;

/// The contents of the files, for a server of this name.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// As errors show the name.
    shown: Arc<str>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file or name that cannot be used, and why.
    pub(crate) fn load(files: &TlsFiles, host: &str) -> Result<Self, String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let shown = files.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(shown.to_owned());
        Ok(Self {
            config: files.load()?,
            name: name.map_err(|error| format!("{shown:?} is no name of a server: {error}"))?,
            shown: shown.into(),
        })
    }

    /// Begins TLS on a socket, which must be non-blocking and may not be connected yet.
    pub(super) fn over(&self, stream: TcpStream) -> io::Result<TlsSocket> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        Ok(TlsSocket {
            session: session.map_err(io::Error::other)?,
            stream,
            name: Arc::clone(&self.shown),
            is_agreed: false,
        })
    }
}

/// Without what is in the files.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.shown).finish()
    }
}

/// A socket with TLS. The handshake goes on with each read and write.
#[derive(Debug)]
pub(super) struct TlsSocket {
    session: ClientConnection,
    stream: TcpStream,
    /// The name that the server's certificate must have.
    name: Arc<str>,
    /// The handshake is done, and the server speaks HTTP/2.
    is_agreed: bool,
}

impl TlsSocket {
    /// As [`Socket::read`](super::socket::Socket::read). All plaintext of the records that have arrived is returned at once:
    /// the poller knows nothing of what is kept here.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Plaintext is no longer than its record. Besides, a record may be complete now that had arrived in part.
        let records_at = buffer.len() - buffer.len().saturating_sub(RECORD_BYTES_MAX).max(2) / 2;
        let (plaintext, records) = buffer.split_at_mut(records_at);
        let read = self.stream.read(records);
        let read = read.map_err(|error| self.broken(error))?;
        if read == 0 {
            return match self.is_agreed {
                true => Ok(0),
                false => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        let mut records = &records[..read];
        let mut length = 0;
        // After the last record of a server it takes no more.
        while !records.is_empty() && self.session.read_tls(&mut records)? > 0 {
            if let Err(error) = self.session.process_new_packets() {
                // Tells the server why.
                let _ = self.send();
                return Err(self.broken(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            length += match self.session.reader().read(&mut plaintext[length..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                read => read?,
            };
        }
        self.agree()?;
        // Such as the end of the handshake. If it cannot be sent, the next write or read finds out.
        let _ = self.send();
        match length {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }

    /// Takes bytes as far as there is room, and sends what the system takes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.send()?;
        match taken {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    pub(super) fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks what the handshake has agreed on, once it is done.
    fn agree(&mut self) -> io::Result<()> {
        if self.is_agreed || self.session.is_handshaking() {
            return Ok(());
        }
        self.is_agreed = true;
        match self.session.alpn_protocol() {
            Some(ALPN_HTTP2) => Ok(()),
            _ => Err(io::Error::other(NO_HTTP2)),
        }
    }

    /// Explains why the socket cannot be read.
    fn broken(&self, error: io::Error) -> io::Error {
        match (error.kind(), self.is_agreed) {
            (io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted, _) => error,
            (_, true) => explained(error, &self.name),
            (_, false) => not_connected(error, &self.name),
        }
    }
}

impl AsFd for TlsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

//! Connections of clients that speak HTTP/1: operators' browsers and tools.

use std::io;

use tokio::net::TcpStream;

use super::listener::Accepted;
use super::socket::{Kind, Socket};
use super::tls::{ClientCertificates, Tls};

/// The first byte of TLS: the type of a handshake record. Source: RFC 8446, section 5.1.
const TLS_HANDSHAKE: u8 = 22;

/// Opens a connection up to the first byte of HTTP/1. Without `tls` it has none, and neither has a Unix socket. Returns none
/// if the peer has left, or speaks no TLS though the server does; such a peer is told.
///
/// # Errors
/// Why the handshake failed.
pub(crate) async fn open_http1(
    accepted: Accepted,
    tls: Option<&Tls>,
) -> io::Result<Option<(Socket, ClientCertificates)>> {
    let kind = match (accepted, tls) {
        (Accepted::Unix(stream), _) => Kind::Unix(stream),
        (Accepted::Tcp(stream), None) => Kind::Tcp(stream),
        (Accepted::Tcp(stream), Some(tls)) => match speaks_tls(&stream).await? {
            Some(true) => Kind::Tls(Box::new(tls.accept_http1(stream).await?)),
            Some(false) => {
                refuse_plaintext(Kind::Tcp(stream).into()).await?;
                return Ok(None);
            }
            None => return Ok(None),
        },
    };
    let socket = Socket::from(kind);
    let certificates = socket.client_certificates();
    Ok(Some((socket, certificates)))
}

/// Whether the first byte is one of TLS. None if there is none.
async fn speaks_tls(stream: &TcpStream) -> io::Result<Option<bool>> {
    let mut first = [0];
    let len = stream.peek(&mut first).await?;
    Ok((len > 0).then_some(first[0] == TLS_HANDSHAKE))
}

async fn refuse_plaintext(mut socket: Socket) -> io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let text = "HTTP/1.1 400 Bad Request\r\n\
         content-type: text/plain\r\nconnection: close\r\n\r\n\
         This server speaks TLS: connect with https, not http.\n";
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}

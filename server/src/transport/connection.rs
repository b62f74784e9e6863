//! One connection, from its first byte to its last.

use std::io::{self, Cursor};
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::router::Router;
use crate::config::{LOCAL_ERROR_RESET_STREAMS_MAX, PENDING_RESET_STREAMS_MAX, TransportLimits};

/// The first bytes of every HTTP/2 connection. Source: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until its peer closes it or the server has drained.
///
/// # Errors
/// Whatever ended the connection other than that; of interest to a debug log only.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: &TransportLimits,
    mut drain: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Answers are small and wanted at once.
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();

    // hyper waits for the preface for ever.
    let mut preface = [0; PREFACE.len()];
    let read = tokio::select! {
        read = timeout(limits.preface_timeout, reader.read_exact(&mut preface)) => read,
        _ = drain.wait_for(|drain| *drain) => return Ok(()),
    };
    match read {
        Ok(Ok(_)) if preface == *PREFACE => {}
        Ok(Ok(_)) => {
            return turn_away(&mut writer, &preface, limits.preface_timeout).await;
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            return Err(format!("no HTTP/2 preface within {:?}", limits.preface_timeout).into());
        }
    }
    let io = tokio::io::join(Cursor::new(preface).chain(reader), writer);

    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(PENDING_RESET_STREAMS_MAX)
        .max_local_error_reset_streams(LOCAL_ERROR_RESET_STREAMS_MAX)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        // gRPC has no use for it.
        .auto_date_header(false);
    let mut connection = pin!(http2.serve_connection(TokioIo::new(io), router));
    tokio::select! {
        ended = &mut connection => return Ok(ended?),
        _ = drain.wait_for(|drain| *drain) => {}
    }
    connection.as_mut().graceful_shutdown();
    match timeout(limits.drain_timeout, connection).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(format!("calls did not end within {:?}", limits.drain_timeout).into()),
    }
}

/// Tells a peer that does not speak HTTP/2 so, if it speaks something that we can answer in.
async fn turn_away(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    start: &[u8],
    time: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
        content-type: text/plain\r\nconnection: close\r\n\r\n\
        This is a gRPC server: it speaks HTTP/2 from the first byte on, without TLS.\n";
    debug!(start = %start.escape_ascii(), "peer does not speak HTTP/2");
    // A TLS handshake begins with the byte 22; whoever sends it does not read text.
    if start.first() != Some(&22) {
        timeout(time, writer.write_all(ANSWER)).await??;
        timeout(time, writer.shutdown()).await??;
    }
    Ok(())
}

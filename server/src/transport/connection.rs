//! One connection, from its first byte to its last.

use std::io::{self, Cursor};
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::fairness::{FairIo, PollCount, ThreadShare};
use super::open_calls::OpenCalls;
use super::outstayed::{Outstayed, outstayed};
use super::without_call::WithoutCall;
use crate::config::{DRAIN_IDLE, LOCAL_ERROR_RESET_STREAMS_MAX, TransportLimits};
use crate::rpc::router::Router;

/// The first bytes of every HTTP/2 connection. Source: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until its peer closes it or the server has drained.
///
/// # Errors
/// Any other reason why the connection ended, for the debug log.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: &TransportLimits,
    thread: Arc<ThreadShare>,
    mut drain: watch::Receiver<bool>,
    crowded: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Responses are small and must not wait to be sent together.
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();

    // Read here, because hyper would wait for the preface for ever.
    let mut preface = [0; PREFACE.len()];
    let greeting = timeout(
        limits.preface_timeout,
        greet(&mut reader, &mut writer, &mut preface),
    );
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        _ = drain.wait_for(|drain| *drain) => return Ok(()),
    };
    match greeted {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Ok(()),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            return Err(format!("no HTTP/2 preface within {:?}", limits.preface_timeout).into());
        }
    }
    let polls = PollCount::default();
    let reader = Cursor::new(preface).chain(reader);
    let calls = OpenCalls::new(router.clone());
    let io = FairIo::new(reader, writer, thread, polls.clone())
        .limited_by(WithoutCall::new(calls.clone()));
    let mut http2 = http2::Builder::new(calls.clone());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(limits.max_streams as usize)
        .max_local_error_reset_streams(LOCAL_ERROR_RESET_STREAMS_MAX)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        // gRPC clients do not read it.
        .auto_date_header(false);
    let mut connection = pin!(http2.serve_connection(TokioIo::new(io), router.clone()));
    tokio::select! {
        ended = polls.count(connection.as_mut()) => return Ok(ended?),
        _ = drain.wait_for(|drain| *drain) => {}
        outstayed = outstayed(&router, limits, crowded) => match outstayed {
            Outstayed::Idle => {}
            Outstayed::Unread => return Err("the client does not read, and memory is scarce".into()),
        },
    }
    connection.as_mut().graceful_shutdown();
    // A live peer answers at once, and its connection ends with its last call. One that was stopped, or is gone, would
    // keep the server until the timeout.
    let ended = async {
        tokio::select! {
            ended = polls.count(connection) => ended,
            () = calls.none_for(DRAIN_IDLE) => Ok(()),
        }
    };
    match timeout(limits.drain_timeout, ended).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(format!("calls did not end within {:?}", limits.drain_timeout).into()),
    }
}

/// Reads the preface, and returns whether it came. At the first wrong byte the peer is told that this is HTTP/2.
async fn greet(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    preface: &mut [u8; PREFACE.len()],
) -> io::Result<bool> {
    const WRONG_PROTOCOL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
        content-type: text/plain\r\nconnection: close\r\n\r\n\
        This is a gRPC server: it speaks HTTP/2 from the first byte on, without TLS.\n";
    // The first byte of TLS, the type of a handshake record. Such a peer cannot read the text above.
    const TLS_HANDSHAKE: u8 = 22;
    let mut len = 0;
    while len < preface.len() {
        len += match reader.read(&mut preface[len..]).await? {
            0 => return Ok(false),
            read => read,
        };
        if preface[..len] != PREFACE[..len] {
            debug!(start = %preface[..len].escape_ascii(), "peer does not speak HTTP/2");
            if preface[0] != TLS_HANDSHAKE {
                writer.write_all(WRONG_PROTOCOL).await?;
                writer.shutdown().await?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

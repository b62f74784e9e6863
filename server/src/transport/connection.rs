//! One connection, from its first byte to its last.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::fairness::{FairIo, PollCount};
use super::handshakes::Handshakes;
#[cfg(feature = "hyper")]
use super::hyper::EitherConnection as Http2Connection;
use super::listener::Accepted;
use super::open_calls::OpenCalls;
use super::outstayed::{Outstayed, outstayed};
use super::own::Ended;
#[cfg(not(feature = "hyper"))]
use super::own::OwnConnection as Http2Connection;
use super::placement::Seat;
use super::socket::{Kind, Socket};
use super::tls::{ClientCertificates, Tls};
use super::without_call::WithoutCall;
use crate::config::{DRAIN_IDLE, TransportLimits};
use crate::metrics;
use crate::rpc::audit;
use crate::rpc::router::ShownCertificate;
use crate::rpc::services::{ConnectionQuota, Services};

/// The first bytes of every HTTP/2 connection. Source: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of TLS: the type of a handshake record. Source: RFC 8446, section 5.1.
const TLS_HANDSHAKE: u8 = 22;

/// What a connection shares with others.
pub(super) struct Shared {
    pub(super) limits: Arc<TransportLimits>,
    pub(super) seat: Seat,
    pub(super) handshakes: Arc<Handshakes>,
    /// None if the server speaks no TLS.
    pub(super) tls: Option<watch::Receiver<Arc<Tls>>>,
    pub(super) drain: watch::Receiver<bool>,
    /// True while no further connection can be accepted.
    pub(super) crowded: watch::Receiver<bool>,
}

/// Serves a connection until its peer closes it or the server has drained.
///
/// # Errors
/// Any other reason why the connection ended, for the debug log.
pub(super) async fn serve(
    accepted: Accepted,
    services: Services,
    peer: &str,
    mut shared: Shared,
) -> Ended {
    // The connection may be on another thread when its handshake is over, and what waits for its socket is still here.
    let attached = shared.seat.at();
    let opened = timeout(
        // One limit for both: a peer that is slow with the handshake has less time for the preface.
        shared.limits.preface_timeout,
        open(accepted, shared.tls.as_mut(), &shared.handshakes),
    );
    let opened = tokio::select! {
        opened = opened => opened,
        _ = shared.drain.wait_for(|drain| *drain) => return Ok(()),
    };
    let socket = match opened {
        Ok(Ok(Some(socket))) => socket,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => {
            // What TLS does not accept. A peer that leaves, or breaks off, has other errors.
            if error.kind() == io::ErrorKind::InvalidData {
                audit::handshake_refused(peer, &error);
            }
            return Err(error.into());
        }
        Err(_) => {
            let time = shared.limits.preface_timeout;
            return Err(format!("no HTTP/2 preface within {time:?}").into());
        }
    };
    let certificates = socket.client_certificates();
    let (refuse, is_refused) = watch::channel(());
    let shown = certificates.own().map(|encoded| ShownCertificate {
        encoded,
        refused: is_refused,
    });
    let client = services.called_by(peer, shown);
    let polls = PollCount::default();
    let calls = OpenCalls::new(services.quota().clone());
    let thread = Arc::clone(&shared.seat.worker().share);
    let io = FairIo::new(socket, attached, thread, polls.clone());
    let io = io.limited_by(WithoutCall::new(calls.clone()));
    let open = Open {
        certificates,
        refuse,
        polls,
        calls,
        quota: services.quota(),
        peer,
    };
    let (seat, quota) = (shared.seat.clone(), open.quota.clone());
    let connection = Http2Connection::new(io, seat, client, quota, &shared.limits);
    open.serve(pin!(connection), shared).await
}

/// A connection from its preface on.
struct Open<'a> {
    certificates: ClientCertificates,
    /// To be told when the client's certificate is not accepted any more.
    refuse: watch::Sender<()>,
    polls: PollCount,
    calls: OpenCalls,
    quota: &'a ConnectionQuota,
    peer: &'a str,
}

impl Open<'_> {
    /// Drives `connection` until its peer closes it, it has outstayed, or the server has drained.
    async fn serve(self, mut connection: Pin<&mut Http2Connection>, shared: Shared) -> Ended {
        let Self {
            certificates,
            refuse,
            polls,
            calls,
            quota,
            peer,
        } = self;
        let Shared {
            limits,
            tls,
            mut drain,
            crowded,
            ..
        } = shared;
        // Biased, so that no call is taken from a client once its certificate is refused.
        tokio::select! {
            biased;
            () = refused(tls, certificates) => {
                audit::certificate_refused(peer);
                refuse.send_replace(());
            }
            ended = polls.count(connection.as_mut()) => return ended,
            _ = drain.wait_for(|drain| *drain) => {}
            outstayed = outstayed(quota, &limits, crowded) => match outstayed {
                Outstayed::Idle => {}
                Outstayed::Unread => return Err("the client does not read, and memory is scarce".into()),
            },
        }
        connection.as_mut().drain();
        // A live peer answers at once, and its connection ends with its last call. One that was stopped, or is gone, would
        // keep the server until the timeout.
        let ended = async {
            tokio::select! {
                ended = polls.count(connection) => ended,
                () = calls.none_for(DRAIN_IDLE) => Ok(()),
            }
        };
        match timeout(limits.drain_timeout, ended).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("calls did not end within {:?}", limits.drain_timeout).into()),
        }
    }
}

/// Opens a connection up to the end of HTTP/2's preface. None if the peer has left, or speaks something else.
async fn open(
    accepted: Accepted,
    tls: Option<&mut watch::Receiver<Arc<Tls>>>,
    handshakes: &Handshakes,
) -> io::Result<Option<Socket>> {
    let stream = match accepted {
        Accepted::Unix(stream) => return greet(Kind::Unix(stream).into()).await,
        Accepted::Tcp(stream) => stream,
    };
    // Responses are small and must not wait to be sent together.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return greet(Kind::Tcp(stream).into()).await;
    };
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] != TLS_HANDSHAKE {
        refuse_plaintext(stream).await?;
        return Ok(None);
    }
    // Seen: a change from now on is one that this client was not checked by.
    let tls = Arc::clone(&tls.borrow_and_update());
    let socket = handshakes.run(tls.accept(stream)).await;
    let socket = socket.inspect_err(|_| {
        metrics::here(|cells| cells.server.handshake_failures.add_shared(1));
    })?;
    greet(Kind::Tls(Box::new(socket)).into()).await
}

/// Waits until the client is not accepted any more, because the files of the TLS flags have changed.
async fn refused(tls: Option<watch::Receiver<Arc<Tls>>>, certificates: ClientCertificates) {
    if let Some(mut tls) = tls {
        while tls.changed().await.is_ok() {
            if !tls.borrow_and_update().accepts(&certificates) {
                return;
            }
        }
    }
    std::future::pending().await
}

/// Reads the preface. None if the peer has left, or speaks something else: it is told at the first wrong byte that this is
/// HTTP/2.
async fn greet(mut socket: Socket) -> io::Result<Option<Socket>> {
    // Read here, so that a peer that speaks something else is told.
    let mut preface = [0; PREFACE.len()];
    let mut len = 0;
    while len < preface.len() {
        len += match socket.read(&mut preface[len..]).await? {
            0 => return Ok(None),
            read => read,
        };
        if preface[..len] != PREFACE[..len] {
            debug!(start = %preface[..len].escape_ascii(), "peer does not speak HTTP/2");
            // Clients with TLS report the text as what it is to them, no TLS: an end without a word could have any cause.
            let text = match socket.is_tls() {
                true => "it speaks HTTP/2 from the first byte on",
                false => "it speaks HTTP/2 from the first byte on, without TLS",
            };
            refuse(&mut socket, text).await?;
            return Ok(None);
        }
    }
    Ok(Some(socket.put_back(&preface)))
}

/// Tells a peer that speaks no TLS that this server does.
async fn refuse_plaintext(stream: TcpStream) -> io::Result<()> {
    debug!("peer does not speak TLS");
    let mut socket = Socket::from(Kind::Tcp(stream));
    refuse(&mut socket, "it speaks TLS: connect with https, not http").await
}

/// Answers a peer that speaks the wrong protocol, in HTTP/1.1, which people can read.
async fn refuse(socket: &mut Socket, text: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 505 HTTP Version Not Supported\r\n\
         content-type: text/plain\r\nconnection: close\r\n\r\n\
         This is a gRPC server: {text}.\n"
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

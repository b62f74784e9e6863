//! Sends calls on to the node that owns the store, as they are: path, headers, body and trailers. Nothing of them is kept, so
//! that whoever does not read holds up whoever sends, all the way.
//!
//! Each thread has connections of its own to the owner: one, and more only while that has as many calls as the owner permits.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tonic::Status;
use tonic::codegen::BoxFuture;
use tracing::debug;

use super::tls::Tls;
use crate::config::{
    FORWARD_CONNECT_TIMEOUT, FORWARD_CONNECTIONS_MAX, FORWARD_LAST_ANSWERS, TransportLimits,
};
use crate::role::NodeStatus;
use crate::rpc::body::incoming::RequestBody;
use crate::rpc::header_fields::HOP;
use crate::rpc::standby::{Forward, NotForwarded, broken};

/// What sends calls on from one thread.
pub(super) struct Forwarder {
    node: watch::Receiver<NodeStatus>,
    /// None if the nodes speak no TLS.
    tls: Option<watch::Receiver<Arc<Tls>>>,
    limits: Arc<TransportLimits>,
    /// Those to the owner of the address. Held while one is made: the others of the thread wait for the same.
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    address: String,
    open: Vec<Line>,
}

/// A connection to the owner.
#[derive(Clone)]
struct Line {
    sender: SendRequest<RequestBody>,
    scheme: Scheme,
    authority: Authority,
    /// One for the line itself, and one for each call in progress.
    calls: Arc<()>,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Forwarder {
    pub(super) fn new(
        node: watch::Receiver<NodeStatus>,
        tls: Option<watch::Receiver<Arc<Tls>>>,
        limits: Arc<TransportLimits>,
    ) -> Self {
        Self {
            node,
            tls,
            limits,
            lines: Arc::default(),
        }
    }

    fn clone_for_call(&self) -> Self {
        Self {
            node: self.node.clone(),
            tls: self.tls.clone(),
            limits: Arc::clone(&self.limits),
            lines: Arc::clone(&self.lines),
        }
    }

    /// A connection to the owner, with room for another call. None if there is no owner, or it cannot be reached.
    async fn line(&self) -> Option<Line> {
        let address = self.node.borrow().other_owner()?.address.clone();
        let mut lines = self.lines.lock().await;
        if lines.address != address {
            *lines = Lines {
                address,
                open: Vec::new(),
            };
        }
        lines.open.retain(|line| !line.sender.is_closed());
        let calls_max = self.limits.max_streams as usize;
        let free = |line: &&Line| Arc::strong_count(&line.calls) <= calls_max;
        if let Some(line) = lines.open.iter().find(free) {
            return Some(line.clone());
        }
        if lines.open.len() >= FORWARD_CONNECTIONS_MAX {
            return None;
        }
        let connected = timeout(FORWARD_CONNECT_TIMEOUT, self.connect(&lines.address)).await;
        let line = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line = line.inspect_err(
            |error| debug!(owner = lines.address, %error, "cannot connect to the owner"),
        );
        let line = line.ok()?;
        lines.open.push(line.clone());
        Some(line)
    }

    async fn connect(&self, address: &str) -> io::Result<Line> {
        let authority: Authority = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
        let (sender, scheme) = match tls {
            None => (self.open(stream, address).await?, Scheme::HTTP),
            Some(tls) => {
                let stream = tls.connect(authority.host(), stream).await?;
                (self.open(stream, address).await?, Scheme::HTTPS)
            }
        };
        Ok(Line {
            sender,
            scheme,
            authority,
            calls: Arc::default(),
        })
    }

    /// Opens HTTP/2 on a socket, and serves it with a task of this thread.
    async fn open<S>(&self, socket: S, address: &str) -> io::Result<SendRequest<RequestBody>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.limits;
        // Calls whose clients do not read must not hold up the others.
        let window = limits
            .stream_window_bytes
            .saturating_mul(limits.max_streams);
        let opened = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(window.min(i32::MAX as u32))
            .max_header_list_size(limits.max_header_bytes)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(socket))
            .await;
        let (sender, connection) = opened.map_err(io::Error::other)?;
        let (node, address) = (self.node.clone(), address.to_owned());
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = has_left(node, &address) => {
                    // It may be busy with the last answers, or stand still for ever.
                    let rest = timeout(FORWARD_LAST_ANSWERS, connection);
                    rest.await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                debug!(owner = address, %error, "the connection to the owner ended");
            }
        });
        Ok(sender)
    }
}

/// Waits until the owner is another than the one at `address`.
async fn has_left(mut node: watch::Receiver<NodeStatus>, address: &str) {
    let is_other = |status: &NodeStatus| {
        status
            .owner
            .as_ref()
            .is_some_and(|owner| owner.address != address)
    };
    if node.wait_for(is_other).await.is_err() {
        // Nobody says who the owner is any more: the node ends.
        std::future::pending::<()>().await;
    }
}

impl Forward for Forwarder {
    fn send(
        &self,
        call: Request<RequestBody>,
    ) -> BoxFuture<Response<tonic::body::Body>, NotForwarded> {
        let this = self.clone_for_call();
        Box::pin(async move {
            let mut line = this.line().await.ok_or(NotForwarded::NotConnected)?;
            let name = HeaderValue::from_str(&this.node.borrow().node);
            let call = line.address(call, name.unwrap_or(HeaderValue::from_static("node")));
            let Line { sender, calls, .. } = &mut line;
            match sender.try_send_request(call).await {
                Ok(response) => {
                    let _call = Arc::clone(calls);
                    Ok(response.map(|body| tonic::body::Body::new(Answer { body, _call })))
                }
                // It was given back: nothing of it was sent.
                Err(error) if error.message().is_some() => Err(NotForwarded::NotConnected),
                Err(error) => Err(NotForwarded::Broken(cause(error.error()))),
            }
        })
    }
}

impl Line {
    /// The call as the owner is to get it from `node`.
    fn address(&self, call: Request<RequestBody>, node: HeaderValue) -> Request<RequestBody> {
        let (mut parts, body) = call.into_parts();
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        // A path that has arrived is one.
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
        parts.headers.insert(HOP, node);
        parts.extensions.clear();
        Request::from_parts(parts, body)
    }
}

/// The body of an answer of the owner.
struct Answer {
    body: Incoming,
    _call: Arc<()>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Err(error)) => {
                let mut trailers = http::HeaderMap::new();
                let end = broken(&cause(&error)).add_header(&mut trailers);
                Some(end.map(|()| Frame::trailers(trailers)))
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The innermost error: those around it say only that something failed.
fn cause(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!("the connection to it broke: {cause}")
}

//! One HTTP/2 connection for the generated clients.
//!
//! It is a connection of hyper without the channel of tonic around it. The channel would reconnect unnoticed, which must not
//! happen in a measurement, and it passes every call through a queue to another task.

use std::error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use soloist::v1::admin_client::AdminClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};
use tower_service::Service;

use crate::connect::destination::Destination;
use crate::connect::nodes::{Node, other_owner};
use crate::engines::sniffer::{Signals, SniffedStream};
use crate::grpc::{ANSWER_BYTES_MAX, root_cause};
use crate::plan::settings::TOKEN_METADATA;

/// Flow-control windows that never hold back answers. The answers are read as soon as they arrive.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Body>,
    signals: Arc<Signals>,
    destination: Arc<Destination>,
    node: Arc<Node>,
}

impl Connection {
    /// Connects to the node in use, and waits for the SETTINGS of the server. A server that accepts and says nothing is none. With
    /// several addresses, the next one is in use after an error.
    ///
    /// # Errors
    /// If that fails, or takes longer than `timeout`. The text names the address.
    pub(crate) async fn open(
        destination: &Arc<Destination>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let node = destination.nodes().current();
        let opened = Self::open_to(&node, destination, timeout).await;
        if opened.is_err() {
            destination.nodes().leave(&node);
        }
        opened
    }

    async fn open_to(
        node: &Arc<Node>,
        destination: &Arc<Destination>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let opening = async {
            let connection = Self::try_open(node, destination).await?;
            let signals = &connection.signals;
            while !signals.is_ready() {
                if signals.is_closed() {
                    return Err(io::Error::other(signals.why()));
                }
                signals.changed().await;
            }
            Ok(connection)
        };
        let address = node.name();
        match tokio::time::timeout(timeout, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => {
                let why = Destination::in_words(&error.to_string());
                Err(format!("cannot connect to {address}: {why}"))
            }
            Err(_) => Err(format!("cannot connect to {address} within {timeout:?}")),
        }
    }

    async fn try_open(node: &Arc<Node>, destination: &Arc<Destination>) -> io::Result<Self> {
        let signals = Arc::<Signals>::default();
        let socket = destination.socket(node).await?;
        let stream = SniffedStream::new(socket, Arc::clone(&signals));
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| io::Error::other(root_cause(&error).to_string()))?;
        let ended = Arc::clone(&signals);
        tokio::spawn(async move {
            // Every call on the connection reports its error, too.
            let why = match connection.await {
                Ok(()) => "the server closed the connection".to_owned(),
                Err(error) => root_cause(&error).to_string(),
            };
            ended.close(why);
        });
        Ok(Self {
            requests,
            signals,
            destination: Arc::clone(destination),
            node: Arc::clone(node),
        })
    }

    /// Waits until the connection has ended, or takes no new calls: because the server has ended it in order, or because
    /// another node owns the store. One task may wait.
    pub(crate) async fn ended(&self) {
        while !self.signals.is_closed() && !self.signals.is_draining() && !self.is_left() {
            self.signals.changed().await;
        }
    }

    /// Returns whether the server has answered that another node owns the store.
    pub(crate) fn is_left(&self) -> bool {
        self.signals.is_left()
    }

    /// Looks whether an error says that another node owns the store, so that the call was not begun and goes elsewhere. If so,
    /// goes on with that node. Always false with a single address.
    pub(crate) fn is_elsewhere(&self, code: Code, details: &[u8]) -> bool {
        if !self.destination.is_searched() {
            return false;
        }
        let Some(owner) = other_owner(code, details) else {
            return false;
        };
        self.destination.nodes().follow(&self.node, &owner);
        self.signals.leave();
        true
    }

    /// Returns how often something was read from the connection so far.
    pub(crate) fn reads(&self) -> u64 {
        self.signals.reads()
    }

    /// Takes the connection for ended: the server is silent.
    pub(crate) fn give_up(&self) {
        self.destination.nodes().leave(&self.node);
        self.signals.close("the server is silent".to_owned());
    }

    /// Returns whether the server has ended the connection in order, by GOAWAY.
    pub(crate) fn is_draining(&self) -> bool {
        self.signals.is_draining()
    }

    /// Returns the generated client of the service State on this connection.
    pub(crate) fn state(&self) -> StateClient<Self> {
        StateClient::with_origin(self.clone(), self.node.origin())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Returns a client of any service on this connection.
    pub(crate) fn grpc(&self) -> Grpc<Self> {
        Grpc::with_origin(self.clone(), self.node.origin())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Returns the generated client of the service Admin on this connection.
    pub(crate) fn admin(&self) -> AdminClient<Self> {
        AdminClient::with_origin(self.clone(), self.node.origin())
    }

    /// Returns the generated client of the service Sessions on this connection.
    pub(crate) fn sessions(&self) -> SessionsClient<Self> {
        SessionsClient::with_origin(self.clone(), self.node.origin())
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn destination(&self) -> &Arc<Destination> {
        &self.destination
    }

    /// Returns the headers that every call carries: those of the flags, and the token.
    pub(crate) fn metadata(&self, pairs: &[(String, String)]) -> MetadataMap {
        let mut metadata = metadata_map(pairs);
        self.destination.authorize(&mut metadata);
        metadata
    }
}

/// Returns headers as tonic has them.
pub(crate) fn metadata_map(pairs: &[(String, String)]) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (name, value) in pairs {
        let (name, value) = (name.parse::<AsciiMetadataKey>(), value.parse());
        if let (Ok(name), Ok(value)) = (name, value) {
            let mut value: AsciiMetadataValue = value;
            value.set_sensitive(name == TOKEN_METADATA);
            map.append(name, value);
        }
    }
    map
}

/// Why a call failed before the server answered it.
#[derive(Debug)]
pub(crate) struct CallError {
    error: hyper::Error,
    /// Nothing of the call has left this process.
    is_unsent: bool,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl error::Error for CallError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What the status of a call that failed says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The server answered with this status, or reset just this stream.
    Answered,
    /// The server has refused the stream before it looked at it, and the connection goes on: the call may be made again.
    Refused,
    /// The server has not taken the call, and will not: it may go to another connection.
    NotTaken,
    /// The connection is gone. The call may have been applied.
    Lost,
}

impl CallEnd {
    /// A status that the server sent has no source. Only a transport error has one.
    ///
    /// A stream above the last one that a GOAWAY names was not begun by the server (RFC 9113, section 6.8). Such a call fails
    /// with the GOAWAY itself; one that the server has begun and that breaks later fails with another error. A stream that is
    /// reset with REFUSED_STREAM was not begun, either (section 8.7).
    pub(crate) fn of(status: &Status) -> Self {
        let mut next = error::Error::source(status);
        let mut end = match next {
            None => Self::Answered,
            Some(_) => Self::Lost,
        };
        while let Some(source) = next {
            if source
                .downcast_ref::<CallError>()
                .is_some_and(|error| error.is_unsent)
            {
                return Self::NotTaken;
            }
            if let Some(error) = source.downcast_ref::<h2::Error>()
                && error.is_remote()
            {
                end = match (error.is_go_away(), error.is_reset()) {
                    (true, _) => Self::NotTaken,
                    (false, true) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => {
                        Self::Refused
                    }
                    (false, true) => Self::Answered,
                    (false, false) => end,
                };
            }
            next = source.source();
        }
        end
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, CallError>> + Send>>;

    /// Always ready. A lost connection shows in the call: tonic would turn an error from here into a status without a
    /// source, and the source is needed to recognise it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sending = self.requests.try_send_request(request);
        Box::pin(async move {
            sending.await.map_err(|mut failed| {
                let is_unsent = failed.take_message().is_some();
                CallError {
                    error: failed.into_error(),
                    is_unsent,
                }
            })
        })
    }
}

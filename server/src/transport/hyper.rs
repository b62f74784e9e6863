//! Serves HTTP/2 with the crate hyper, in tests alone: what the server's own transport is compared with. All that is for hyper is
//! here, except its kind of request body (`rpc/body/incoming.rs`).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::fairness::FairIo;
use super::own::{Ended, OwnConnection};
use super::placement::Seat;
use super::socket::Socket;
use crate::config::{Transport, TransportLimits};
use crate::rpc::answering::Answering;
use crate::rpc::body::incoming::RequestBody;
use crate::rpc::body::response::{self, Answer, ResponseBody};
use crate::rpc::body::unread::UnreadAnswer;
use crate::rpc::services::{CallGuard, ClientServices, ConnectionQuota};

/// Most streams that a client may make the server reset by its own errors. Lower than the 1,024 that h2 allows. (Streams that the
/// client resets before the server looks at them are limited by `--max-streams`.)
const LOCAL_ERROR_RESET_STREAMS_MAX: usize = 256;

/// A connection that either transport serves, instead of [`OwnConnection`]. Resolves when it has ended.
pub(super) enum EitherConnection {
    Own(Box<OwnConnection>),
    Hyper(Pin<Box<HyperConnection>>),
}

type HyperConnection = http2::Connection<TokioIo<FairIo<Socket>>, Calls, Tasks>;

impl EitherConnection {
    /// Serves the client of `socket`, whose preface is still to be read, as `limits` says.
    pub(super) fn new(
        socket: FairIo<Socket>,
        seat: Seat,
        services: ClientServices,
        quota: ConnectionQuota,
        limits: &TransportLimits,
    ) -> Self {
        match limits.transport {
            Transport::Own => {
                Self::Own(OwnConnection::new(socket, seat, services, quota, limits).into())
            }
            Transport::Hyper => {
                let builder = builder(Tasks(quota), limits);
                let connection = builder.serve_connection(TokioIo::new(socket), Calls(services));
                Self::Hyper(Box::pin(connection))
            }
        }
    }

    /// Says goodbye: calls that are open, and those that are under way, are answered.
    pub(super) fn drain(&mut self) {
        match self {
            Self::Own(connection) => connection.drain(),
            Self::Hyper(connection) => connection.as_mut().graceful_shutdown(),
        }
    }
}

fn builder(tasks: Tasks, limits: &TransportLimits) -> http2::Builder<Tasks> {
    let mut http2 = http2::Builder::new(tasks);
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
    http2
}

impl Future for EitherConnection {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match &mut *self {
            Self::Own(connection) => Pin::new(connection).poll(cx),
            Self::Hyper(connection) => connection.as_mut().poll(cx).map_err(Into::into),
        }
    }
}

/// The services, as hyper calls them.
pub(super) struct Calls(ClientServices);

impl Service<Request<Incoming>> for Calls {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<Incoming>) -> Responding {
        Responding(self.0.begin(request.map(RequestBody::Hyper)))
    }
}

/// A call, as hyper waits for it.
pub(super) struct Responding(Answering);

impl Future for Responding {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(cx);
        answer.map(|answer| {
            Ok(match answer {
                Answer::One(message) => response::with_body(message.rest(0)),
                Answer::Other(response) => *response,
            })
        })
    }
}

/// Runs the calls of one connection, each as a task that ends when its response is handed to the connection, and charges them to
/// this quota.
#[derive(Clone)]
pub(super) struct Tasks(ConnectionQuota);

impl<F: Future<Output = ()> + Send + Unpin + 'static> Executor<F> for Tasks {
    fn execute(&self, call: F) {
        tokio::spawn(CallTask {
            call,
            unread: UnreadAnswer::NEW,
            _counted: self.0.call(),
        });
    }
}

/// The task of a call. Ends the call if its answer is not read in time.
struct CallTask<C> {
    call: C,
    unread: UnreadAnswer,
    /// Counts the call for as long as it runs.
    _counted: CallGuard,
}

impl<C: Future<Output = ()> + Unpin> Future for CallTask<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        UnreadAnswer::begin_poll();
        match Pin::new(&mut self.call).poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.unread.poll_end(false, cx),
        }
    }
}

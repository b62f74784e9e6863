//! Servers to measure the tool itself with.
//!
//! A [`NullServer`] answers Read, Write, Pipeline and GetInfo over HTTP/2 on loopback with what a Soloist could say, but
//! keeps no state. At once, what the tool measures is the tool, the kernel and the HTTP/2 stack; with a [`Delay`] of known
//! distribution it can be told whether the percentiles that it reports are those that there were. Delays are kept by a
//! thread of their own (`timers`), and how long each answer really stayed in the server is recorded (`Residence`): it is
//! the truth to compare with, whatever the machine makes of a delay.

mod delay;
mod service;
mod timers;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub(crate) use delay::Delay;
pub(crate) use service::Residence;

use service::{Answers, Router};
use timers::Timers;

/// Calls under way on one connection: more than the tool has workers.
const STREAMS_MAX: u32 = 1 << 17;
/// Windows that never hold back requests: they are read as soon as they arrive.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A server on a thread of its own. Dropping it tells it to end.
#[derive(Debug)]
pub(crate) struct NullServer {
    address: SocketAddr,
    answers: Arc<Answers>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
    timers: Timers,
}

impl NullServer {
    /// Serves on a free port of loopback. Delays are drawn from `seed`.
    ///
    /// # Errors
    /// What the system says when it makes the socket and the threads.
    pub(crate) fn start(delay: Delay, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let timers = Timers::start()?;
        let answers = Arc::new(Answers::new(delay, seed, timers.alarm()));
        let router = Router::new(&answers);
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("null-server".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        failed = accept(listener, router) => failed,
                        _ = stopped => Ok(()),
                    }
                })
            })?;
        Ok(Self {
            address,
            answers,
            stop,
            thread,
            timers,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long the answers so far took.
    #[cfg(test)]
    pub(crate) fn residence(&self) -> Residence {
        self.answers.residence()
    }

    /// Ends it, and tells how long its answers took. Calls under way are cut off.
    ///
    /// # Errors
    /// If it had ended before, because it could not accept connections any more.
    pub(crate) fn stop(self) -> io::Result<Residence> {
        // Nobody to tell if it has ended.
        let _ = self.stop.send(());
        // With the thread goes its runtime, and with that every connection.
        self.thread.join().expect("no task of it takes it down")?;
        self.timers.stop();
        Ok(self.answers.residence())
    }
}

/// Ends only with an error.
async fn accept(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .max_concurrent_streams(STREAMS_MAX)
        // Calls that the tool gave up are no attack.
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .auto_date_header(false);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2.serve_connection(TokioIo::new(stream), router.clone());
        // What goes wrong on a connection is seen by its other side.
        tokio::spawn(async move { _ = connection.await });
    }
}

#[cfg(test)]
mod tests;

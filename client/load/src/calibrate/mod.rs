//! Servers of known behaviour, with which the tool measures itself.
//!
//! A [`NullServer`] listens on loopback and answers Read, Write, Pipeline and GetInfo with responses that a Soloist
//! could give, but it has no state. Without a delay, a run against it measures the tool, the kernel and the HTTP/2
//! stack. With a [`Delay`] of known distribution, the percentiles in the report can be compared with the true ones.
//!
//! The server records how long each response really stayed in it ([`Residence`]), because a delay may last longer than
//! it should. A thread with exact timers ends the delays (`timers`).

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

use service::{Responder, Router};
use timers::TimerThread;

/// The most calls in flight on one connection: more than the tool has workers.
const STREAMS_MAX: u32 = 1 << 17;
/// Receive windows that never hold back a request: requests are read as soon as they arrive.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A server on a thread of its own. The server ends when this is dropped.
#[derive(Debug)]
pub(crate) struct NullServer {
    address: SocketAddr,
    responder: Arc<Responder>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
    timer_thread: TimerThread,
}

impl NullServer {
    /// Starts a server on a free port of loopback. `seed` determines the delays.
    ///
    /// # Errors
    ///
    /// Errors of the system, from making the socket and the threads.
    pub(crate) fn start(delay: Delay, seed: u64) -> io::Result<Self> {
        Self::start_with(delay, seed, |_| {})
    }

    /// As [`start`](Self::start), but each operation takes this many nanoseconds of CPU time besides the usual.
    #[cfg(test)]
    pub(crate) fn start_burning(delay: Delay, seed: u64, nanos: u64) -> io::Result<Self> {
        let turns = (nanos as f64 * service::turns_per_nano()) as u64;
        Self::start_with(delay, seed, |responder| responder.burn = turns)
    }

    fn start_with(
        delay: Delay,
        seed: u64,
        change: impl FnOnce(&mut Responder),
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let timer_thread = TimerThread::start()?;
        let mut responder = Responder::new(delay, seed, timer_thread.timers());
        change(&mut responder);
        let responder = Arc::new(responder);
        let router = Router::new(&responder);
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
            responder,
            stop,
            thread,
            timer_thread,
        })
    }

    /// Returns the address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the residence times so far.
    #[cfg(test)]
    pub(crate) fn residence(&self) -> Residence {
        self.responder.residence()
    }

    /// Stops the server, and returns the residence times. Calls in flight are cut off.
    ///
    /// # Errors
    ///
    /// If the server had ended before, because it could not accept connections any more.
    pub(crate) fn stop(self) -> io::Result<Residence> {
        // The receiver is gone if the server has ended already.
        let _ = self.stop.send(());
        // The runtime ends with its thread, and all connections with the runtime.
        self.thread
            .join()
            .expect("no task of the server panics its thread")?;
        self.timer_thread.stop();
        Ok(self.responder.residence())
    }
}

/// Serves every connection. Returns only errors of accepting.
async fn accept(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .max_concurrent_streams(STREAMS_MAX)
        // Calls that the tool cancels are not an attack.
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .auto_date_header(false);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2.serve_connection(TokioIo::new(stream), router.clone());
        // The client sees an error of its connection itself.
        tokio::spawn(async move { _ = connection.await });
    }
}

#[cfg(test)]
mod tests;

//! Sockets and HTTP/2: accepts connections, shares them out to threads, and turns requests into calls of handlers.

mod connection;
mod fairness;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use fairness::ThreadShare;

use crate::config::{ACCEPT_PAUSE, SPARE_DESCRIPTORS, THREAD_DESCRIPTORS, TransportLimits};
use crate::rpc::router::Router;

/// A thread that serves connections.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    share: Arc<ThreadShare>,
}

impl Worker {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            connections: Arc::default(),
            share: Arc::default(),
        }
    }
}

/// Accepts connections and shares them out, until it is dropped.
pub(crate) struct Acceptor {
    listener: TcpListener,
    workers: Vec<Worker>,
    router: Router,
    limits: Arc<TransportLimits>,
    drain: watch::Receiver<bool>,
    permits: Arc<Semaphore>,
    /// Given up for a moment when descriptors run out, so that a connection can be accepted to be closed. Otherwise it
    /// would stay in the backlog, its client waiting for nothing.
    spare_descriptor: Option<File>,
}

/// Waits for the connections that are still open.
pub(crate) struct OpenConnections {
    permits: Arc<Semaphore>,
    count: u32,
}

impl Acceptor {
    /// Prepares to accept on `listener`, which belongs to the current runtime.
    pub(crate) fn new(
        listener: TcpListener,
        workers: Vec<Worker>,
        router: Router,
        limits: TransportLimits,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let count = limits
            .max_connections
            .min(connections_by_descriptors(workers.len()));
        Self {
            listener,
            workers,
            router,
            limits: Arc::new(limits),
            drain,
            permits: Arc::new(Semaphore::new(count)),
            spare_descriptor: spare_descriptor(),
        }
    }

    /// What is left to wait for when this has stopped.
    pub(crate) fn open_connections(&self) -> OpenConnections {
        OpenConnections {
            permits: Arc::clone(&self.permits),
            count: u32::try_from(self.permits.available_permits())
                .expect("connections are limited below 2^32"),
        }
    }

    /// Accepts for ever. Cancelling it loses no connection but those in the backlog.
    pub(crate) async fn run(mut self) {
        let mut full = false;
        loop {
            // Told when it begins, not for every connection that it goes on with.
            let was_full = std::mem::replace(&mut full, self.permits.available_permits() == 0);
            if full && !was_full {
                warn!("as many connections as there may be: more wait until one ends");
            }
            let permit = Arc::clone(&self.permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => self.share_out(stream, peer, permit),
                Err(error) if is_of_one_connection(&error) => debug!(%error, "accept"),
                Err(error) => {
                    warn!(%error, "cannot accept connections, pausing for {ACCEPT_PAUSE:?}");
                    self.turn_one_away();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Gives the connection to the thread with the fewest.
    fn share_out(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let worker = self
            .workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Ordering::Relaxed))
            .expect("there is at least one worker");
        let counted = ConnectionCount::new(&worker.connections);
        let share = Arc::clone(&worker.share);
        let (router, limits, drain) = (
            self.router.for_connection(),
            Arc::clone(&self.limits),
            self.drain.clone(),
        );
        // The socket moves to the reactor of its thread.
        let stream = stream.into_std();
        worker.runtime.spawn(async move {
            let ended = match stream.and_then(TcpStream::from_std) {
                Ok(stream) => connection::serve(stream, router, &limits, share, drain).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                debug!(%peer, %error, "connection ended");
            }
            drop((counted, permit));
        });
    }

    fn turn_one_away(&mut self) {
        drop(self.spare_descriptor.take());
        // Accepted and closed at once, if it is still there.
        let _ = self.listener.accept().now_or_never();
        self.spare_descriptor = spare_descriptor();
    }
}

/// One connection of a worker, for as long as it lives.
struct ConnectionCount(Arc<AtomicUsize>);

impl ConnectionCount {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenConnections {
    /// Resolves when every connection has ended.
    pub(crate) async fn ended(self) {
        // Closed semaphores do not exist here; the permits die with this.
        let _ = self.permits.acquire_many(self.count).await;
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn connections_by_descriptors(threads: usize) -> usize {
    let spare = SPARE_DESCRIPTORS + THREAD_DESCRIPTORS * threads as u64;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => soft.saturating_sub(spare).clamp(1, 1 << 20) as usize,
        Err(_) => usize::MAX >> 3,
    }
}

/// Whether accept failed for the sake of the one connection, so that the next may be accepted at once.
/// Source: accept(2), "Error handling".
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EINTR
                | Errno::EPERM
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
        )
    )
}

//! Sockets and HTTP/2: accepts connections, shares them out to threads, and serves each with a [`Router`].

mod connection;
mod fairness;
mod forward;
mod frame_headers;
mod handshakes;
mod http1;
#[cfg(feature = "hyper")]
mod hyper;
mod listener;
mod open_calls;
mod outstayed;
mod own;
mod placement;
mod settings;
mod socket;
mod tls;
mod without_call;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use crate::config::{ACCEPT_PAUSE, SPARE_DESCRIPTORS, THREAD_DESCRIPTORS, TransportLimits};
use crate::metrics;
use crate::role::NodeStatus;
use crate::rpc::services::Services;
use crate::rpc::standby::Forward;
use connection::Shared;
use fairness::ThreadShare;
use forward::Forwarder;
use handshakes::Handshakes;
use placement::{Load, Placed, Threads};

pub(crate) use http1::open_http1;
pub(crate) use listener::{Accepted, AsyncListener};
pub use listener::{ListenAddress, Listener};
pub(crate) use tls::{Tls, TlsFiles};

/// A thread that serves connections.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    runtime: Handle,
    /// How many connections it serves.
    connections: Arc<AtomicUsize>,
    load: Arc<Load>,
    share: Arc<ThreadShare>,
    handshakes: Arc<Handshakes>,
    /// Sends calls on to the owner. None if no node does, or this thread is that of a store.
    forward: Option<Arc<dyn Forward>>,
}

impl Worker {
    /// How many connections the thread serves, now and later.
    pub(crate) fn connections(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connections)
    }

    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            connections: Arc::default(),
            load: Arc::default(),
            share: Arc::default(),
            handshakes: Arc::default(),
            forward: None,
        }
    }
}

/// Accepts connections and shares them out, until it is dropped.
pub(crate) struct Acceptor {
    listener: AsyncListener,
    workers: Vec<Worker>,
    services: Services,
    limits: Arc<TransportLimits>,
    /// None if the server speaks no TLS.
    tls: Option<watch::Receiver<Arc<Tls>>>,
    drain: watch::Receiver<bool>,
    /// One for each connection that may be open.
    permits: Arc<Semaphore>,
    /// Whether as many are open as may be.
    crowded: watch::Sender<bool>,
    /// Closed for a moment when descriptors run out, so that a connection can be accepted and closed at once. Otherwise the
    /// connection would stay in the backlog, and its client would wait in vain.
    spare_descriptor: Option<File>,
}

/// The connections of an acceptor that are still open.
pub(crate) struct OpenConnections {
    permits: Arc<Semaphore>,
    /// How many permits there are.
    count: u32,
}

impl Acceptor {
    /// Prepares to accept on `listener`, which must belong to the current runtime. `limits` must allow no more connections
    /// than [`connections_max`]. `tls` has what new connections use.
    pub(crate) fn new(
        listener: AsyncListener,
        workers: Vec<Worker>,
        services: Services,
        limits: TransportLimits,
        tls: Option<watch::Receiver<Arc<Tls>>>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let count = limits.max_connections;
        Self {
            listener,
            workers,
            services,
            limits: Arc::new(limits),
            tls,
            drain,
            permits: Arc::new(Semaphore::new(count)),
            crowded: watch::Sender::new(false),
            spare_descriptor: open_spare_descriptor(),
        }
    }

    /// The same acceptor, whose threads send calls on to the owner that `node` sees.
    pub(crate) fn forwarding(mut self, node: &watch::Receiver<NodeStatus>) -> Self {
        for worker in &mut self.workers {
            let forwarder =
                Forwarder::new(node.clone(), self.tls.clone(), Arc::clone(&self.limits));
            worker.forward = Some(Arc::new(forwarder));
        }
        self
    }

    /// The connections to wait for after [`run`](Self::run) was cancelled.
    pub(crate) fn open_connections(&self) -> OpenConnections {
        OpenConnections {
            permits: Arc::clone(&self.permits),
            count: u32::try_from(self.permits.available_permits())
                .expect("connections are limited below 2^32"),
        }
    }

    /// Accepts for ever. Cancelling it loses only connections that are still in the backlog.
    pub(crate) async fn run(mut self) {
        let threads = Arc::new(Threads::new(std::mem::take(&mut self.workers)));
        loop {
            let full = self.permits.available_permits() == 0;
            let was_full = *self.crowded.borrow();
            if full != was_full {
                self.crowded.send_replace(full);
            }
            // Warn when the limit is reached, not again for every connection while it stays reached.
            if full && !was_full {
                warn!("the limit of connections is reached: new ones wait until one ends");
            }
            let permit = Arc::clone(&self.permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok(accepted) => {
                    metrics::here(|cells| cells.server.connections.add_shared(1));
                    self.share_out(&threads, accepted, permit);
                }
                Err(error) if concerns_one_connection(&error) => {
                    debug!(%error, "a connection failed before it was accepted")
                }
                Err(error) => {
                    warn!(%error, "cannot accept connections, pausing for {ACCEPT_PAUSE:?}");
                    self.reject_one();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Gives the connection to a thread.
    fn share_out(&self, threads: &Arc<Threads>, accepted: Accepted, permit: OwnedSemaphorePermit) {
        let seat = threads.place();
        let worker = seat.worker();
        let services = self.services.for_connection(worker.forward.as_ref());
        let shared = Shared {
            limits: Arc::clone(&self.limits),
            seat: seat.clone(),
            handshakes: Arc::clone(&worker.handshakes),
            tls: self.tls.clone(),
            drain: self.drain.clone(),
            crowded: self.crowded.subscribe(),
        };
        let peer = accepted.peer();
        // Converted to a plain socket and back, which moves it to the reactor of the worker's thread.
        let stream = accepted.detach();
        Placed::spawn(seat, async move {
            let ended = match stream.and_then(listener::Detached::attach) {
                Ok(accepted) => connection::serve(accepted, services, &peer, shared).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                debug!(%peer, %error, "connection ended");
            }
            drop(permit);
        });
    }

    /// Closes one connection of the backlog, for which there is no descriptor.
    fn reject_one(&mut self) {
        drop(self.spare_descriptor.take());
        // The connection is dropped, which closes it. None may be left in the backlog by now.
        let _ = self.listener.accept().now_or_never();
        self.spare_descriptor = open_spare_descriptor();
    }
}

impl OpenConnections {
    /// Resolves when every connection has ended.
    pub(crate) async fn ended(self) {
        // This cannot fail, because nothing closes the semaphore.
        let _ = self.permits.acquire_many(self.count).await;
    }
}

fn open_spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// How many connections may be open: as many as `limits` and the process's limit of descriptors allow.
pub(crate) fn connections_max(limits: &TransportLimits, threads: usize) -> usize {
    limits
        .max_connections
        .min(connections_by_descriptors(threads))
}

/// How many connections the process has descriptors for, besides its other files.
fn connections_by_descriptors(threads: usize) -> usize {
    let spare = SPARE_DESCRIPTORS + THREAD_DESCRIPTORS * threads as u64;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => soft.saturating_sub(spare).clamp(1, 1 << 20) as usize,
        Err(_) => usize::MAX >> 3,
    }
}

/// Whether accept failed because of the connection, so that the next one can be accepted at once. Source: accept(2),
/// "Error handling".
fn concerns_one_connection(error: &io::Error) -> bool {
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

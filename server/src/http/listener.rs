//! The thread: accepts connections, and serves each as a task of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::connection;
use super::request::Reach;
use super::site::Site;
use crate::config::{ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX};
use crate::transport::{AsyncListener, ListenAddress, Listener};

/// The listener, while it runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Http {
    address: ListenAddress,
    site: Arc<Site>,
    /// None once it was ended.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Http {
    /// Starts to answer requests on `listener`.
    ///
    /// # Errors
    /// The system's error if the thread or the socket cannot be created.
    pub(crate) fn start(listener: Listener, site: Site) -> io::Result<Self> {
        let address = listener.address()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            listener.into_async()?
        };
        let site = Arc::new(site);
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(&site);
        let reach = match address.tcp() {
            Some(address) if address.ip().is_loopback() => Reach::ThisMachine,
            _ => Reach::Any,
        };
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, &shared, reach) => {}
                    () = shared.look_at_owner() => {}
                    () = shared.keep_history() => {}
                    _ = ended => {}
                }
            });
        })?;
        info!(%address, "answering HTTP: a page at /, and /livez, /readyz, /metrics");
        Ok(Self {
            address,
            site,
            running: Some((end, thread)),
        })
    }

    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.running.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// Accepts for ever. When there are as many connections as there may be, the oldest one has to go: a probe must get through,
/// whoever else has connected.
async fn accept(listener: AsyncListener, site: &Arc<Site>, reach: Reach) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= HTTP_CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    debug!("too many HTTP connections: closing the oldest");
                    oldest.abort();
                }
                let site = Arc::clone(site);
                let connection = tokio::spawn(async move {
                    if let Err(error) = connection::serve(accepted, site, reach).await {
                        debug!(%error, "HTTP connection ended");
                    }
                });
                open.push_back(connection.abort_handle());
            }
            Err(error) => {
                warn!(%error, "cannot accept HTTP connections, pausing for {ACCEPT_PAUSE:?}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

//! A complete server on threads of its own: for `main`, for tests, and for programs that embed a server.

mod node;
mod serving;

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::watch;

use crate::cluster::{Node, NodeLost, Roles};
use crate::config::{Config, EVENT_INTERVAL, TIMER_PULSE};
use crate::http::{Http, Site};
use crate::metrics::{Metrics, Reloads, count_here};
use crate::owner::Heartbeat;
use crate::progress::Progress;
use crate::reload::{self, Files, Reload};
use crate::store::Store;
use crate::transport::{ListenAddress, Listener, Worker};
use crate::wall_clock::ClockWatch;
use serving::Start;

/// A running server. Dropping it starts a shutdown and does not wait for it.
#[derive(Debug)]
pub struct Server {
    local_addr: ListenAddress,
    http_addr: Option<ListenAddress>,
    drain: Drain,
    reload: Reload,
    pulse: Pulse,
    roles: Option<Roles>,
    runtimes: Vec<Handle>,
    main: JoinHandle<Result<(), OwnerLost>>,
}

/// A server that does not serve yet, because its store is not open. If it listens for HTTP, it answers probes: it lives, and is
/// not ready. Dropping it ends that.
#[derive(Debug)]
pub struct Prepared {
    begun: Instant,
    config: Config,
    files: Files,
    reload: Reload,
    drain: Drain,
    drained: watch::Receiver<bool>,
    monitor: Option<Monitor>,
}

/// What operators look at. None is there unless the server listens for HTTP.
#[derive(Debug)]
struct Monitor {
    metrics: Arc<Metrics>,
    http: Http,
}

/// Starts the shutdown of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Drain {
    /// Starts the shutdown: health reports NOT_SERVING, clients are told to leave (HTTP/2 GOAWAY), new calls are
    /// refused, and open calls have the drain timeout to finish. Calling it again does nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// Finds out whether the owner of a server takes messages. Cheap to clone, and no reason for the server to stay.
#[derive(Clone, Debug)]
pub struct Pulse {
    started: watch::Receiver<Option<Heartbeat>>,
    /// Whether this is a node of a cluster, which may have no owner.
    is_node: bool,
}

impl Pulse {
    /// Returns true when the owner has taken a message, and for a node that has none; false if it has ended. Waits as long as
    /// it takes none: give it a time limit.
    pub async fn beat(&self) -> bool {
        let mut started = self.started.clone();
        if self.is_node && started.borrow().is_none() && started.has_changed().is_ok() {
            return true;
        }
        let heartbeat = match started.wait_for(Option::is_some).await {
            Ok(heartbeat) => heartbeat.clone(),
            Err(_) => None,
        };
        match heartbeat {
            Some(heartbeat) => heartbeat.beat().await,
            None => false,
        }
    }
}

/// The owner's task has ended while the server was running, and the state in memory is gone.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnerLost {
    /// The task failed.
    Failed,
    /// Changes cannot be written to disk any more, for this reason. Every change that was answered after it was on disk
    /// is still there.
    JournalFailed(String),
    /// The node of a cluster cannot go on: another one owns the store, or it cannot follow the one that does.
    Node(NodeLost),
}

impl fmt::Display for OwnerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the owner of the state ended, and the state with it"),
            Self::Node(lost) => write!(f, "this node ends: {lost}"),
            Self::JournalFailed(why) => write!(
                f,
                "changes cannot be written to disk any more: {why}. Restart the server; with --durability sync no answered change is lost"
            ),
        }
    }
}

impl std::error::Error for OwnerLost {}

impl Server {
    /// Opens the store and starts to serve it on `listener`.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other. An error that wraps an [`OpenError`](crate::OpenError) if the
    /// store cannot be opened. The system's error if a thread or socket cannot be created.
    pub fn start(listener: impl Into<Listener>, config: &Config) -> io::Result<Self> {
        validate(config)?;
        let store = Store::open(config).map_err(io::Error::other)?;
        Self::serve(listener, config, store)
    }

    /// Starts to serve a store on `listener`.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other, or a certificate or the access file cannot be used. The system's error if a thread or
    /// socket cannot be created.
    pub fn serve(listener: impl Into<Listener>, config: &Config, store: Store) -> io::Result<Self> {
        Self::prepare(config, None)?.serve(listener, store)
    }

    /// Prepares a server: reads its files, and begins to answer operators on `http`, if there is one.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other, or a certificate or the access file cannot be used. The system's error if
    /// a thread or socket cannot be created.
    pub fn prepare(config: &Config, http: Option<Listener>) -> io::Result<Prepared> {
        let begun = Instant::now();
        validate(config)?;
        let reloads = Reloads::default();
        let (files, reload) = reload::start(config, &reloads)?;
        let (drain, drained) = watch::channel(false);
        let monitor = http.map(|http| {
            let metrics = Arc::new(Metrics::new(thread_count(config), reloads));
            let site = Site::new(
                Arc::clone(&metrics),
                files.tls.clone(),
                files.access.clone(),
                drained.clone(),
            );
            let http = Http::start(http, site)?;
            Ok::<_, io::Error>(Monitor { metrics, http })
        });
        Ok(Prepared {
            begun,
            config: config.clone(),
            files,
            reload,
            drain: Drain(Arc::new(drain)),
            drained,
            monitor: monitor.transpose()?,
        })
    }
}

impl Prepared {
    /// Returns where the server listens for HTTP, if it does.
    #[must_use]
    pub fn http_addr(&self) -> Option<&ListenAddress> {
        let monitor = self.monitor.as_ref();
        monitor.map(|monitor| monitor.http.address())
    }

    /// Has metrics show a count of log lines that were dropped.
    pub fn show_log_lines_dropped(&self, dropped: Arc<AtomicU64>) {
        if let Some(monitor) = &self.monitor {
            monitor.metrics.set_log_lines_dropped(dropped);
        }
    }

    /// Has the probe `/readyz` say how far the opening of the store is.
    pub fn show_opening(&self, progress: Progress) {
        if let Some(monitor) = &self.monitor {
            monitor.http.site().show_opening(progress);
        }
    }

    /// Starts to serve a store on `listener`.
    ///
    /// # Errors
    /// The system's error if a thread or socket cannot be created.
    pub fn serve(self, listener: impl Into<Listener>, store: Store) -> io::Result<Server> {
        self.start(listener.into(), Serve::Store(Box::new(store)))
    }

    /// Starts to serve on `listener` as a node of a cluster. It serves its store once it owns it.
    ///
    /// # Errors
    /// The system's error if a thread or socket cannot be created.
    pub fn stand_by(self, listener: impl Into<Listener>, node: Node) -> io::Result<Server> {
        if let Some(monitor) = &self.monitor {
            monitor.http.site().show_node(node.status());
        }
        self.start(listener.into(), Serve::Node(node))
    }

    fn start(self, listener: Listener, what: Serve) -> io::Result<Server> {
        let Self {
            begun,
            config,
            files,
            reload,
            drain,
            drained,
            monitor,
        } = self;
        let local_addr = listener.address()?;
        let (started, heartbeat) = watch::channel(None);
        let roles = match &what {
            Serve::Store(_) => None,
            Serve::Node(node) => Some(Roles::of(node)),
        };
        let is_node = roles.is_some();
        let http_addr = monitor.as_ref().map(|it| it.http.address().clone());
        let runtimes = runtimes(thread_count(&config))?;
        let handles: Vec<Handle> = runtimes.iter().map(|r| r.handle().clone()).collect();
        let mut runtimes = runtimes.into_iter();
        let first = runtimes.next().expect("there is at least one thread");
        let metrics = monitor.as_ref().map(|monitor| &*monitor.metrics);
        let running = start_threads(runtimes, metrics)?;
        let listener = {
            let _entered = first.enter();
            listener.into_async()?
        };
        let workers: Vec<_> = handles.iter().cloned().map(Worker::new).collect();
        if let Some(Monitor { metrics, .. }) = &monitor {
            metrics.set_connections(workers.iter().map(Worker::connections).collect());
        }
        let main = thread::Builder::new()
            .name("soloist-0".into())
            .spawn(move || {
                let _running = running;
                if let Some(Monitor { metrics, .. }) = &monitor {
                    count_here(metrics.thread(0));
                }
                let mut clock = ClockWatch::begin();
                first.spawn(pulse(move || clock.look()));
                let start = Start {
                    begun,
                    files,
                    config,
                    monitor: monitor.as_ref(),
                };
                match what {
                    Serve::Store(store) => {
                        let run = serving::run(listener, start, *store, workers, started, drained);
                        first.block_on(run)
                    }
                    Serve::Node(node) => {
                        first.block_on(node::run(listener, start, node, workers, started, drained))
                    }
                }
            })?;
        Ok(Server {
            local_addr,
            http_addr,
            drain,
            reload,
            pulse: Pulse {
                started: heartbeat,
                is_node,
            },
            roles,
            runtimes: handles,
            main,
        })
    }
}

/// What a server serves.
enum Serve {
    Store(Box<Store>),
    Node(Node),
}

impl Server {
    /// Returns where the server listens.
    #[must_use]
    pub fn local_addr(&self) -> &ListenAddress {
        &self.local_addr
    }

    /// Returns where the server listens for HTTP, if it does.
    #[must_use]
    pub fn http_addr(&self) -> Option<&ListenAddress> {
        self.http_addr.as_ref()
    }

    /// Returns the user and system CPU time of the server's threads so far; zero if the system does not report it.
    /// Waits for each thread to answer.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let (sender, times) = mpsc::sync_channel(self.runtimes.len());
        for runtime in &self.runtimes {
            let sender = sender.clone();
            runtime.spawn(async move {
                let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
                let _ = sender.try_send(time.unwrap_or_default());
            });
        }
        drop(sender);
        times.into_iter().sum()
    }

    /// Returns a handle that can start the shutdown.
    #[must_use]
    pub fn drain_handle(&self) -> Drain {
        self.drain.clone()
    }

    /// Returns a handle that makes the server read its certificates and its access file again.
    #[must_use]
    pub fn reload_handle(&self) -> Reload {
        self.reload.clone()
    }

    /// Returns what finds out whether the server's owner takes messages.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Returns what tells the role of this node; `None` if it is no node of a cluster.
    #[must_use]
    pub fn roles(&self) -> Option<Roles> {
        self.roles.clone()
    }

    /// Starts the shutdown; see [`Drain::begin`].
    pub fn drain(&self) {
        self.drain.begin();
    }

    /// Blocks until the server has shut down. Clients that run on the calling thread cannot close their connections
    /// meanwhile, and the shutdown then takes the whole drain timeout: close them first.
    ///
    /// # Errors
    /// [`OwnerLost`] if the server ended because its owner did.
    pub fn wait(self) -> Result<(), OwnerLost> {
        // A panic anywhere on the owner's thread ends the owner.
        self.main.join().unwrap_or(Err(OwnerLost::Failed))
    }
}

fn validate(config: &Config) -> io::Result<()> {
    config
        .validate()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// How many threads serve connections.
fn thread_count(config: &Config) -> usize {
    match config.transport.threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
}

/// Creates a runtime for each of `threads` threads.
fn runtimes(threads: usize) -> io::Result<Vec<Runtime>> {
    (0..threads)
        .map(|_| {
            runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
                .build()
        })
        .collect()
}

/// Threads that run until this is dropped, which waits for them.
struct Threads {
    running: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<Runtime>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.running.take());
        // No runtime ends before all have stopped: a connection that has moved still has timers of the thread where it was.
        let threads = std::mem::take(&mut self.threads);
        let stopped: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        drop(stopped);
    }
}

/// Runs each runtime on a thread of its own.
fn start_threads(
    runtimes: impl Iterator<Item = Runtime>,
    metrics: Option<&Metrics>,
) -> io::Result<Threads> {
    let (running, stopped) = watch::channel(());
    let mut threads = Threads {
        running: Some(running),
        threads: Vec::new(),
    };
    for (index, runtime) in runtimes.enumerate() {
        let mut stopped = stopped.clone();
        let cells = metrics.map(|metrics| metrics.thread(index + 1));
        let thread = thread::Builder::new()
            .name(format!("soloist-{}", index + 1))
            .spawn(move || {
                if let Some(cells) = cells {
                    count_here(cells);
                }
                runtime.spawn(pulse(|| ()));
                runtime.block_on(async { while stopped.changed().await.is_ok() {} });
                runtime
            })?;
        threads.threads.push(thread);
    }
    Ok(threads)
}

/// Keeps a timer set on its thread, for ever. Setting a timer that is due before all others of the thread costs a
/// system call, because the thread might be asleep. On a thread without other timers, every call would pay it for its
/// deadline. Calls `each` whenever the timer fires.
async fn pulse(mut each: impl FnMut()) {
    loop {
        tokio::time::sleep(TIMER_PULSE).await;
        each();
    }
}

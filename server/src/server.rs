//! A complete server on threads of its own: for `main`, for tests, and for programs that embed a server.

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
use tokio::task::JoinError;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info};

use crate::config::{Config, TIMER_PULSE};
use crate::http::{self, About, Http, Site};
use crate::machine::StateMachine;
use crate::metrics::{LimitsShown, Metrics, Reloads, count_here};
use crate::owner::{self, Clock, Heartbeat, JournalLost, OwnerLimits};
use crate::progress::Progress;
use crate::reload::{self, Files, Reload};
use crate::rpc::SERVICES;
use crate::rpc::admin::AdminService;
use crate::rpc::caller::Caller;
use crate::rpc::context::CallContext;
use crate::rpc::router::Router;
use crate::store::Store;
use crate::transport::{
    Acceptor, AsyncListener, ListenAddress, Listener, OpenConnections, Worker, connections_max,
};
use crate::wall_clock::ClockWatch;

/// A running server. Dropping it starts a shutdown and does not wait for it.
#[derive(Debug)]
pub struct Server {
    local_addr: ListenAddress,
    http_addr: Option<ListenAddress>,
    drain: Drain,
    reload: Reload,
    pulse: Pulse,
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

/// How long connections may take to send their last errors after the owner has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
pub struct Pulse(watch::Receiver<Option<Heartbeat>>);

impl Pulse {
    /// Returns true when the owner has taken a message; false if it has ended. Waits as long as it takes none: give it a
    /// time limit.
    pub async fn beat(&self) -> bool {
        let mut started = self.0.clone();
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
}

impl fmt::Display for OwnerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the owner of the state ended, and the state with it"),
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
        let Self {
            begun,
            config,
            files,
            reload,
            drain,
            drained,
            monitor,
        } = self;
        let listener = listener.into();
        let local_addr = listener.address()?;
        let (started, heartbeat) = watch::channel(None);
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
            if let Some(journal) = &store.journal_cells {
                metrics.set_journal(Arc::clone(journal));
            }
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
                first.block_on(run(listener, start, store, workers, started, drained))
            })?;
        Ok(Server {
            local_addr,
            http_addr,
            drain,
            reload,
            pulse: Pulse(heartbeat),
            runtimes: handles,
            main,
        })
    }
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
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect()
}

/// Runs each runtime on a thread of its own, until the returned sender is dropped.
fn start_threads(
    runtimes: impl Iterator<Item = Runtime>,
    metrics: Option<&Metrics>,
) -> io::Result<watch::Sender<()>> {
    let (running, stopped) = watch::channel(());
    for (index, runtime) in runtimes.enumerate() {
        let mut stopped = stopped.clone();
        let cells = metrics.map(|metrics| metrics.thread(index + 1));
        thread::Builder::new()
            .name(format!("soloist-{}", index + 1))
            .spawn(move || {
                if let Some(cells) = cells {
                    count_here(cells);
                }
                runtime.spawn(pulse(|| ()));
                runtime.block_on(async { while stopped.changed().await.is_ok() {} })
            })?;
    }
    Ok(running)
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

/// Serves until a shutdown starts or the owner ends.
async fn run(
    listener: AsyncListener,
    start: Start<'_>,
    store: Store,
    workers: Vec<Worker>,
    started: watch::Sender<Option<Heartbeat>>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), OwnerLost> {
    let (mut serving, acceptor) = Serving::start(listener, start, store, workers).await;
    started.send_replace(Some(serving.heartbeat.clone()));
    tokio::select! {
        () = acceptor.run() => unreachable!("the acceptor never returns"),
        // An error means that the `Server` was dropped, which starts a shutdown, too.
        _ = drain.wait_for(|drain| *drain) => {}
        ended = &mut serving.owner => return Err(serving.owner_ended(ended).await),
    }
    serving.drain().await
}

/// What a server is started with, besides its store and its listener.
struct Start<'a> {
    begun: Instant,
    files: Files,
    config: Config,
    monitor: Option<&'a Monitor>,
}

/// A store that is being served: what a shutdown must tell, and wait for.
struct Serving {
    owner: OwnerTask,
    heartbeat: Heartbeat,
    health: HealthReporter,
    /// Tells the connections to close. Set it only after health has reported it: a closed connection cannot report
    /// anything.
    close: watch::Sender<bool>,
    connections: OpenConnections,
    persister: Option<JoinHandle<()>>,
    drain_timeout: Duration,
}

type OwnerTask = tokio::task::JoinHandle<Result<StateMachine, JournalLost>>;

impl Serving {
    /// Starts the owner. The returned acceptor accepts connections once it is run.
    async fn start(
        listener: AsyncListener,
        start: Start<'_>,
        store: Store,
        workers: Vec<Worker>,
    ) -> (Self, Acceptor) {
        let Start {
            begun,
            files,
            config,
            monitor,
        } = start;
        let mut transport = config.transport;
        transport.max_connections = connections_max(&transport, workers.len());
        let limits = Arc::new(config.limits);
        let owner_limits = OwnerLimits {
            mailbox: config.mailbox.clone(),
            answer_bytes: limits.max_answer_bytes,
            watches: limits.max_watches,
        };
        let clock = Clock::set(store.present_time());
        let limits_shown = LimitsShown {
            store_bytes: limits.max_store_bytes,
            mailbox_messages: owner_limits.mailbox.messages as u64,
            min_free_bytes: config
                .storage
                .data_dir
                .as_ref()
                .map(|_| config.storage.min_free_bytes),
        };
        let about = About {
            store_id: store.store_id.to_string(),
            epoch: store.epoch,
            durability: (config.storage.data_dir.as_ref())
                .map(|_| config.storage.durability.to_string()),
            limits: Arc::clone(&limits),
            mailbox: config.mailbox,
            connections_max: transport.max_connections,
        };
        let cells = monitor.map(|monitor| Arc::clone(monitor.metrics.owner()));
        let (handle, owner) =
            owner::spawn_with(store.machine, store.journal, clock, owner_limits, cells);
        let weak = handle.downgrade();
        let heartbeat = handle.heartbeat();
        let health = HealthReporter::new();
        let (close, closing) = watch::channel(false);
        set_health(&health, ServingStatus::Serving).await;
        let Files { tls, access } = files;
        let caller = Caller::new(handle, access.clone());
        let context = CallContext::new(caller, limits, store.store_id.into(), closing.clone());
        let context = context.logging_slow_calls(config.log.slow_call);
        let admin = AdminService {
            durability: config.storage.data_dir.map(|_| config.storage.durability),
            transport: transport.clone(),
            epoch: store.epoch,
        };
        let router = Router::new(
            context,
            admin,
            health.clone(),
            access,
            config.access.reflection(),
        );
        let drain_timeout = transport.drain_timeout;
        let acceptor = Acceptor::new(listener, workers, router, transport, tls, closing);
        let serving = Self {
            owner,
            heartbeat,
            health,
            close,
            connections: acceptor.open_connections(),
            persister: store.persister,
            drain_timeout,
        };
        if let Some(Monitor { metrics, http }) = monitor {
            metrics.note_start(begun.elapsed());
            http.site().serve(http::Serving {
                owner: weak,
                heartbeat: serving.heartbeat.clone(),
                limits: limits_shown,
                about,
            });
        }
        (serving, acceptor)
    }

    /// Closes the connections after the owner has ended by itself. Returns why it has ended.
    async fn owner_ended(self, ended: OwnerEnd) -> OwnerLost {
        let lost = owner_lost(ended);
        error!(%lost, "the owner ended; closing");
        self.announce_shutdown().await;
        // Calls that still wait get their errors.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.connections.ended()).await;
        lost
    }

    /// Shuts down in order: open calls finish, then the owner and the journal.
    async fn drain(self) -> Result<(), OwnerLost> {
        info!("draining");
        self.announce_shutdown().await;
        self.connections.ended().await;
        // The last handle is gone with the last connection, so the owner works off its mailbox and ends. A disk that is
        // full or accepts nothing must not hold up the shutdown: the changes that it would lose have not been answered.
        let Ok(ended) = tokio::time::timeout(self.drain_timeout, self.owner).await else {
            let why = "the disk did not accept the last changes within the drain timeout".into();
            return Err(OwnerLost::JournalFailed(why));
        };
        match ended {
            Ok(Ok(machine)) => {
                if let Some(persister) = self.persister {
                    let _ = persister.join();
                }
                let usage = machine.usage();
                info!(
                    revision = usage.revision,
                    keys = usage.key_count,
                    used_bytes = usage.used_bytes,
                    sessions = usage.session_count,
                    machines = usage.machine_count,
                    "stopped"
                );
                Ok(())
            }
            ended => {
                let lost = owner_lost(ended);
                error!(%lost, "the owner ended while draining");
                Err(lost)
            }
        }
    }

    /// Makes health report NOT_SERVING, and then tells the connections to close.
    async fn announce_shutdown(&self) {
        set_health(&self.health, ServingStatus::NotServing).await;
        self.close.send_replace(true);
    }
}

/// How the owner's task ended.
type OwnerEnd = Result<Result<StateMachine, JournalLost>, JoinError>;

fn owner_lost(ended: OwnerEnd) -> OwnerLost {
    match ended {
        Ok(Err(JournalLost(why))) => OwnerLost::JournalFailed(why),
        Ok(Ok(_)) | Err(_) => OwnerLost::Failed,
    }
}

/// Sets the health of all services.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    // The empty name stands for the whole server.
    for service in [""].into_iter().chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}

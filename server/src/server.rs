//! A complete server on threads of its own: for `main`, for tests, and for programs that embed a server.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinError;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info};

use crate::config::{Config, TIMER_PULSE};
use crate::machine::StateMachine;
use crate::owner::{self, Clock, Heartbeat, JournalLost, OwnerLimits};
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
    drain: Drain,
    reload: Reload,
    pulse: Pulse,
    runtimes: Vec<Handle>,
    main: JoinHandle<Result<(), OwnerLost>>,
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
        config
            .validate()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let store = Store::open(config).map_err(io::Error::other)?;
        Self::serve(listener, config, store)
    }

    /// Starts to serve a store on `listener`.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other, or a certificate or the access file cannot be used. The system's error if a thread or
    /// socket cannot be created.
    pub fn serve(listener: impl Into<Listener>, config: &Config, store: Store) -> io::Result<Self> {
        config
            .validate()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = listener.into();
        let local_addr = listener.address()?;
        let (files, reload) = reload::start(config)?;
        let (drain, drained) = watch::channel(false);
        let (started, heartbeat) = watch::channel(None);
        let drain = Drain(Arc::new(drain));
        let runtimes = runtimes(config.transport.threads)?;
        let handles: Vec<Handle> = runtimes.iter().map(|r| r.handle().clone()).collect();
        let mut runtimes = runtimes.into_iter();
        let first = runtimes.next().expect("there is at least one thread");
        let running = start_threads(runtimes)?;
        let listener = {
            let _entered = first.enter();
            listener.into_async()?
        };
        let config = config.clone();
        let workers = handles.iter().cloned().map(Worker::new).collect();
        let main = thread::Builder::new()
            .name("soloist-0".into())
            .spawn(move || {
                let _running = running;
                let mut clock = ClockWatch::begin();
                first.spawn(pulse(move || clock.look()));
                first.block_on(run(
                    listener, files, config, store, workers, started, drained,
                ))
            })?;
        Ok(Self {
            local_addr,
            drain,
            reload,
            pulse: Pulse(heartbeat),
            runtimes: handles,
            main,
        })
    }

    /// Returns where the server listens.
    #[must_use]
    pub fn local_addr(&self) -> &ListenAddress {
        &self.local_addr
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

/// Creates a runtime for each of `threads` threads; 0 means one for each core.
fn runtimes(threads: usize) -> io::Result<Vec<Runtime>> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    (0..threads)
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect()
}

/// Runs each runtime on a thread of its own, until the returned sender is dropped.
fn start_threads(runtimes: impl Iterator<Item = Runtime>) -> io::Result<watch::Sender<()>> {
    let (running, stopped) = watch::channel(());
    for (index, runtime) in runtimes.enumerate() {
        let mut stopped = stopped.clone();
        thread::Builder::new()
            .name(format!("soloist-{}", index + 1))
            .spawn(move || {
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
    files: Files,
    config: Config,
    store: Store,
    workers: Vec<Worker>,
    started: watch::Sender<Option<Heartbeat>>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), OwnerLost> {
    let (mut serving, acceptor) = Serving::start(listener, files, config, store, workers).await;
    started.send_replace(Some(serving.heartbeat.clone()));
    tokio::select! {
        () = acceptor.run() => unreachable!("the acceptor never returns"),
        // An error means that the `Server` was dropped, which starts a shutdown, too.
        _ = drain.wait_for(|drain| *drain) => {}
        ended = &mut serving.owner => return Err(serving.owner_ended(ended).await),
    }
    serving.drain().await
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
        files: Files,
        config: Config,
        store: Store,
        workers: Vec<Worker>,
    ) -> (Self, Acceptor) {
        let mut transport = config.transport;
        transport.max_connections = connections_max(&transport, workers.len());
        let limits = Arc::new(config.limits);
        let owner_limits = OwnerLimits {
            mailbox: config.mailbox,
            answer_bytes: limits.max_answer_bytes,
            watches: limits.max_watches,
        };
        let clock = Clock::set(store.present_time());
        let (handle, owner) = owner::spawn_with(store.machine, store.journal, clock, owner_limits);
        let heartbeat = handle.heartbeat();
        let health = HealthReporter::new();
        let (close, closing) = watch::channel(false);
        set_health(&health, ServingStatus::Serving).await;
        let Files { tls, access } = files;
        let caller = Caller::new(handle, access.clone());
        let context = CallContext::new(caller, limits, store.store_id.into(), closing.clone());
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

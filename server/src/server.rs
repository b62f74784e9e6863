//! A whole server on threads of its own: for `main`, for tests, and for programs that embed one.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
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
use crate::owner::{self, Clock, JournalLost, OwnerLimits};
use crate::rpc::SERVICES;
use crate::rpc::admin::AdminService;
use crate::rpc::context::CallContext;
use crate::rpc::router::Router;
use crate::store::Store;
use crate::transport::{Acceptor, OpenConnections, Worker};

/// A running server. Dropping it begins to shut it down, without waiting.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    drain: Drain,
    runtimes: Vec<Handle>,
    main: JoinHandle<Result<(), OwnerLost>>,
}

/// How long calls may take to fetch their last answers when the owner has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Shuts a server down. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Drain {
    /// Begins: health says NOT_SERVING, connections are told to go away, no new work is taken, and what is in flight
    /// has the drain timeout to finish. Once begun, it does nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// The task that owns the state ended before it should, and the state with it.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnerLost {
    /// It failed.
    Failed,
    /// What happens can no more be written to disk. Everything that was answered is there.
    JournalFailed(String),
}

impl fmt::Display for OwnerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the owner of the state ended, and the state with it"),
            Self::JournalFailed(why) => write!(
                f,
                "what happens can no more be written to disk: {why}. What was answered is there; start again"
            ),
        }
    }
}

impl std::error::Error for OwnerLost {}

impl Server {
    /// Opens the store and starts to serve it on `listener`.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other; an [`OpenError`](crate::OpenError) within if the store cannot be opened; whatever the
    /// system says when it makes threads and sockets.
    pub fn start(listener: TcpListener, config: &Config) -> io::Result<Self> {
        config
            .validate()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let store = Store::open(config).map_err(io::Error::other)?;
        Self::serve(listener, config, store)
    }

    /// Starts to serve a store on `listener`.
    ///
    /// # Errors
    /// `InvalidInput` if limits contradict each other; whatever the system says when it makes threads and sockets.
    pub fn serve(listener: TcpListener, config: &Config, store: Store) -> io::Result<Self> {
        config
            .validate()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let (drain, drained) = watch::channel(false);
        let drain = Drain(Arc::new(drain));
        let runtimes = runtimes(config.transport.threads)?;
        let handles: Vec<Handle> = runtimes.iter().map(|r| r.handle().clone()).collect();
        let mut runtimes = runtimes.into_iter();
        let first = runtimes.next().expect("there is at least one thread");
        let running = start_threads(runtimes)?;
        let listener = {
            let _entered = first.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let config = config.clone();
        let workers = handles.iter().cloned().map(Worker::new).collect();
        let main = thread::Builder::new()
            .name("soloist-0".into())
            .spawn(move || {
                let _running = running;
                first.spawn(pulse());
                first.block_on(run(listener, config, store, workers, drained))
            })?;
        Ok(Self {
            local_addr,
            drain,
            runtimes: handles,
            main,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// User and system CPU time of its threads so far, where the system tells. Waits for each thread to answer.
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

    /// What shuts it down.
    #[must_use]
    pub fn drain_handle(&self) -> Drain {
        self.drain.clone()
    }

    /// Begins to shut down; see [`Drain::begin`].
    pub fn drain(&self) {
        self.drain.begin();
    }

    /// Blocks until it has shut down. Clients that run on this very thread cannot let go of their connections
    /// meanwhile, which then takes the whole drain timeout: close them first.
    ///
    /// # Errors
    /// [`OwnerLost`] if it ended because the owner did.
    pub fn wait(self) -> Result<(), OwnerLost> {
        // A panic on the owner's thread is the owner's end, whatever it was in.
        self.main.join().unwrap_or(Err(OwnerLost::Failed))
    }
}

/// A runtime for each thread; of 0 threads: for each core.
fn runtimes(threads: usize) -> io::Result<Vec<Runtime>> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    (0..threads)
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect()
}

/// Runs each on a thread of its own until the sender that this returns is gone.
fn start_threads(runtimes: impl Iterator<Item = Runtime>) -> io::Result<watch::Sender<()>> {
    let (running, stopped) = watch::channel(());
    for (index, runtime) in runtimes.enumerate() {
        let mut stopped = stopped.clone();
        thread::Builder::new()
            .name(format!("soloist-{}", index + 1))
            .spawn(move || {
                runtime.spawn(pulse());
                runtime.block_on(async { while stopped.changed().await.is_ok() {} })
            })?;
    }
    Ok(running)
}

/// Keeps a timer pending on its thread, for ever. A timer that is due before all others of a thread costs it a system call,
/// because it might be asleep; and on one with no others, each call would set such a timer, for its deadline.
async fn pulse() {
    loop {
        tokio::time::sleep(TIMER_PULSE).await;
    }
}

/// Serves until it is told to drain or the owner ends.
async fn run(
    listener: tokio::net::TcpListener,
    config: Config,
    store: Store,
    workers: Vec<Worker>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), OwnerLost> {
    let (mut serving, acceptor) = Serving::start(listener, config, store, workers).await;
    tokio::select! {
        () = acceptor.run() => unreachable!("it accepts for ever"),
        // An error means that the Server was dropped.
        _ = drain.wait_for(|drain| *drain) => {}
        ended = &mut serving.owner => return Err(serving.owner_ended(ended).await),
    }
    serving.drain().await
}

/// What has to be told, and waited for, when it ends.
struct Serving {
    owner: OwnerTask,
    health: HealthReporter,
    /// Told after health has said so, which otherwise might not be heard any more.
    close: watch::Sender<bool>,
    open: OpenConnections,
    persister: Option<JoinHandle<()>>,
    drain_timeout: Duration,
}

type OwnerTask = tokio::task::JoinHandle<Result<StateMachine, JournalLost>>;

impl Serving {
    /// Starts the owner, and what accepts connections once it is run.
    async fn start(
        listener: tokio::net::TcpListener,
        config: Config,
        store: Store,
        workers: Vec<Worker>,
    ) -> (Self, Acceptor) {
        let limits = Arc::new(config.limits);
        let owner_limits = OwnerLimits {
            mailbox: config.mailbox,
            answer_bytes: limits.max_answer_bytes,
            watches: limits.max_watches,
        };
        let clock = Clock::set(store.time);
        let (handle, owner) = owner::spawn_with(store.machine, store.journal, clock, owner_limits);
        let health = HealthReporter::new();
        let (close, closing) = watch::channel(false);
        report(&health, ServingStatus::Serving).await;
        let context = CallContext::new(handle, limits, store.store_id.into(), closing.clone());
        let admin = AdminService {
            context: context.clone(),
            durability: config.storage.data_dir.map(|_| config.storage.durability),
            epoch: store.epoch,
        };
        let router = Router::new(context, admin, health.clone());
        let drain_timeout = config.transport.drain_timeout;
        let acceptor = Acceptor::new(listener, workers, router, config.transport, closing);
        let serving = Self {
            owner,
            health,
            close,
            open: acceptor.open_connections(),
            persister: store.persister,
            drain_timeout,
        };
        (serving, acceptor)
    }

    /// The owner has ended by itself.
    async fn owner_ended(self, ended: OwnerEnd) -> OwnerLost {
        let lost = owner_lost(ended);
        error!(%lost, "the owner ended; closing");
        self.say_closing().await;
        // Who still waits is told what is known.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.open.ended()).await;
        lost
    }

    async fn drain(self) -> Result<(), OwnerLost> {
        info!("draining");
        self.say_closing().await;
        self.open.ended().await;
        // With the last connection the last handle is gone, so the owner has worked off its mailbox and ends. A disk that
        // is full, or takes nothing, must not keep it: who was answered loses nothing.
        let Ok(ended) = tokio::time::timeout(self.drain_timeout, self.owner).await else {
            let why = "the disk did not take the last changes in time".into();
            return Err(OwnerLost::JournalFailed(why));
        };
        match ended {
            Ok(Ok(machine)) => {
                if let Some(persister) = self.persister {
                    let _ = persister.join();
                }
                info!(usage = ?machine.usage(), "stopped");
                Ok(())
            }
            ended => {
                let lost = owner_lost(ended);
                error!(%lost, "the owner ended while draining");
                Err(lost)
            }
        }
    }

    async fn say_closing(&self) {
        report(&self.health, ServingStatus::NotServing).await;
        self.close.send_replace(true);
    }
}

/// What became of the owner's task.
type OwnerEnd = Result<Result<StateMachine, JournalLost>, JoinError>;

fn owner_lost(ended: OwnerEnd) -> OwnerLost {
    match ended {
        Ok(Err(JournalLost(why))) => OwnerLost::JournalFailed(why),
        Ok(Ok(_)) | Err(_) => OwnerLost::Failed,
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    // "" stands for the server as a whole.
    for service in [""].into_iter().chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}

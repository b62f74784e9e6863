//! A whole server on threads of its own: for `main`, for tests, and for programs that embed one.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinError;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info};

use crate::config::{Config, TAIL_BYTES, TIMER_PULSE};
use crate::ids::random_name;
use crate::journal::{self, Command, Journal, OpenError};
use crate::machine::{StateMachine, Time};
use crate::owner::{self, Clock, JournalLost, OwnerLimits};
use crate::rpc::SERVICES;
use crate::rpc::admin::AdminService;
use crate::rpc::context::CallContext;
use crate::rpc::router::Router;
use crate::transport::{Acceptor, Worker};

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

/// What a server serves: a state, and where it is kept.
#[derive(Debug)]
pub struct Store {
    machine: StateMachine,
    time: Time,
    store_id: String,
    epoch: u64,
    journal: Option<Journal>,
    persister: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store of the data directory, or makes an empty one in memory if there is none.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be used, or something is lost.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = Time::since_epoch(since_epoch.unwrap_or_default());
        let limits = config.limits.store_limits();
        let new_store_id = random_name();
        let storage = &config.storage;
        let Some(path) = &storage.data_dir else {
            return Ok(Self {
                machine: StateMachine::new(limits),
                time: now,
                store_id: new_store_id,
                epoch: 0,
                journal: None,
                persister: None,
            });
        };
        let opened = journal::open_directory(
            path,
            journal::Options {
                limits,
                durability: storage.durability,
                accept_data_loss: storage.accept_data_loss,
                now,
                new_store_id,
                snapshot_bytes: storage.snapshot_log_bytes,
                least_free_bytes: storage.min_free_bytes,
                tail_bytes: TAIL_BYTES,
            },
        )?;
        Ok(Self {
            machine: opened.machine,
            time: opened.time,
            store_id: opened.store_id,
            epoch: opened.epoch,
            journal: Some(opened.journal),
            persister: Some(opened.persister),
        })
    }

    /// Closes it without having served it.
    pub fn close(self) {
        if let (Some(journal), Some(persister)) = (self.journal, self.persister) {
            let (revision, time) = (self.machine.revision(), self.time);
            // An error means that it has ended already.
            let _ = journal.commands.send(Command::Close { revision, time });
            let _ = persister.join();
        }
    }
}

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
    /// `InvalidInput` if limits contradict each other; an [`OpenError`] within if the store cannot be opened; whatever the
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
        let threads = match config.transport.threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let (drain, _) = watch::channel(false);
        let drain = Drain(Arc::new(drain));

        let runtimes = (0..threads)
            .map(|_| runtime::Builder::new_current_thread().enable_all().build())
            .collect::<io::Result<Vec<Runtime>>>()?;
        let handles: Vec<Handle> = runtimes.iter().map(|r| r.handle().clone()).collect();
        let mut runtimes = runtimes.into_iter();
        let first = runtimes.next().expect("there is at least one thread");

        // The others run until this sender is gone, which the first thread holds to its end.
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
        let listener = {
            let _entered = first.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (config, workers, drained) = (
            config.clone(),
            handles.iter().cloned().map(Worker::new).collect(),
            drain.0.subscribe(),
        );
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
    let limits = Arc::new(config.limits);
    let Store {
        machine,
        time,
        store_id,
        epoch,
        journal,
        persister,
    } = store;
    let clock = Clock::set(time);
    let owner_limits = OwnerLimits {
        mailbox: config.mailbox,
        answer_bytes: limits.max_answer_bytes,
        watches: limits.max_watches,
    };
    let (handle, mut owner) = owner::spawn_with(machine, journal, clock, owner_limits);
    let health = HealthReporter::new();
    // Told after health has said so, which otherwise might not be heard any more.
    let (close, closing) = watch::channel(false);
    report(&health, ServingStatus::Serving).await;
    let store_id: Arc<str> = store_id.into();
    let context = CallContext::new(handle, limits, store_id, closing.clone());
    let admin = AdminService {
        context: context.clone(),
        durability: config.storage.data_dir.map(|_| config.storage.durability),
        epoch,
    };
    let router = Router::new(context, admin, health.clone());
    let drain_timeout = config.transport.drain_timeout;
    let acceptor = Acceptor::new(listener, workers, router, config.transport, closing);
    let open = acceptor.open_connections();

    tokio::select! {
        () = acceptor.run() => unreachable!("it accepts for ever"),
        // An error means that the Server was dropped.
        _ = drain.wait_for(|drain| *drain) => {}
        ended = &mut owner => {
            let lost = owner_lost(ended);
            error!(%lost, "the owner ended; closing");
            report(&health, ServingStatus::NotServing).await;
            close.send_replace(true);
            // Who still waits is told what is known.
            let _ = tokio::time::timeout(LAST_ANSWERS, open.ended()).await;
            return Err(lost);
        }
    }
    info!("draining");
    report(&health, ServingStatus::NotServing).await;
    close.send_replace(true);
    open.ended().await;
    // With the last connection the last handle is gone, so the owner has worked off its mailbox and ends. A disk that is
    // full, or takes nothing, must not keep it: who was answered loses nothing.
    let Ok(ended) = tokio::time::timeout(drain_timeout, owner).await else {
        let why = "the disk did not take the last changes in time".into();
        return Err(OwnerLost::JournalFailed(why));
    };
    match ended {
        Ok(Ok(machine)) => {
            if let Some(persister) = persister {
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

fn owner_lost(ended: Result<Result<StateMachine, JournalLost>, JoinError>) -> OwnerLost {
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

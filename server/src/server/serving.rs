//! Serving a store, from its start to its end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinError;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info};

use super::{Monitor, OwnerLost};
use crate::access::Access;
use crate::cluster::NodeLost;
use crate::config::{Config, Durability, Limits, TransportLimits};
use crate::http::{self, About};
use crate::machine::StateMachine;
use crate::metrics::LimitsShown;
use crate::owner::{self, ClientMemory, Clock, Heartbeat, JournalLost, OwnerLimits, WeakOwner};
use crate::reload::Files;
use crate::role::NodeStatus;
use crate::rpc::SERVICES;
use crate::rpc::admin::AdminService;
use crate::rpc::caller::Caller;
use crate::rpc::context::CallContext;
use crate::rpc::router::Router;
use crate::rpc::services::Services;
use crate::store::Store;
use crate::transport::{Acceptor, AsyncListener, OpenConnections, Worker, connections_max};

/// How long connections may take to send their last errors after the owner has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What a server is started with, besides its store and its listener.
pub(super) struct Start<'a> {
    pub(super) begun: Instant,
    pub(super) files: Files,
    pub(super) config: Config,
    pub(super) monitor: Option<&'a Monitor>,
}

/// What a server has from its start to its end, whether it has a store or not.
pub(super) struct Front<'a> {
    begun: Instant,
    files: Files,
    pub(super) config: Config,
    pub(super) limits: Arc<Limits>,
    transport: TransportLimits,
    monitor: Option<&'a Monitor>,
    pub(super) health: HealthReporter,
    /// What the server is in its cluster.
    node: watch::Receiver<NodeStatus>,
    /// Tells the connections to close. Set it only after health has reported it: a closed connection cannot report
    /// anything.
    close: watch::Sender<bool>,
}

/// A store that is being served: what a shutdown must tell, and wait for.
pub(super) struct Serving {
    pub(super) owner: OwnerTask,
    pub(super) heartbeat: Heartbeat,
    /// Looks at the owner, and does not keep it from ending.
    pub(super) weak: WeakOwner,
    persister: Option<JoinHandle<()>>,
}

pub(super) type OwnerTask = tokio::task::JoinHandle<Result<StateMachine, JournalLost>>;

/// How the owner's task ended.
pub(super) type OwnerEnd = Result<Result<StateMachine, JournalLost>, JoinError>;

/// Serves a store until a shutdown starts or the owner ends.
pub(super) async fn run(
    listener: AsyncListener,
    start: Start<'_>,
    store: Store,
    workers: Vec<Worker>,
    started: watch::Sender<Option<Heartbeat>>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), OwnerLost> {
    let (_alone, node) = watch::channel(NodeStatus::alone());
    let front = Front::new(start, workers.len(), node);
    let (mut serving, router) = front.serve(store, None).await;
    let acceptor = front.acceptor(listener, workers, Services::Store(router));
    let connections = acceptor.open_connections();
    started.send_replace(Some(serving.heartbeat.clone()));
    tokio::select! {
        () = acceptor.run() => unreachable!("the acceptor never returns"),
        // An error means that the `Server` was dropped, which starts a shutdown, too.
        _ = drain.wait_for(|drain| *drain) => {}
        ended = &mut serving.owner => return Err(front.owner_ended(ended, connections).await),
    }
    front.drain(serving, connections).await
}

impl<'a> Front<'a> {
    pub(super) fn new(start: Start<'a>, threads: usize, node: watch::Receiver<NodeStatus>) -> Self {
        let Start {
            begun,
            files,
            config,
            monitor,
        } = start;
        let mut transport = config.transport.clone();
        transport.max_connections = connections_max(&transport, threads);
        Self {
            begun,
            files,
            limits: Arc::new(config.limits.clone()),
            config,
            transport,
            monitor,
            health: HealthReporter::new(),
            node,
            close: watch::channel(false).0,
        }
    }

    /// Starts the owner of a store. Connections are part of `memory`, or of an account of their own.
    pub(super) async fn serve(
        &self,
        store: Store,
        memory: Option<ClientMemory>,
    ) -> (Serving, Router) {
        let Self { config, limits, .. } = self;
        let owner_limits = OwnerLimits {
            mailbox: config.mailbox.clone(),
            answer_bytes: limits.max_answer_bytes,
            watches: limits.max_watches,
        };
        let clock = Clock::set(store.present_time());
        let has_dir = config.storage.data_dir.is_some();
        // A change of a cluster is on the disks of a majority of etcd when it is answered.
        let durability = match config.cluster.is_on() {
            true => Some(Durability::Sync),
            false => has_dir.then_some(config.storage.durability),
        };
        let limits_shown = LimitsShown {
            store_bytes: limits.max_store_bytes,
            mailbox_messages: owner_limits.mailbox.messages as u64,
            min_free_bytes: has_dir.then_some(config.storage.min_free_bytes),
        };
        let about = About {
            store_id: store.store_id.to_string(),
            epoch: store.epoch,
            durability: durability.map(|durability| durability.to_string()),
            limits: Arc::clone(limits),
            mailbox: config.mailbox.clone(),
            connections_max: self.transport.max_connections,
        };
        let cells = self.monitor.map(|it| Arc::clone(it.metrics.owner()));
        if let (Some(monitor), Some(journal)) = (self.monitor, &store.journal_cells) {
            monitor.metrics.set_journal(Arc::clone(journal));
        }
        let (handle, owner) =
            owner::spawn_with(store.machine, store.journal, clock, owner_limits, cells);
        let weak = handle.downgrade();
        let heartbeat = handle.heartbeat();
        set_health(&self.health, ServingStatus::Serving).await;
        let access = &self.files.access;
        let caller = Caller::new(handle, access.clone());
        let context = CallContext::new(
            caller,
            Arc::clone(limits),
            store.store_id.into(),
            self.closing(),
        );
        let context = match memory {
            Some(memory) => context.sharing(memory),
            None => context,
        };
        let context = context.logging_slow_calls(config.log.slow_call);
        let admin = AdminService {
            durability,
            transport: self.transport.clone(),
            epoch: store.epoch,
            node: self.node.clone(),
        };
        let router = Router::new(
            context,
            admin,
            self.health.clone(),
            access.clone(),
            config.access.reflection(),
        );
        if let Some(Monitor { metrics, http }) = self.monitor {
            metrics.note_start(self.begun.elapsed());
            http.site().serve(http::Serving {
                owner: weak.clone(),
                heartbeat: heartbeat.clone(),
                limits: limits_shown,
                about,
            });
        }
        let serving = Serving {
            owner,
            heartbeat,
            weak,
            persister: store.persister,
        };
        (serving, router)
    }

    /// What accepts connections, once it is run.
    pub(super) fn acceptor(
        &self,
        listener: AsyncListener,
        workers: Vec<Worker>,
        services: Services,
    ) -> Acceptor {
        let tls = self.files.tls.clone();
        let transport = self.transport.clone();
        Acceptor::new(listener, workers, services, transport, tls, self.closing())
    }

    /// Who may do what; none if there is no access file.
    pub(super) fn access(&self) -> Option<watch::Receiver<Arc<Access>>> {
        self.files.access.clone()
    }

    /// True once the connections are to close.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.close.subscribe()
    }

    /// Closes the connections after the owner has ended by itself. Returns why it has ended.
    pub(super) async fn owner_ended(
        &self,
        ended: OwnerEnd,
        connections: OpenConnections,
    ) -> OwnerLost {
        let lost = self.owner_lost(ended);
        error!(%lost, "the owner ended; closing");
        self.close(connections).await;
        lost
    }

    /// Closes the connections, whatever they wait for.
    pub(super) async fn close(&self, connections: OpenConnections) {
        self.announce_shutdown().await;
        // Calls that still wait get their errors.
        let _ = tokio::time::timeout(LAST_ANSWERS, connections.ended()).await;
    }

    /// Shuts down in order: open calls finish, then the owner and the journal.
    pub(super) async fn drain(
        &self,
        serving: Serving,
        connections: OpenConnections,
    ) -> Result<(), OwnerLost> {
        info!("draining");
        self.announce_shutdown().await;
        connections.ended().await;
        // The last handle is gone with the last connection, so the owner works off its mailbox and ends. A disk that is
        // full or accepts nothing must not hold up the shutdown: the changes that it would lose have not been answered.
        let drain_timeout = self.transport.drain_timeout;
        let Ok(ended) = tokio::time::timeout(drain_timeout, serving.owner).await else {
            let journal = match self.config.cluster.is_on() {
                true => "etcd",
                false => "the disk",
            };
            let why = format!("{journal} did not accept the last changes within the drain timeout");
            return Err(self.journal_failed(why));
        };
        match ended {
            Ok(Ok(machine)) => {
                if let Some(persister) = serving.persister {
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
                let lost = self.owner_lost(ended);
                error!(%lost, "the owner ended while draining");
                Err(lost)
            }
        }
    }

    fn owner_lost(&self, ended: OwnerEnd) -> OwnerLost {
        match ended {
            Ok(Err(JournalLost(why))) => self.journal_failed(why),
            Ok(Ok(_)) | Err(_) => OwnerLost::Failed,
        }
    }

    /// The end of a server whose journal does not go on. That of a node is in etcd, and other nodes have it, too.
    fn journal_failed(&self, why: String) -> OwnerLost {
        match self.config.cluster.is_on() {
            true => OwnerLost::Node(NodeLost::new(format!(
                "{why}. No answered change is lost; start the node again, and it stands by"
            ))),
            false => OwnerLost::JournalFailed(why),
        }
    }

    /// Makes health report NOT_SERVING, and then tells the connections to close.
    pub(super) async fn announce_shutdown(&self) {
        set_health(&self.health, ServingStatus::NotServing).await;
        self.close.send_replace(true);
    }
}

/// Sets the health of all services.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    // The empty name stands for the whole server.
    for service in [""].into_iter().chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}

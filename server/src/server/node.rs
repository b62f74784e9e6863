//! Serving as a node of a cluster: standing by, then owning the store, then the end. Never back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic_health::ServingStatus;
use tracing::{error, info, warn};

use super::OwnerLost;
use super::serving::{Front, Start};
use crate::cluster::{Node, NodeEvent, NodeLost};
use crate::config::Forward;
use crate::owner::{HandOffError, Heartbeat};
use crate::role::{NodeStatus, Role};
use crate::rpc::SERVICES;
use crate::rpc::services::{NodeServices, Services};
use crate::rpc::standby::Standby;
use crate::transport::{AsyncListener, OpenConnections, Worker};

/// The name under which health says whether a node owns the store, for balancers.
const OWNER: &str = "owner";

/// Serves as a node until a shutdown starts or the node ends.
pub(super) async fn run(
    listener: AsyncListener,
    start: Start<'_>,
    mut node: Node,
    workers: Vec<Worker>,
    started: watch::Sender<Option<Heartbeat>>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), OwnerLost> {
    let mut status = node.status();
    let front = Front::new(start, workers.len(), status.clone());
    let forwards = front.config.cluster.forward == Forward::On;
    let mut healthy = Healthy::of(&status.borrow_and_update(), forwards);
    set_health(&front, healthy).await;
    let standby = Standby::new(
        Arc::clone(&front.limits),
        front.health.clone(),
        front.config.access.reflection(),
        front.access(),
        status.clone(),
        front.closing(),
    );
    let memory = standby.memory().clone();
    let services = NodeServices::new(standby);
    let router_of_store = services.store();
    let acceptor = front.acceptor(listener, workers, Services::Node(services));
    let acceptor = match forwards {
        true => acceptor.forwarding(&status),
        false => acceptor,
    };
    let connections = acceptor.open_connections();
    let mut accepting = Box::pin(acceptor.run());

    let store = loop {
        tokio::select! {
            () = &mut accepting => unreachable!("the acceptor never returns"),
            _ = drain.wait_for(|drain| *drain) => {
                info!("draining");
                drop(accepting);
                node.leave().await;
                front.announce_shutdown().await;
                connections.ended().await;
                info!("stopped");
                return Ok(());
            }
            event = node.next() => match event {
                NodeEvent::Won(store) => break *store,
                NodeEvent::HandOff { refused, .. } => {
                    let _ = refused.send("this node does not own the store".into());
                }
                NodeEvent::Joined => unreachable!("this node has not won"),
                NodeEvent::Ended(lost) => {
                    drop(accepting);
                    return Err(ended(&front, lost, connections).await);
                }
            },
            Ok(()) = status.changed() => {
                // The status changes with every record.
                let now = Healthy::of(&status.borrow_and_update(), forwards);
                if std::mem::replace(&mut healthy, now) != now {
                    set_health(&front, now).await;
                }
            }
        }
    };

    let epoch = store.epoch;
    let (mut serving, router) = front.serve(store, Some(memory)).await;
    // Nobody else sets it. From here on only connections have references to the owner.
    let _ = router_of_store.set(router);
    drop(router_of_store);
    started.send_replace(Some(serving.heartbeat.clone()));
    node.owns(epoch);
    let healthy = Healthy::of(&status.borrow_and_update(), forwards);
    set_health(&front, healthy).await;
    let (successor, mut handed_off) = mpsc::channel(1);
    loop {
        tokio::select! {
            () = &mut accepting => unreachable!("the acceptor never returns"),
            _ = drain.wait_for(|drain| *drain) => break,
            end = &mut serving.owner => {
                drop(accepting);
                set_owner(&front, ServingStatus::NotServing).await;
                if let Ok(owner) = handed_off.try_recv() {
                    let lost = NodeLost::new(format!("it has handed the store off to {owner}, as somebody wished; start it again, and it stands by"));
                    return Err(ended(&front, lost, connections).await);
                }
                return Err(front.owner_ended(end, connections).await);
            }
            event = node.next() => match event {
                NodeEvent::Won(_) => unreachable!("the node owns the store"),
                NodeEvent::HandOff { to, refused } => {
                    let (owner, successor) = (serving.weak.clone(), successor.clone());
                    // The owner ends when it has handed off, which is seen above.
                    tokio::spawn(async move {
                        match owner.hand_off(Some(to)).await {
                            Ok(owner) => drop(successor.send(owner).await),
                            Err(HandOffError::Refused(why)) => drop(refused.send(why)),
                            Err(HandOffError::OwnerLost) => {}
                        }
                    });
                }
                NodeEvent::Joined => {
                    let owner = serving.weak.clone();
                    tokio::spawn(async move { owner.tell_time().await });
                }
                NodeEvent::Ended(lost) => {
                    drop(accepting);
                    return Err(ended(&front, lost, connections).await);
                }
            }
        }
    }
    set_owner(&front, ServingStatus::NotServing).await;
    // First, so that another node owns the store before the calls of this one end.
    match timeout(HAND_OFF_WITHIN, serving.weak.hand_off(None)).await {
        Ok(Ok(owner)) => info!(owner, "handed the store off"),
        Ok(Err(HandOffError::Refused(why))) => info!("no other node owns the store now: {why}"),
        Ok(Err(HandOffError::OwnerLost)) => {}
        Err(_) => warn!("the store was not handed off within {HAND_OFF_WITHIN:?}"),
    }
    drop(accepting);
    let drained = front.drain(serving, connections).await;
    node.leave().await;
    drained
}

/// How long the owner may take to commit what it has, and to hand off, before the calls of a server that shuts down are ended.
const HAND_OFF_WITHIN: Duration = Duration::from_secs(5);

/// Closes the connections of a node that has ended by itself.
async fn ended(front: &Front<'_>, lost: NodeLost, connections: OpenConnections) -> OwnerLost {
    error!(%lost, "the node ended; closing");
    set_owner(front, ServingStatus::NotServing).await;
    front.close(connections).await;
    OwnerLost::Node(lost)
}

/// What health says of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Healthy {
    is_owner: bool,
    /// Whether calls that come to the node are answered by whoever owns the store.
    answers: bool,
}

impl Healthy {
    fn of(status: &NodeStatus, forwards: bool) -> Self {
        let is_owner = status.role() == Role::Owner;
        Self {
            is_owner,
            answers: is_owner || forwards && status.reaches_owner,
        }
    }
}

/// Sets the health of all services by what the node is.
async fn set_health(front: &Front<'_>, healthy: Healthy) {
    let serving = |yes| match yes {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    for service in SERVICES {
        let answers = serving(healthy.answers);
        front.health.set_service_status(service, answers).await;
    }
    let whole = ServingStatus::Serving;
    front.health.set_service_status("", whole).await;
    set_owner(front, serving(healthy.is_owner)).await;
}

async fn set_owner(front: &Front<'_>, status: ServingStatus) {
    front.health.set_service_status(OWNER, status).await;
}

//! Serving as a node of a cluster: standing by, then owning the store, then the end. Never back.

use std::sync::Arc;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tracing::{error, info};

use super::OwnerLost;
use super::serving::{Front, Start};
use crate::cluster::{Node, NodeEvent, NodeLost};
use crate::config::Forward;
use crate::owner::Heartbeat;
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
    set_health(&front, &status.borrow_and_update().clone(), forwards).await;
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
                NodeEvent::Ended(lost) => {
                    drop(accepting);
                    return Err(ended(&front, lost, connections).await);
                }
            },
            Ok(()) = status.changed() => {
                let status = status.borrow_and_update().clone();
                set_health(&front, &status, forwards).await;
            }
        }
    };

    let (mut serving, router) = front.serve(store, Some(memory)).await;
    // Nobody else sets it. From here on only connections have references to the owner.
    let _ = router_of_store.set(router);
    drop(router_of_store);
    started.send_replace(Some(serving.heartbeat.clone()));
    node.owns();
    set_health(&front, &status.borrow_and_update().clone(), forwards).await;
    tokio::select! {
        () = &mut accepting => unreachable!("the acceptor never returns"),
        _ = drain.wait_for(|drain| *drain) => {}
        end = &mut serving.owner => {
            drop(accepting);
            set_owner(&front, ServingStatus::NotServing).await;
            return Err(match front.owner_ended(end, connections).await {
                OwnerLost::JournalFailed(why) => OwnerLost::Node(NodeLost::new(why)),
                lost => lost,
            });
        }
        lost = node.ended() => {
            drop(accepting);
            return Err(ended(&front, lost, connections).await);
        }
    }
    drop(accepting);
    set_owner(&front, ServingStatus::NotServing).await;
    let drained = front.drain(serving, connections).await;
    node.leave().await;
    drained
}

/// Closes the connections of a node that has ended by itself.
async fn ended(front: &Front<'_>, lost: NodeLost, connections: OpenConnections) -> OwnerLost {
    error!(%lost, "the node ended; closing");
    set_owner(front, ServingStatus::NotServing).await;
    front.close(connections).await;
    OwnerLost::Node(lost)
}

/// Sets the health of all services by what the node is.
async fn set_health(front: &Front<'_>, status: &NodeStatus, forwards: bool) {
    let is_owner = status.role() == Role::Owner;
    let serving = |yes| match yes {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    let can_answer = serving(is_owner || forwards && status.reaches_owner);
    for service in SERVICES {
        front.health.set_service_status(service, can_answer).await;
    }
    let whole = ServingStatus::Serving;
    front.health.set_service_status("", whole).await;
    set_owner(front, serving(is_owner)).await;
}

async fn set_owner(front: &Front<'_>, status: ServingStatus) {
    front.health.set_service_status(OWNER, status).await;
}

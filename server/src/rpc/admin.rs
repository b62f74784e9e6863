//! The handlers of `soloist.v1.Admin`.

use std::pin::Pin;

use futures_core::Stream;
use nix::sys::resource::{UsageWho, getrusage};
use soloist::server::admin_server::Admin;
use soloist::v1;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::answering::panic_count;
use super::context::CallContext;
use super::deadline::Deadline;
use super::{backup, node, responses};
use crate::config::{Durability, Limits, NAME_BYTES_MAX, TransportLimits};
use crate::owner::Usage;
use crate::role::NodeStatus;

/// `soloist.v1.Admin`.
#[derive(Clone, Debug)]
pub(crate) struct AdminService {
    /// None if the store is kept in memory only.
    pub(crate) durability: Option<Durability>,
    pub(crate) transport: TransportLimits,
    /// How often the data directory was opened; 0 in memory.
    pub(crate) epoch: u64,
    /// What the server is in its cluster, if it is a node of one; otherwise it owns its store.
    pub(crate) node: watch::Receiver<NodeStatus>,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_info(
        &self,
        request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::Info>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let Usage { state, watch_count } = context.caller.usage(deadline).await?;
        Ok(Response::new(v1::Info {
            version: env!("CARGO_PKG_VERSION").into(),
            store_id: context.store_id.as_ref().into(),
            revision: state.revision,
            oldest_revision: state.oldest_revision,
            key_count: state.key_count as i64,
            used_bytes: state.used_bytes as i64,
            session_count: state.session_count as i64,
            machine_count: state.machine_count as i64,
            watch_count: watch_count as i64,
            request_id_count: state.request_id_count as i64,
            limits: Some(wire_limits(&context.limits, &self.transport)),
            cpu_time: cpu_time(),
            durability: self.durability.map_or_else(String::new, |d| d.to_string()),
            loss_window: self.durability.map_or_else(
                || "the state ends with the server's process".into(),
                Durability::loss_window,
            ),
            epoch: self.epoch.cast_signed(),
            panic_count: panic_count().cast_signed(),
        }))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::Node>, Status> {
        let context = CallContext::of_request(&request);
        context.caller.may_see_node()?;
        let mut answer = node::wire(&self.node.borrow());
        if answer.node.is_empty() {
            answer.epoch = self.epoch.cast_signed();
        }
        Ok(Response::new(answer))
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<v1::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request);
        let begin_by = deadline.or_max(&context.limits);
        let chunks = backup::serve(&context, begin_by, deadline.or_never()).await?;
        Ok(Response::new(Box::pin(chunks)))
    }
}

fn wire_limits(limits: &Limits, transport: &TransportLimits) -> v1::Limits {
    // config.rs gives every limit a range that ends below 2^31.
    let int = |limit: usize| i32::try_from(limit).expect("limits are below 2^31");
    v1::Limits {
        max_key_bytes: int(limits.max_key_bytes),
        max_value_bytes: int(limits.max_value_bytes),
        max_batch_ops: int(limits.max_batch_ops),
        max_page_size: int(limits.max_page_size),
        max_page_bytes: int(limits.max_page_bytes),
        max_store_bytes: i64::try_from(limits.max_store_bytes).expect("limits are below 2^63"),
        max_message_bytes: int(limits.max_message_bytes),
        max_batch_bytes: int(limits.max_batch_bytes),
        max_frames_in_flight: int(limits.max_frames_in_flight),
        max_deadline: Some(responses::duration(limits.max_deadline)),
        max_answer_bytes: int(limits.max_answer_bytes),
        max_unread_bytes: int(limits.max_unread_bytes),
        max_name_bytes: int(NAME_BYTES_MAX),
        max_sessions: int(limits.max_sessions),
        max_machines: int(limits.max_machines),
        max_states: int(limits.max_states),
        min_timeout_cycle: Some(responses::duration(limits.min_timeout_cycle)),
        max_watches: int(limits.max_watches),
        request_id_window: Some(responses::duration(limits.request_id_window)),
        request_id_count: limits.request_id_count as i64,
        request_id_bytes: limits.request_id_bytes as i64,
        watch_ring_events: limits.watch_ring_events as i64,
        watch_ring_bytes: limits.watch_ring_bytes as i64,
        max_streams: transport.max_streams.cast_signed(),
        max_connections: int(transport.max_connections),
        max_header_bytes: transport.max_header_bytes.cast_signed(),
        max_client_bytes: i64::try_from(limits.max_client_bytes).expect("limits are below 2^63"),
        idle_timeout: Some(responses::duration(transport.idle_timeout)),
        unread_timeout: Some(responses::duration(transport.unread_timeout)),
    }
}

/// User and system CPU time of this process; none if the system does not say.
fn cpu_time() -> Option<prost_types::Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = user.tv_usec() + system.tv_usec();
    Some(prost_types::Duration {
        seconds: user.tv_sec() + system.tv_sec() + micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1_000).expect("below one second"),
    })
}

//! The handlers: a request from the wire becomes a message to the owner, the owner's answer a response.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use nix::sys::resource::{UsageWho, getrusage};
use soloist::codec::not_a_message;
use soloist::server::admin_server::{self, Admin};
use soloist::server::machines_server::{self, Machines};
use soloist::server::sessions_server::{self, Sessions};
use soloist::server::state_server;
use soloist::v1;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::body::messages::Messages;
use super::deadline::Deadline;
use super::status::{Refusal, store_changed};
use super::{arguments, backup, frame, pipeline, responses};
use crate::config::{Durability, Limits, NAME_BYTES_MAX};
use crate::ids::random_name;
use crate::owner::{OwnerHandle, Unread, Usage};

/// The names of the services here, for health.
pub(crate) const SERVICES: [&str; 4] = [
    state_server::SERVICE_NAME,
    machines_server::SERVICE_NAME,
    sessions_server::SERVICE_NAME,
    admin_server::SERVICE_NAME,
];

/// `soloist.v1.State`.
#[derive(Clone, Debug)]
pub(crate) struct StateService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
    pub(crate) store_id: Arc<str>,
    pub(crate) drain: watch::Receiver<bool>,
    /// What the clients of this connection have not read yet.
    pub(crate) unread: Unread,
}

impl StateService {
    pub(crate) async fn read(
        &self,
        request: v1::ReadRequest,
        deadline: Instant,
    ) -> Result<v1::ReadResponse, Refusal> {
        let read = arguments::read(request, &self.limits)?;
        let outcome = self.owner.read(read, deadline).await?;
        Ok(responses::read_response(outcome))
    }

    pub(crate) async fn write(
        &self,
        request: v1::WriteRequest,
        deadline: Instant,
    ) -> Result<v1::WriteResponse, Refusal> {
        let (write, named) = arguments::write(request, &self.limits)?;
        let outcome = self.owner.write(write, named, deadline).await?;
        Ok(responses::write_response(outcome))
    }

    pub(crate) async fn add(
        &self,
        request: v1::AddRequest,
        deadline: Instant,
    ) -> Result<v1::AddResponse, Refusal> {
        let (add, named) = arguments::add(request, &self.limits)?;
        let outcome = self.owner.add(add, named, deadline).await?;
        Ok(responses::add_response(outcome))
    }

    pub(crate) async fn transition(
        &self,
        request: v1::TransitionRequest,
        deadline: Instant,
    ) -> Result<v1::TransitionResponse, Refusal> {
        let (transition, named) = arguments::transition(request, &self.limits)?;
        let outcome = self.owner.transition(transition, named, deadline).await?;
        Ok(responses::transition_response(outcome))
    }

    pub(crate) async fn delete(
        &self,
        request: v1::DeleteRequest,
        deadline: Instant,
    ) -> Result<v1::DeleteResponse, Refusal> {
        let (delete, named) = arguments::delete(request, &self.limits)?;
        let outcome = self.owner.delete(delete, named, deadline).await?;
        Ok(responses::delete_response(outcome))
    }

    pub(crate) async fn batch(
        &self,
        request: &[u8],
        deadline: Instant,
    ) -> Result<v1::BatchResponse, Status> {
        let (operations, named) = frame::decode_batch(request, &self.limits)
            .map_err(|error| not_a_message(&error))?
            .map_err(Refusal::from)?;
        let unread = self.unread.clone();
        let pending = self
            .owner
            .apply_all(operations, named, unread, deadline)
            .map_err(Refusal::from)?;
        let (outcome, _held) = pending.answer().await.map_err(Refusal::from)?;
        Ok(responses::batch_response(outcome))
    }

    pub(crate) async fn list(
        &self,
        request: v1::ListRequest,
        deadline: Instant,
    ) -> Result<v1::ListResponse, Refusal> {
        let list = arguments::list(request, &self.limits)?;
        let outcome = self.owner.list(list, deadline).await?;
        Ok(responses::list_response(outcome))
    }

    pub(crate) async fn watch(
        &self,
        request: v1::WatchRequest,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + 'static, Refusal>
    {
        let arguments = arguments::watch::watch(request, &self.limits)?;
        if let Some(meant) = &arguments.store_id
            && **meant != *self.store_id
        {
            return Err(store_changed(meant, &self.store_id));
        }
        let begin_by = deadline.or_max(&self.limits);
        Ok(super::watch::serve(self, arguments, begin_by, deadline.or_never()).await?)
    }

    pub(crate) fn pipeline(
        &self,
        frames: Messages,
        deadline: Deadline,
    ) -> impl Stream<Item = Result<frame::Answer, Status>> + Send + 'static {
        pipeline::serve(frames, self.clone(), deadline)
    }
}

/// `soloist.v1.Machines`.
#[derive(Clone, Debug)]
pub(crate) struct MachinesService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
}

#[tonic::async_trait]
impl Machines for MachinesService {
    async fn define_machine(
        &self,
        request: Request<v1::DefineMachineRequest>,
    ) -> Result<Response<v1::Machine>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let define = arguments::machines::define(request.into_inner(), &self.limits)
            .map_err(Refusal::from)?;
        let machine = self
            .owner
            .define_machine(define, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::machine(machine)))
    }

    async fn get_machine(
        &self,
        request: Request<v1::GetMachineRequest>,
    ) -> Result<Response<v1::Machine>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let name =
            arguments::machines::machine_name(request.into_inner().name).map_err(Refusal::from)?;
        let machine = self
            .owner
            .get_machine(name, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::machine(machine)))
    }

    async fn list_machines(
        &self,
        request: Request<v1::ListMachinesRequest>,
    ) -> Result<Response<v1::ListMachinesResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let (after, page_size) =
            arguments::machines::list(request.get_ref(), &self.limits).map_err(Refusal::from)?;
        let page = self
            .owner
            .list_machines(after, page_size, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::list_machines_response(page)))
    }

    async fn delete_machine(
        &self,
        request: Request<v1::DeleteMachineRequest>,
    ) -> Result<Response<v1::DeleteMachineResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let name =
            arguments::machines::machine_name(request.into_inner().name).map_err(Refusal::from)?;
        self.owner
            .delete_machine(name, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(v1::DeleteMachineResponse {}))
    }
}

/// `soloist.v1.Sessions`.
#[derive(Clone, Debug)]
pub(crate) struct SessionsService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
}

#[tonic::async_trait]
impl Sessions for SessionsService {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let new_id = || random_name().into();
        let (open, named) =
            arguments::sessions::open(request.into_inner(), new_id).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .open_session(open, named, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::opened_session(outcome)))
    }

    async fn renew_session(
        &self,
        request: Request<v1::RenewSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let life = arguments::sessions::renew(request.into_inner()).map_err(Refusal::from)?;
        let session = self
            .owner
            .renew_session(life, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::session(session)))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let (life, named) =
            arguments::sessions::close(request.into_inner()).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .close_session(life, named, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::close_session_response(&outcome)))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let (after, page_size) =
            arguments::sessions::list(request.get_ref(), &self.limits).map_err(Refusal::from)?;
        let page = self
            .owner
            .list_sessions(after, page_size, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(responses::list_sessions_response(page)))
    }
}

/// `soloist.v1.Admin`.
#[derive(Clone, Debug)]
pub(crate) struct AdminService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
    pub(crate) store_id: Arc<str>,
    /// None in memory.
    pub(crate) durability: Option<Durability>,
    pub(crate) epoch: u64,
    pub(crate) drain: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_info(
        &self,
        request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::Info>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let Usage { state, watch_count } =
            self.owner.usage(deadline).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::Info {
            version: env!("CARGO_PKG_VERSION").into(),
            store_id: self.store_id.as_ref().into(),
            revision: state.revision,
            oldest_revision: state.oldest_revision,
            key_count: state.key_count as i64,
            used_bytes: state.used_bytes as i64,
            session_count: state.session_count as i64,
            machine_count: state.machine_count as i64,
            watch_count: watch_count as i64,
            request_id_count: state.request_id_count as i64,
            limits: Some(shown_limits(&self.limits)),
            cpu_time: cpu_time(),
            durability: self.durability.map_or_else(String::new, |d| d.to_string()),
            loss_window: self.durability.map_or_else(
                || "the state ends with the server's process".into(),
                Durability::loss_window,
            ),
            epoch: self.epoch.cast_signed(),
        }))
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<v1::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let deadline = Deadline::of(&request);
        let begin_by = deadline.or_max(&self.limits);
        let chunks = backup::serve(self, begin_by, deadline.or_never())
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(Box::pin(chunks)))
    }
}

fn shown_limits(limits: &Limits) -> v1::Limits {
    // Every limit has a range in config.rs that ends below 2^31.
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
        max_deadline: Some(responses::span(limits.max_deadline)),
        max_answer_bytes: int(limits.max_answer_bytes),
        max_unread_bytes: int(limits.max_unread_bytes),
        max_name_bytes: int(NAME_BYTES_MAX),
        max_sessions: int(limits.max_sessions),
        max_machines: int(limits.max_machines),
        max_states: int(limits.max_states),
        max_watches: int(limits.max_watches),
        request_id_window: Some(responses::span(limits.request_id_window)),
        request_id_count: limits.request_id_count as i64,
        request_id_bytes: limits.request_id_bytes as i64,
        watch_ring_events: limits.watch_ring_events as i64,
        watch_ring_bytes: limits.watch_ring_bytes as i64,
    }
}

/// User and system CPU time of this process; none where the system does not tell.
fn cpu_time() -> Option<prost_types::Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = user.tv_usec() + system.tv_usec();
    Some(prost_types::Duration {
        seconds: user.tv_sec() + system.tv_sec() + micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1_000).expect("below one second"),
    })
}

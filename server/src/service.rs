//! The handlers: a request from the wire becomes a message to the owner, the owner's answer a response.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use nix::sys::resource::{UsageWho, getrusage};
use soloist::codec::{Encoded, not_a_message};
use soloist::server::{admin_server::Admin, state_server::State};
use soloist::v1;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Limits;
use crate::deadline::Deadline;
use crate::owner::{OwnerHandle, Unread};
use crate::status::Refusal;
use crate::{arguments, convert, frame, pipeline};

/// `soloist.v1.State`.
#[derive(Clone, Debug)]
pub(crate) struct StateService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
    pub(crate) drain: watch::Receiver<bool>,
    /// What the clients of this connection have not read yet.
    pub(crate) unread: Unread,
}

#[tonic::async_trait]
impl State for StateService {
    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<v1::ReadResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let read = arguments::read(request.into_inner(), &self.limits).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .read(read, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(convert::read_response(outcome)))
    }

    async fn write(
        &self,
        request: Request<v1::WriteRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let write = arguments::write(request.into_inner(), &self.limits).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .write(write, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(convert::write_response(outcome)))
    }

    async fn add(
        &self,
        request: Request<v1::AddRequest>,
    ) -> Result<Response<v1::AddResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let add = arguments::add(request.into_inner(), &self.limits).map_err(Refusal::from)?;
        let outcome = self.owner.add(add, deadline).await.map_err(Refusal::from)?;
        Ok(Response::new(convert::add_response(outcome)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let delete =
            arguments::delete(request.into_inner(), &self.limits).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .delete(delete, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(convert::delete_response(outcome)))
    }

    async fn batch(
        &self,
        request: Request<Encoded>,
    ) -> Result<Response<v1::BatchResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let operations = frame::decode_batch(&request.into_inner().0, &self.limits)
            .map_err(|error| not_a_message(&error))?
            .map_err(Refusal::from)?;
        let pending = self
            .owner
            .apply_all(operations, self.unread.clone(), deadline)
            .map_err(Refusal::from)?;
        let (outcome, _held) = pending.answer().await.map_err(Refusal::from)?;
        Ok(Response::new(convert::batch_response(outcome)))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let list = arguments::list(request.into_inner(), &self.limits).map_err(Refusal::from)?;
        let outcome = self
            .owner
            .list(list, deadline)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(convert::list_response(outcome)))
    }

    type PipelineStream = Pin<Box<dyn Stream<Item = Result<Encoded, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<Encoded>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        let deadline = Deadline::of(&request);
        let answers = pipeline::serve(request.into_inner(), self.clone(), deadline);
        Ok(Response::new(Box::pin(answers)))
    }
}

/// `soloist.v1.Admin`.
#[derive(Clone, Debug)]
pub(crate) struct AdminService {
    pub(crate) owner: OwnerHandle,
    pub(crate) limits: Arc<Limits>,
    pub(crate) store_id: Arc<str>,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_info(
        &self,
        request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::Info>, Status> {
        let deadline = Deadline::of(&request).or_max(&self.limits);
        let usage = self.owner.usage(deadline).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::Info {
            version: env!("CARGO_PKG_VERSION").into(),
            store_id: self.store_id.as_ref().into(),
            revision: usage.revision,
            key_count: usage.key_count as i64,
            used_bytes: usage.used_bytes as i64,
            limits: Some(shown_limits(&self.limits)),
            cpu_time: cpu_time(),
        }))
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
        max_deadline: prost_types::Duration::try_from(limits.max_deadline).ok(),
        max_answer_bytes: int(limits.max_answer_bytes),
        max_unread_bytes: int(limits.max_unread_bytes),
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

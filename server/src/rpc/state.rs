//! The handlers of `soloist.v1.State`.
//!
//! Each checks the arguments, calls the owner for the caller, and makes the response of its outcome. `deadline` is when the call must be
//! answered.

use std::sync::Arc;

use futures_core::Stream;
use soloist::v1;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tonic::Status;

use super::body::request::RequestMessages;
use super::context::CallContext;
use super::deadline::Deadline;
use super::slow_calls::SlowFrames;
use super::status::{Refusal, not_a_message, store_changed};
use super::{arguments, frame, pipeline, responses, watch};
use crate::owner::{NoRoom, QuotaGuard};

pub(super) async fn read(
    context: &CallContext,
    request: v1::ReadRequest,
    deadline: Instant,
) -> Result<v1::ReadResponse, Refusal> {
    let read = arguments::read(request, &context.limits)?;
    let outcome = context.caller.read(read, deadline).await?;
    Ok(responses::read_response(outcome))
}

pub(super) async fn write(
    context: &CallContext,
    request: v1::WriteRequest,
    deadline: Instant,
) -> Result<v1::WriteResponse, Refusal> {
    let _room = match request.return_previous {
        true => Some(room_for_previous(context).await?),
        false => None,
    };
    let (write, request_id) = arguments::write(request, &context.limits)?;
    let outcome = context.caller.write(write, request_id, deadline).await?;
    Ok(responses::write_response(outcome))
}

pub(super) async fn add(
    context: &CallContext,
    request: v1::AddRequest,
    deadline: Instant,
) -> Result<v1::AddResponse, Refusal> {
    let (add, request_id) = arguments::add(request, &context.limits)?;
    let outcome = context.caller.add(add, request_id, deadline).await?;
    Ok(responses::add_response(outcome))
}

pub(super) async fn transition(
    context: &CallContext,
    request: v1::TransitionRequest,
    deadline: Instant,
) -> Result<v1::TransitionResponse, Refusal> {
    let (transition, request_id) = arguments::transition(request, &context.limits)?;
    let outcome = context
        .caller
        .transition(transition, request_id, deadline)
        .await?;
    Ok(responses::transition_response(outcome))
}

pub(super) async fn delete(
    context: &CallContext,
    request: v1::DeleteRequest,
    deadline: Instant,
) -> Result<v1::DeleteResponse, Refusal> {
    let _room = room_for_previous(context).await?;
    let (delete, request_id) = arguments::delete(request, &context.limits)?;
    let outcome = context.caller.delete(delete, request_id, deadline).await?;
    Ok(responses::delete_response(outcome))
}

/// Reserves room for the value that a change replaces, before the change: afterwards its answer cannot be refused any more. A
/// connection has room for a few such calls at a time, and the others wait for their turn.
async fn room_for_previous(context: &CallContext) -> Result<PreviousRoom<'_>, NoRoom> {
    let permit = context.previous_permits.acquire().await;
    let permit = permit.expect("nothing closes the semaphore");
    let charged = context.quota.reserve(context.limits.max_value_bytes)?;
    Ok((charged, permit))
}

/// Room for the largest value, until it is dropped.
type PreviousRoom<'a> = (QuotaGuard, SemaphorePermit<'a>);

pub(super) async fn delete_prefix(
    context: &CallContext,
    request: v1::DeletePrefixRequest,
    deadline: Instant,
) -> Result<v1::DeletePrefixResponse, Refusal> {
    let (delete, request_id) = arguments::delete_prefix(request, &context.limits)?;
    let outcome = context
        .caller
        .delete_prefix(delete, request_id, deadline)
        .await?;
    Ok(responses::delete_prefix_response(outcome))
}

pub(super) async fn batch(
    context: &CallContext,
    request: &[u8],
    deadline: Instant,
) -> Result<v1::BatchResponse, Status> {
    let (operations, request_id) =
        frame::decode_batch(request, &context.limits).map_err(|error| not_a_message(&error))??;
    let permitted = context.caller.rights()?.all(operations, request_id)?;
    // The outcome counts as unread only until here: a unary response is encoded at once.
    let (outcome, _guard) = context.caller.batch(permitted, deadline).await?;
    Ok(responses::batch_response(outcome))
}

pub(super) async fn list(
    context: &CallContext,
    request: v1::ListRequest,
    deadline: Instant,
) -> Result<v1::ListResponse, Refusal> {
    let list = arguments::list(request, &context.limits)?;
    let outcome = context.caller.list(list, deadline).await?;
    Ok(responses::list_response(outcome))
}

pub(super) async fn watch(
    context: &CallContext,
    request: v1::WatchRequest,
    deadline: Deadline,
) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + 'static, Refusal> {
    let arguments = arguments::watch::watch(request, &context.limits)?;
    if let Some(expected) = &arguments.store_id
        && **expected != *context.store_id
    {
        return Err(store_changed(expected, &context.store_id));
    }
    let begin_by = deadline.or_max(&context.limits);
    watch::serve(context, arguments, begin_by, deadline.or_never()).await
}

pub(super) fn pipeline(
    context: &CallContext,
    frames: RequestMessages,
    deadline: Deadline,
    slow: Option<Arc<SlowFrames>>,
) -> impl Stream<Item = Result<frame::FrameAnswer, Status>> + Send + 'static {
    pipeline::serve(frames, context.clone(), deadline, slow)
}

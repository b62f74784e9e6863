//! The handlers of `soloist.v1.Sessions`.

use soloist::server::sessions_server::Sessions;
use soloist::v1;
use tonic::{Request, Response, Status};

use super::arguments::sessions as arguments;
use super::call_quota::CallQuota;
use super::context::CallContext;
use super::deadline::Deadline;
use super::responses;
use crate::ids::random_name;

/// `soloist.v1.Sessions`.
#[derive(Clone, Debug)]
pub(super) struct SessionsService;

#[tonic::async_trait]
impl Sessions for SessionsService {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let new_id = || random_name().into();
        let (open, request_id) = arguments::open(request.into_inner(), new_id)?;
        let outcome = context
            .caller
            .open_session(open, request_id, deadline)
            .await?;
        Ok(Response::new(responses::opened_session(outcome)))
    }

    async fn renew_session(
        &self,
        request: Request<v1::RenewSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let life = arguments::renew(request.into_inner())?;
        let session = context.caller.renew_session(life, deadline).await?;
        Ok(Response::new(responses::session(session)))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let (life, request_id) = arguments::close(request.into_inner())?;
        let outcome = context
            .caller
            .close_session(life, request_id, deadline)
            .await?;
        Ok(Response::new(responses::close_session_response(&outcome)))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let quota = CallQuota::of_request(&request);
        let (after, page_size) = arguments::list(request.get_ref(), &context.limits)?;
        let page = context
            .caller
            .list_sessions(after, page_size, deadline)
            .await?;
        quota.answer(responses::list_sessions_response(page))
    }
}

//! The handlers of `soloist.v1.Machines`.

use prost::Message as _;
use soloist::server::machines_server::Machines;
use soloist::v1;
use tonic::{Request, Response, Status};

use super::arguments::machines as arguments;
use super::call_quota::CallQuota;
use super::context::CallContext;
use super::deadline::Deadline;
use super::responses;

/// `soloist.v1.Machines`.
#[derive(Clone, Debug)]
pub(super) struct MachinesService;

#[tonic::async_trait]
impl Machines for MachinesService {
    async fn define_machine(
        &self,
        request: Request<v1::DefineMachineRequest>,
    ) -> Result<Response<v1::Machine>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        // The answer shows the machine, and cannot be refused after the change.
        let _room = CallQuota::of_request(&request).reserve(request.get_ref().encoded_len())?;
        let define = arguments::define(request.into_inner(), &context.limits)?;
        let machine = context.caller.define_machine(define, deadline).await?;
        Ok(Response::new(responses::machine(machine)))
    }

    async fn get_machine(
        &self,
        request: Request<v1::GetMachineRequest>,
    ) -> Result<Response<v1::Machine>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let quota = CallQuota::of_request(&request);
        let name = arguments::machine_name(request.into_inner().name)?;
        let machine = context.caller.get_machine(name, deadline).await?;
        quota.answer(responses::machine(machine))
    }

    async fn list_machines(
        &self,
        request: Request<v1::ListMachinesRequest>,
    ) -> Result<Response<v1::ListMachinesResponse>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let quota = CallQuota::of_request(&request);
        let (after, page_size) = arguments::list(request.get_ref(), &context.limits)?;
        let page = context
            .caller
            .list_machines(after, page_size, deadline)
            .await?;
        quota.answer(responses::list_machines_response(page))
    }

    async fn delete_machine(
        &self,
        request: Request<v1::DeleteMachineRequest>,
    ) -> Result<Response<v1::DeleteMachineResponse>, Status> {
        let context = CallContext::of_request(&request);
        let deadline = Deadline::of_request(&request).or_max(&context.limits);
        let delete = arguments::delete(request.into_inner())?;
        context.caller.delete_machine(delete, deadline).await?;
        Ok(Response::new(v1::DeleteMachineResponse {}))
    }
}

//! Finds the handler of an HTTP request: by its path, which is `/SERVICE/METHOD`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use prost::Message;
use soloist::codec::not_a_message;
use soloist::server::admin_server::{self, AdminServer};
use soloist::server::machines_server::{self, MachinesServer};
use soloist::server::sessions_server::{self, SessionsServer};
use soloist::server::state_server;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder as Reflection;
use tonic_reflection::{pb::v1 as reflection_v1, pb::v1alpha as reflection_v1alpha};
use tower_service::Service as _;

use super::admin::AdminService;
use super::body::framing::{CheckedBody, MessageCount};
use super::body::request::RequestMessages;
use super::body::response::{self, ResponseBody};
use super::body::until_drain::UntilDrain;
use super::context::CallContext;
use super::deadline::Deadline;
use super::machines::MachinesService;
use super::sessions::SessionsService;
use super::state;
use super::status::{Refusal, unknown_encoding, unknown_method};

type ResponseFuture = BoxFuture<Response<ResponseBody>, Infallible>;
/// The response of a service that tonic generates.
type TonicFuture = BoxFuture<Response<Body>, Infallible>;

/// A service outside of `soloist.v1`, health or reflection: its name in the path, and its handler.
type OtherService = (
    &'static str,
    Box<dyn Fn(Request<Incoming>) -> ResponseFuture + Send + Sync>,
);

/// The services of one connection.
#[derive(Clone)]
pub(crate) struct Router {
    context: Arc<CallContext>,
    machines: MachinesServer<MachinesService>,
    sessions: SessionsServer<SessionsService>,
    admin: AdminServer<AdminService>,
    others: Arc<[OtherService]>,
}

impl Router {
    /// The services of the store behind `context`. Connections get theirs from [`for_connection`](Self::for_connection).
    pub(crate) fn new(context: CallContext, admin: AdminService, health: HealthReporter) -> Self {
        let machines = MachinesService {
            context: context.clone(),
        };
        let sessions = SessionsService {
            context: context.clone(),
        };
        let others = other_services(health, &context.drain);
        Self {
            context: Arc::new(context),
            machines: MachinesServer::new(machines).max_decoding_message_size(usize::MAX),
            sessions: SessionsServer::new(sessions).max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(admin).max_decoding_message_size(usize::MAX),
            others,
        }
    }

    /// The same services for a new connection, with a quota of its own.
    pub(crate) fn for_connection(&self) -> Self {
        Self {
            context: Arc::new(self.context.for_connection()),
            ..self.clone()
        }
    }

    /// Calls of `soloist.v1.State`. They are the hot path, so they are dispatched here, without a service of tonic's: see
    /// [`response`] for what that would cost.
    fn call_state(&self, method: &str, headers: &HeaderMap, body: Incoming) -> ResponseFuture {
        match method {
            "Read" => self.unary(headers, body, |context, read, deadline| async move {
                state::read(&context, read, deadline).await
            }),
            "Write" => self.unary(headers, body, |context, write, deadline| async move {
                state::write(&context, write, deadline).await
            }),
            "Add" => self.unary(headers, body, |context, add, deadline| async move {
                state::add(&context, add, deadline).await
            }),
            "Transition" => self.unary(headers, body, |context, transition, deadline| async move {
                state::transition(&context, transition, deadline).await
            }),
            "Delete" => self.unary(headers, body, |context, delete, deadline| async move {
                state::delete(&context, delete, deadline).await
            }),
            "Batch" => self.one_message(headers, body, |context, batch, deadline| async move {
                let deadline = deadline.or_max(&context.limits);
                Ok(response::one(
                    state::batch(&context, &batch, deadline).await?,
                ))
            }),
            "List" => self.unary(headers, body, |context, list, deadline| async move {
                state::list(&context, list, deadline).await
            }),
            "Watch" => self.one_message(headers, body, |context, watch, deadline| async move {
                let watch = decode(&watch)?;
                Ok(response::stream(
                    state::watch(&context, watch, deadline).await?,
                ))
            }),
            "Pipeline" => self.pipeline(headers, body),
            _ => {
                let path = format!("/{}/{method}", state_server::SERVICE_NAME);
                grpc_error(unknown_method(&path).into())
            }
        }
    }

    /// A call with one request message and one response message.
    fn unary<Q, A, F>(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        serve: impl FnOnce(Arc<CallContext>, Q, Instant) -> F + Send + 'static,
    ) -> ResponseFuture
    where
        Q: Message + Default,
        A: Message,
        F: Future<Output = Result<A, Refusal>> + Send,
    {
        self.one_message(headers, body, |context, message, deadline| async move {
            let deadline = deadline.or_max(&context.limits);
            Ok(response::one(
                serve(context, decode(&message)?, deadline).await?,
            ))
        })
    }

    /// A call with one request message. `serve` begins once the whole message has arrived, which must be before the call's
    /// deadline.
    fn one_message<F>(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        serve: impl FnOnce(Arc<CallContext>, Bytes, Deadline) -> F + Send + 'static,
    ) -> ResponseFuture
    where
        F: Future<Output = Result<Response<ResponseBody>, Status>> + Send,
    {
        let deadline = match Deadline::from_headers(headers) {
            Ok(deadline) => deadline,
            Err(status) => return grpc_error(status),
        };
        let context = Arc::clone(&self.context);
        let limits = &context.limits;
        let arrive_by = Some(deadline.or_max(limits));
        let body = CheckedBody::new(body, MessageCount::One, limits.max_message_bytes, arrive_by);
        Box::pin(async move {
            let response = match RequestMessages::new(body).only().await {
                Ok(message) => serve(context, message, deadline).await,
                Err(status) => Err(status),
            };
            Ok(response.unwrap_or_else(response::error))
        })
    }

    fn pipeline(&self, headers: &HeaderMap, body: Incoming) -> ResponseFuture {
        let response = Deadline::from_headers(headers).map(|deadline| {
            let limit = self.context.limits.max_message_bytes;
            // No deadline for the body: the stream itself watches its deadline.
            let body = CheckedBody::new(body, MessageCount::Any, limit, None);
            response::stream(state::pipeline(
                &self.context,
                RequestMessages::new(body),
                deadline,
            ))
        });
        Box::pin(async { Ok(response.unwrap_or_else(response::error)) })
    }

    /// A call of a service that tonic generates. Its deadline counts from now on, and its body is checked while the service
    /// reads it.
    fn call_tonic(
        &self,
        mut request: Request<Incoming>,
        serve: impl FnOnce(Request<CheckedBody<Incoming>>) -> TonicFuture,
    ) -> ResponseFuture {
        let deadline = match Deadline::from_headers(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return grpc_error(status),
        };
        let limits = &self.context.limits;
        // The service begins once the whole message has arrived.
        let arrive_by = Some(deadline.or_max(limits));
        if deadline.or_never().is_some() {
            request.extensions_mut().insert(deadline);
        }
        let limit = limits.max_message_bytes;
        let response =
            serve(request.map(|body| CheckedBody::new(body, MessageCount::One, limit, arrive_by)));
        Box::pin(async { Ok(response.await?.map(ResponseBody::Other)) })
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        if request.method() != Method::POST {
            return http_error(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(request.headers()) {
            return http_error(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        if let Some(encoding) = encoding(request.headers()) {
            return grpc_error(unknown_encoding(encoding));
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return grpc_error(unknown_method(path).into());
        };
        match (service, method) {
            (state_server::SERVICE_NAME, method) => self.call_state(method, &parts.headers, body),
            (
                machines_server::SERVICE_NAME,
                "DefineMachine" | "GetMachine" | "ListMachines" | "DeleteMachine",
            ) => self.call_tonic(Request::from_parts(parts, body), |request| {
                self.machines.clone().call(request)
            }),
            (
                sessions_server::SERVICE_NAME,
                "OpenSession" | "RenewSession" | "CloseSession" | "ListSessions",
            ) => self.call_tonic(Request::from_parts(parts, body), |request| {
                self.sessions.clone().call(request)
            }),
            (admin_server::SERVICE_NAME, "GetInfo" | "Backup") => self
                .call_tonic(Request::from_parts(parts, body), |request| {
                    self.admin.clone().call(request)
                }),
            (service, _) => match self.others.iter().find(|(name, _)| *name == service) {
                Some((_, call)) => call(Request::from_parts(parts, body)),
                None => grpc_error(unknown_method(path).into()),
            },
        }
    }
}

/// Health and reflection. Both have calls without an end (Watch, and ServerReflectionInfo), which must not hold up a shutdown:
/// their responses end when the server drains.
fn other_services(health: HealthReporter, drain: &watch::Receiver<bool>) -> Arc<[OtherService]> {
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(soloist::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let well_formed = "the build made the descriptor sets";
    let v1 = reflection().build_v1().expect(well_formed);
    let v1alpha = reflection().build_v1alpha().expect(well_formed);
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    macro_rules! other {
        ($name:expr, $service:expr) => {{
            let (drain, service) = (drain.clone(), $service);
            let call = move |request| until_drain(service.clone().call(request), drain.clone());
            ($name, Box::new(call))
        }};
    }
    Arc::new([
        other!(health_server::SERVICE_NAME, health),
        other!(reflection_v1::server_reflection_server::SERVICE_NAME, v1),
        other!(
            reflection_v1alpha::server_reflection_server::SERVICE_NAME,
            v1alpha
        ),
    ])
}

/// The same response, with a body that ends when the server drains.
fn until_drain(response: TonicFuture, drain: watch::Receiver<bool>) -> ResponseFuture {
    Box::pin(async move {
        let until_drain = |body| Body::new(UntilDrain::new(body, drain));
        Ok(response
            .await?
            .map(|body| ResponseBody::Other(until_drain(body))))
    })
}

fn decode<Q: Message + Default>(message: &[u8]) -> Result<Q, Status> {
    Q::decode(message).map_err(|error| not_a_message(&error))
}

/// Whether the content-type is `application/grpc`, optionally followed by `+proto`, or by a parameter. Source: gRPC over
/// HTTP/2, "Content-Type".
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| {
        let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
        rest.is_empty() || rest.starts_with(b";")
    })
}

/// The compression that the messages of a request are said to have, if any.
fn encoding(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers
        .get("grpc-encoding")
        .filter(|encoding| *encoding != "identity")
}

/// The response to a request that is not gRPC: plain HTTP, as the gRPC specification asks.
fn http_error(status: StatusCode) -> ResponseFuture {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    Box::pin(async { Ok(response) })
}

/// The response to a call that is refused before it has a handler.
fn grpc_error(status: Status) -> ResponseFuture {
    let response = response::error(status);
    Box::pin(async { Ok(response) })
}

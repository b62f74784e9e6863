//! From an HTTP request to the service that answers it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use soloist::server::admin_server::{self, AdminServer};
use soloist::server::machines_server::{self, MachinesServer};
use soloist::server::sessions_server::{self, SessionsServer};
use soloist::server::state_server::{self, StateServer};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder as Reflection;
use tonic_reflection::{pb::v1 as reflection_v1, pb::v1alpha as reflection_v1alpha};
use tower_service::Service as _;

use super::framing::{CheckedBody, Messages};
use super::until_drain::UntilDrain;
use crate::deadline::Deadline;
use crate::owner::Unread;
use crate::service::{AdminService, MachinesService, SessionsService, StateService};
use crate::status::unknown_method;

type Answer = BoxFuture<Response<Body>, Infallible>;

/// A service that is seldom called, by its name in the path.
type Side = (
    &'static str,
    Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>,
);

/// Everything that is served on a connection. One for each, made by [`Router::for_connection`].
#[derive(Clone)]
pub(crate) struct Router {
    service: StateService,
    state: StateServer<StateService>,
    machines: MachinesServer<MachinesService>,
    sessions: SessionsServer<SessionsService>,
    admin: AdminServer<AdminService>,
    side: Arc<[Side]>,
}

/// What there is to serve.
pub(crate) struct Services {
    pub(crate) state: StateService,
    pub(crate) machines: MachinesService,
    pub(crate) sessions: SessionsService,
    pub(crate) admin: AdminService,
    pub(crate) health: HealthReporter,
}

impl Router {
    pub(crate) fn new(services: Services, drain: watch::Receiver<bool>) -> Self {
        let Services {
            state,
            machines,
            sessions,
            admin,
            health,
        } = services;
        let reflection = || {
            Reflection::configure()
                .register_encoded_file_descriptor_set(soloist::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let well_formed = "the descriptor sets come out of the build";
        let v1 = reflection().build_v1().expect(well_formed);
        let v1alpha = reflection().build_v1alpha().expect(well_formed);
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        // These services have calls without an end (Watch, reflection), which must not hold up a shutdown.
        let ending = move |answer: Answer| -> Answer {
            let drain = drain.clone();
            Box::pin(async move {
                let response = answer.await?;
                Ok(response.map(|body| Body::new(UntilDrain::new(body, drain))))
            })
        };
        let ending = Arc::new(ending);
        macro_rules! side {
            ($name:expr, $service:expr) => {{
                let (ending, service) = (Arc::clone(&ending), $service);
                let call = move |request| ending(service.clone().call(request));
                ($name, Box::new(call))
            }};
        }
        Self {
            state: unlimited(&state),
            service: state,
            machines: MachinesServer::new(machines).max_decoding_message_size(usize::MAX),
            sessions: SessionsServer::new(sessions).max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(admin).max_decoding_message_size(usize::MAX),
            side: Arc::new([
                side!(health_server::SERVICE_NAME, health),
                side!(reflection_v1::server_reflection_server::SERVICE_NAME, v1),
                side!(
                    reflection_v1alpha::server_reflection_server::SERVICE_NAME,
                    v1alpha
                ),
            ]),
        }
    }

    /// The same with an account of its own for what the connection leaves unread.
    pub(super) fn for_connection(&self) -> Self {
        let service = StateService {
            unread: Unread::new(self.service.limits.max_unread_bytes),
            ..self.service.clone()
        };
        Self {
            state: unlimited(&service),
            service,
            ..self.clone()
        }
    }

    /// Hands a call of ours on: its deadline counts from now, and its body is checked on the way.
    fn checked(
        &self,
        mut request: Request<Incoming>,
        messages: Messages,
        serve: impl FnOnce(Request<CheckedBody<Incoming>>) -> Answer,
    ) -> Answer {
        let deadline = match Deadline::of_headers(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return answer(status),
        };
        let limits = &self.service.limits;
        let ends = match messages {
            // It is not begun before its message is here.
            Messages::One => Some(deadline.or_max(limits)),
            // Its end is the stream's own affair.
            Messages::Many => None,
        };
        if deadline.or_never().is_some() {
            request.extensions_mut().insert(deadline);
        }
        serve(request.map(|body| CheckedBody::new(body, messages, limits.max_message_bytes, ends)))
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(request.headers()) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let path = request.uri().path();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return answer(unknown_method(path).into());
        };
        match (service, method) {
            (
                state_server::SERVICE_NAME,
                "Read" | "Write" | "Add" | "Transition" | "Delete" | "Batch" | "List" | "Watch",
            ) => self.checked(request, Messages::One, |request| {
                self.state.clone().call(request)
            }),
            (state_server::SERVICE_NAME, "Pipeline") => {
                self.checked(request, Messages::Many, |request| {
                    self.state.clone().call(request)
                })
            }
            (
                machines_server::SERVICE_NAME,
                "DefineMachine" | "GetMachine" | "ListMachines" | "DeleteMachine",
            ) => self.checked(request, Messages::One, |request| {
                self.machines.clone().call(request)
            }),
            (
                sessions_server::SERVICE_NAME,
                "OpenSession" | "RenewSession" | "CloseSession" | "ListSessions",
            ) => self.checked(request, Messages::One, |request| {
                self.sessions.clone().call(request)
            }),
            (admin_server::SERVICE_NAME, "GetInfo" | "Backup") => {
                self.checked(request, Messages::One, |request| {
                    self.admin.clone().call(request)
                })
            }
            (service, _) => match self.side.iter().find(|(name, _)| *name == service) {
                Some((_, call)) => call(request),
                None => answer(unknown_method(path).into()),
            },
        }
    }
}

/// tonic's own limit is put out of the way: bodies are checked before it sees them.
fn unlimited(state: &StateService) -> StateServer<StateService> {
    StateServer::new(state.clone()).max_decoding_message_size(usize::MAX)
}

/// Source: gRPC over HTTP/2, "Content-Type": application/grpc, with +proto or a parameter after it.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| {
        let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
        rest.is_empty() || rest.starts_with(b";")
    })
}

/// What the gRPC specification asks for where a request is not gRPC at all: plain HTTP.
fn plain(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Box::pin(async { Ok(response) })
}

fn answer(status: Status) -> Answer {
    let response = status.into_http();
    Box::pin(async { Ok(response) })
}

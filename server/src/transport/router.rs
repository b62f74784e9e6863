//! From an HTTP request to the service that answers it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use soloist::server::admin_server::{self, AdminServer};
use soloist::server::state_server::{self, StateServer};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder as Reflection;
use tonic_reflection::{pb::v1 as reflection_v1, pb::v1alpha as reflection_v1alpha};
use tower_service::Service as _;

use super::framing::{CheckedBody, Messages};
use super::until_drain::UntilDrain;
use crate::service::{AdminService, StateService};
use crate::status::unknown_method;

type Answer = BoxFuture<Response<Body>, Infallible>;

/// A service that is seldom called, by its name in the path.
type Side = (
    &'static str,
    Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>,
);

/// Everything that is served on a connection. Cheap to clone, one for each.
#[derive(Clone)]
pub(crate) struct Router {
    state: StateServer<StateService>,
    admin: AdminServer<AdminService>,
    side: Arc<[Side]>,
    message_bytes_max: usize,
}

impl Router {
    pub(crate) fn new(
        state: StateService,
        admin: AdminService,
        health: HealthReporter,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let message_bytes_max = state.limits.max_message_bytes;
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
            // tonic's own limit is put out of the way: bodies are checked before it sees them.
            state: StateServer::new(state).max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(admin).max_decoding_message_size(usize::MAX),
            side: Arc::new([
                side!(health_server::SERVICE_NAME, health),
                side!(reflection_v1::server_reflection_server::SERVICE_NAME, v1),
                side!(
                    reflection_v1alpha::server_reflection_server::SERVICE_NAME,
                    v1alpha
                ),
            ]),
            message_bytes_max,
        }
    }

    fn checked(
        &self,
        request: Request<Incoming>,
        messages: Messages,
    ) -> Request<CheckedBody<Incoming>> {
        request.map(|body| CheckedBody::new(body, messages, self.message_bytes_max))
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        if !is_grpc(request.headers()) {
            return Box::pin(async { Ok(not_grpc()) });
        }
        let path = request.uri().path();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return unknown(path);
        };
        match (service, method) {
            (state_server::SERVICE_NAME, "Read" | "Write") => self
                .state
                .clone()
                .call(self.checked(request, Messages::One)),
            (state_server::SERVICE_NAME, "Pipeline") => self
                .state
                .clone()
                .call(self.checked(request, Messages::Many)),
            (admin_server::SERVICE_NAME, "GetInfo") => self
                .admin
                .clone()
                .call(self.checked(request, Messages::One)),
            (service, _) => match self.side.iter().find(|(name, _)| *name == service) {
                Some((_, call)) => call(request),
                None => unknown(path),
            },
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// What the gRPC specification asks for where a request is not gRPC at all.
fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn unknown(path: &str) -> Answer {
    let response = unknown_method(path).into_http();
    Box::pin(async { Ok(response) })
}

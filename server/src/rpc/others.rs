//! The services that are not Soloist's own: health and reflection.

use std::convert::Infallible;

use http::{Request, Response, Uri};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::pb::v1::server_reflection_server::{
    self as reflection_server, ServerReflectionServer as ReflectionServer,
};
use tonic_reflection::{pb::v1 as reflection_v1, pb::v1alpha as reflection_v1alpha};
use tower_service::Service as _;

use super::answering::ResponseFuture;
use super::body::framing::{CheckedBody, MessageCount};
use super::body::incoming::RequestBody;
use super::body::response::{Answer, ResponseBody};
use super::body::until_end::UntilEnd;
use super::deadline::Deadline;
use super::health::HealthByTheBook;
use super::reflection::ReflectionService;
use crate::config::{Limits, Reflection};
use crate::owner::ConnectionQuota;

/// The response of a service that tonic generates.
pub(super) type TonicFuture = BoxFuture<Response<Body>, Infallible>;

/// One of these services.
pub(super) struct Other {
    /// Its name in the path.
    name: &'static str,
    call: Handler,
}

type Handler =
    Box<dyn Fn(Request<CheckedBody<RequestBody>>, Deadline) -> ResponseFuture + Send + Sync>;

/// Health, and reflection unless it is off.
pub(super) struct Others {
    services: Vec<Other>,
    reflection: Reflection,
}

impl Others {
    /// The services of a server with this health. Both have calls without an end (Watch, and ServerReflectionInfo), which must
    /// not hold up a shutdown: their responses end when the server drains, or at the deadline of the call.
    pub(super) fn new(
        health: HealthReporter,
        reflection: Reflection,
        drain: &watch::Receiver<bool>,
    ) -> Self {
        let mut services = services(health, drain);
        if reflection == Reflection::Off {
            services.retain(|other| other.name == health_server::SERVICE_NAME);
        }
        Self {
            services,
            reflection,
        }
    }

    /// Whether a service is open to everybody: health is.
    pub(super) fn is_open(&self, service: &str) -> bool {
        match service {
            health_server::SERVICE_NAME => true,
            reflection_server::SERVICE_NAME
            | reflection_v1alpha::server_reflection_server::SERVICE_NAME => {
                self.reflection == Reflection::Open
            }
            _ => false,
        }
    }

    /// The service of this name, if it is one of these.
    pub(super) fn find(&self, service: &str) -> Option<&Other> {
        self.services.iter().find(|other| other.name == service)
    }
}

impl Other {
    /// Calls the service.
    pub(super) fn call(
        &self,
        request: Request<RequestBody>,
        deadline: Deadline,
        limits: &Limits,
        quota: &ConnectionQuota,
    ) -> ResponseFuture {
        let (count, arrive_by) = match self.name {
            health_server::SERVICE_NAME => (MessageCount::One, Some(deadline.or_max(limits))),
            // The stream itself ends at its deadline.
            _ => (MessageCount::Any, None),
        };
        let request = request.map(|body| {
            CheckedBody::new(body, count, limits.max_message_bytes, arrive_by)
                .charged_to(quota.clone())
                .message_timeout(limits.max_deadline)
        });
        (self.call)(request, deadline)
    }
}

fn services(health: HealthReporter, drain: &watch::Receiver<bool>) -> Vec<Other> {
    let reflection = ReflectionServer::new(ReflectionService::new(&[
        soloist::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        reflection_v1::FILE_DESCRIPTOR_SET,
        reflection_v1alpha::FILE_DESCRIPTOR_SET,
    ]))
    .max_decoding_message_size(usize::MAX);
    let health = HealthServer::new(HealthByTheBook(HealthService::from_health_reporter(health)))
        .max_decoding_message_size(usize::MAX);
    macro_rules! other {
        ($name:expr, $service:expr) => {{
            let (drain, service) = (drain.clone(), $service);
            let call = move |mut request: Request<CheckedBody<RequestBody>>, deadline| {
                if $name == reflection_v1alpha::server_reflection_server::SERVICE_NAME {
                    as_v1(request.uri_mut());
                }
                until_end(service.clone().call(request), deadline, drain.clone())
            };
            Other {
                name: $name,
                call: Box::new(call),
            }
        }};
    }
    // The messages of both versions have the same encoding: only the path differs.
    let v1alpha = reflection.clone();
    vec![
        other!(health_server::SERVICE_NAME, health),
        other!(reflection_server::SERVICE_NAME, reflection),
        other!(
            reflection_v1alpha::server_reflection_server::SERVICE_NAME,
            v1alpha
        ),
    ]
}

/// Turns the path of a method of reflection v1alpha into that of v1.
fn as_v1(uri: &mut Uri) {
    let method = uri.path().rsplit('/').next().unwrap_or_default();
    if let Ok(v1) = format!("/{}/{method}", reflection_server::SERVICE_NAME).parse() {
        *uri = v1;
    }
}

/// The same response, with a body that ends when the server drains, or at the deadline of the call.
fn until_end(
    response: TonicFuture,
    deadline: Deadline,
    drain: watch::Receiver<bool>,
) -> ResponseFuture {
    Box::pin(async move {
        let body = |body| Body::new(UntilEnd::new(body, deadline.or_never(), drain));
        let response = response
            .await?
            .map(|stream| ResponseBody::from(body(stream)).waiting_for_room());
        Ok(Answer::from(response))
    })
}

//! Finds the handler of an HTTP request: by its path, which is `/SERVICE/METHOD`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::service::Service;
use prost::Message;
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
use tonic_reflection::pb::v1::server_reflection_server::{
    self as reflection_server, ServerReflectionServer as ReflectionServer,
};
use tonic_reflection::{pb::v1 as reflection_v1, pb::v1alpha as reflection_v1alpha};
use tower_service::Service as _;

use super::admin::AdminService;
use super::answering::{Answering, Begun, ResponseFuture};
use super::body::framing::{CheckedBody, MessageCount};
use super::body::request::RequestMessages;
use super::body::response::{self, ResponseBody};
use super::body::unread::ReadBy;
use super::body::until_end::UntilEnd;
use super::call_count::CallCount;
use super::callers::Callers;
use super::context::CallContext;
use super::deadline::Deadline;
use super::health::HealthByTheBook;
use super::machines::MachinesService;
use super::reflection::ReflectionService;
use super::sessions::SessionsService;
use super::slow_calls::{SlowCall, SlowFrames};
use super::state;
use super::status::{Refusal, not_a_message, unknown_encoding, unknown_method};
use crate::access::Access;
use crate::config::Reflection;
use crate::metrics;
use crate::owner::ConnectionQuota;

/// The response of a service that tonic generates.
type TonicFuture = BoxFuture<Response<Body>, Infallible>;

/// A service outside of `soloist.v1`, health or reflection: its name in the path, and its handler.
type OtherService = (
    &'static str,
    Box<dyn Fn(Request<CheckedBody<Incoming>>, Deadline) -> ResponseFuture + Send + Sync>,
);

/// The certificate that a client has shown for itself.
pub(crate) struct ShownCertificate<'a> {
    pub(crate) encoded: &'a [u8],
    /// Changes when it is not accepted any more. Calls are refused from then on.
    pub(crate) refused: watch::Receiver<()>,
}

/// The services of one connection.
#[derive(Clone)]
pub(crate) struct Router {
    /// Of nobody, if there is an access file.
    context: Arc<CallContext>,
    access: Option<watch::Receiver<Arc<Access>>>,
    reflection: Reflection,
    machines: MachinesServer<MachinesService>,
    sessions: SessionsServer<SessionsService>,
    admin: AdminServer<AdminService>,
    others: Arc<[OtherService]>,
}

/// The services of one connection, for the calls of its client.
pub(crate) struct ClientRouter {
    router: Router,
    /// Who calls. None without an access file.
    callers: Option<Callers>,
}

impl Router {
    /// The services of the store behind `context`. Connections get theirs from [`for_connection`](Self::for_connection).
    ///
    /// With `access`, callers must be known, and may do what it says.
    pub(crate) fn new(
        context: CallContext,
        admin: AdminService,
        health: HealthReporter,
        access: Option<watch::Receiver<Arc<Access>>>,
        reflection: Reflection,
    ) -> Self {
        let mut others = other_services(health, &context.drain);
        if reflection == Reflection::Off {
            others.retain(|(name, _)| *name == health_server::SERVICE_NAME);
        }
        Self {
            context: Arc::new(context),
            access,
            reflection,
            machines: MachinesServer::new(MachinesService).max_decoding_message_size(usize::MAX),
            sessions: SessionsServer::new(SessionsService).max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(admin).max_decoding_message_size(usize::MAX),
            others: others.into(),
        }
    }

    /// The same services for a new connection, with a quota of its own.
    pub(crate) fn for_connection(&self) -> Self {
        Self {
            context: Arc::new(self.context.for_connection()),
            ..self.clone()
        }
    }

    /// The same services for the calls of `peer`, the client of the connection, which has shown this certificate of its own.
    pub(crate) fn called_by(
        &self,
        peer: &str,
        certificate: Option<ShownCertificate<'_>>,
    ) -> ClientRouter {
        let access = self.access.clone();
        let encoded = certificate.as_ref().map(|certificate| certificate.encoded);
        let callers = access.map(|access| Callers::new(access, peer.into(), encoded));
        let mut router = self.clone();
        if let Some(ShownCertificate { refused, .. }) = certificate {
            let caller = self.context.caller.until(refused);
            router.context = Arc::new(self.context.for_caller(caller));
        }
        ClientRouter { router, callers }
    }

    /// What the connection may use.
    pub(crate) fn quota(&self) -> &ConnectionQuota {
        &self.context.quota
    }

    /// Calls of `soloist.v1.State`. They are the hot path, so they are dispatched here, without a service of tonic's: see
    /// [`response`] for what that would cost.
    fn call_state(
        &self,
        method: &str,
        context: Arc<CallContext>,
        deadline: Deadline,
        headers: &HeaderMap,
        body: Incoming,
    ) -> ResponseFuture {
        match method {
            "Read" => read(
                context,
                deadline,
                body,
                |context, read, deadline| async move { state::read(&context, read, deadline).await },
            ),
            "Write" => unary(
                context,
                deadline,
                body,
                |context, write, deadline| async move { state::write(&context, write, deadline).await },
            ),
            "Add" => unary(
                context,
                deadline,
                body,
                |context, add, deadline| async move { state::add(&context, add, deadline).await },
            ),
            "Transition" => unary(
                context,
                deadline,
                body,
                |context, transition, deadline| async move {
                    state::transition(&context, transition, deadline).await
                },
            ),
            "Delete" => unary(
                context,
                deadline,
                body,
                |context, delete, deadline| async move {
                    state::delete(&context, delete, deadline).await
                },
            ),
            "DeletePrefix" => unary(
                context,
                deadline,
                body,
                |context, delete, deadline| async move {
                    state::delete_prefix(&context, delete, deadline).await
                },
            ),
            "Batch" => one_message(
                context,
                deadline,
                body,
                |context, batch, deadline| async move {
                    let deadline = deadline.or_max(&context.limits);
                    let answer = state::batch(&context, &batch, deadline).await?;
                    let len = answer.encoded_len();
                    Ok(response::one(answer, len))
                },
            ),
            "List" => read(
                context,
                deadline,
                body,
                |context, list, deadline| async move { state::list(&context, list, deadline).await },
            ),
            "Watch" => one_message(
                context,
                deadline,
                body,
                |context, watch, deadline| async move {
                    let watch = decode(watch)?;
                    let quota = context.quota.clone();
                    let messages = state::watch(&context, watch, deadline).await?;
                    Ok(response::stream(messages, quota))
                },
            ),
            "Pipeline" => pipeline(&context, deadline, headers, body),
            _ => {
                let path = format!("/{}/{method}", state_server::SERVICE_NAME);
                grpc_error(unknown_method(&path).into())
            }
        }
    }

    /// A call of a service that tonic generates. Its deadline counts from now on, and its body is checked while the service
    /// reads it.
    fn call_tonic(
        &self,
        context: Arc<CallContext>,
        mut request: Request<Incoming>,
        deadline: Deadline,
        serve: impl FnOnce(Request<CheckedBody<Incoming>>) -> TonicFuture,
    ) -> ResponseFuture {
        let limits = &self.context.limits;
        // The service begins once the whole message has arrived.
        let arrive_by = Some(deadline.or_max(limits));
        if deadline.or_never().is_some() {
            request.extensions_mut().insert(deadline);
        }
        // One service serves all connections and callers, so each request has its context with it.
        request.extensions_mut().insert(context.quota.clone());
        request.extensions_mut().insert(context);
        let limit = limits.max_message_bytes;
        let response = serve(request.map(|body| {
            CheckedBody::new(body, MessageCount::One, limit, arrive_by)
                .charged_to(self.context.quota.clone())
        }));
        Box::pin(async { Ok(response.await?.map(ResponseBody::from)) })
    }
}

/// A call with one request message and one response message, which is short.
fn unary<Q, A, F>(
    context: Arc<CallContext>,
    deadline: Deadline,
    body: Incoming,
    serve: impl FnOnce(Arc<CallContext>, Q, Instant) -> F + Send + 'static,
) -> ResponseFuture
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Refusal>> + Send,
{
    one_message(
        context,
        deadline,
        body,
        |context, message, deadline| async move {
            let deadline = deadline.or_max(&context.limits);
            let answer = serve(context, decode(message)?, deadline).await?;
            let len = answer.encoded_len();
            Ok(response::one(answer, len))
        },
    )
}

/// A call with one request message and one response message, which changes nothing. It is refused if the connection has no
/// room for the response.
fn read<Q, A, F>(
    context: Arc<CallContext>,
    deadline: Deadline,
    body: Incoming,
    serve: impl FnOnce(Arc<CallContext>, Q, Instant) -> F + Send + 'static,
) -> ResponseFuture
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Refusal>> + Send,
{
    one_message(
        context,
        deadline,
        body,
        |context, message, deadline| async move {
            let deadline = deadline.or_max(&context.limits);
            let answer = serve(Arc::clone(&context), decode(message)?, deadline).await?;
            let len = answer.encoded_len();
            context.quota.check_room(len).map_err(Refusal::from)?;
            Ok(response::one(answer, len))
        },
    )
}

/// A call with one request message. `serve` begins once the whole message has arrived, which must be before the call's
/// deadline.
fn one_message<F>(
    context: Arc<CallContext>,
    deadline: Deadline,
    body: Incoming,
    serve: impl FnOnce(Arc<CallContext>, Bytes, Deadline) -> F + Send + 'static,
) -> ResponseFuture
where
    F: Future<Output = Result<Response<ResponseBody>, Status>> + Send,
{
    let limits = &context.limits;
    let arrive_by = Some(deadline.or_max(limits));
    let body = CheckedBody::new(body, MessageCount::One, limits.max_message_bytes, arrive_by)
        .charged_to(context.quota.clone());
    Box::pin(async move {
        let response = match RequestMessages::new(body).only().await {
            Ok(message) => serve(context, message, deadline).await,
            Err(status) => Err(status),
        };
        Ok(response.unwrap_or_else(response::error))
    })
}

fn pipeline(
    context: &CallContext,
    deadline: Deadline,
    headers: &HeaderMap,
    body: Incoming,
) -> ResponseFuture {
    let limits = &context.limits;
    // No deadline for the body: the stream itself watches its deadline.
    let body = CheckedBody::new(body, MessageCount::Any, limits.max_message_bytes, None)
        .charged_to(context.quota.clone())
        .message_timeout(limits.max_deadline);
    let messages = RequestMessages::new(body);
    let slow = SlowFrames::of(context, headers);
    let answers = state::pipeline(context, messages, deadline, slow);
    let response = response::stream(answers, context.quota.clone());
    Box::pin(async { Ok(response) })
}

impl Service<Request<Incoming>> for ClientRouter {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let Self { router, callers } = self;
        Answering::new(&router.context.quota, || {
            router.route(callers.as_ref(), request)
        })
    }
}

impl Router {
    /// Finds the handler of a request.
    fn route(&self, callers: Option<&Callers>, request: Request<Incoming>) -> Begun {
        let not_grpc = |status| Begun {
            response: http_error(status),
            read_by: ReadBy::Never,
            call: None,
            slow: None,
        };
        if request.method() != Method::POST {
            return not_grpc(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(request.headers()) {
            return not_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let method = names.map_or(metrics::Method::UNKNOWN, |(service, method)| {
            metrics::Method::of(service, method)
        });
        let refused = |status| Begun {
            response: grpc_error(status),
            read_by: ReadBy::Never,
            call: CallCount::begin(method, Instant::now()),
            slow: None,
        };
        if let Some(encoding) = encoding(&parts.headers) {
            return refused(unknown_encoding(encoding));
        }
        if let Err(full) = self.context.quota.check_call() {
            return refused(Refusal::from(full).into());
        }
        let deadline = match Deadline::from_headers(&parts.headers) {
            Ok(deadline) => deadline,
            Err(status) => return refused(status),
        };
        let Some((service, method_name)) = names else {
            return refused(unknown_method(path).into());
        };
        let call = CallCount::begin(method, deadline.begun());
        let read_by = match method_name {
            "Watch" | "Pipeline" | "Backup" | "ServerReflectionInfo" => {
                deadline.or_never().map_or(ReadBy::Never, ReadBy::Deadline)
            }
            _ => ReadBy::Within(self.context.limits.max_deadline, deadline.or_never()),
        };
        let context = match self.admit(service, callers, &parts.headers) {
            Ok(context) => context,
            Err(refusal) => {
                return Begun {
                    response: grpc_error(refusal.into()),
                    read_by: ReadBy::Never,
                    call,
                    slow: None,
                };
            }
        };
        let slow = self.context.slow_call.filter(|_| method.is_unary());
        let slow = slow.map(|threshold| {
            let begun = deadline.begun();
            let slow = SlowCall::begin(threshold, method, begun, &parts.headers, &context);
            Box::new(slow)
        });
        let response = match (service, method_name) {
            (state_server::SERVICE_NAME, method) => {
                self.call_state(method, context, deadline, &parts.headers, body)
            }
            (
                machines_server::SERVICE_NAME,
                "DefineMachine" | "GetMachine" | "ListMachines" | "DeleteMachine",
            ) => self.call_tonic(
                context,
                Request::from_parts(parts, body),
                deadline,
                |request| self.machines.clone().call(request),
            ),
            (
                sessions_server::SERVICE_NAME,
                "OpenSession" | "RenewSession" | "CloseSession" | "ListSessions",
            ) => self.call_tonic(
                context,
                Request::from_parts(parts, body),
                deadline,
                |request| self.sessions.clone().call(request),
            ),
            (admin_server::SERVICE_NAME, "GetInfo" | "Backup") => self.call_tonic(
                context,
                Request::from_parts(parts, body),
                deadline,
                |request| self.admin.clone().call(request),
            ),
            (service, _) => match self.others.iter().find(|(name, _)| *name == service) {
                Some((_, call)) => {
                    let body = self.other_body(service, deadline, body);
                    call(Request::from_parts(parts, body), deadline)
                }
                None => grpc_error(unknown_method(path).into()),
            },
        };
        Begun {
            response,
            read_by,
            call,
            slow,
        }
    }

    /// The context of a call, if its caller may call the service at all. Health is open to everybody.
    ///
    /// # Errors
    /// CREDENTIALS_MISSING or CREDENTIALS_UNKNOWN if it is not known who calls.
    fn admit(
        &self,
        service: &str,
        callers: Option<&Callers>,
        headers: &HeaderMap,
    ) -> Result<Arc<CallContext>, Refusal> {
        let is_open = match service {
            health_server::SERVICE_NAME => true,
            reflection_server::SERVICE_NAME
            | reflection_v1alpha::server_reflection_server::SERVICE_NAME => {
                self.reflection == Reflection::Open
            }
            _ => false,
        };
        match callers {
            Some(callers) if !is_open => callers.context(headers, &self.context),
            // Without an access file everybody may do everything. With one, this context is that of nobody.
            _ => Ok(Arc::clone(&self.context)),
        }
    }

    /// The body of a call of health or reflection.
    fn other_body(
        &self,
        service: &str,
        deadline: Deadline,
        body: Incoming,
    ) -> CheckedBody<Incoming> {
        let limits = &self.context.limits;
        let (count, arrive_by) = match service {
            health_server::SERVICE_NAME => (MessageCount::One, Some(deadline.or_max(limits))),
            // The stream itself ends at its deadline.
            _ => (MessageCount::Any, None),
        };
        CheckedBody::new(body, count, limits.max_message_bytes, arrive_by)
            .charged_to(self.context.quota.clone())
            .message_timeout(limits.max_deadline)
    }
}

/// Health and reflection. Both have calls without an end (Watch, and ServerReflectionInfo), which must not hold up a shutdown:
/// their responses end when the server drains, or at the deadline of the call.
fn other_services(health: HealthReporter, drain: &watch::Receiver<bool>) -> Vec<OtherService> {
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
            let call = move |mut request: Request<CheckedBody<Incoming>>, deadline| {
                if $name == reflection_v1alpha::server_reflection_server::SERVICE_NAME {
                    as_v1(request.uri_mut());
                }
                until_end(service.clone().call(request), deadline, drain.clone())
            };
            ($name, Box::new(call))
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
        Ok(response
            .await?
            .map(|stream| ResponseBody::from(body(stream)).waiting_for_room()))
    })
}

fn decode<Q: Message + Default>(message: Bytes) -> Result<Q, Status> {
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
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = status;
    Box::pin(async { Ok(response) })
}

/// The response to a call that is refused before it has a handler.
fn grpc_error(status: Status) -> ResponseFuture {
    let response = response::error(status);
    Box::pin(async { Ok(response) })
}

//! Finds the handler of an HTTP request: by its path, which is `/SERVICE/METHOD`.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use prost::Message;
use soloist::server::admin_server::{self, AdminServer};
use soloist::server::machines_server::{self, MachinesServer};
use soloist::server::sessions_server::{self, SessionsServer};
use soloist::server::state_server;
use soloist_http2 as http2;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic_health::server::HealthReporter;
use tower_service::Service as _;

use super::admin::AdminService;
use super::answering::{Answering, Begun, ResponseFuture};
use super::body::framing::{CheckedBody, MessageCount};
use super::body::incoming::RequestBody;
use super::body::request::{RequestMessages, only_message};
use super::body::response::{self, Answer, ResponseBody};
use super::body::unread::ReadBy;
use super::call_count::CallCount;
use super::callers::Callers;
use super::context::CallContext;
use super::deadline::Deadline;
use super::head::{Head, grpc_error, refused};
use super::header_fields::HeaderFields;
use super::machines::MachinesService;
use super::others::{Others, TonicFuture};
use super::sessions::SessionsService;
use super::slow_calls::{SlowCall, SlowFrames};
use super::state;
use super::status::{Refusal, not_a_message, unknown_method};
use crate::access::Access;
use crate::config::Reflection;
use crate::owner::ConnectionQuota;

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
    machines: MachinesServer<MachinesService>,
    sessions: SessionsServer<SessionsService>,
    admin: AdminServer<AdminService>,
    others: Arc<Others>,
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
        let others = Others::new(health, reflection, &context.drain);
        Self {
            context: Arc::new(context),
            access,
            machines: MachinesServer::new(MachinesService).max_decoding_message_size(usize::MAX),
            sessions: SessionsServer::new(SessionsService).max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(admin).max_decoding_message_size(usize::MAX),
            others: Arc::new(others),
        }
    }

    /// The same services for a new connection, with a quota of its own.
    pub(crate) fn for_connection(&self) -> Self {
        Self {
            context: Arc::new(self.context.for_connection()),
            ..self.clone()
        }
    }

    /// The same services for a connection that has a quota already.
    pub(super) fn with_quota(&self, quota: ConnectionQuota) -> Self {
        Self {
            context: Arc::new(self.context.with_quota(quota)),
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

    /// A call of a service that tonic generates. Its deadline counts from now on, and its body is checked while the service
    /// reads it.
    fn call_tonic(
        &self,
        context: Arc<CallContext>,
        mut request: Request<RequestBody>,
        deadline: Deadline,
        serve: impl FnOnce(Request<CheckedBody<RequestBody>>) -> TonicFuture,
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
        Box::pin(async { Ok(Answer::from(response.await?.map(ResponseBody::from))) })
    }
}

/// Calls of `soloist.v1.State`. They are the hot path, so they are dispatched here, without a service of tonic's: see
/// [`response`] for what that would cost.
fn call_state(
    method: &str,
    context: Arc<CallContext>,
    deadline: Deadline,
    slow_frames: Option<Arc<SlowFrames>>,
    body: RequestBody,
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
            |context, delete, deadline| async move { state::delete(&context, delete, deadline).await },
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
        "Pipeline" => pipeline(&context, deadline, slow_frames, body),
        _ => {
            let path = format!("/{}/{method}", state_server::SERVICE_NAME);
            grpc_error(unknown_method(&path).into())
        }
    }
}

/// A call with one request message and one response message, which is short.
fn unary<Q, A, F>(
    context: Arc<CallContext>,
    deadline: Deadline,
    body: RequestBody,
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
    body: RequestBody,
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
    body: RequestBody,
    serve: impl FnOnce(Arc<CallContext>, Bytes, Deadline) -> F + Send + 'static,
) -> ResponseFuture
where
    F: Future<Output = Result<Answer, Status>> + Send,
{
    let limits = &context.limits;
    let arrive_by = Some(deadline.or_max(limits));
    let body = CheckedBody::new(body, MessageCount::One, limits.max_message_bytes, arrive_by)
        .charged_to(context.quota.clone());
    Box::pin(async move {
        let response = match only_message(body).await {
            Ok(message) => serve(context, message, deadline).await,
            Err(status) => Err(status),
        };
        Ok(response.unwrap_or_else(response::error))
    })
}

fn pipeline(
    context: &CallContext,
    deadline: Deadline,
    slow: Option<Arc<SlowFrames>>,
    body: RequestBody,
) -> ResponseFuture {
    let limits = &context.limits;
    // No deadline for the body: the stream itself watches its deadline.
    let body = CheckedBody::new(body, MessageCount::Any, limits.max_message_bytes, None)
        .charged_to(context.quota.clone())
        .message_timeout(limits.max_deadline);
    let messages = RequestMessages::new(body);
    let answers = state::pipeline(context, messages, deadline, slow);
    let response = response::stream(answers, context.quota.clone());
    Box::pin(async { Ok(response) })
}

impl ClientRouter {
    /// Begins a call.
    pub(super) fn call(&self, request: Request<RequestBody>) -> Answering {
        let Self { router, callers } = self;
        Answering::new(&router.context.quota, || {
            router.route(callers.as_ref(), request)
        })
    }

    /// Begins a call of a method of State with one answer, whose head the own transport has read. None if the call has to be begun
    /// with a request: if it is malformed, or slow calls are logged, which takes more headers.
    pub(super) fn begin_unary(
        &self,
        method: &'static UnaryMethod,
        head: &http2::Head<'_>,
    ) -> Option<Result<UnaryCall, Answering>> {
        let context = &self.router.context;
        if context.slow_call.is_some() {
            return None;
        }
        let head = match Head::of_http2(method.path, head, &context.quota)? {
            Ok(head) => head,
            Err(begun) => return Some(Err(Answering::new(&context.quota, || begun))),
        };
        let call = head.count();
        let admitted = self
            .router
            .admit(head.service, self.callers.as_ref(), &head.fields);
        Some(match admitted {
            Ok(context) => Ok(UnaryCall {
                method: method.name,
                deadline: head.deadline,
                read_by: head.read_by(&context.limits),
                context,
                call,
            }),
            Err(refusal) => Err(Answering::new(&context.quota, || {
                refused(refusal.into(), call)
            })),
        })
    }
}

/// A method of State with one request and one answer.
pub(crate) struct UnaryMethod {
    pub(crate) path: &'static str,
    name: &'static str,
}

/// A call of such a method, whose request has not come.
pub(crate) struct UnaryCall {
    method: &'static str,
    context: Arc<CallContext>,
    deadline: Deadline,
    read_by: ReadBy,
    call: Option<CallCount>,
}

impl UnaryCall {
    /// Goes on with the call when its request comes.
    pub(crate) fn answer(self, body: RequestBody) -> Answering {
        let quota = self.context.quota.clone();
        Answering::new(&quota, || Begun {
            response: call_state(self.method, self.context, self.deadline, None, body),
            read_by: self.read_by,
            call: self.call,
            slow: None,
        })
    }
}

macro_rules! unary_methods {
    ($($name:literal)*) => {
        [$(UnaryMethod { path: concat!("/soloist.v1.State/", $name), name: $name }),*]
    };
}

/// The methods of State that have one answer.
pub(crate) static UNARY_METHODS: [UnaryMethod; 8] = unary_methods!(
    "Read" "Write" "Add" "Transition" "Delete" "DeletePrefix" "Batch" "List"
);

impl Router {
    /// Finds the handler of a request.
    fn route(&self, callers: Option<&Callers>, request: Request<RequestBody>) -> Begun {
        let (parts, body) = request.into_parts();
        let head = match Head::read(&parts, &self.context.quota) {
            Ok(head) => head,
            Err(begun) => return begun,
        };
        let call = head.count();
        let read_by = head.read_by(&self.context.limits);
        let Head {
            path,
            service,
            method_name,
            method,
            deadline,
            fields,
        } = head;
        let context = match self.admit(service, callers, &fields) {
            Ok(context) => context,
            Err(refusal) => return refused(refusal.into(), call),
        };
        let slow = self.context.slow_call.filter(|_| method.is_unary());
        let slow = slow.map(|threshold| {
            let begun = deadline.begun();
            let slow = SlowCall::begin(threshold, method, begun, &parts.headers, &context);
            Box::new(slow)
        });
        let response = match (service, method_name) {
            (state_server::SERVICE_NAME, method) => {
                let slow_frames = SlowFrames::of(&context, &parts.headers);
                call_state(method, context, deadline, slow_frames, body)
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
            (admin_server::SERVICE_NAME, "GetInfo" | "GetNode" | "Backup") => self.call_tonic(
                context,
                Request::from_parts(parts, body),
                deadline,
                |request| self.admin.clone().call(request),
            ),
            (service, _) => match self.others.find(service) {
                Some(other) => {
                    let Self { context, .. } = self;
                    let request = Request::from_parts(parts, body);
                    other.call(request, deadline, &context.limits, &context.quota)
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
        fields: &HeaderFields<'_>,
    ) -> Result<Arc<CallContext>, Refusal> {
        let is_open = self.others.is_open(service);
        match callers {
            Some(callers) if !is_open => callers.context(fields, &self.context),
            // Without an access file everybody may do everything. With one, this context is that of nobody.
            _ => Ok(Arc::clone(&self.context)),
        }
    }
}

fn decode<Q: Message + Default>(message: Bytes) -> Result<Q, Status> {
    Q::decode(message).map_err(|error| not_a_message(&error))
}

//! What a node of a cluster answers while it does not own the store: health, reflection and GetNode by itself. All other calls
//! are sent on to the owner, once, or refused with NOT_OWNER, which names it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use prost::Message as _;
use soloist::server::{admin_server, machines_server, sessions_server, state_server};
use soloist::v1;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tonic_health::server::HealthReporter;

use super::answering::{Begun, ResponseFuture};
use super::body::framing::{CheckedBody, MessageCount};
use super::body::incoming::RequestBody;
use super::body::request::only_message;
use super::body::response::{self, ResponseBody};
use super::body::until_end::UntilEnd;
use super::callers::token;
use super::deadline::Deadline;
use super::head::{Head, grpc_error, refused};
use super::header_fields::HeaderFields;
use super::node;
use super::others::Others;
use super::rights::Rights;
use super::status::{
    Refusal, certificate_refused, credentials_missing, credentials_unknown, draining,
    not_a_message, not_owner, unknown_method,
};
use crate::access::{Access, Credential, Needs};
use crate::config::{FORWARD_ANSWER_MARGIN, Limits, Reflection};
use crate::owner::{ClientMemory, ConnectionQuota};
use crate::role::NodeStatus;

/// Sends calls on to the owner.
pub(crate) trait Forward: fmt::Debug + Send + Sync {
    /// Sends a call on. What is dropped before its end is cancelled there.
    fn send(
        &self,
        call: Request<RequestBody>,
    ) -> BoxFuture<Response<tonic::body::Body>, NotForwarded>;
}

/// Why a call that was to be sent on has no answer.
#[derive(Debug)]
pub(crate) enum NotForwarded {
    /// There is no connection to the owner: nothing was sent.
    NotConnected,
    /// The connection broke, for this reason. The call may have been applied.
    Broken(String),
    /// The deadline passed. The call may have been applied.
    Late,
}

/// The services of a node that does not own the store.
pub(crate) struct Standby {
    limits: Arc<Limits>,
    memory: ClientMemory,
    others: Others,
    access: Option<watch::Receiver<Arc<Access>>>,
    node: watch::Receiver<NodeStatus>,
    drain: watch::Receiver<bool>,
}

/// One connection to a node, as its calls need it.
pub(super) struct Client<'a> {
    pub(super) quota: &'a ConnectionQuota,
    /// None if calls are not sent on.
    pub(super) forward: Option<&'a Arc<dyn Forward>>,
    /// What the connection shows.
    pub(super) certificate: Option<&'a Credential>,
    /// Whether its certificate is not accepted any more.
    pub(super) is_refused: bool,
}

/// What kind of method a path names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Unary,
    /// Its answers are a stream, and change nothing.
    Stream,
    Pipeline,
    /// None of the store.
    Unknown,
}

impl Standby {
    pub(crate) fn new(
        limits: Arc<Limits>,
        health: HealthReporter,
        reflection: Reflection,
        access: Option<watch::Receiver<Arc<Access>>>,
        node: watch::Receiver<NodeStatus>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self {
            memory: ClientMemory::new(limits.max_client_bytes),
            limits,
            others: Others::new(health, reflection, &drain),
            access,
            node,
            drain,
        }
    }

    /// The account of all connections.
    pub(crate) fn memory(&self) -> &ClientMemory {
        &self.memory
    }

    /// The quota of a new connection.
    pub(super) fn quota(&self) -> ConnectionQuota {
        self.memory.connection(self.limits.max_unread_bytes)
    }

    /// Finds what answers a request.
    pub(super) fn route(&self, client: &Client<'_>, request: Request<RequestBody>) -> Begun {
        let (parts, body) = request.into_parts();
        let head = match Head::read(&parts, client.quota) {
            Ok(head) => head,
            Err(begun) => return begun,
        };
        let call = head.count();
        let read_by = head.read_by(&self.limits);
        let deadline = head.deadline;
        if client.is_refused {
            return refused(certificate_refused().into(), call);
        }
        let response = match (head.service, head.method_name) {
            (admin_server::SERVICE_NAME, "GetNode") => {
                let rights = self.identify(client, &head.fields);
                match rights.and_then(|rights| rights.need(Needs::Anything)) {
                    Ok(()) => self.get_node(client, deadline, body),
                    Err(refusal) => return refused(refusal.into(), call),
                }
            }
            (service, method) => match (self.others.find(service), method_of(service, method)) {
                (Some(other), _) => {
                    if !self.others.is_open(service)
                        && let Err(refusal) = self.identify(client, &head.fields)
                    {
                        return refused(refusal.into(), call);
                    }
                    let request = Request::from_parts(parts, body);
                    other.call(request, deadline, &self.limits, client.quota)
                }
                (None, Method::Unknown) => grpc_error(unknown_method(head.path).into()),
                (None, method) => match self.forward(client, &head.fields) {
                    Ok(forward) => {
                        let request = Request::from_parts(parts, body);
                        self.send_on(forward, request, method, deadline)
                    }
                    Err(refusal) => return refused(refusal.into(), call),
                },
            },
        };
        Begun {
            response,
            read_by,
            call,
            slow: None,
        }
    }

    /// What the caller may do, by the access file, if there is one.
    fn identify(
        &self,
        client: &Client<'_>,
        fields: &HeaderFields<'_>,
    ) -> Result<Rights<'static>, Refusal> {
        let Some(access) = &self.access else {
            return Ok(Rights::of(None));
        };
        let of_token;
        let credential = match fields.authorization()? {
            Some(header) => {
                of_token = token(header).ok_or_else(credentials_unknown)?;
                &of_token
            }
            None => client.certificate.ok_or_else(credentials_missing)?,
        };
        match access.borrow().identify(credential) {
            Some(identity) => Ok(Rights::of(Some(Cow::Owned(Arc::clone(identity))))),
            None => Err(credentials_unknown()),
        }
    }

    /// What sends a call on.
    ///
    /// # Errors
    /// NOT_OWNER if it must not be sent on.
    fn forward(
        &self,
        client: &Client<'_>,
        fields: &HeaderFields<'_>,
    ) -> Result<Arc<dyn Forward>, Refusal> {
        let is_direct = fields.is_direct || fields.is_hop;
        // The owner would see the certificate of this node, and not that of the caller.
        let needs_certificate = self.access.is_some()
            && client.certificate.is_some()
            && matches!(fields.authorization(), Ok(None));
        match client.forward {
            Some(forward) if !is_direct && !needs_certificate => Ok(Arc::clone(forward)),
            _ => Err(self.not_owner()),
        }
    }

    fn not_owner(&self) -> Refusal {
        not_owner(&self.node.borrow())
    }

    fn send_on(
        &self,
        forward: Arc<dyn Forward>,
        request: Request<RequestBody>,
        method: Method,
        deadline: Deadline,
    ) -> ResponseFuture {
        let (node, drain) = (self.node.clone(), self.drain.clone());
        let by = deadline.or_max(&self.limits);
        Box::pin(async move {
            let answer = forward.send(request);
            let response = match method {
                Method::Unary | Method::Unknown => within(by, answer).await,
                Method::Stream | Method::Pipeline => unless_drained(drain.clone(), answer).await,
            };
            let until = |end: fn() -> Status| {
                move |body| {
                    let body = UntilEnd::drained(body, drain, end);
                    ResponseBody::from(tonic::body::Body::new(body)).waiting_for_room()
                }
            };
            Ok(match response {
                Ok(response) => match method {
                    Method::Unary | Method::Unknown => response.map(ResponseBody::from),
                    Method::Stream => response.map(until(|| draining().into())),
                    Method::Pipeline => response.map(until(|| broken(SHUTS_DOWN))),
                }
                .into(),
                Err(NotForwarded::NotConnected) => {
                    response::error(not_owner(&node.borrow()).into())
                }
                Err(NotForwarded::Broken(why)) => response::error(broken(&why)),
                Err(NotForwarded::Late) => response::error(Status::deadline_exceeded(
                    "the call was sent on to the owner, which has not answered: it may be applied or not",
                )),
            })
        })
    }

    fn get_node(
        &self,
        client: &Client<'_>,
        deadline: Deadline,
        body: RequestBody,
    ) -> ResponseFuture {
        let arrive_by = Some(deadline.or_max(&self.limits));
        let limit = self.limits.max_message_bytes;
        let body = CheckedBody::new(body, MessageCount::One, limit, arrive_by)
            .charged_to(client.quota.clone());
        let node = self.node.clone();
        Box::pin(async move {
            let request = only_message(body).await.and_then(|message| {
                v1::GetNodeRequest::decode(message).map_err(|error| not_a_message(&error))
            });
            Ok(match request {
                Ok(v1::GetNodeRequest {}) => {
                    let answer = node::wire(&node.borrow());
                    let len = answer.encoded_len();
                    response::one(answer, len)
                }
                Err(status) => response::error(status),
            })
        })
    }
}

const SHUTS_DOWN: &str = "the node that sent it on shuts down";

/// An answer that comes in time. What is late may have been applied: the error does not say.
async fn within<T>(
    by: Instant,
    answer: impl Future<Output = Result<T, NotForwarded>>,
) -> Result<T, NotForwarded> {
    // The owner answers by the same time, and its answer has to travel.
    let by = by + FORWARD_ANSWER_MARGIN;
    timeout_at(by, answer)
        .await
        .unwrap_or(Err(NotForwarded::Late))
}

/// An answer that comes before the server drains.
async fn unless_drained<T>(
    mut drain: watch::Receiver<bool>,
    answer: impl Future<Output = Result<T, NotForwarded>>,
) -> Result<T, NotForwarded> {
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = drain.wait_for(|drain| *drain) => Err(NotForwarded::Broken(SHUTS_DOWN.into())),
    }
}

/// The error about a call that was sent on and has no answer. It has no ErrorInfo: whether the call was applied is unknown.
pub(crate) fn broken(why: &str) -> Status {
    Status::new(
        Code::Unavailable,
        format!("the call was sent on to the owner, and may be applied or not: {why}"),
    )
}

/// What kind of method of the store a path names.
fn method_of(service: &str, method: &str) -> Method {
    match (service, method) {
        (state_server::SERVICE_NAME, "Pipeline") => Method::Pipeline,
        (state_server::SERVICE_NAME, "Watch") | (admin_server::SERVICE_NAME, "Backup") => {
            Method::Stream
        }
        (
            state_server::SERVICE_NAME,
            "Read" | "Write" | "Add" | "Transition" | "Delete" | "DeletePrefix" | "Batch" | "List",
        )
        | (
            machines_server::SERVICE_NAME,
            "DefineMachine" | "GetMachine" | "ListMachines" | "DeleteMachine",
        )
        | (
            sessions_server::SERVICE_NAME,
            "OpenSession" | "RenewSession" | "CloseSession" | "ListSessions",
        )
        | (admin_server::SERVICE_NAME, "GetInfo") => Method::Unary,
        _ => Method::Unknown,
    }
}

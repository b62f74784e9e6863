//! Calls: a request with its timeout and retries, sent when awaited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use soloist::v1;

use crate::connection::Connection;
use crate::machine::{
    DefineMachine, DeleteMachine, DeleteMachineReply, GetMachine, ListMachines, ListMachinesReply,
};
use crate::retry::{request_id, until_seen};
use crate::session::{
    CloseSession, CloseSessionReply, ListSessions, ListSessionsReply, OpenSession, RenewSession,
};
use crate::timeout::{request_with_timeout, within};
use crate::{
    Add, AddReply, Batch, BatchReply, Condition, Delete, DeletePrefix, DeletePrefixReply,
    DeleteReply, Error, List, ListReply, Machine, Outcome, Read, ReadReply, Retry, Session,
    Transition, TransitionReply, Value, Write, WriteReply,
};

/// A call that is sent when awaited.
///
/// Waits for the reply, at most the timeout. If the future is dropped, an operation that the owner has not begun is
/// never begun; one that it has begun is completed. Linearizable: a call sees the effects of every call that was
/// answered before it was sent.
///
/// # Errors
///
/// From the server, with a [`reason`](Error::reason), and with nothing applied:
///
/// - INVALID_ARGUMENT for bad arguments, and for a request id that was used for other content. Never retry.
/// - ABORTED, NOT_FOUND or ALREADY_EXISTS for a condition that does not hold, and for a session or machine that is not
///   as expected. FAILED_PRECONDITION for a state that does not allow the operation, and for a value that is not an
///   int. OUT_OF_RANGE for a sum past a bound. Read, then decide again.
/// - RESOURCE_EXHAUSTED (OVERLOADED), DEADLINE_EXCEEDED (NOT_STARTED) and UNAVAILABLE. Safe to retry.
/// - RESOURCE_EXHAUSTED (STORE_FULL). Retry after something was deleted.
///
/// With an unknown outcome, unless the call changes nothing: DEADLINE_EXCEEDED or UNAVAILABLE, from the server with
/// reason OUTCOME_UNKNOWN or from the network without one. Safe to retry with the same request id. [`Outcome::Unknown`]
/// marks these errors.
///
/// [`retry`](Self::retry) retries whatever is safe to retry, and makes the request id. Without it a call is made again, at
/// once, only if no server has looked at it: because its connection ended in order, as a proxy ends connections after so many
/// calls.
///
/// UNAVAILABLE if a connection that was lost cannot be made again, with the same messages about certificates as
/// [`ClientBuilder::connect`](crate::ClientBuilder::connect). UNAUTHENTICATED and PERMISSION_DENIED for a token or a
/// certificate that has lost its right. Retry that after the file was replaced: it is read again.
#[derive(Clone, Debug)]
#[must_use = "a call is sent when awaited"]
pub struct Call<'a, R> {
    connection: &'a Connection,
    request: R,
    timeout: Duration,
    retry: Option<Retry>,
}

impl<'a, R> Call<'a, R> {
    pub(crate) fn new(connection: &'a Connection, request: R) -> Self {
        Self {
            connection,
            request,
            timeout: connection.timeout,
            retry: connection.retry,
        }
    }

    /// How long this call may take, all attempts together. Default: the client's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Retries this call where that is safe, as [`Retry`] says. `None`: never. Default: the client's setting.
    pub fn retry(mut self, retry: impl Into<Option<Retry>>) -> Self {
        self.retry = retry.into();
        self
    }

    fn map<S>(self, change: impl FnOnce(R) -> S) -> Call<'a, S> {
        Call {
            connection: self.connection,
            request: change(self.request),
            timeout: self.timeout,
            retry: self.retry,
        }
    }
}

/// Repeats the setters of a request at its call, so that a call reads as one line.
macro_rules! setters {
    ($($request:ident { $($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*);)* })*) => {$(
        impl Call<'_, $request> {
            $(
                $(#[$doc])*
                pub fn $name(self, $($arg: $type),*) -> Self {
                    self.map(|request| request.$name($($arg),*))
                }
            )*
        }
    )*};
}

setters! {
    Read {
        /// A condition that must hold, or the read is refused.
        expect(condition: Condition);
    }
    Write {
        /// A condition that must hold, or the write is refused and nothing changes.
        expect(condition: Condition);
        /// The key expires this long after the write: 1 ms to 10 years.
        ttl(ttl: Duration);
        /// The key ends with this session, which must be live.
        session(session: &Session);
        /// The key keeps the lifetime that it has.
        keep_lifetime();
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
        /// Asks for the entry as it was before the write.
        return_previous();
    }
    Add {
        /// A condition that must hold, or the addition is refused and nothing changes.
        expect(condition: Condition);
        /// The least allowed sum, included.
        min(min: i64);
        /// The greatest allowed sum, included.
        max(max: i64);
        /// Replaces a sum outside the bounds by the bound, instead of refusing the addition.
        saturate();
        /// If this call creates the key, it expires this long afterwards: 1 ms to 10 years.
        ttl(ttl: Duration);
        /// If this call creates the key, it ends with this session.
        session(session: &Session);
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    Transition {
        /// A condition that must hold, or the transition is refused and nothing changes.
        expect(condition: Condition);
        /// Replaces the value in the same step.
        value(value: impl Into<Value>);
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    Delete {
        /// A condition that must hold, or nothing is deleted.
        expect(condition: Condition);
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    DeletePrefix {
        /// Allows an empty prefix, which every key begins with.
        every_key();
        /// The most keys that the call deletes or keeps. Default, and maximum: `Limits.max_page_size`.
        limit(limit: u32);
        /// Continues after an earlier call with the same prefix: its `next_page_token`.
        page_token(page_token: impl Into<String>);
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    Batch {
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    List {
        /// The most entries on the page. Default, and maximum: `Limits.max_page_size`.
        page_size(page_size: u32);
        /// Continues after an earlier page: its `next_page_token`.
        page_token(page_token: impl Into<String>);
        /// Leaves the values out.
        keys_only();
    }
    DefineMachine {
        /// A condition on the machine of that name, or nothing changes: [`Condition::Exists`], [`Condition::Missing`]
        /// or [`Condition::Revision`]. Other conditions are for keys and are refused.
        expect(condition: Condition);
        /// Checks the definition without applying it. The revision in the reply is 0.
        validate_only();
    }
    ListMachines {
        /// The most machines on the page. Default, and maximum: `Limits.max_page_size`.
        page_size(page_size: u32);
        /// Continues after an earlier page: its `next_page_token`.
        page_token(page_token: impl Into<String>);
    }
    DeleteMachine {
        /// Deletes the machine although keys are in states that are not final. They stay, and no longer move.
        force();
    }
    OpenSession {
        /// The id of the session: 1 to 128 bytes of UTF-8 without control characters, not beginning with `$`. Default:
        /// the server makes a random one.
        id(id: impl Into<String>);
        /// Ends a live session of the same id first and deletes its keys. Without this call a live session is refused
        /// with ALREADY_EXISTS.
        take_over();
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    CloseSession {
        /// Makes a retry safe: see [`Write::request_id`].
        request_id(id: impl Into<String>);
    }
    ListSessions {
        /// The most sessions on the page. Default, and maximum: `Limits.max_page_size`.
        page_size(page_size: u32);
        /// Continues after an earlier page: its `next_page_token`.
        page_token(page_token: impl Into<String>);
    }
}

macro_rules! calls {
    ($($request:ident: $wire:ident -> $response:ident, $reply:ident by $service:ident.$method:ident, $default_outcome:ident, $idempotent:expr;)*) => {$(
        fn $method(call: Call<'_, v1::$wire>) -> impl Future<Output = Result<v1::$response, Error>> + Send + use<> {
            let Call { connection, mut request, timeout, retry } = call;
            let (service, transport) = (connection.$service.clone(), connection.transport.clone());
            async move {
                let attempt = |request, timeout| {
                    let mut service = service.clone();
                    async move {
                        let call = service.$method(request_with_timeout(request, timeout));
                        within(timeout, Outcome::$default_outcome, call).await
                    }
                };
                let Some(retry) = retry else {
                    return until_seen(&transport, timeout, |left| attempt(request.clone(), left)).await;
                };
                let idempotent: fn(&mut v1::$wire) -> bool = $idempotent;
                let idempotent = idempotent(&mut request);
                let attempt = |left| until_seen(&transport, left, |left| attempt(request.clone(), left));
                retry.run(timeout, idempotent, attempt).await
            }
        }

        impl IntoFuture for Call<'_, v1::$wire> {
            type Output = Result<v1::$response, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin($method(self))
            }
        }

        impl IntoFuture for Call<'_, $request> {
            type Output = Result<$reply, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                let answered = $method(self.map(v1::$wire::from));
                Box::pin(async move { answered.await?.try_into() })
            }
        }
    )*};
}

// For each call: its messages on the wire, its reply, its outcome if an error does not tell it, and whether it is idempotent,
// so that a retry is safe after an unknown outcome.
calls! {
    Read: ReadRequest -> ReadResponse, ReadReply by state.read, NotApplied, idempotent;
    Write: WriteRequest -> WriteResponse, WriteReply by state.write, Unknown, |write| with_request_id(&mut write.request_id);
    Add: AddRequest -> AddResponse, AddReply by state.add, Unknown, |add| with_request_id(&mut add.request_id);
    Transition: TransitionRequest -> TransitionResponse, TransitionReply by state.transition, Unknown, |transition| with_request_id(&mut transition.request_id);
    Delete: DeleteRequest -> DeleteResponse, DeleteReply by state.delete, Unknown, |delete| with_request_id(&mut delete.request_id);
    DeletePrefix: DeletePrefixRequest -> DeletePrefixResponse, DeletePrefixReply by state.delete_prefix, Unknown, |delete| with_request_id(&mut delete.request_id);
    Batch: BatchRequest -> BatchResponse, BatchReply by state.batch, Unknown, |batch| with_request_id(&mut batch.request_id);
    List: ListRequest -> ListResponse, ListReply by state.list, NotApplied, idempotent;

    // Defining the same machine again changes nothing, unless a condition is no longer met.
    DefineMachine: DefineMachineRequest -> Machine, Machine by machines.define_machine, Unknown, |define| define.expect.is_none();
    GetMachine: GetMachineRequest -> Machine, Machine by machines.get_machine, NotApplied, idempotent;
    ListMachines: ListMachinesRequest -> ListMachinesResponse, ListMachinesReply by machines.list_machines, NotApplied, idempotent;
    DeleteMachine: DeleteMachineRequest -> DeleteMachineResponse, DeleteMachineReply by machines.delete_machine, Unknown, not_idempotent;

    OpenSession: OpenSessionRequest -> Session, Session by sessions.open_session, Unknown, |open| with_request_id(&mut open.request_id);
    RenewSession: RenewSessionRequest -> Session, Session by sessions.renew_session, Unknown, idempotent;
    CloseSession: CloseSessionRequest -> CloseSessionResponse, CloseSessionReply by sessions.close_session, Unknown,
        |close| with_request_id(&mut close.request_id);
    ListSessions: ListSessionsRequest -> ListSessionsResponse, ListSessionsReply by sessions.list_sessions, NotApplied, idempotent;
}

/// Sending the call again has no further effect.
fn idempotent<T>(_: &mut T) -> bool {
    true
}

/// The server could not tell a retry from a new call.
fn not_idempotent<T>(_: &mut T) -> bool {
    false
}

/// A request id makes the call idempotent. Sets a random one if there is none.
fn with_request_id(id: &mut String) -> bool {
    if id.is_empty() {
        *id = request_id();
    }
    true
}

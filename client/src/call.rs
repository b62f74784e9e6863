//! Calls: what to ask, and the answer when awaited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use soloist::v1;

use crate::connection::Connection;
use crate::machine::{
    DefineMachine, DeleteMachine, DeleteMachineReply, GetMachine, ListMachines, ListMachinesReply,
};
use crate::retry::request_id;
use crate::session::{
    CloseSession, CloseSessionReply, ListSessions, ListSessionsReply, OpenSession, RenewSession,
};
use crate::timeout::{request_with_timeout, within};
use crate::{
    Add, AddReply, Batch, BatchReply, Condition, Delete, DeleteReply, Error, List, ListReply,
    Machine, Outcome, Read, ReadReply, Retry, Session, Transition, TransitionReply, Value, Write,
    WriteReply,
};

/// A call that is made when awaited.
///
/// Waits for the answer, at most the timeout. Dropped midway, it is not begun if the owner has not begun it, and
/// otherwise done. Linearizable: it sees everything that was answered before it was sent.
///
/// # Errors
///
/// Of the server's own, with [`reason`](Error::reason), nothing applied:
///
/// - INVALID_ARGUMENT for bad arguments, and for a request id that was used for something else; never retry.
/// - ABORTED, NOT_FOUND or ALREADY_EXISTS for a condition that is not met, and for sessions and machines that are not
///   as expected; FAILED_PRECONDITION for a state that does not allow it, and for a value that is no int; OUT_OF_RANGE
///   past a bound. Read, and decide again.
/// - RESOURCE_EXHAUSTED when overloaded, DEADLINE_EXCEEDED and UNAVAILABLE: safe to retry. RESOURCE_EXHAUSTED also for
///   a full store: only after something was deleted.
///
/// From the way there: UNAVAILABLE or DEADLINE_EXCEEDED, with [`Outcome::Unknown`] unless the call changes nothing. Safe
/// to retry with the same request id.
///
/// [`retry`](Self::retry) sends again whatever is safe to, and makes the request id.
#[derive(Clone, Debug)]
#[must_use = "a call is made when awaited"]
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

    /// How long this call may take, all attempts together. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the call again when it fails and that is safe; [`Retry`] says when that is. `None`: never. Default: the
    /// client's, which has none unless told otherwise.
    pub fn retry(mut self, retry: impl Into<Option<Retry>>) -> Self {
        self.retry = retry.into();
        self
    }

    fn map(mut self, change: impl FnOnce(R) -> R) -> Self {
        self.request = change(self.request);
        self
    }
}

/// Setters that stand at the operation too, so that a call reads as one line.
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
        /// What must hold for the read to succeed.
        expect(condition: Condition);
    }
    Write {
        /// What must hold, or the write is refused and nothing changes.
        expect(condition: Condition);
        /// The key ends by itself this long after the write.
        ttl(ttl: Duration);
        /// The key ends with this session, which must not have ended.
        session(session: &Session);
        /// The key keeps the lifetime that it has.
        keep_lifetime();
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
        /// Asks for the entry as it was before.
        return_previous();
    }
    Add {
        /// What must hold, or the addition is refused and nothing changes.
        expect(condition: Condition);
        /// The least value there may be afterwards.
        min(min: i64);
        /// The greatest value there may be afterwards.
        max(max: i64);
        /// Stop at the bound instead of refusing.
        saturate();
        /// If this creates the key, it ends by itself this long afterwards.
        ttl(ttl: Duration);
        /// If this creates the key, it ends with this session.
        session(session: &Session);
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    Transition {
        /// What must hold, or the move is refused and nothing changes.
        expect(condition: Condition);
        /// Replaces the value in the same step.
        value(value: impl Into<Value>);
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    Delete {
        /// What must hold, or nothing is deleted.
        expect(condition: Condition);
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    Batch {
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    List {
        /// The most entries on the page.
        page_size(page_size: u32);
        /// Where to go on: the token of the page before.
        page_token(page_token: impl Into<String>);
        /// Leave the values out.
        keys_only();
    }
    DefineMachine {
        /// What must hold for the machine of that name, or nothing changes: [`Condition::Exists`],
        /// [`Condition::Missing`] or [`Condition::Revision`]. Other tests are for keys, and refused.
        expect(condition: Condition);
        /// Only tells whether it would be taken; `revision` in the answer is 0.
        validate_only();
    }
    ListMachines {
        /// The most machines on the page.
        page_size(page_size: u32);
        /// Where to go on: the token of the page before.
        page_token(page_token: impl Into<String>);
    }
    OpenSession {
        /// Its name: 1 to 128 bytes of UTF-8 without control characters, not beginning with `$`. Default: one that the
        /// server makes.
        id(id: impl Into<String>);
        /// Ends a living session of that id, and its keys, first. Otherwise there must be none: ALREADY_EXISTS.
        take_over();
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    CloseSession {
        /// Makes it safe to send the same again when its outcome is unknown.
        request_id(id: impl Into<String>);
    }
    ListSessions {
        /// The most sessions on the page.
        page_size(page_size: u32);
        /// Where to go on: the token of the page before.
        page_token(page_token: impl Into<String>);
    }
}

macro_rules! calls {
    ($($request:ident: $wire:ident -> $reply:ident by $service:ident.$method:ident, $default_outcome:ident, $idempotent:expr;)*) => {$(
        impl IntoFuture for Call<'_, $request> {
            type Output = Result<$reply, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                let service = self.connection.$service.clone();
                let mut request: v1::$wire = self.request.into();
                let (timeout, retry) = (self.timeout, self.retry);
                Box::pin(async move {
                    let attempt = |request, timeout| {
                        let mut service = service.clone();
                        async move {
                            let call = service.$method(request_with_timeout(request, timeout));
                            within(timeout, Outcome::$default_outcome, call).await?.try_into()
                        }
                    };
                    let Some(retry) = retry else {
                        return attempt(request, timeout).await;
                    };
                    let idempotent: fn(&mut v1::$wire) -> bool = $idempotent;
                    let idempotent = idempotent(&mut request);
                    retry.run(timeout, idempotent, |left| attempt(request.clone(), left)).await
                })
            }
        }
    )*};
}

// Each with what is known of its outcome if the server does not tell, and whether it can be repeated then.
calls! {
    Read: ReadRequest -> ReadReply by state.read, NotApplied, idempotent;
    Write: WriteRequest -> WriteReply by state.write, Unknown, |write| with_request_id(&mut write.request_id);
    Add: AddRequest -> AddReply by state.add, Unknown, |add| with_request_id(&mut add.request_id);
    Transition: TransitionRequest -> TransitionReply by state.transition, Unknown, |transition| with_request_id(&mut transition.request_id);
    Delete: DeleteRequest -> DeleteReply by state.delete, Unknown, |delete| with_request_id(&mut delete.request_id);
    Batch: BatchRequest -> BatchReply by state.batch, Unknown, |batch| with_request_id(&mut batch.request_id);
    List: ListRequest -> ListReply by state.list, NotApplied, idempotent;

    // What is there already is left as it is; only a condition would see the difference.
    DefineMachine: DefineMachineRequest -> Machine by machines.define_machine, Unknown, |define| define.expect.is_none();
    GetMachine: GetMachineRequest -> Machine by machines.get_machine, NotApplied, idempotent;
    ListMachines: ListMachinesRequest -> ListMachinesReply by machines.list_machines, NotApplied, idempotent;
    DeleteMachine: DeleteMachineRequest -> DeleteMachineReply by machines.delete_machine, Unknown, not_idempotent;

    OpenSession: OpenSessionRequest -> Session by sessions.open_session, Unknown, |open| with_request_id(&mut open.request_id);
    RenewSession: RenewSessionRequest -> Session by sessions.renew_session, Unknown, idempotent;
    CloseSession: CloseSessionRequest -> CloseSessionReply by sessions.close_session, Unknown,
        |close| with_request_id(&mut close.request_id);
    ListSessions: ListSessionsRequest -> ListSessionsReply by sessions.list_sessions, NotApplied, idempotent;
}

/// To repeat it changes nothing more.
fn idempotent<T>(_: &mut T) -> bool {
    true
}

/// Repeated, it could not be told from a second call.
fn not_idempotent<T>(_: &mut T) -> bool {
    false
}

/// Repeatable by its id, which it gets unless it has one.
fn with_request_id(id: &mut String) -> bool {
    if id.is_empty() {
        *id = request_id();
    }
    true
}

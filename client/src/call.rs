//! Calls: what to ask, and the answer when awaited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use tonic::{Code, Request, Response, Status};

use crate::error::is_timeout;
use crate::{
    Add, AddReply, Batch, BatchReply, Client, Condition, Delete, DeleteReply, Error, List,
    ListReply, Outcome, Read, ReadReply, Write, WriteReply,
};

/// A call that is made when awaited.
///
/// Waits for the answer, at most the timeout. Dropped midway, it is not begun if the owner has not begun it, and
/// otherwise done. Linearizable: it sees everything that was answered before it was sent.
///
/// # Errors
///
/// Of the server's own, with [`reason`](Error::reason), nothing applied: INVALID_ARGUMENT for bad arguments; ABORTED,
/// NOT_FOUND or ALREADY_EXISTS for a condition not met; RESOURCE_EXHAUSTED for a full store, and when overloaded,
/// which is safe to retry, as DEADLINE_EXCEEDED and UNAVAILABLE are. Additions also know FAILED_PRECONDITION for a
/// value that is no int, and OUT_OF_RANGE past a bound.
///
/// From the way there: UNAVAILABLE or DEADLINE_EXCEEDED, with [`Outcome::Unknown`] unless the call changes nothing;
/// guard a write with a condition to make a retry safe.
#[derive(Clone, Debug)]
#[must_use = "a call is made when awaited"]
pub struct Call<'a, R> {
    client: &'a Client,
    request: R,
    timeout: Duration,
}

impl<'a, R> Call<'a, R> {
    pub(crate) fn new(client: &'a Client, request: R, timeout: Duration) -> Self {
        Self {
            client,
            request,
            timeout,
        }
    }

    /// How long this call may take. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
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
    }
    Delete {
        /// What must hold, or nothing is deleted.
        expect(condition: Condition);
    }
    List {
        /// The most entries on the page.
        page_size(page_size: u32);
        /// Where to go on: the token of the page before.
        page_token(page_token: impl Into<String>);
        /// Leave the values out.
        keys_only();
    }
}

macro_rules! ask {
    ($($request:ident -> $reply:ident by $method:ident, $unless_told:ident;)*) => {$(
        impl IntoFuture for Call<'_, $request> {
            type Output = Result<$reply, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                let mut state = self.client.state.clone();
                let (request, timeout) = (self.request.into(), self.timeout);
                Box::pin(async move {
                    let call = state.$method(with_timeout(request, timeout));
                    within(timeout, Outcome::$unless_told, call).await?.try_into()
                })
            }
        }
    )*};
}

// Each with what is known of its outcome if the server does not tell.
ask! {
    Read -> ReadReply by read, NotApplied;
    Write -> WriteReply by write, Unknown;
    Add -> AddReply by add, Unknown;
    Delete -> DeleteReply by delete, Unknown;
    Batch -> BatchReply by batch, Unknown;
    List -> ListReply by list, NotApplied;
}

/// The longest time that is told to a server: more than any of them grants, and less than the header can hold.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A request that tells the server how long it has.
pub(crate) fn with_timeout<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout.min(TIMEOUT_MAX));
    request
}

/// Awaits a call, but not beyond its timeout: the server keeps it too, but may be out of reach by then.
pub(crate) async fn within<T>(
    timeout: Duration,
    unless_told: Outcome,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if !is_timeout(&status) => Err(Error::of_call(&status, unless_told)),
        _ => Err(Error::new(
            Code::DeadlineExceeded,
            format!("no answer within {timeout:?}"),
            unless_told,
        )),
    }
}

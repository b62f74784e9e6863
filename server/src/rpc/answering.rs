//! The response of a call, whatever its handler does: a handler that panics is answered with INTERNAL.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tonic::codegen::BoxFuture;

use super::body::response::{self, Answer};
use super::body::unread::{self, ReadBy};
use super::call_count::CallCount;
use super::slow_calls::SlowCall;
use super::status::{Refusal, handler_panicked};
use crate::owner::ConnectionQuota;

/// How many handlers, and tasks of streams, have panicked in this process.
static PANICS: AtomicU64 = AtomicU64::new(0);

pub(super) type ResponseFuture = BoxFuture<Answer, Infallible>;

/// A call that has a handler.
pub(super) struct Begun {
    pub(super) response: ResponseFuture,
    /// By when the client must have read the response.
    pub(super) read_by: ReadBy,
    /// None if it is not a call of gRPC, or nobody counts.
    pub(super) call: Option<CallCount>,
    /// None if it is not logged if it is slow.
    pub(super) slow: Option<Box<SlowCall>>,
}

/// A call whose handler runs. Its response is charged to the quota of its connection.
pub(crate) struct Answering {
    /// None once it has panicked.
    response: Option<ResponseFuture>,
    /// None once it was handed to the response.
    quota: Option<ConnectionQuota>,
    read_by: ReadBy,
    call: Option<CallCount>,
    slow: Option<Box<SlowCall>>,
}

impl Answering {
    /// A call with this answer.
    #[cfg(test)]
    pub(crate) fn answered(quota: &ConnectionQuota, answer: Answer) -> Self {
        Self::new(quota, || Begun {
            response: Box::pin(std::future::ready(Ok(answer))),
            read_by: ReadBy::Never,
            call: None,
            slow: None,
        })
    }

    /// Begins a call. `handler` finds its response.
    pub(super) fn new(quota: &ConnectionQuota, handler: impl FnOnce() -> Begun) -> Self {
        let quota = Some(quota.clone());
        match catch(handler) {
            Ok(begun) => Self {
                response: Some(begun.response),
                quota,
                read_by: begun.read_by,
                call: begun.call,
                slow: begun.slow,
            },
            Err(_) => Self {
                response: None,
                quota,
                read_by: ReadBy::Never,
                call: None,
                slow: None,
            },
        }
    }
}

impl Future for Answering {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        let answer = match &mut this.response {
            Some(response) => match catch(|| match &this.slow {
                None => response.as_mut().poll(cx),
                Some(slow) => slow.during(|| response.as_mut().poll(cx)),
            }) {
                Ok(answer) => {
                    let Ok(answer) = ready!(answer);
                    answer
                }
                Err(refusal) => response::error(refusal.into()),
            },
            None => response::error(handler_panicked().into()),
        };
        unread::note_read_by(this.read_by);
        if let Some(slow) = this.slow.take() {
            slow.end(answer.code());
        }
        let answer = answer.counted(this.call.take());
        Poll::Ready(answer.charged_to(this.quota.take()))
    }
}

/// Calls `handler`, and stops a panic of it. The panic hook has logged the panic by then.
///
/// # Errors
/// INTERNAL if it panics.
pub(super) fn catch<T>(handler: impl FnOnce() -> T) -> Result<T, Refusal> {
    // Whatever the handler was changing is dropped, or belongs to a stream that ends.
    catch_unwind(AssertUnwindSafe(handler)).map_err(|_| panicked())
}

/// Counts a panic, and returns what its caller is told.
fn panicked() -> Refusal {
    PANICS.fetch_add(1, Ordering::Relaxed);
    handler_panicked()
}

/// Runs the task of a stream, which fills `queue`. If it panics, the stream must not seem to end in order: `end` makes the
/// element that ends it, and a panic is counted. A task that is only dropped, as at the end of a runtime, has not panicked.
pub(super) fn spawn<T: Send + 'static>(
    task: impl Future<Output = ()> + Send + 'static,
    queue: mpsc::Sender<T>,
    end: impl FnOnce(Refusal) -> T + Send + 'static,
) {
    tokio::spawn(async move {
        // Whatever the task was changing is dropped with it.
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        if ended.is_err() {
            // If the client has left, nobody takes it.
            let _ = queue.send(end(panicked())).await;
        }
    });
}

/// How many handlers have panicked since the process started.
pub(super) fn panic_count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Held by each test that panics in a handler, because they count in one place.
#[cfg(test)]
pub(super) static PANICKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_with_internal_and_counted() {
        let _alone = PANICKING.lock().await;
        let before = panic_count();
        let quota = ConnectionQuota::new(1000);
        let early: fn() -> Begun = || panic!("early");
        let late: fn() -> Begun = || Begun {
            response: Box::pin(async { panic!("late") }),
            read_by: ReadBy::Never,
            call: None,
            slow: None,
        };
        for handler in [early, late] {
            let Answer::Other(response) = Answering::new(&quota, handler).await else {
                panic!("it has a message");
            };
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), Code::Internal);
            assert!(!status.details().is_empty(), "{status:?}");
        }
        assert_eq!(panic_count(), before + 2);
    }
}

//! The way back: one answer to one message, and the settlement of who gave up first.
//!
//! A caller may leave, or run out of time, at the very moment in which the owner begins with its message. Both claim
//! the message first, and only one of them gets it: either the owner does it, and the caller gets the answer, or the
//! caller takes it back, and the owner never starts.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::CallError;

/// The owner's end.
#[derive(Debug)]
pub(super) struct Reply<T> {
    sender: oneshot::Sender<Result<T, CallError>>,
    claim: Claim,
    deadline: Instant,
}

/// The caller's end. Dropping it takes the message back, unless the owner has begun.
#[derive(Debug)]
pub struct Pending<T> {
    receiver: oneshot::Receiver<Result<T, CallError>>,
    claim: Claim,
    deadline: Instant,
}

/// A message belongs to the first who asks for it.
#[derive(Clone, Debug)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

pub(super) fn reply<T>(deadline: Instant) -> (Reply<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    let claim = Claim(Arc::new(AtomicBool::new(false)));
    let reply = Reply {
        sender,
        claim: claim.clone(),
        deadline,
    };
    let pending = Pending {
        receiver,
        claim,
        deadline,
    };
    (reply, pending)
}

impl<T> Reply<T> {
    /// Answers with what `apply` returns, which runs only if there is still time and somebody who waits.
    pub(super) fn answer<E>(self, now: Instant, apply: impl FnOnce() -> Result<T, E>)
    where
        CallError: From<E>,
    {
        if let Some(begun) = self.begin(now) {
            begun.send(apply());
        }
    }

    /// Begins, if there is still time and somebody who waits; otherwise there is nothing left to do.
    pub(super) fn begin(self, now: Instant) -> Option<Begun<T>> {
        let late = self.deadline <= now;
        let begun = self.begin_late()?;
        if late {
            begun.send(Err(CallError::NotStarted));
            return None;
        }
        Some(begun)
    }

    /// Begins even if there is no time left: with what changes nothing any more.
    pub(super) fn begin_late(self) -> Option<Begun<T>> {
        // Otherwise the caller has left.
        self.claim.take().then_some(Begun(self.sender))
    }
}

/// The owner's end of a message that it has begun: it has to be answered.
#[derive(Debug)]
#[must_use]
pub(super) struct Begun<T>(oneshot::Sender<Result<T, CallError>>);

impl<T> Begun<T> {
    pub(super) fn send<E>(self, result: Result<T, E>)
    where
        CallError: From<E>,
    {
        // That nobody takes the answer is normal: the caller left while it was made.
        let _ = self.0.send(result.map_err(CallError::from));
    }
}

impl<T> Pending<T> {
    /// Waits for the answer, at most until the deadline. Cancelling it takes the message back, unless the owner has
    /// begun.
    ///
    /// # Errors
    /// What the owner answered, or [`CallError::NotStarted`] at the deadline, or [`CallError::OwnerLost`].
    pub async fn answer(mut self) -> Result<T, CallError> {
        let received = match tokio::time::timeout_at(self.deadline, &mut self.receiver).await {
            Ok(received) => received,
            Err(_) if self.claim.take() => return Err(CallError::NotStarted),
            // The owner has begun and does not wait for anything, so the answer is here in a moment.
            Err(_) => (&mut self.receiver).await,
        };
        received.unwrap_or(Err(CallError::OwnerLost))
    }

    /// As [`answer`](Self::answer), for callers who wait for one answer after another and share a timer among them.
    ///
    /// # Errors
    /// Those of [`answer`](Self::answer).
    pub fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
    ) -> Poll<Result<T, CallError>> {
        if let Poll::Ready(received) = Pin::new(&mut self.receiver).poll(cx) {
            return Poll::Ready(received.unwrap_or(Err(CallError::OwnerLost)));
        }
        ready!(timer.poll_passed(cx, self.deadline));
        if self.claim.take() {
            return Poll::Ready(Err(CallError::NotStarted));
        }
        // The owner has begun; its answer wakes this task.
        Poll::Pending
    }
}

/// Tells when deadlines have passed, one after another. Setting a timer costs more than an answer from the owner, so
/// this one stays set: it may go off early for a later deadline, and is only then set anew.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn poll_passed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() == deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.claim.take();
    }
}

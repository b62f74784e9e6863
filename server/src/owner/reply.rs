//! The way back: one answer to one message, and the settlement of who gave up first.
//!
//! A caller may leave, or run out of time, at the very moment in which the owner begins with its message. Both claim
//! the message first, and only one of them gets it: either the owner does it, and the caller gets the answer, or the
//! caller takes it back, and the owner never starts.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::machine::Revision;

use super::error::{CallError, Unknown};

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
struct Claim(Arc<AtomicI64>);

/// Nobody has asked for it yet.
const UNCLAIMED: i64 = -2;

/// Somebody has. Any other number: it was done, and the answer is held back; the store's revision was this after it, but
/// for 0: it took none.
const CLAIMED: i64 = -1;

/// The owner has started, and either answers or holds the answer back before this is over, as good as always.
const DEADLINE_GRACE: Duration = Duration::from_millis(1);

impl Claim {
    fn unclaimed() -> Self {
        Self(Arc::new(AtomicI64::new(UNCLAIMED)))
    }

    fn claim(&self) -> bool {
        let taken =
            self.0
                .compare_exchange(UNCLAIMED, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok()
    }

    fn hold(&self, revision: Option<Revision>) {
        self.0.store(revision.unwrap_or(0), Ordering::Release);
    }

    /// If its answer is held back: the revision that it took, if it did.
    fn held(&self) -> Option<Option<Revision>> {
        let revision = self.0.load(Ordering::Acquire);
        (revision > CLAIMED).then_some((revision > 0).then_some(revision))
    }

    /// What is known when the owner is gone.
    fn owner_gone(&self) -> CallError {
        if self.claim() {
            return CallError::OwnerLost;
        }
        CallError::OutcomeUnknown {
            revision: self.held().flatten(),
            why: Unknown::OwnerEnded,
        }
    }

    /// What is known when the time is over; none: it is about to be answered.
    fn too_late(&self) -> Option<CallError> {
        if self.claim() {
            return Some(CallError::NotStarted);
        }
        self.held().map(|revision| CallError::OutcomeUnknown {
            revision,
            why: Unknown::Deadline,
        })
    }
}

pub(super) fn reply<T>(deadline: Instant) -> (Reply<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    let claim = Claim::unclaimed();
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
        if let Some(started) = self.start(now) {
            started.send(apply());
        }
    }

    /// Begins, if there is still time and somebody who waits; otherwise there is nothing left to do.
    pub(super) fn start(self, now: Instant) -> Option<StartedReply<T>> {
        let late = self.deadline <= now;
        let started = self.start_late()?;
        if late {
            started.send(Err(CallError::NotStarted));
            return None;
        }
        Some(started)
    }

    /// Begins even if there is no time left: with what changes nothing any more.
    pub(super) fn start_late(self) -> Option<StartedReply<T>> {
        // Otherwise the caller has left.
        self.claim.claim().then_some(StartedReply {
            sender: self.sender,
            claim: self.claim,
        })
    }

    /// Answers with an error, instead of beginning.
    pub(super) fn refuse(self, error: CallError, now: Instant) {
        self.answer(now, || Err(error));
    }
}

/// The owner's end of a message that it has started: it has to be answered.
#[derive(Debug)]
#[must_use]
pub(super) struct StartedReply<T> {
    sender: oneshot::Sender<Result<T, CallError>>,
    claim: Claim,
}

impl<T> StartedReply<T> {
    pub(super) fn send<E>(self, result: Result<T, E>)
    where
        CallError: From<E>,
    {
        // That nobody takes the answer is normal: the caller left while it was made.
        let _ = self.sender.send(result.map_err(CallError::from));
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Tells the caller that it is done, at this revision if it took one, and that the answer waits for the disk.
    pub(super) fn hold(&self, revision: Option<Revision>) {
        self.claim.hold(revision);
    }
}

impl<T> Pending<T> {
    /// Waits for the answer, at most until the deadline. Cancelling it takes the message back, unless the owner has
    /// begun.
    ///
    /// # Errors
    /// What the owner answered, or at the deadline [`CallError::NotStarted`] or [`CallError::OutcomeUnknown`], or
    /// [`CallError::OwnerLost`].
    pub async fn answer(mut self) -> Result<T, CallError> {
        loop {
            match tokio::time::timeout_at(self.deadline, &mut self.receiver).await {
                Ok(received) => return received.unwrap_or_else(|_| Err(self.claim.owner_gone())),
                Err(_) => {
                    if let Some(error) = self.claim.too_late() {
                        return Err(error);
                    }
                }
            }
            self.deadline = Instant::now() + DEADLINE_GRACE;
        }
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
            return Poll::Ready(received.unwrap_or_else(|_| Err(self.claim.owner_gone())));
        }
        loop {
            ready!(timer.poll_passed(cx, self.deadline));
            if let Some(error) = self.claim.too_late() {
                return Poll::Ready(Err(error));
            }
            self.deadline = Instant::now() + DEADLINE_GRACE;
        }
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
        self.claim.claim();
    }
}

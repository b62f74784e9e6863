//! The way back to the caller: one answer for one message.
//!
//! A caller may leave, or its deadline may pass, at the very moment at which the owner starts with the message. So both
//! sides must claim the message first, with one atomic step that only one of them can win. If the owner wins, it
//! handles the message and the caller gets the answer. If the caller wins, the message is withdrawn and the owner never
//! starts with it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::machine::Revision;

use super::error::{CallError, Unknown};

/// The owner's end of a reply, before the owner has started with the message.
#[derive(Debug)]
pub(super) struct Reply<T> {
    sender: oneshot::Sender<Result<T, CallError>>,
    claim: Claim,
    deadline: Instant,
}

/// The caller's end of a reply. Dropping it withdraws the message, unless the owner has started with it.
#[derive(Debug)]
pub struct Pending<T> {
    receiver: oneshot::Receiver<Result<T, CallError>>,
    claim: Claim,
    deadline: Instant,
}

/// Which side has claimed a message, and what the caller may be told while the answer is held: [`UNCLAIMED`],
/// [`CLAIMED`], or, while the answer is held until it is on disk, the store revision of the change, or 0 if the call
/// changed nothing.
#[derive(Clone, Debug)]
struct Claim(Arc<AtomicI64>);

/// Neither side has claimed the message.
const UNCLAIMED: i64 = -2;

/// One side has claimed the message, and no answer is held.
const CLAIMED: i64 = -1;

/// Grace after the deadline: an owner that has started nearly always answers, or holds the answer, within it.
const DEADLINE_GRACE: Duration = Duration::from_millis(1);

impl Claim {
    fn unclaimed() -> Self {
        Self(Arc::new(AtomicI64::new(UNCLAIMED)))
    }

    /// Claims the message. Returns false if the other side was first.
    fn claim(&self) -> bool {
        let claimed =
            self.0
                .compare_exchange(UNCLAIMED, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
        claimed.is_ok()
    }

    fn hold(&self, revision: Option<Revision>) {
        self.0.store(revision.unwrap_or(0), Ordering::Release);
    }

    /// Returns `None` if no answer is held; otherwise the revision of the change, or `Some(None)` if there was no
    /// change.
    fn held(&self) -> Option<Option<Revision>> {
        let revision = self.0.load(Ordering::Acquire);
        (revision > CLAIMED).then_some((revision > 0).then_some(revision))
    }

    /// Returns the caller's error when the owner has gone without an answer.
    fn owner_gone(&self) -> CallError {
        if self.claim() {
            return CallError::OwnerLost;
        }
        CallError::OutcomeUnknown {
            revision: self.held().flatten(),
            why: Unknown::OwnerEnded,
        }
    }

    /// Returns the caller's error when the deadline has passed. `None` if the owner has started, and neither answered
    /// nor held the answer yet.
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

/// Creates the two ends of a reply.
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
    /// Starts, and sends what `apply` returns. `apply` does not run if the deadline has passed or the caller has left.
    pub(super) fn answer<E>(self, now: Instant, apply: impl FnOnce() -> Result<T, E>)
    where
        CallError: From<E>,
    {
        if let Some(started) = self.start(now) {
            started.send(apply());
        }
    }

    /// Starts with the message. Returns `None`, with nothing left to do, if the deadline has passed or the caller has
    /// left.
    pub(super) fn start(self, now: Instant) -> Option<StartedReply<T>> {
        let late = self.deadline <= now;
        let started = self.start_late()?;
        if late {
            started.send(Err(CallError::NotStarted));
            return None;
        }
        Some(started)
    }

    /// Starts with the message even after its deadline. For replays only, which change nothing.
    pub(super) fn start_late(self) -> Option<StartedReply<T>> {
        // A failed claim means that the caller has left.
        self.claim.claim().then_some(StartedReply {
            sender: self.sender,
            claim: self.claim,
        })
    }

    /// Sends an error instead of handling the message.
    pub(super) fn refuse(self, error: CallError, now: Instant) {
        self.answer(now, || Err(error));
    }
}

/// The owner's end of a reply after it has started with the message: an answer must follow.
#[derive(Debug)]
#[must_use]
pub(super) struct StartedReply<T> {
    sender: oneshot::Sender<Result<T, CallError>>,
    claim: Claim,
}

impl<T> StartedReply<T> {
    /// Sends the answer.
    pub(super) fn send<E>(self, result: Result<T, E>)
    where
        CallError: From<E>,
    {
        // A failed send is normal: the caller has left meanwhile.
        let _ = self.sender.send(result.map_err(CallError::from));
    }

    /// Whether the caller has left.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Notes for the caller that the message was handled and its answer is held until it is on disk. `revision` is that
    /// of the change, if the message changed something.
    pub(super) fn hold(&self, revision: Option<Revision>) {
        self.claim.hold(revision);
    }
}

impl<T> Pending<T> {
    /// Waits for the answer, at most until the deadline. Cancelling it withdraws the message, unless the owner has
    /// started with it.
    ///
    /// # Errors
    /// The owner's error, if it sends one. At the deadline, [`CallError::NotStarted`] or, if the answer is held,
    /// [`CallError::OutcomeUnknown`]. If the owner ends first, [`CallError::OwnerLost`] or, if it had started,
    /// [`CallError::OutcomeUnknown`].
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

    /// Like [`answer`](Self::answer), for a caller that waits for one answer after another and shares a timer among
    /// them.
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

/// A timer for many deadlines, one after another. Setting a timer costs more than an answer from the owner. So this
/// timer stays set when the deadline moves to a later time, fires early, and is set again only then.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Completes when `deadline` has passed.
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

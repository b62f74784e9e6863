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

/// What a call has changed whose answer waits. It decides what the caller is told if the answer does not come: only a change
/// leaves the outcome open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtStake {
    /// Nothing.
    Nothing,
    /// Something, at this store revision if it is known. It is not known if an earlier call has changed it: the answer to that
    /// call is repeated.
    Change(Option<Revision>),
}

/// Which side has claimed a message, and what the caller may be told while the answer waits: [`UNCLAIMED`], [`CLAIMED`], or,
/// while the answer waits until it is on disk or confirmed, [`NOTHING`], [`A_CHANGE`], or the store revision of the change.
#[derive(Clone, Debug)]
struct Claim(Arc<AtomicI64>);

/// Neither side has claimed the message.
const UNCLAIMED: i64 = -2;

/// One side has claimed the message, and no answer waits.
const CLAIMED: i64 = -1;

/// The answer waits, and the call has changed nothing.
const NOTHING: i64 = 0;

/// The answer waits, and a change whose revision is not known waits with it. No revision is as large.
const A_CHANGE: i64 = i64::MAX;

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

    fn hold(&self, at_stake: AtStake) {
        let held = match at_stake {
            AtStake::Nothing => NOTHING,
            AtStake::Change(revision) => revision.unwrap_or(A_CHANGE),
        };
        self.0.store(held, Ordering::Release);
    }

    /// Returns what is at stake while the answer waits. `None` if it does not.
    fn held(&self) -> Option<AtStake> {
        match self.0.load(Ordering::Acquire) {
            NOTHING => Some(AtStake::Nothing),
            A_CHANGE => Some(AtStake::Change(None)),
            revision if revision > NOTHING => Some(AtStake::Change(Some(revision))),
            _ => None,
        }
    }

    /// Returns the caller's error when the owner has gone without an answer.
    fn owner_gone(&self) -> CallError {
        if self.claim() {
            return CallError::OwnerLost;
        }
        let revision = match self.held() {
            Some(AtStake::Nothing) => return CallError::OwnerLost,
            Some(AtStake::Change(revision)) => revision,
            // The owner was in the midst of the message.
            None => None,
        };
        CallError::OutcomeUnknown {
            revision,
            why: Unknown::OwnerEnded,
        }
    }

    /// Returns the caller's error when the deadline has passed. `None` if the owner has started, and neither answered
    /// nor held the answer yet.
    fn too_late(&self) -> Option<CallError> {
        if self.claim() {
            return Some(CallError::NotStarted);
        }
        Some(match self.held()? {
            AtStake::Nothing => CallError::NotConfirmed,
            AtStake::Change(revision) => CallError::OutcomeUnknown {
                revision,
                why: Unknown::Deadline,
            },
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

    /// Notes for the caller that the message was handled, and that its answer waits until it is on disk or confirmed.
    pub(super) fn hold(&self, at_stake: AtStake) {
        self.claim.hold(at_stake);
    }
}

/// An answer that is ready, and waits until it is on disk or confirmed.
pub(crate) trait HeldReply: Send {
    /// Whether the caller has left.
    fn is_abandoned(&self) -> bool;

    /// Sends the answer. If it is dropped instead, the caller is told that the owner has ended.
    fn send(self: Box<Self>);
}

impl<T> Pending<T> {
    /// Waits for the answer, at most until the deadline. Cancelling it withdraws the message, unless the owner has
    /// started with it.
    ///
    /// # Errors
    /// The owner's error, if it sends one. At the deadline, [`CallError::NotStarted`] or, if the answer waits,
    /// [`CallError::NotConfirmed`], or [`CallError::OutcomeUnknown`] if a change waits with it. If the owner ends first,
    /// [`CallError::OwnerLost`] or, if it had changed something, [`CallError::OutcomeUnknown`].
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

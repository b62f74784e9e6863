//! One Pipeline stream: frames in, answers out, in order.
//!
//! ```text
//! client -> reader task -> mailbox of the owner
//!               |                  |
//!               +---- slots -----> answers -> client
//! ```
//!
//! The reader never stops reading, not even if the client does not take its answers: HTTP/2 counts unread frames
//! against the whole connection. What keeps memory bounded is the queue of slots: a frame is sent to the owner only
//! if there is a slot free to answer it, and refused otherwise. Refusals in a row are only counted.

use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use soloist::codec::{Encoded, bad_message};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::config::Limits;
use crate::frame::Frame;
use crate::machine::{AllOutcome, EachOutcome};
use crate::owner::{CallError, OwnerHandle, Pending, Timer};
use crate::status::{Refusal, draining, too_many_frames};
use crate::{deadline, frame};

/// The place of an answer in the stream.
enum Slot {
    /// A frame that stands alone operation by operation, on its way through the owner.
    Each(Pending<EachOutcome>),
    /// An atomic frame, on its way through the owner.
    All(Pending<AllOutcome>),
    /// A frame that never reached the owner.
    Refused(Refusal),
    /// So many frames that found no slot.
    Overloaded(u64),
    /// The end of the stream.
    End(Status),
}

/// Serves one stream. Returns its answers; reading goes on in a task of its own until the client has sent everything,
/// the answers are dropped, or the server shuts down.
pub(crate) fn serve(
    frames: Streaming<Encoded>,
    owner: OwnerHandle,
    limits: Arc<Limits>,
    drain: watch::Receiver<bool>,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<Encoded, Status>> + Send + 'static {
    let (slots, answers) = mpsc::channel(limits.max_frames_in_flight);
    let max_frames = limits.max_frames_in_flight;
    let reader = Reader {
        owner,
        limits,
        deadline,
        slots,
    };
    tokio::spawn(reader.run(frames, drain));
    Answers {
        slots: answers,
        first: None,
        timer: Timer::default(),
        overloaded: 0,
        max_frames,
    }
}

struct Reader {
    owner: OwnerHandle,
    limits: Arc<Limits>,
    /// The stream's own.
    deadline: Option<Instant>,
    slots: mpsc::Sender<Slot>,
}

impl Reader {
    async fn run(self, mut frames: Streaming<Encoded>, drain: watch::Receiver<bool>) {
        // Frames in a row that found no slot, and whose answers still want one.
        let mut overloaded = 0;
        let mut end = pin!(end(self.deadline, drain, self.slots.clone()));
        let end = loop {
            // Biased, so that refusals get their place before any later frame. That frames go before the end starves
            // nothing: there are never more of them ready than fit into the stream's window.
            tokio::select! {
                biased;
                permit = self.slots.reserve(), if overloaded > 0 => match permit {
                    Ok(permit) => permit.send(Slot::Overloaded(mem::take(&mut overloaded))),
                    Err(_) => return, // The client takes no more answers.
                },
                frame = frames.message() => match frame {
                    Ok(Some(frame)) => match self.slots.try_reserve() {
                        Ok(slot) if overloaded == 0 => match self.submit(&frame.0) {
                            Ok(answer) => slot.send(answer),
                            Err(status) => break Some(status),
                        },
                        _ => overloaded += 1,
                    },
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                },
                status = &mut end => break Some(status),
            }
        };
        if overloaded > 0 {
            let _ = self.slots.send(Slot::Overloaded(overloaded)).await;
        }
        if let Some(status) = end {
            // If nobody takes it, the client has left.
            let _ = self.slots.send(Slot::End(status)).await;
        }
    }

    /// Sends a frame to the owner. What comes back, now or later, has its place in the stream.
    ///
    /// # Errors
    /// With what the stream has to end, if this is no frame.
    fn submit(&self, message: &[u8]) -> Result<Slot, Status> {
        match frame::decode(message, &self.limits) {
            Ok(Ok(frame)) => Ok(self
                .send(frame)
                .unwrap_or_else(|error| Slot::Refused(error.into()))),
            Ok(Err(bad)) => Ok(Slot::Refused(bad.into())),
            Err(error) => Err(bad_message(format!(
                "request is not a valid message: {error}"
            ))),
        }
    }

    fn send(&self, frame: Frame) -> Result<Slot, CallError> {
        let timeout = frame.timeout.unwrap_or(Duration::MAX);
        let mut deadline = deadline::within(timeout, self.limits.max_deadline);
        if let Some(stream_deadline) = self.deadline {
            deadline = deadline.min(stream_deadline);
        }
        Ok(if frame.atomic {
            Slot::All(self.owner.apply_all(frame.operations, deadline)?)
        } else {
            Slot::Each(self.owner.apply_each(frame.operations, deadline)?)
        })
    }
}

/// The answers of a stream, in the order of its frames.
struct Answers {
    slots: mpsc::Receiver<Slot>,
    /// The slot whose answer is next, once it was looked at.
    first: Option<Slot>,
    timer: Timer,
    /// Answers still owed for the last [`Slot::Overloaded`].
    overloaded: u64,
    max_frames: usize,
}

impl Stream for Answers {
    type Item = Result<Encoded, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.overloaded == 0 {
            let slot = match &mut this.first {
                Some(slot) => slot,
                None => match ready!(this.slots.poll_recv(cx)) {
                    Some(slot) => this.first.insert(slot),
                    None => return Poll::Ready(None),
                },
            };
            let answer = match slot {
                Slot::Each(pending) => {
                    ready!(pending.poll_answer(cx, &mut this.timer)).map(frame::encode_each)
                }
                Slot::All(pending) => {
                    ready!(pending.poll_answer(cx, &mut this.timer)).map(frame::encode_all)
                }
                Slot::Overloaded(count) => {
                    this.overloaded = *count;
                    this.first = None;
                    continue;
                }
                Slot::Refused(_) | Slot::End(_) => {
                    return Poll::Ready(match this.first.take() {
                        Some(Slot::End(status)) => Some(Err(status)),
                        Some(Slot::Refused(refusal)) => Some(Ok(frame::encode_refused(refusal))),
                        _ => unreachable!("it was one of the two"),
                    });
                }
            };
            this.first = None;
            return Poll::Ready(Some(Ok(
                answer.unwrap_or_else(|error| frame::encode_refused(Refusal::from(error)))
            )));
        }
        this.overloaded -= 1;
        let refused = frame::encode_refused(too_many_frames(this.max_frames));
        Poll::Ready(Some(Ok(refused)))
    }
}

/// Resolves when the stream has to end, whatever its client does.
async fn end(
    deadline: Option<Instant>,
    mut drain: watch::Receiver<bool>,
    slots: mpsc::Sender<Slot>,
) -> Status {
    let passed = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passed => Refusal::from(CallError::NotStarted).into_status(),
        // An error means that whoever could tell is gone, which is the same.
        _ = drain.wait_for(|drain| *drain) => draining().into_status(),
        // Nobody is left to read this.
        () = slots.closed() => Status::cancelled("the client takes no more answers"),
    }
}

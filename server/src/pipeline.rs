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
//! if there is a slot free to answer it, and refused otherwise. Refusals in a row are only counted. What the answers
//! in the slots may hold is bounded for the connection as a whole (`owner/unread.rs`).

use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use soloist::codec::not_a_message;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use crate::deadline::Deadline;
use crate::frame::{self, Answer, Done, Frame};
use crate::machine::{AllOutcome, EachOutcome};
use crate::owner::{CallError, Held, Pending, Timer};
use crate::service::StateService;
use crate::status::{Refusal, too_many_frames};
use crate::stream_end::stream_end;
use crate::transport::Messages;

/// The place of an answer in the stream.
enum Slot {
    /// A frame that stands alone operation by operation, on its way through the owner.
    Each(Pending<(EachOutcome, Held)>),
    /// An atomic frame, on its way through the owner.
    All(Pending<(AllOutcome, Held)>),
    /// A frame that never reached the owner.
    Refused(Refusal),
    /// So many frames that found no slot.
    Overloaded(u64),
    /// The end of the stream.
    End(Result<(), Status>),
}

/// Serves one stream. Returns its answers; reading goes on in a task of its own until the client has sent everything,
/// the answers are dropped, the deadline passes, or the server shuts down.
pub(crate) fn serve(
    frames: Messages,
    service: StateService,
    deadline: Deadline,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static {
    let frames_max = service.limits.max_frames_in_flight;
    let (slots, answers) = mpsc::channel(frames_max);
    let reader = Reader {
        service,
        deadline: deadline.or_never(),
        slots,
    };
    tokio::spawn(reader.run(frames));
    Answers {
        slots: answers,
        first: None,
        timer: Timer::default(),
        overloaded: 0,
        frames_max,
    }
}

struct Reader {
    service: StateService,
    /// The stream's own.
    deadline: Option<Instant>,
    slots: mpsc::Sender<Slot>,
}

impl Reader {
    async fn run(self, mut frames: Messages) {
        let mut overloaded = 0;
        let end = self.read(&mut frames, &mut overloaded).await;
        // The client may take its time to read what it is still owed, and go on sending: that is thrown away.
        let discard = async {
            while let Ok(Some(_)) = frames.next().await {}
            std::future::pending().await
        };
        tokio::select! {
            () = self.finish(overloaded, end) => {}
            () = discard => {}
        }
    }

    /// Reads frames, and sends them to the owner, until the stream ends. Leaves the number of frames that are still
    /// owed a refusal in `overloaded`.
    async fn read(&self, frames: &mut Messages, overloaded: &mut u64) -> Result<(), Status> {
        let drain = self.service.drain.clone();
        let mut end = pin!(stream_end(self.deadline, drain, self.slots.clone()));
        loop {
            // Biased, so that refusals get their place before any later frame. That frames go before the end starves
            // nothing: there are never more of them ready than fit into the stream's window.
            tokio::select! {
                biased;
                slot = self.slots.reserve(), if *overloaded > 0 => match slot {
                    Ok(slot) => slot.send(Slot::Overloaded(mem::take(overloaded))),
                    Err(_) => return Ok(()), // The client takes no more answers.
                },
                frame = frames.next() => {
                    let mut next = frame?;
                    if next.is_none() {
                        return Ok(());
                    }
                    // And all that came with it.
                    while let Some(frame) = next {
                        match self.slots.try_reserve() {
                            Ok(slot) if *overloaded == 0 => slot.send(self.submit(&frame)?),
                            _ => *overloaded += 1,
                        }
                        next = frames.take_arrived();
                    }
                },
                status = &mut end => return Err(status),
            }
        }
    }

    /// Gives the last slots to what is owed and to the end. That nobody takes them means that the client has left.
    async fn finish(&self, overloaded: u64, end: Result<(), Status>) {
        if overloaded > 0 {
            let _ = self.slots.send(Slot::Overloaded(overloaded)).await;
        }
        let _ = self.slots.send(Slot::End(end)).await;
    }

    /// Sends a frame to the owner. What comes back, now or later, has its place in the stream.
    ///
    /// # Errors
    /// With what the stream has to end, if this is no frame.
    fn submit(&self, message: &[u8]) -> Result<Slot, Status> {
        Ok(match frame::decode(message, &self.service.limits) {
            Ok(Ok(frame)) => self
                .send(frame)
                .unwrap_or_else(|error| Slot::Refused(error.into())),
            Ok(Err(bad)) => Slot::Refused(bad.into()),
            Err(error) => return Err(not_a_message(&error)),
        })
    }

    fn send(&self, frame: Frame) -> Result<Slot, CallError> {
        let StateService {
            owner,
            limits,
            unread,
            ..
        } = &self.service;
        let timeout = frame.timeout.unwrap_or(Duration::MAX);
        let mut deadline = Instant::now() + timeout.min(limits.max_deadline);
        if let Some(stream_deadline) = self.deadline {
            deadline = deadline.min(stream_deadline);
        }
        let (operations, unread) = (frame.operations, unread.clone());
        Ok(match frame.done {
            Done::All(named) => Slot::All(owner.apply_all(operations, named, unread, deadline)?),
            Done::Each(named) => Slot::Each(owner.apply_each(operations, named, unread, deadline)?),
        })
    }
}

/// The answers of a stream, in the order of its frames.
struct Answers {
    slots: mpsc::Receiver<Slot>,
    /// The slot that is next, once it was looked at and had no answer yet.
    first: Option<Slot>,
    timer: Timer,
    /// Answers still owed for the last [`Slot::Overloaded`].
    overloaded: u64,
    frames_max: usize,
}

impl Stream for Answers {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.overloaded == 0 {
            let slot = match this.first.take() {
                Some(slot) => slot,
                None => match ready!(this.slots.poll_recv(cx)) {
                    Some(slot) => slot,
                    // The reader is gone without a word. Never let that pass for an end in order.
                    None => Slot::End(Err(Status::internal("the stream was not read to its end"))),
                },
            };
            // What the answer holds on the account of unread bytes is let go of when it is encoded: from here on it
            // is bounded by the window that the client gives.
            let answer = match slot {
                Slot::Each(mut pending) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(answer) => answer.map(|(each, _held)| Answer::Each(each)),
                    Poll::Pending => {
                        this.first = Some(Slot::Each(pending));
                        return Poll::Pending;
                    }
                },
                Slot::All(mut pending) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(answer) => answer.map(|(all, _held)| Answer::All(all)),
                    Poll::Pending => {
                        this.first = Some(Slot::All(pending));
                        return Poll::Pending;
                    }
                },
                Slot::Refused(refusal) => Ok(Answer::Refused(refusal)),
                Slot::Overloaded(count) => {
                    this.overloaded = count;
                    continue;
                }
                Slot::End(end) => return Poll::Ready(end.err().map(Err)),
            };
            let answer = answer.unwrap_or_else(|error| Answer::Refused(error.into()));
            return Poll::Ready(Some(Ok(answer)));
        }
        this.overloaded -= 1;
        let refused = Answer::Refused(too_many_frames(this.frames_max));
        Poll::Ready(Some(Ok(refused)))
    }
}

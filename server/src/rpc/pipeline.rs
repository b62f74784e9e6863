//! One Pipeline stream: frames in, answers out, in order.
//!
//! ```text
//! client -> reader task -> mailbox of the owner
//!               |                  |
//!               +---- slots -----> answers -> client
//! ```
//!
//! What has arrived together goes to the owner together, as far as it is frames of operations that stand alone.
//!
//! The reader never stops reading, not even if the client does not take its answers: HTTP/2 counts unread frames
//! against the whole connection. What keeps memory bounded are the places of a stream: a frame is sent to the owner only
//! if there is a place for its answer, and refused otherwise. Refusals in a row are only counted. What the answers
//! may hold is bounded for the connection as a whole (`owner/quota.rs`).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{mem, vec};

use bytes::Bytes;
use futures_core::Stream;
use soloist::codec::not_a_message;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tonic::Status;

use super::body::messages::Messages;
use super::context::CallContext;
use super::deadline::Deadline;
use super::frame::{self, Answer, Done, Frame};
use super::permits::Places;
use super::status::{Refusal, too_many_frames};
use super::stream_end::stream_end;
use crate::config::GROUP_OPERATIONS_MAX;
use crate::machine::{AllOutcome, EachOutcome};
use crate::owner::{CallError, EachFrame, Held, Pending, Timer};

/// The answers to frames that went to the owner together.
type Answered = Vec<(EachOutcome, Held)>;

/// What is next in the stream. All but the end have a place, or several.
enum Slot {
    /// So many frames that are on their way through the owner together, a place for each.
    Each(Pending<Answered>, usize),
    /// So many that could not be sent there.
    NotSent(CallError, usize),
    /// An atomic frame, on its way through the owner.
    All(Pending<(AllOutcome, Held)>),
    /// A frame that never reached the owner.
    Refused(Refusal),
    /// So many frames that found no place, with one for all of them.
    Overloaded(usize),
    /// The end of the stream.
    End(Result<(), Status>),
}

/// Serves one stream. Returns its answers; reading goes on in a task of its own until the client has sent everything,
/// the answers are dropped, the deadline passes, or the server shuts down.
pub(crate) fn serve(
    frames: Messages,
    context: CallContext,
    deadline: Deadline,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static {
    let places = Arc::new(Places::of(context.limits.max_frames_in_flight));
    let (slots, answers) = mpsc::channel(places.max);
    let reader = Reader {
        context,
        deadline: deadline.or_never(),
        slots,
        places: Arc::clone(&places),
    };
    tokio::spawn(reader.run(frames));
    Answers {
        slots: answers,
        places,
        first: None,
        owed: Owed::Each(Vec::new().into_iter()),
        timer: Timer::default(),
    }
}

struct Reader {
    context: CallContext,
    /// The stream's own.
    deadline: Option<Instant>,
    slots: mpsc::Sender<Slot>,
    places: Arc<Places>,
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
    async fn read(&self, frames: &mut Messages, overloaded: &mut usize) -> Result<(), Status> {
        let drain = self.context.drain.clone();
        let mut end = pin!(stream_end(self.deadline, drain, self.slots.clone()));
        loop {
            // Biased, so that refusals get their place before any later frame. That frames go before the end starves
            // nothing: there are never more of them ready than fit into the stream's window.
            tokio::select! {
                biased;
                () = self.places.one_free(), if *overloaded > 0 => {
                    self.put(Slot::Overloaded(mem::take(overloaded)), 1);
                }
                frame = frames.next() => match frame? {
                    Some(frame) => self.take(frame, frames, overloaded)?,
                    None => return Ok(()),
                },
                status = &mut end => return Err(status),
            }
        }
    }

    /// Sends what is owed, and the end. That nobody takes them means that the client has left.
    async fn finish(&self, overloaded: usize, end: Result<(), Status>) {
        if overloaded > 0 {
            tokio::select! {
                () = self.places.one_free() => self.put(Slot::Overloaded(overloaded), 1),
                () = self.slots.closed() => return,
            }
        }
        let _ = self.slots.send(Slot::End(end)).await;
    }

    /// Sends on what takes so many places, which are free.
    fn put(&self, slot: Slot, places: usize) {
        self.places.take(places);
        if let Err(TrySendError::Full(_)) = self.slots.try_send(slot) {
            unreachable!("there is room for all that have a place");
        }
        // Otherwise nobody takes answers any more.
    }

    /// Sends a frame, and all that arrived with it, to the owner. What comes back, now or later, has its place in the stream.
    ///
    /// # Errors
    /// With what the stream has to end, if one is no frame.
    fn take(
        &self,
        frame: Bytes,
        frames: &mut Messages,
        overloaded: &mut usize,
    ) -> Result<(), Status> {
        if self.slots.is_closed() {
            return Ok(());
        }
        let now = Instant::now();
        let mut free = self.places.free();
        let mut group = Group::default();
        let mut next = Some(frame);
        while let Some(message) = next {
            if free > 0 && *overloaded == 0 {
                free -= 1;
                match frame::decode(&message, &self.context.limits) {
                    Ok(Ok(frame)) => self.add(&mut group, frame, now),
                    Ok(Err(bad)) => {
                        self.send(&mut group, now);
                        self.put(Slot::Refused(bad.into()), 1);
                    }
                    Err(error) => {
                        self.send(&mut group, now);
                        return Err(not_a_message(&error));
                    }
                }
            } else {
                *overloaded += 1;
            }
            next = frames.take_arrived();
        }
        self.send(&mut group, now);
        Ok(())
    }

    /// Adds a frame to the group, or sends it behind that.
    fn add(&self, group: &mut Group, frame: Frame, now: Instant) {
        let Frame {
            operations,
            done,
            timeout,
        } = frame;
        match done {
            Done::Each(named) if named.is_empty() && timeout.is_none() => {
                if group.operations + operations.len() > GROUP_OPERATIONS_MAX {
                    self.send(group, now);
                }
                group.add(EachFrame { operations, named });
            }
            Done::Each(named) => {
                self.send(group, now);
                group.add(EachFrame { operations, named });
                self.send_by(group, self.deadline(now, timeout));
            }
            Done::All(named) => {
                self.send(group, now);
                let CallContext { owner, unread, .. } = &self.context;
                let deadline = self.deadline(now, timeout);
                let sent = owner.apply_all(operations, named, unread.clone(), deadline);
                let slot = sent.map_or_else(|error| Slot::NotSent(error, 1), Slot::All);
                self.put(slot, 1);
            }
        }
    }

    fn send(&self, group: &mut Group, now: Instant) {
        self.send_by(group, self.deadline(now, None));
    }

    /// Sends the group to the owner, and leaves it empty.
    fn send_by(&self, group: &mut Group, deadline: Instant) {
        let Group { frames, .. } = mem::take(group);
        let count = frames.len();
        if count == 0 {
            return;
        }
        let CallContext { owner, unread, .. } = &self.context;
        let slot = match owner.apply_each(frames, unread.clone(), deadline) {
            Ok(pending) => Slot::Each(pending, count),
            Err(error) => Slot::NotSent(error, count),
        };
        self.put(slot, count);
    }

    fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Instant {
        let max = self.context.limits.max_deadline;
        let deadline = now + timeout.map_or(max, |timeout| timeout.min(max));
        self.deadline
            .map_or(deadline, |stream| stream.min(deadline))
    }
}

/// Frames that arrived together, of operations that stand alone.
#[derive(Default)]
struct Group {
    frames: Vec<EachFrame>,
    /// Of all of them.
    operations: usize,
}

impl Group {
    fn add(&mut self, frame: EachFrame) {
        self.operations += frame.operations.len();
        self.frames.push(frame);
    }
}

/// The answers of a stream, in the order of its frames.
struct Answers {
    slots: mpsc::Receiver<Slot>,
    places: Arc<Places>,
    /// The slot that is next, once it was looked at and had no answer yet.
    first: Option<Slot>,
    owed: Owed,
    timer: Timer,
}

/// The answers to several frames, as far as they are still to be given.
enum Owed {
    /// To those that went to the owner together.
    Each(vec::IntoIter<(EachOutcome, Held)>),
    /// The same to so many.
    Failed(CallError, usize),
    /// To so many that found no place.
    Overloaded(usize),
}

impl Answers {
    fn next_owed(&mut self) -> Option<Answer> {
        match &mut self.owed {
            Owed::Each(answers) => {
                // What the answer holds on the account of unread bytes is let go of when it is encoded: from here on it
                // is bounded by the window that the client gives.
                let (answer, _held) = answers.next()?;
                self.places.give_back();
                Some(Answer::Each(answer))
            }
            Owed::Failed(error, count) => {
                *count = count.checked_sub(1)?;
                self.places.give_back();
                Some(Answer::Refused(error.clone().into()))
            }
            Owed::Overloaded(count) => {
                *count = count.checked_sub(1)?;
                Some(Answer::Refused(too_many_frames(self.places.max)))
            }
        }
    }
}

impl Stream for Answers {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(answer) = this.next_owed() {
                return Poll::Ready(Some(Ok(answer)));
            }
            let slot = match this.first.take() {
                Some(slot) => slot,
                None => match ready!(this.slots.poll_recv(cx)) {
                    Some(slot) => slot,
                    // The reader is gone without a word. Never let that pass for an end in order.
                    None => Slot::End(Err(Status::internal("the stream was not read to its end"))),
                },
            };
            let answer = match slot {
                Slot::Each(mut pending, count) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(answers) => {
                        this.owed = match answers {
                            Ok(answers) => Owed::Each(answers.into_iter()),
                            Err(error) => Owed::Failed(error, count),
                        };
                        continue;
                    }
                    Poll::Pending => {
                        this.first = Some(Slot::Each(pending, count));
                        return Poll::Pending;
                    }
                },
                Slot::NotSent(error, count) => {
                    this.owed = Owed::Failed(error, count);
                    continue;
                }
                Slot::All(mut pending) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(Ok((answer, _held))) => Answer::All(answer),
                    Poll::Ready(Err(error)) => Answer::Refused(error.into()),
                    Poll::Pending => {
                        this.first = Some(Slot::All(pending));
                        return Poll::Pending;
                    }
                },
                Slot::Refused(refusal) => Answer::Refused(refusal),
                Slot::Overloaded(count) => {
                    this.owed = Owed::Overloaded(count);
                    this.places.give_back();
                    continue;
                }
                Slot::End(end) => return Poll::Ready(end.err().map(Err)),
            };
            this.places.give_back();
            return Poll::Ready(Some(Ok(answer)));
        }
    }
}

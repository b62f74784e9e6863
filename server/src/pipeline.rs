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
//! against the whole connection. What keeps memory bounded is the queue of slots: a frame is sent to the owner only
//! if there is a slot free to answer it, and refused otherwise. Refusals in a row are only counted. What the answers
//! in the slots may hold is bounded for the connection as a whole (`owner/unread.rs`).

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{iter, mem, vec};

use bytes::Bytes;
use futures_core::Stream;
use soloist::codec::not_a_message;
use tokio::sync::mpsc::{self, Permit};
use tokio::time::Instant;
use tonic::Status;

use crate::config::GROUP_OPERATIONS_MAX;
use crate::deadline::Deadline;
use crate::frame::{self, Answer, Done, Frame};
use crate::machine::{AllOutcome, EachOutcome};
use crate::owner::{CallError, EachFrame, Held, Pending, Timer};
use crate::service::StateService;
use crate::status::{Refusal, too_many_frames};
use crate::stream_end::stream_end;
use crate::transport::Messages;

/// The answers to frames that went to the owner together.
type Answered = Vec<(EachOutcome, Held)>;

/// The place of an answer in the stream.
enum Slot {
    /// The first of frames that are on their way through the owner together.
    First(Pending<Answered>),
    /// A frame that went with the one in front of it.
    Next,
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
        together: Ok(Vec::new().into_iter()),
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
                frame = frames.next() => match frame? {
                    Some(frame) => self.take(frame, frames, overloaded)?,
                    None => return Ok(()),
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

    /// Sends a frame, and all that arrived with it, to the owner. What comes back, now or later, has its place in the stream.
    ///
    /// # Errors
    /// With what the stream has to end, if one is no frame.
    fn take(
        &self,
        frame: Bytes,
        frames: &mut Messages,
        overloaded: &mut u64,
    ) -> Result<(), Status> {
        let now = Instant::now();
        let mut group = Group::default();
        let mut next = Some(frame);
        while let Some(message) = next {
            match self.slots.try_reserve() {
                Ok(slot) if *overloaded == 0 => {
                    match frame::decode(&message, &self.service.limits) {
                        Ok(Ok(frame)) => self.add(&mut group, slot, frame, now),
                        Ok(Err(bad)) => {
                            self.send(&mut group, now);
                            slot.send(Slot::Refused(bad.into()));
                        }
                        Err(error) => {
                            self.send(&mut group, now);
                            return Err(not_a_message(&error));
                        }
                    }
                }
                _ => *overloaded += 1,
            }
            next = frames.take_arrived();
        }
        self.send(&mut group, now);
        Ok(())
    }

    /// Adds a frame to the group, or sends it behind that.
    fn add<'a>(&self, group: &mut Group<'a>, slot: Permit<'a, Slot>, frame: Frame, now: Instant) {
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
                group.add(slot, EachFrame { operations, named });
            }
            Done::Each(named) => {
                self.send(group, now);
                group.add(slot, EachFrame { operations, named });
                self.send_by(group, self.deadline(now, timeout));
            }
            Done::All(named) => {
                self.send(group, now);
                let StateService { owner, unread, .. } = &self.service;
                let deadline = self.deadline(now, timeout);
                let sent = owner.apply_all(operations, named, unread.clone(), deadline);
                slot.send(sent.map_or_else(|error| Slot::Refused(error.into()), Slot::All));
            }
        }
    }

    fn send(&self, group: &mut Group<'_>, now: Instant) {
        self.send_by(group, self.deadline(now, None));
    }

    /// Sends the group to the owner, and leaves it empty.
    fn send_by(&self, group: &mut Group<'_>, deadline: Instant) {
        let Group { slots, frames, .. } = mem::take(group);
        let mut slots = slots.into_iter();
        let Some(first) = slots.next() else { return };
        let StateService { owner, unread, .. } = &self.service;
        match owner.apply_each(frames, unread.clone(), deadline) {
            Ok(pending) => {
                first.send(Slot::First(pending));
                slots.for_each(|slot| slot.send(Slot::Next));
            }
            Err(error) => iter::once(first)
                .chain(slots)
                .for_each(|slot| slot.send(Slot::Refused(error.clone().into()))),
        }
    }

    fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Instant {
        let max = self.service.limits.max_deadline;
        let deadline = now + timeout.map_or(max, |timeout| timeout.min(max));
        self.deadline
            .map_or(deadline, |stream| stream.min(deadline))
    }
}

/// Frames that arrived together, of operations that stand alone, with their places in the stream.
#[derive(Default)]
struct Group<'a> {
    slots: Vec<Permit<'a, Slot>>,
    frames: Vec<EachFrame>,
    /// Of all of them.
    operations: usize,
}

impl<'a> Group<'a> {
    fn add(&mut self, slot: Permit<'a, Slot>, frame: EachFrame) {
        self.operations += frame.operations.len();
        self.slots.push(slot);
        self.frames.push(frame);
    }
}

/// The answers of a stream, in the order of its frames.
struct Answers {
    slots: mpsc::Receiver<Slot>,
    /// The slot that is next, once it was looked at and had no answer yet.
    first: Option<Slot>,
    /// The answers to the frames that went to the owner with the last one that was answered; or why there are none.
    together: Result<vec::IntoIter<(EachOutcome, Held)>, CallError>,
    timer: Timer,
    /// Answers still owed for the last [`Slot::Overloaded`].
    overloaded: u64,
    frames_max: usize,
}

impl Answers {
    fn next_together(&mut self) -> Result<Answer, CallError> {
        let answers = self.together.as_mut().map_err(|error| error.clone())?;
        let (answer, _held) = answers.next().expect("each frame is answered");
        Ok(Answer::Each(answer))
    }
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
                Slot::First(mut pending) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(answers) => {
                        this.together = answers.map(Vec::into_iter);
                        this.next_together()
                    }
                    Poll::Pending => {
                        this.first = Some(Slot::First(pending));
                        return Poll::Pending;
                    }
                },
                Slot::Next => this.next_together(),
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

//! One Pipeline stream: frames in, answers out, in order.
//!
//! ```text
//! client -> reader task -> mailbox of the owner
//!               |                  |
//!               +---- queue -----> answers -> client
//! ```
//!
//! What has arrived together goes to the owner together, as far as it is frames of operations that stand alone.
//!
//! The reader never stops reading, not even if the client does not take its answers: HTTP/2 counts unread frames
//! against the whole connection. What keeps memory bounded are the permits of a stream: a frame is sent to the owner only
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

use super::body::request::RequestMessages;
use super::context::CallContext;
use super::deadline::Deadline;
use super::frame::{self, Apply, Frame, FrameAnswer};
use super::permits::Permits;
use super::status::{Refusal, too_many_frames};
use super::stream_end::stream_end;
use crate::config::GROUP_OPERATIONS_MAX;
use crate::machine::{AllOutcome, EachOutcome};
use crate::owner::{CallError, EachFrame, Pending, QuotaGuard, Timer};

/// The answers to frames that went to the owner together.
type EachAnswers = Vec<(EachOutcome, QuotaGuard)>;

/// What is next in the stream. All but the end have a place, or several.
enum Queued {
    /// So many frames that are on their way through the owner together, a place for each.
    Each(Pending<EachAnswers>, usize),
    /// So many that could not be sent there.
    NotSent(CallError, usize),
    /// An atomic frame, on its way through the owner.
    All(Pending<(AllOutcome, QuotaGuard)>),
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
    frames: RequestMessages,
    context: CallContext,
    deadline: Deadline,
) -> impl Stream<Item = Result<FrameAnswer, Status>> + Send + 'static {
    let permits = Arc::new(Permits::of(context.limits.max_frames_in_flight));
    let (queue, answers) = mpsc::channel(permits.max);
    let reader = Reader {
        context,
        deadline: deadline.or_never(),
        queue,
        permits: Arc::clone(&permits),
    };
    tokio::spawn(reader.run(frames));
    FrameAnswers {
        queue: answers,
        permits,
        first: None,
        ready_answers: Ready::Each(Vec::new().into_iter()),
        timer: Timer::default(),
    }
}

struct Reader {
    context: CallContext,
    /// The stream's own.
    deadline: Option<Instant>,
    queue: mpsc::Sender<Queued>,
    permits: Arc<Permits>,
}

impl Reader {
    async fn run(self, mut frames: RequestMessages) {
        let mut overloaded = 0;
        let end = self.read(&mut frames, &mut overloaded).await;
        // The client may take its time to read what it is still ready_answers, and go on sending: that is thrown away.
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
    /// ready_answers a refusal in `overloaded`.
    async fn read(
        &self,
        frames: &mut RequestMessages,
        overloaded: &mut usize,
    ) -> Result<(), Status> {
        let drain = self.context.drain.clone();
        let mut end = pin!(stream_end(self.deadline, drain, self.queue.clone()));
        loop {
            // Biased, so that refusals get their place before any later frame. That frames go before the end starves
            // nothing: there are never more of them ready than fit into the stream's window.
            tokio::select! {
                biased;
                () = self.permits.one_free(), if *overloaded > 0 => {
                    self.put(Queued::Overloaded(mem::take(overloaded)), 1);
                }
                frame = frames.next() => match frame? {
                    Some(frame) => self.take(frame, frames, overloaded)?,
                    None => return Ok(()),
                },
                status = &mut end => return Err(status),
            }
        }
    }

    /// Sends what is ready_answers, and the end. That nobody takes them means that the client has left.
    async fn finish(&self, overloaded: usize, end: Result<(), Status>) {
        if overloaded > 0 {
            tokio::select! {
                () = self.permits.one_free() => self.put(Queued::Overloaded(overloaded), 1),
                () = self.queue.closed() => return,
            }
        }
        let _ = self.queue.send(Queued::End(end)).await;
    }

    /// Sends on what takes so many permits, which are free.
    fn put(&self, queued: Queued, permits: usize) {
        self.permits.take(permits);
        if let Err(TrySendError::Full(_)) = self.queue.try_send(queued) {
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
        frames: &mut RequestMessages,
        overloaded: &mut usize,
    ) -> Result<(), Status> {
        if self.queue.is_closed() {
            return Ok(());
        }
        let now = Instant::now();
        let mut free = self.permits.free();
        let mut group = Group::default();
        let mut next = Some(frame);
        while let Some(message) = next {
            if free > 0 && *overloaded == 0 {
                free -= 1;
                match frame::decode(&message, &self.context.limits) {
                    Ok(Ok(frame)) => self.add(&mut group, frame, now),
                    Ok(Err(bad)) => {
                        self.send(&mut group, now);
                        self.put(Queued::Refused(bad.into()), 1);
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
            apply,
            timeout,
        } = frame;
        match apply {
            Apply::Each(request_ids) if request_ids.is_empty() && timeout.is_none() => {
                if group.operations + operations.len() > GROUP_OPERATIONS_MAX {
                    self.send(group, now);
                }
                group.add(EachFrame {
                    operations,
                    request_ids,
                });
            }
            Apply::Each(request_ids) => {
                self.send(group, now);
                group.add(EachFrame {
                    operations,
                    request_ids,
                });
                self.send_by(group, self.deadline(now, timeout));
            }
            Apply::All(request_id) => {
                self.send(group, now);
                let CallContext { owner, quota, .. } = &self.context;
                let deadline = self.deadline(now, timeout);
                let sent = owner.apply_all(operations, request_id, quota.clone(), deadline);
                let queued = sent.map_or_else(|error| Queued::NotSent(error, 1), Queued::All);
                self.put(queued, 1);
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
        let CallContext { owner, quota, .. } = &self.context;
        let queued = match owner.apply_each(frames, quota.clone(), deadline) {
            Ok(pending) => Queued::Each(pending, count),
            Err(error) => Queued::NotSent(error, count),
        };
        self.put(queued, count);
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
struct FrameAnswers {
    queue: mpsc::Receiver<Queued>,
    permits: Arc<Permits>,
    /// The queued that is next, once it was looked at and had no answer yet.
    first: Option<Queued>,
    ready_answers: Ready,
    timer: Timer,
}

/// The answers to several frames, as far as they are still to be given.
enum Ready {
    /// To those that went to the owner together.
    Each(vec::IntoIter<(EachOutcome, QuotaGuard)>),
    /// The same to so many.
    Failed(CallError, usize),
    /// To so many that found no place.
    Overloaded(usize),
}

impl FrameAnswers {
    fn next_ready(&mut self) -> Option<FrameAnswer> {
        match &mut self.ready_answers {
            Ready::Each(answers) => {
                // What the answer holds on the account of unread bytes is let go of when it is encoded: from here on it
                // is bounded by the window that the client gives.
                let (answer, _held) = answers.next()?;
                self.permits.give_back();
                Some(FrameAnswer::Each(answer))
            }
            Ready::Failed(error, count) => {
                *count = count.checked_sub(1)?;
                self.permits.give_back();
                Some(FrameAnswer::Refused(error.clone().into()))
            }
            Ready::Overloaded(count) => {
                *count = count.checked_sub(1)?;
                Some(FrameAnswer::Refused(too_many_frames(self.permits.max)))
            }
        }
    }
}

impl Stream for FrameAnswers {
    type Item = Result<FrameAnswer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(answer) = this.next_ready() {
                return Poll::Ready(Some(Ok(answer)));
            }
            let queued = match this.first.take() {
                Some(queued) => queued,
                None => match ready!(this.queue.poll_recv(cx)) {
                    Some(queued) => queued,
                    // The reader is gone without a word. Never let that pass for an end in order.
                    None => {
                        Queued::End(Err(Status::internal("the stream was not read to its end")))
                    }
                },
            };
            let answer = match queued {
                Queued::Each(mut pending, count) => {
                    match pending.poll_answer(cx, &mut this.timer) {
                        Poll::Ready(answers) => {
                            this.ready_answers = match answers {
                                Ok(answers) => Ready::Each(answers.into_iter()),
                                Err(error) => Ready::Failed(error, count),
                            };
                            continue;
                        }
                        Poll::Pending => {
                            this.first = Some(Queued::Each(pending, count));
                            return Poll::Pending;
                        }
                    }
                }
                Queued::NotSent(error, count) => {
                    this.ready_answers = Ready::Failed(error, count);
                    continue;
                }
                Queued::All(mut pending) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(Ok((answer, _held))) => FrameAnswer::All(answer),
                    Poll::Ready(Err(error)) => FrameAnswer::Refused(error.into()),
                    Poll::Pending => {
                        this.first = Some(Queued::All(pending));
                        return Poll::Pending;
                    }
                },
                Queued::Refused(refusal) => FrameAnswer::Refused(refusal),
                Queued::Overloaded(count) => {
                    this.ready_answers = Ready::Overloaded(count);
                    this.permits.give_back();
                    continue;
                }
                Queued::End(end) => return Poll::Ready(end.err().map(Err)),
            };
            this.permits.give_back();
            return Poll::Ready(Some(Ok(answer)));
        }
    }
}

//! One Pipeline stream: frames in, answers out, in the order of the frames.
//!
//! ```text
//! client -> reader task -> mailbox of the owner
//!               |                  |
//!               +---- queue -> FrameAnswers -> client
//! ```
//!
//! Frames that have arrived together go to the owner as one message, if their operations stand alone.
//!
//! The reader never stops reading, even if the client does not take its answers: in HTTP/2, data that nobody reads on one
//! stream uses up the flow-control window of the whole connection. What bounds memory is the number of permits of a stream:
//! a frame needs one to be sent to the owner, and is refused if none is free. Consecutive refusals are one element of the
//! queue, a count. The bytes of unread answers are bounded for the connection as a whole, see `owner/quota.rs`.

use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tonic::Status;

use super::answering::{self, catch};
use super::body::request::RequestMessages;
use super::context::CallContext;
use super::deadline::Deadline;
use super::frame::{self, Answers, Decoded, FrameAnswer, Pieces};
use super::permits::Permits;
use super::rights::{KeyCheck, PermittedFrames, Rights};
use super::slow_calls::{SlowFrames, SlowMessage};
use super::status::{Refusal, handler_panicked, not_a_message, too_many_frames};
use super::stream_end::stream_end;
use crate::config::GROUP_OPERATIONS_MAX;
use crate::machine::{AllOutcome, Mark, PlainFrames, Revision};
use crate::owner::{CallError, Pending, QuotaGuard, Successor, Timer};

/// What logs a message if it is slow. None if slow ones are not logged.
type Slow = Option<Box<SlowMessage>>;

/// An element of the queue from the reader to the client, which is in the order of the frames.
enum Queued {
    /// Frames sent to the owner as one message, and how many they are. Each holds one permit.
    Each(Pending<(Answers, QuotaGuard)>, usize, Slow),
    /// Frames that the owner's mailbox refused, and how many they are. Each holds one permit.
    NotSent(CallError, usize),
    /// An atomic frame sent to the owner. It holds one permit.
    All(Pending<(AllOutcome, QuotaGuard)>, Slow),
    /// A frame with a bad argument, which was not sent to the owner. It holds one permit.
    Refused(Refusal),
    /// Consecutive frames for which no permit was free, and how many they are. All of them hold one permit.
    Overloaded(usize),
    /// The end of the stream, which needs no permit.
    End(Result<(), Status>),
}

/// Serves one stream, and returns its answers.
///
/// Frames are read by a task of its own, until the client has sent everything, the answers are dropped, the deadline
/// passes, or the server drains.
pub(crate) fn serve(
    frames: RequestMessages,
    context: CallContext,
    deadline: Deadline,
    slow: Option<Arc<SlowFrames>>,
) -> impl Stream<Item = Result<FrameAnswer, Status>> + Send + 'static {
    let permits = Arc::new(Permits::new(context.limits.max_frames_in_flight));
    let (queue, answers) = mpsc::channel(permits.max);
    let successor = context.caller.successor();
    let reader = Reader {
        context,
        deadline: deadline.or_never(),
        queue: queue.clone(),
        permits: Arc::clone(&permits),
        slow,
    };
    spawn(reader.run(frames), queue);
    FrameAnswers::new(answers, permits, successor)
}

/// Runs a reader. If it panics, the stream ends with an error.
fn spawn(reader: impl Future<Output = ()> + Send + 'static, queue: mpsc::Sender<Queued>) {
    answering::spawn(reader, queue, |refusal| Queued::End(Err(refusal.into())));
}

/// Reads the frames of a stream, and sends them to the owner.
struct Reader {
    context: CallContext,
    /// The deadline of the whole stream.
    deadline: Option<Instant>,
    queue: mpsc::Sender<Queued>,
    permits: Arc<Permits>,
    /// None if slow frames are not logged.
    slow: Option<Arc<SlowFrames>>,
}

impl Reader {
    async fn run(mut self, mut frames: RequestMessages) {
        let mut overloaded = 0;
        let end = self.read(&mut frames, &mut overloaded).await;
        // While the client takes the last answers it may go on sending: read that too, and throw it away.
        let discard = async move {
            while let Ok(Some(_)) = frames.next().await {}
            // Part of a message is not kept while the client takes the last answers.
            drop(frames);
            std::future::pending().await
        };
        tokio::select! {
            () = self.finish(overloaded, end) => {}
            () = discard => {}
        }
    }

    /// Reads frames and sends them to the owner until the stream ends. `overloaded` counts the frames that are refused
    /// for want of a permit, and whose refusal is not in the queue yet.
    ///
    /// # Errors
    /// The status that the stream has to end with, if it is not the client that ended it.
    async fn read(
        &mut self,
        frames: &mut RequestMessages,
        overloaded: &mut usize,
    ) -> Result<(), Status> {
        let drain = self.context.drain.clone();
        let mut end = pin!(stream_end(self.deadline, drain, self.queue.clone()));
        loop {
            // Biased, so that refusals enter the queue before any later frame. Reading frames before looking at the end
            // does not starve the end: only as many frames can be ready as fit into the stream's flow-control window.
            tokio::select! {
                biased;
                () = self.permits.wait_for_one(), if *overloaded > 0 => {
                    self.put(Queued::Overloaded(mem::take(overloaded)), 1);
                }
                arrived = frames.arrived() => match arrived? {
                    true => self.send_arrived(frames, overloaded)?,
                    false => return Ok(()),
                },
                status = &mut end => return Err(status),
            }
        }
    }

    /// Queues the last refusals and the end. If the client has left, nobody takes them, and that is fine.
    async fn finish(&self, overloaded: usize, end: Result<(), Status>) {
        if overloaded > 0 {
            tokio::select! {
                () = self.permits.wait_for_one() => self.put(Queued::Overloaded(overloaded), 1),
                () = self.queue.closed() => return,
            }
        }
        let _ = self.queue.send(Queued::End(end)).await;
    }

    /// Queues an element that holds `permits`, which must be free.
    fn put(&self, queued: Queued, permits: usize) {
        self.permits.acquire(permits);
        if let Err(TrySendError::Full(_)) = self.queue.try_send(queued) {
            unreachable!("the queue has room for an element per permit");
        }
        // Otherwise the queue is closed: the client has left.
    }

    /// Sends all frames that have arrived to the owner, and queues what their answers come from.
    ///
    /// # Errors
    /// The status that the stream has to end with, if one of the messages is not a frame.
    fn send_arrived(
        &mut self,
        frames: &mut RequestMessages,
        overloaded: &mut usize,
    ) -> Result<(), Status> {
        if self.queue.is_closed() {
            while frames.take_arrived_with(|_| ()).is_some() {}
            return Ok(());
        }
        let now = Instant::now();
        self.context.caller.look_up_again();
        let rights = self.context.caller.rights();
        let mut free = self.permits.free();
        let mut group = PermittedFrames::default();
        let mut send = |message: &[u8]| {
            if free == 0 || *overloaded > 0 {
                *overloaded += 1;
                return Ok(());
            }
            free -= 1;
            self.add(&mut group, message, &rights, now)
        };
        while let Some(sent) = frames.take_arrived_with(&mut send) {
            sent?;
        }
        self.send(&mut group, now);
        Ok(())
    }

    /// Adds a frame to the group, or sends the group first and the frame as a message of its own. A frame that is refused is
    /// so in its place.
    ///
    /// # Errors
    /// The status that the stream has to end with, if `message` is not a frame.
    fn add(
        &self,
        group: &mut PermittedFrames,
        message: &[u8],
        rights: &Result<Rights<'_>, Refusal>,
        now: Instant,
    ) -> Result<(), Status> {
        let before = group.mark();
        let decoded = group.append(rights, |frames, keys| self.decode(message, frames, keys));
        let decoded = decoded.and_then(|decoded| self.place(group, &before, decoded, rights, now));
        decoded.or_else(|not_sent| {
            self.send(group, now);
            match not_sent {
                NotSent::Refused(refusal) => {
                    self.put(Queued::Refused(refusal), 1);
                    Ok(())
                }
                NotSent::NoFrame(status) => Err(status),
            }
        })
    }

    fn decode(
        &self,
        message: &[u8],
        frames: &mut PlainFrames,
        keys: &mut KeyCheck<'_>,
    ) -> Result<Decoded, NotSent> {
        match catch(|| frame::decode(message, &self.context.limits, frames, keys)) {
            Ok(Ok(Ok(decoded))) => Ok(decoded),
            Ok(Ok(Err(bad))) => Err(NotSent::Refused(bad.into())),
            Ok(Err(error)) => Err(NotSent::NoFrame(not_a_message(&error))),
            Err(panicked) => Err(NotSent::Refused(panicked)),
        }
    }

    /// Leaves a frame in the group, to which it was added after `before` if it is a plain one, or sends it by itself.
    ///
    /// # Errors
    /// NOT_PERMITTED if it is atomic, and the caller may not do all of it.
    fn place(
        &self,
        group: &mut PermittedFrames,
        before: &Mark,
        decoded: Decoded,
        rights: &Result<Rights<'_>, Refusal>,
        now: Instant,
    ) -> Result<(), NotSent> {
        match decoded {
            Decoded::Each {
                timeout: None,
                has_request_ids: false,
            } => {
                if group.operation_count() > GROUP_OPERATIONS_MAX && !before.is_start() {
                    let last = group.split_off(before);
                    self.send(group, now);
                    *group = last;
                }
            }
            Decoded::Each { timeout, .. } => {
                let mut alone = group.split_off(before);
                self.send(group, now);
                self.send_by(&mut alone, now, self.deadline(now, timeout));
            }
            Decoded::All {
                operations,
                request_id,
                timeout,
            } => {
                let rights = rights.as_ref().map_err(Refusal::again)?;
                let frame = rights.all(operations, request_id)?;
                self.send(group, now);
                let CallContext { caller, quota, .. } = &self.context;
                let deadline = self.deadline(now, timeout);
                let send = || caller.apply_all(frame, quota.clone(), deadline);
                let queued = match self.sent(now, send) {
                    (Ok(pending), slow) => Queued::All(pending, slow),
                    (Err(error), _) => Queued::NotSent(error, 1),
                };
                self.put(queued, 1);
            }
        }
        Ok(())
    }

    /// Sends the group to the owner, with the deadline of a frame that has no timeout of its own.
    fn send(&self, group: &mut PermittedFrames, now: Instant) {
        self.send_by(group, now, self.deadline(now, None));
    }

    /// Sends the group, whose frames arrived at this moment, to the owner, and leaves it empty.
    fn send_by(&self, group: &mut PermittedFrames, now: Instant, deadline: Instant) {
        let count = group.frame_count();
        if count == 0 {
            return;
        }
        let frames = mem::take(group);
        let CallContext { caller, quota, .. } = &self.context;
        let send = || caller.apply_each(frames, Answers::default(), quota.clone(), deadline);
        let queued = match self.sent(now, send) {
            (Ok(pending), slow) => Queued::Each(pending, count, slow),
            (Err(error), _) => Queued::NotSent(error, count),
        };
        self.put(queued, count);
    }

    /// Sends a message, whose frames arrived at this moment, to the owner.
    fn sent<T>(&self, now: Instant, send: impl FnOnce() -> T) -> (T, Slow) {
        match &self.slow {
            None => (send(), None),
            Some(frames) => {
                let (sent, slow) = frames.sent(&self.context.caller, now, send);
                (sent, Some(slow))
            }
        }
    }

    /// When a frame must be answered: the earliest of its own timeout, `Limits.max_deadline` and the stream's deadline.
    fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Instant {
        let max = self.context.limits.max_deadline;
        let deadline = now + timeout.map_or(max, |timeout| timeout.min(max));
        self.deadline
            .map_or(deadline, |stream| stream.min(deadline))
    }
}

/// Why a frame does not go to the owner.
enum NotSent {
    /// It is refused.
    Refused(Refusal),
    /// It is none, and the stream ends.
    NoFrame(Status),
}

impl From<Refusal> for NotSent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The answers of a stream, in the order of its frames.
struct FrameAnswers {
    queue: mpsc::Receiver<Queued>,
    permits: Arc<Permits>,
    /// The element at the front of the queue, if it was polled and its answer was still pending.
    front: Option<Queued>,
    ready: Ready,
    /// The greatest revision that an answer of this stream has named.
    last_revision: Revision,
    timer: Timer,
    /// Explains why the owner has not answered.
    successor: Successor,
}

/// Answers that can be handed out: what remains of the last element of the queue.
enum Ready {
    /// Answers to frames that were sent as one message, and the charge for them; none once all were handed out.
    Each(Option<(Pieces, QuotaGuard)>),
    /// The answer to one frame; none once it was handed out.
    One(Option<FrameAnswer>),
    /// The same error for several frames, and how many they are.
    Failed(CallError, usize),
    /// The refusal for want of a permit, and of how many frames.
    Overloaded(usize),
}

impl FrameAnswers {
    fn new(queue: mpsc::Receiver<Queued>, permits: Arc<Permits>, successor: Successor) -> Self {
        Self {
            queue,
            permits,
            front: None,
            ready: Ready::One(None),
            last_revision: 0,
            timer: Timer::default(),
            successor,
        }
    }

    /// The next answer, at a revision that is not before those of the answers before it.
    fn next_in_order(&mut self) -> Option<FrameAnswer> {
        let mut answer = self.next_ready()?;
        answer.raise_revision(&mut self.last_revision);
        Some(answer)
    }

    fn next_ready(&mut self) -> Option<FrameAnswer> {
        let answer = match &mut self.ready {
            Ready::Each(each) => {
                let (pieces, _) = each.as_mut()?;
                let (piece, frames) = pieces.next();
                if pieces.is_empty() {
                    // They stop counting here: from then on the body counts them.
                    *each = None;
                }
                self.permits.release(frames);
                return Some(FrameAnswer::Each(piece));
            }
            Ready::One(answer) => answer.take()?,
            Ready::Failed(error, count) => {
                *count = count.checked_sub(1)?;
                FrameAnswer::Refused(error.clone().into())
            }
            Ready::Overloaded(count) => {
                *count = count.checked_sub(1)?;
                // Their one permit was released when they left the queue.
                return Some(FrameAnswer::Refused(too_many_frames(self.permits.max)));
            }
        };
        self.permits.release(1);
        Some(answer)
    }

    /// The element at the front of the queue.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<Queued> {
        if let Some(front) = self.front.take() {
            return Poll::Ready(front);
        }
        self.queue.poll_recv(cx).map(|front| {
            // The reader ends the queue with an `End`, even if it panics. If it was dropped instead, the stream must not seem
            // to end in order.
            front.unwrap_or_else(|| Queued::End(Err(handler_panicked().into())))
        })
    }
}

impl Stream for FrameAnswers {
    type Item = Result<FrameAnswer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(answer) = this.next_in_order() {
                return Poll::Ready(Some(Ok(answer)));
            }
            this.ready = match ready!(this.poll_front(cx)) {
                Queued::Each(mut pending, count, slow) => {
                    match pending.poll_answer(cx, &mut this.timer) {
                        Poll::Ready(answers) => {
                            end(slow, count, &answers);
                            match answers {
                                Ok((answers, charged)) => {
                                    let pieces = answers.finish(&mut this.last_revision);
                                    Ready::Each(Some(charge(pieces, charged)))
                                }
                                Err(error) => Ready::Failed(this.successor.explain(error), count),
                            }
                        }
                        Poll::Pending => {
                            this.front = Some(Queued::Each(pending, count, slow));
                            return Poll::Pending;
                        }
                    }
                }
                Queued::All(mut pending, slow) => match pending.poll_answer(cx, &mut this.timer) {
                    Poll::Ready(answer) => {
                        end(slow, 1, &answer);
                        Ready::One(Some(match answer {
                            Ok((answer, _guard)) => FrameAnswer::All(answer),
                            Err(error) => {
                                FrameAnswer::Refused(this.successor.explain(error).into())
                            }
                        }))
                    }
                    Poll::Pending => {
                        this.front = Some(Queued::All(pending, slow));
                        return Poll::Pending;
                    }
                },
                Queued::NotSent(error, count) => Ready::Failed(error, count),
                Queued::Refused(refusal) => Ready::One(Some(FrameAnswer::Refused(refusal))),
                Queued::Overloaded(count) => {
                    this.permits.release(1);
                    Ready::Overloaded(count)
                }
                Queued::End(end) => return Poll::Ready(end.err().map(Err)),
            };
        }
    }
}

/// Charges for the answers what they take now: refusals take more once they are encoded.
fn charge(pieces: Pieces, charged: QuotaGuard) -> (Pieces, QuotaGuard) {
    let bytes = pieces.byte_len();
    let charged = match bytes > charged.bytes() {
        true => charged.encoded(bytes),
        false => charged,
    };
    (pieces, charged)
}

/// Ends a message of `count` frames, which is logged if it was slow.
fn end<T>(slow: Slow, count: usize, answer: &Result<T, CallError>) {
    if let Some(slow) = slow {
        slow.end(count, answer.as_ref().err());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::config::{Limits, MailboxLimits};
    use crate::machine::{StateMachine, Time};
    use crate::owner::{self, ClientMemory, Clock, OwnerLimits};
    use crate::rpc::answering::{PANICKING, panic_count};

    fn answers() -> (mpsc::Sender<Queued>, FrameAnswers) {
        answers_of(Successor::default())
    }

    fn answers_of(successor: Successor) -> (mpsc::Sender<Queued>, FrameAnswers) {
        let permits = Arc::new(Permits::new(2));
        let (queue, answers) = mpsc::channel(permits.max);
        permits.acquire(2);
        (queue, FrameAnswers::new(answers, permits, successor))
    }

    /// Frames that wait in the mailbox when the owner hands off were not begun, and say who the owner is.
    #[tokio::test]
    async fn frames_that_nobody_has_begun_with_go_to_the_next_owner() {
        let limits = OwnerLimits {
            mailbox: MailboxLimits::DEFAULT,
            answer_bytes: 1,
            watches: 1,
        };
        let machine = StateMachine::new(Limits::DEFAULT.store_limits());
        // It has no time to begin.
        let (owner, task) = owner::spawn(machine, Clock::set(Time::MIN), limits);
        let successor = owner.successor();
        let (queue, mut answers) = answers_of(successor.clone());
        let quota = || ClientMemory::new(1 << 20).connection(1 << 20);
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let mut frames = PlainFrames::default();
        frames.end_frame();
        let each = owner
            .apply_each(frames, Answers::default(), quota(), deadline)
            .unwrap();
        let all = owner
            .apply_all(Vec::new(), None, quota(), deadline)
            .unwrap();
        queue.try_send(Queued::Each(each, 1, None)).unwrap();
        queue.try_send(Queued::All(all, None)).unwrap();
        successor.set("b:1".into());
        task.abort();
        for _ in 0..2 {
            let answer = answers.next().await.unwrap().unwrap();
            let FrameAnswer::Refused(refusal) = answer else {
                panic!("a frame was answered");
            };
            let status = refusal.into_status();
            assert_eq!(status.code(), Code::Unavailable);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, "NOT_OWNER");
            assert_eq!(info.metadata["owner"], "b:1");
        }
    }

    async fn ended_with(answers: &mut FrameAnswers) -> Code {
        answers.next().await.unwrap().map(drop).unwrap_err().code()
    }

    #[tokio::test]
    async fn a_reader_that_panics_ends_its_stream_with_an_error_and_is_counted() {
        let _alone = PANICKING.lock().await;
        let before = panic_count();
        let (queue, mut answers) = answers();
        spawn(async { panic!("a fault of the reader") }, queue);
        assert_eq!(ended_with(&mut answers).await, Code::Internal);
        assert_eq!(panic_count(), before + 1);
    }

    #[tokio::test]
    async fn a_reader_that_is_dropped_ends_its_stream_with_an_error_and_is_not_counted() {
        let _alone = PANICKING.lock().await;
        let before = panic_count();
        let (queue, mut answers) = answers();
        drop(queue);
        assert_eq!(ended_with(&mut answers).await, Code::Internal);
        assert_eq!(panic_count(), before);
    }
}

//! Pipelines: frames of operations, many in flight on one stream, answered in order.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{error::Error as StdError, fmt};

use futures_core::Stream;
use soloist::v1::{PipelineRequest, PipelineResponse};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Code, Streaming};

use crate::connection::Connection;
use crate::timeout::within;
use crate::{Error, Frame, FrameReply, Outcome};

/// How many frames of one pipeline may be unanswered, unless told otherwise: what servers allow by default
/// (`Limits.max_frames_in_flight`), beyond which they answer OVERLOADED.
pub const FRAMES_IN_FLIGHT: usize = 256;

/// The most that can be asked for: what any server can be told to allow.
const FRAMES_IN_FLIGHT_MAX: usize = 65_536;

/// Frames on their way to a server, and their answers, in the order sent.
///
/// Used whole, `send` and `recv` alternate as the caller sees fit; [`split`](Self::split) gives the two halves to
/// two tasks. Dropped, the stream is cancelled; what is unanswered then may have been applied or not.
///
/// ```
/// use soloist_client::{Client, Frame, OpReply, Read, Write};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// let mut pipeline = client.pipeline().await?;
///
/// // Both are on their way before the first is answered.
/// pipeline.send(Frame::new().op(Write::new("a", 1)).op(Write::new("b", 2)))?;
/// pipeline.send(Frame::new().op(Read::new("b")))?;
///
/// let written = pipeline.recv().await?.expect("an answer for each frame");
/// assert_eq!(written.results?.len(), 2);
/// let read = pipeline.recv().await?.expect("an answer for each frame");
/// let Some(Ok(OpReply::Read(b))) = read.results?.pop() else { panic!("one read") };
/// assert_eq!(b.value(), Some(&2.into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipeline {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Pipeline {
    /// Sends a frame, without waiting: the same task would have to receive to make room.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Full`] with as many frames in flight as are allowed, [`PipelineSendError::Closed`] once
    /// the stream has ended; the frame was not sent.
    pub fn send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        self.sender.try_send(frame)
    }

    /// Receives the answer to the oldest unanswered frame. See [`FrameReceiver::recv`].
    ///
    /// # Errors
    ///
    /// Those of [`FrameReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<FrameReply>, Error> {
        self.receiver.recv().await
    }

    /// Gives the two halves to two tasks.
    #[must_use]
    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

/// The half of a [`Pipeline`] that sends. Dropped, it ends the stream once everything sent is answered.
#[derive(Debug)]
pub struct FrameSender {
    frames: mpsc::Sender<PipelineRequest>,
    permits: Arc<Semaphore>,
}

impl FrameSender {
    /// Sends a frame, after waiting for room as long as the frames in flight are as many as are allowed.
    ///
    /// Another task has to [receive](FrameReceiver::recv) meanwhile. Dropped midway, the frame was not sent.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Closed`] once the stream has ended or the receiving half is gone; the frame was not
    /// sent.
    pub async fn send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        let permits = self.permits.acquire().await;
        permits.map_err(|_| PipelineSendError::Closed)?.forget();
        self.enqueue(frame)
    }

    /// Sends a frame if there is room now.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Full`] if there is none, otherwise as [`send`](Self::send).
    pub fn try_send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        match self.permits.try_acquire() {
            Ok(permits) => permits.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(PipelineSendError::Full),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(PipelineSendError::Closed),
        }
        self.enqueue(frame)
    }

    fn enqueue(&self, frame: Frame) -> Result<(), PipelineSendError> {
        // The channel holds as many frames as may be in flight, so it has room whenever there is a permit.
        self.frames
            .try_send(frame.into())
            .map_err(|_| PipelineSendError::Closed)
    }
}

/// The half of a [`Pipeline`] that receives. Dropped, it cancels the stream.
#[derive(Debug)]
pub struct FrameReceiver {
    responses: Streaming<PipelineResponse>,
    permits: Arc<Semaphore>,
    in_flight_max: usize,
    /// Whether there is nothing more to receive.
    ended: bool,
}

impl FrameReceiver {
    /// Receives the answer to the oldest unanswered frame; `None` once the sending half is gone and everything is
    /// answered, or after an error.
    ///
    /// Waits as long as that takes; the server answers each frame within its timeout, at most
    /// `Limits.max_deadline`. Dropped midway, no answer is lost.
    ///
    /// # Errors
    ///
    /// A frame or an operation that was refused is inside the reply. An error here ends the stream: UNAVAILABLE
    /// with reason DRAINING if the server shuts down, everything read by it answered before; RESOURCE_EXHAUSTED with
    /// reason MESSAGE_TOO_LARGE if the frame after the last answer was too large; otherwise a broken connection. With a
    /// reason, the frames that are not answered were not applied; without one, their outcome is unknown.
    pub async fn recv(&mut self) -> Result<Option<FrameReply>, Error> {
        if self.ended {
            return Ok(None);
        }
        let unanswered = self
            .in_flight_max
            .saturating_sub(self.permits.available_permits());
        let error = match self.responses.message().await {
            Ok(Some(_)) if self.in_flight_max == self.permits.available_permits() => {
                Error::malformed("a frame that was not sent")
            }
            Ok(Some(response)) => {
                self.permits.add_permits(1);
                return Ok(Some(response.into()));
            }
            Ok(None) if unanswered == 0 => {
                self.end();
                return Ok(None);
            }
            Ok(None) => Error::new(
                Code::Unavailable,
                format!("the stream ended with {unanswered} frames unanswered"),
                Outcome::Unknown,
            ),
            Err(status) => Error::from_status(&status, Outcome::Unknown),
        };
        self.end();
        Err(error)
    }

    fn end(&mut self) {
        self.ended = true;
        self.permits.close();
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        self.permits.close();
    }
}

/// Why a frame was not sent. Nothing of it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineSendError {
    /// As many frames are in flight as are allowed: receive first.
    Full,
    /// The stream has ended; what the receiving half answers says why.
    Closed,
}

impl fmt::Display for PipelineSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many frames in flight",
            Self::Closed => "the pipeline has ended",
        })
    }
}

impl StdError for PipelineSendError {}

/// Opens a [`Pipeline`] when awaited.
///
/// Waits until the server has accepted the stream, at most the client's timeout.
///
/// # Errors
///
/// UNAVAILABLE or DEADLINE_EXCEEDED: nothing was sent, and it is safe to retry.
#[derive(Clone, Debug)]
#[must_use = "a pipeline is opened when awaited"]
pub struct PipelineCall<'a> {
    connection: &'a Connection,
    frames_in_flight: usize,
}

impl<'a> PipelineCall<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            frames_in_flight: FRAMES_IN_FLIGHT,
        }
    }

    /// How many frames may be unanswered, from 1 to 65,536; a number beyond is cut to that. Default:
    /// [`FRAMES_IN_FLIGHT`], which is what servers allow unless told otherwise.
    pub fn frames_in_flight(mut self, count: usize) -> Self {
        self.frames_in_flight = count.clamp(1, FRAMES_IN_FLIGHT_MAX);
        self
    }
}

impl IntoFuture for PipelineCall<'_> {
    type Output = Result<Pipeline, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Pipeline, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let mut state = self.connection.state.clone();
        let timeout = self.connection.timeout;
        Box::pin(async move {
            let (frames, queue) = mpsc::channel(self.frames_in_flight);
            let permits = Arc::new(Semaphore::new(self.frames_in_flight));
            // No grpc-timeout: a pipeline lives as long as it is used, and each frame has a time of its own.
            let opening = state.pipeline(FrameQueue(queue));
            let responses = within(timeout, Outcome::NotApplied, opening).await?;
            Ok(Pipeline {
                sender: FrameSender {
                    frames,
                    permits: Arc::clone(&permits),
                },
                receiver: FrameReceiver {
                    responses,
                    permits,
                    in_flight_max: self.frames_in_flight,
                    ended: false,
                },
            })
        })
    }
}

/// Frames waiting to be encoded, as the stream that tonic sends.
struct FrameQueue(mpsc::Receiver<PipelineRequest>);

impl Stream for FrameQueue {
    type Item = PipelineRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PipelineRequest>> {
        self.0.poll_recv(cx)
    }
}

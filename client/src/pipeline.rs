//! Pipelines: many frames of operations in flight on one stream, answered in order.

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
use crate::retry::until_seen;
use crate::timeout::within;
use crate::{Error, Frame, FrameReply, Outcome};

/// How many frames of one pipeline may be unanswered, unless told otherwise: the default of servers
/// (`Limits.max_frames_in_flight`), which refuse further frames with OVERLOADED.
pub const FRAMES_IN_FLIGHT: usize = 256;

/// The largest number that any server can be configured to allow.
const FRAMES_IN_FLIGHT_MAX: usize = 65_536;

/// A stream of frames to a server and of their replies, in the order of the frames.
///
/// Used as a whole, [`send`](Self::send) and [`recv`](Self::recv) alternate as the caller likes. [`split`](Self::split)
/// gives the two halves to two tasks. Dropping a pipeline cancels the stream; the outcome of unanswered frames is
/// unknown then.
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
/// // Both frames are in flight before the first reply.
/// pipeline.send(Frame::new().op(Write::new("a", 1)).op(Write::new("b", 2)))?;
/// pipeline.send(Frame::new().op(Read::new("b")))?;
///
/// let written = pipeline.recv().await?.expect("each frame has a reply");
/// assert_eq!(written.results?.len(), 2);
/// let read = pipeline.recv().await?.expect("each frame has a reply");
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
    /// Sends a frame. Never waits, because only the same task could make room by receiving.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Full`] if as many frames are in flight as allowed, [`PipelineSendError::Closed`] if the
    /// stream has ended. The frame was not sent.
    pub fn send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        self.sender.try_send(frame)
    }

    /// Receives the reply to the oldest unanswered frame. See [`FrameReceiver::recv`].
    ///
    /// # Errors
    ///
    /// Those of [`FrameReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<FrameReply>, Error> {
        self.receiver.recv().await
    }

    /// Splits the pipeline into its two halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

/// The sending half of a [`Pipeline`]. After it is dropped, the stream ends when everything sent is answered.
#[derive(Debug)]
pub struct FrameSender {
    frames: mpsc::Sender<PipelineRequest>,
    permits: Arc<Semaphore>,
}

impl FrameSender {
    /// Sends a frame. Waits while as many frames are in flight as allowed.
    ///
    /// Another task has to [receive](FrameReceiver::recv) meanwhile. If the future is dropped, the frame is not sent.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Closed`] if the stream has ended or the receiving half is dropped. The frame was not sent.
    pub async fn send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        let permits = self.permits.acquire().await;
        permits.map_err(|_| PipelineSendError::Closed)?.forget();
        self.enqueue(frame)
    }

    /// Sends a frame if another one may be in flight now.
    ///
    /// # Errors
    ///
    /// [`PipelineSendError::Full`] if not, otherwise as for [`send`](Self::send).
    pub fn try_send(&self, frame: Frame) -> Result<(), PipelineSendError> {
        match self.permits.try_acquire() {
            Ok(permits) => permits.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(PipelineSendError::Full),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(PipelineSendError::Closed),
        }
        self.enqueue(frame)
    }

    fn enqueue(&self, frame: Frame) -> Result<(), PipelineSendError> {
        // The channel has room for as many frames as there are permits.
        self.frames
            .try_send(frame.into())
            .map_err(|_| PipelineSendError::Closed)
    }
}

/// The receiving half of a [`Pipeline`]. Dropping it cancels the stream.
#[derive(Debug)]
pub struct FrameReceiver {
    responses: Streaming<PipelineResponse>,
    permits: Arc<Semaphore>,
    in_flight_max: usize,
    /// Whether the stream has ended, so that there is nothing more to receive.
    ended: bool,
}

impl FrameReceiver {
    /// Receives the reply to the oldest unanswered frame. `None` after an error, and after the sending half was dropped
    /// and everything is answered.
    ///
    /// Waits as long as the reply takes. The server answers each frame within the timeout of the frame, at most
    /// `Limits.max_deadline`. If the future is dropped, no reply is lost.
    ///
    /// # Errors
    ///
    /// The error of a refused frame or operation is in its reply. An error returned here ends the stream. UNAVAILABLE
    /// (DRAINING): the server shuts down and has answered everything that it read. RESOURCE_EXHAUSTED
    /// (MESSAGE_TOO_LARGE): the frame after the last reply was too large. Any other error: the connection broke. With a
    /// reason, the unanswered frames were not applied; without one, their outcome is unknown.
    pub async fn recv(&mut self) -> Result<Option<FrameReply>, Error> {
        if self.ended {
            return Ok(None);
        }
        let unanswered = self
            .in_flight_max
            .saturating_sub(self.permits.available_permits());
        let error = match self.responses.message().await {
            Ok(Some(_)) if self.in_flight_max == self.permits.available_permits() => {
                Error::malformed("no frame is unanswered")
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
    /// As many frames are in flight as allowed: receive first.
    Full,
    /// The stream has ended. [`FrameReceiver::recv`] says why.
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
/// UNAVAILABLE or DEADLINE_EXCEEDED. Nothing was sent, and it is safe to retry.
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

    /// How many frames may be unanswered, from 1 to 65,536. Other numbers are cut to that range. Default:
    /// [`FRAMES_IN_FLIGHT`], the default limit of servers.
    pub fn frames_in_flight(mut self, count: usize) -> Self {
        self.frames_in_flight = count.clamp(1, FRAMES_IN_FLIGHT_MAX);
        self
    }
}

impl IntoFuture for PipelineCall<'_> {
    type Output = Result<Pipeline, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Pipeline, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let state = self.connection.state.clone();
        let timeout = self.connection.timeout;
        let transport = self.connection.transport.clone();
        Box::pin(async move {
            let (frames, responses) = until_seen(&transport, timeout, |left| {
                let mut state = state.clone();
                async move {
                    let (frames, queue) = mpsc::channel(self.frames_in_flight);
                    // No grpc-timeout: a pipeline stays open as long as it is used, and each frame has a timeout of its
                    // own.
                    let opening = state.pipeline(FrameQueue(queue));
                    let responses = within(left, Outcome::NotApplied, opening).await?;
                    Ok((frames, responses))
                }
            })
            .await?;
            let permits = Arc::new(Semaphore::new(self.frames_in_flight));
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

/// The stream of frames that tonic encodes and sends.
struct FrameQueue(mpsc::Receiver<PipelineRequest>);

impl Stream for FrameQueue {
    type Item = PipelineRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PipelineRequest>> {
        self.0.poll_recv(cx)
    }
}

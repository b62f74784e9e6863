//! The way of a worker's operations over a stream of frames.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use prost::Message as _;
use soloist::v1::{self, PipelineRequest, PipelineResponse, op_result};
use soloist_client::{Error, Outcome};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use crate::engines::backoff::Backoff;
use crate::engines::connection::{CallEnd, Connection};
use crate::engines::ended::Ended;
use crate::engines::link::Link;
use crate::plan::settings::Settings;
use crate::record::settle::Completion;
use crate::workload::operation::{Call, InFlight};
use crate::workload::outcome::Failure;

/// Added to the error if a stream cannot be opened: the limits that are the usual reason.
const OPEN_HINT: &str = "the server may allow fewer streams per connection, or fewer connections, than asked for \
                         (see --connections)";

/// Sends the frames of one worker. If the stream or the connection ends, opens a stream on the connection that there is then.
pub(crate) struct FrameLane {
    link: Rc<Link>,
    settings: Arc<Settings>,
    /// `None` while there is no stream, and nothing is in flight.
    stream: Option<FrameStream>,
    /// Why the stream takes no more, and what is in flight will not be answered.
    broken: Option<Failure>,
    /// Opens a stream.
    opening: Option<LocalBoxFuture<'static, Result<FrameStream, String>>>,
    /// How often something had been read from the connection when the opening began, and the number of the connection.
    opening_reads: (u64, u64),
    /// When to try again to open a stream.
    retry: Option<Instant>,
    backoff: Backoff,
    /// Frames in flight, oldest first, each with how often something had been read from the connection before.
    in_flight: VecDeque<(InFlight, u64)>,
}

/// A stream that the server has accepted.
#[derive(Debug)]
struct FrameStream {
    frames: mpsc::Sender<PipelineRequest>,
    answers: Streaming<PipelineResponse>,
    connection: Connection,
    /// The number of its connection.
    generation: u64,
}

impl FrameStream {
    /// Looks whether a frame was refused because another node owns the store. If so, another stream is opened on that node.
    fn is_elsewhere(&self, response: &PipelineResponse) -> bool {
        let first = response.results.first();
        let of_first = first.and_then(|first| match &first.result {
            Some(op_result::Result::Error(error)) => Some(error),
            _ => None,
        });
        let error = response.error.as_ref().or(of_first);
        error.is_some_and(|error| {
            let code = Code::from_i32(error.code);
            self.connection.is_elsewhere(code, &error.encode_to_vec())
        })
    }
}

impl fmt::Debug for FrameLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameLane").finish_non_exhaustive()
    }
}

impl FrameLane {
    /// Opens a stream, and waits until the server has accepted it, at most for the connect timeout.
    ///
    /// # Errors
    /// If the stream cannot be opened. The text names the address.
    pub(crate) async fn open(link: &Rc<Link>, settings: &Arc<Settings>) -> Result<Self, String> {
        let mut lane = Self {
            link: Rc::clone(link),
            settings: Arc::clone(settings),
            stream: None,
            broken: None,
            opening: None,
            opening_reads: (0, 0),
            retry: None,
            backoff: Backoff::new(settings.seed, settings.workers()),
            in_flight: VecDeque::new(),
        };
        lane.stream = Some(lane.opening()?.await?);
        Ok(lane)
    }

    /// Begins to open a stream on the connection that there is now.
    fn opening(&self) -> Result<LocalBoxFuture<'static, Result<FrameStream, String>>, String> {
        let connection = self.link.connection();
        let connection = connection.ok_or_else(|| "there is no connection".to_owned())?;
        let generation = self.link.generation();
        let settings = Arc::clone(&self.settings);
        let opening = async move { open_stream(&connection, generation, &settings).await };
        Ok(opening.boxed_local())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns whether there is a stream on a connection that takes operations.
    pub(crate) fn is_up(&self) -> bool {
        let is_current = |stream: &FrameStream| stream.generation == self.link.generation();
        self.broken.is_none() && self.stream.as_ref().is_some_and(is_current) && self.link.is_up()
    }

    pub(crate) fn send(&mut self, sent: InFlight, calls: Vec<Call>) {
        let ops = calls.into_iter().filter_map(|call| match call {
            Call::Op(op) => Some(v1::Op { op: Some(op) }),
            // Settings with the engine `pipeline` have no workload with other calls.
            _ => None,
        });
        let timeout = self.settings.timeout;
        let frame = PipelineRequest {
            ops: ops.collect(),
            timeout: timeout
                .map(|timeout| timeout.try_into().expect("--timeout is at most a week")),
            ..PipelineRequest::default()
        };
        if let Some(stream) = &self.stream {
            // The channel is closed if the stream has ended. Receiving says why.
            let _ = stream.frames.try_send(frame);
            self.link.sent();
        }
        self.in_flight.push_back((sent, self.link.reads()));
    }

    /// As [`Lane::recv`](super::lane::Lane::recv). Sets `has_lost` if the stream is gone.
    pub(crate) async fn recv(&mut self, has_lost: &mut bool) -> Option<Ended> {
        if self.in_flight.is_empty() {
            self.reopen().await;
            return None;
        }
        if self.broken.is_none() {
            match self.next_answer().await {
                Ok(response) => {
                    if let Some(stream) = &self.stream
                        && !stream.is_elsewhere(&response)
                    {
                        self.link.answered(stream.generation);
                    }
                    let (sent, _) = self.in_flight.pop_front().expect("a frame is in flight");
                    return Some((sent, Completion::Frame(response)));
                }
                Err(failure) => {
                    *has_lost = true;
                    self.broken = Some(failure);
                }
            }
        }
        let failure = self.broken.clone()?;
        let (sent, _) = self.in_flight.pop_front()?;
        Some((sent, Completion::Unanswered(failure)))
    }

    async fn next_answer(&mut self) -> Result<PipelineResponse, Failure> {
        let Some(stream) = &mut self.stream else {
            return Err(Failure::no_connection());
        };
        match stream.answers.message().await {
            Ok(Some(response)) => Ok(response),
            Ok(None) => {
                let message = "the server ended the stream";
                Err(Failure::new(Code::Unavailable, message, Outcome::Unknown))
            }
            Err(status) => {
                stream
                    .connection
                    .is_elsewhere(status.code(), status.details());
                Err(stream_failure(&status))
            }
        }
    }

    /// Waits for a stream on the connection that there is, or for a change of the connection.
    async fn reopen(&mut self) {
        let link = Rc::clone(&self.link);
        let changed = link.changed();
        if self.is_up() || !link.is_up() {
            self.opening = None;
            return changed.await;
        }
        self.stream = None;
        self.broken = None;
        if let Some(retry) = self.retry {
            tokio::select! {
                () = tokio::time::sleep_until(retry.into()) => self.retry = None,
                () = changed => {}
            }
            return;
        }
        if self.opening.is_none() {
            self.opening = self.opening().ok();
            self.opening_reads = (link.reads(), link.generation());
        }
        let Some(opening) = &mut self.opening else {
            return changed.await;
        };
        let opened = opening.await;
        self.opening = None;
        match opened {
            Ok(stream) => {
                self.backoff.reset();
                self.stream = Some(stream);
            }
            Err(_) => {
                let (reads, generation) = self.opening_reads;
                link.end_if_silent(generation, reads);
                self.retry = Some(Instant::now() + self.backoff.wait());
            }
        }
    }

    /// Gives up the stream if its oldest frame started at `latest_start` or before. Returns whether it did.
    pub(crate) fn give_up(&mut self, latest_start: Instant, now: Instant) -> bool {
        let oldest = self.in_flight.front();
        let oldest = oldest.map(|(oldest, reads)| (oldest.started, *reads));
        let Some((started, reads)) = oldest.filter(|(started, _)| *started <= latest_start) else {
            return false;
        };
        if self.broken.is_some() {
            return false;
        }
        if let Some(stream) = &self.stream {
            self.link.end_if_silent(stream.generation, reads);
        }
        self.broken = Some(Failure::unanswered(now.saturating_duration_since(started)));
        true
    }

    /// Gives up everything in flight, and returns it.
    pub(crate) fn abandon(&mut self) -> Vec<InFlight> {
        self.in_flight.drain(..).map(|(sent, _)| sent).collect()
    }
}

async fn open_stream(
    connection: &Connection,
    generation: u64,
    settings: &Settings,
) -> Result<FrameStream, String> {
    let in_flight_max = usize::try_from(settings.pipeline).expect("--pipeline fits");
    let (frames, queue) = mpsc::channel(in_flight_max);
    let address = connection.node().name();
    let mut state = connection.state();
    let mut request = Request::new(FrameQueue(queue));
    *request.metadata_mut() = connection.metadata(&settings.metadata);
    let timeout = settings.connect_timeout;
    match tokio::time::timeout(timeout, state.pipeline(request)).await {
        Ok(Ok(response)) => Ok(FrameStream {
            frames,
            answers: response.into_inner(),
            connection: connection.clone(),
            generation,
        }),
        Ok(Err(status)) => {
            connection.is_elsewhere(status.code(), status.details());
            let error = Error::from_status(&status, Outcome::NotApplied);
            Err(format!(
                "cannot open a stream on {address}: {error}; {OPEN_HINT}"
            ))
        }
        Err(_) => Err(format!(
            "cannot open a stream on {address} within {timeout:?}: {OPEN_HINT}"
        )),
    }
}

/// Returns the failure of everything that is in flight on a stream that has ended with this status.
fn stream_failure(status: &Status) -> Failure {
    match CallEnd::of(status) {
        CallEnd::Answered => Error::from_status(status, Outcome::Unknown).into(),
        CallEnd::Refused | CallEnd::NotTaken | CallEnd::Lost => {
            Failure::new(Code::Unavailable, status.message(), Outcome::Unknown)
        }
    }
}

/// Frames that wait to be encoded, as the stream that tonic sends.
struct FrameQueue(mpsc::Receiver<PipelineRequest>);

impl Stream for FrameQueue {
    type Item = PipelineRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PipelineRequest>> {
        self.0.poll_recv(cx)
    }
}

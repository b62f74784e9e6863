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
use soloist::v1::{self, PipelineRequest, PipelineResponse};
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

/// Sends the frames of one worker. If the stream or the connection ends, opens a stream on the connection that there is then. A
/// frame that was refused because another node owns the store is sent again on that stream: it was not begun.
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
    /// Frames in flight, oldest first.
    in_flight: VecDeque<Entry>,
    /// Frames that no node has taken yet, and that wait for a stream, oldest first.
    waiting: VecDeque<Entry>,
    /// What ended while it waited.
    ended: VecDeque<Ended>,
}

/// A frame.
struct Entry {
    sent: InFlight,
    /// To send it again. `None` if there is only one node.
    frame: Option<PipelineRequest>,
    /// How often something had been read from the connection before it was sent last.
    reads: u64,
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
    /// Looks whether a frame was refused because another node owns the store, so that nothing of it was begun. If so, another
    /// stream is opened on that node.
    fn is_elsewhere(&self, response: &PipelineResponse) -> bool {
        response.error.as_ref().is_some_and(|error| {
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
            waiting: VecDeque::new(),
            ended: VecDeque::new(),
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
        self.in_flight.len() + self.waiting.len() + self.ended.len()
    }

    /// Returns whether there is a stream on a connection that takes operations.
    pub(crate) fn is_up(&self) -> bool {
        let is_current = |stream: &FrameStream| {
            stream.generation == self.link.generation() && !stream.connection.is_left()
        };
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
        let may_go_elsewhere = self.link.may_go_elsewhere();
        let again = may_go_elsewhere.then(|| frame.clone());
        self.push(sent, frame, again);
    }

    fn push(&mut self, sent: InFlight, frame: PipelineRequest, again: Option<PipelineRequest>) {
        if let Some(stream) = &self.stream {
            // The channel is closed if the stream has ended. Receiving says why.
            let _ = stream.frames.try_send(frame);
            self.link.sent();
        }
        self.in_flight.push_back(Entry {
            sent,
            frame: again,
            reads: self.link.reads(),
        });
    }

    /// Sends the frames that wait, if there is a stream. If it is not known when there will be one, the first of them has failed.
    fn send_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if self.is_up() {
            for Entry { sent, frame, .. } in std::mem::take(&mut self.waiting) {
                if let Some(frame) = frame {
                    self.push(sent, frame.clone(), Some(frame));
                }
            }
        } else if self.link.is_out()
            && let Some(entry) = self.waiting.pop_front()
        {
            let failure = Failure::no_connection();
            let ended = (entry.sent, Completion::Unanswered(failure));
            self.ended.push_back(ended);
        }
    }

    /// As [`Lane::recv`](super::lane::Lane::recv). Sets `has_lost` if the stream is gone.
    pub(crate) async fn recv(&mut self, has_lost: &mut bool) -> Option<Ended> {
        self.send_waiting();
        if let Some(ended) = self.ended.pop_front() {
            return Some(ended);
        }
        if self.in_flight.is_empty() {
            self.reopen().await;
            return None;
        }
        if self.broken.is_none() {
            match self.next_answer().await {
                Ok(response) => {
                    let stream = self.stream.as_ref();
                    let is_elsewhere = stream.is_some_and(|it| it.is_elsewhere(&response));
                    let entry = self.in_flight.pop_front().expect("a frame is in flight");
                    if is_elsewhere && entry.frame.is_some() {
                        self.waiting.push_back(entry);
                        return None;
                    }
                    if let Some(stream) = stream
                        && !is_elsewhere
                    {
                        self.link.answered(stream.generation);
                    }
                    return Some((entry.sent, Completion::Frame(response)));
                }
                Err(failure) => {
                    *has_lost = true;
                    self.broken = Some(failure);
                }
            }
        }
        let failure = self.broken.clone()?;
        let entry = self.in_flight.pop_front()?;
        Some((entry.sent, Completion::Unanswered(failure)))
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
        let is_left = |connection: Connection| connection.is_left();
        if self.is_up() || link.connection().is_none_or(is_left) {
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

    /// Gives up the frames that wait and started at `latest_start` or before, and the stream if its oldest frame did. Returns whether
    /// it gave up the stream.
    pub(crate) fn give_up(&mut self, latest_start: Instant, now: Instant) -> bool {
        let is_overdue = |entry: &Entry| entry.sent.started <= latest_start;
        while self.waiting.front().is_some_and(is_overdue)
            && let Some(entry) = self.waiting.pop_front()
        {
            let failure = Failure::new(
                Code::DeadlineExceeded,
                "no node has taken the frame in time",
                Outcome::NotApplied,
            );
            let ended = (entry.sent, Completion::Unanswered(failure));
            self.ended.push_back(ended);
        }
        let oldest = self.in_flight.front();
        let oldest = oldest.map(|oldest| (oldest.sent.started, oldest.reads));
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
        let ended = self.ended.drain(..).map(|(sent, _)| sent);
        let entries = self.in_flight.drain(..).chain(self.waiting.drain(..));
        ended.chain(entries.map(|entry| entry.sent)).collect()
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

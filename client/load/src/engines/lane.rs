//! The way of a worker's operations to the server and back, over calls or over a stream of frames.

use std::collections::VecDeque;
use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use soloist::v1::{self, PipelineRequest, PipelineResponse};
use soloist_client::{Error, Outcome};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use crate::engines::connection::Connection;
use crate::engines::unary::{CallInFlight, CallResult, Caller, metadata_map};
use crate::plan::choices::Engine;
use crate::plan::settings::Settings;
use crate::record::settle::Completion;
use crate::workload::operation::{Call, InFlight, SentOp};
use crate::workload::outcome::Failure;

/// Added to the error if a stream cannot be opened: the limits that are the usual reason.
const OPEN_HINT: &str = "the server may allow fewer streams per connection, or fewer connections, than asked for \
                         (see --connections)";

/// Sends the operations of one worker and receives the answers.
#[derive(Debug)]
pub(crate) struct Lane {
    transport: Transport,
    /// Frames or calls in flight, oldest first, each with its number.
    in_flight: VecDeque<(u64, InFlight)>,
    in_flight_max: usize,
    /// The number of the next frame or call.
    next_number: u64,
    timeout: Option<Duration>,
    /// Lists to use again, instead of allocating new ones.
    spare: Vec<Vec<SentOp>>,
    /// Why nothing can be sent or received any more.
    broken: Option<Failure>,
}

#[derive(Debug)]
enum Transport {
    Unary {
        caller: Caller,
        calls: FuturesUnordered<CallInFlight>,
    },
    Pipeline {
        frames: mpsc::Sender<PipelineRequest>,
        answers: Streaming<PipelineResponse>,
    },
}

impl Lane {
    /// Opens a lane on a connection. With the engine `pipeline` this opens a stream, and waits until the server has
    /// accepted it, at most for the connect timeout.
    ///
    /// # Errors
    /// If the stream cannot be opened. The text names the address.
    pub(crate) async fn open(
        connection: &Connection,
        address: &str,
        settings: &Settings,
    ) -> Result<Self, String> {
        let in_flight_max = usize::try_from(settings.pipeline).expect("--pipeline fits");
        let transport = match settings.engine {
            Engine::Unary | Engine::Raw => Transport::Unary {
                caller: Caller::new(connection, address, settings),
                calls: FuturesUnordered::new(),
            },
            Engine::Pipeline => {
                let (frames, queue) = mpsc::channel(in_flight_max);
                let answers = open_stream(connection, address, settings, queue).await?;
                Transport::Pipeline { frames, answers }
            }
        };
        Ok(Self {
            transport,
            in_flight: VecDeque::with_capacity(in_flight_max),
            in_flight_max,
            next_number: 0,
            timeout: settings.timeout,
            spare: Vec::new(),
            broken: None,
        })
    }

    /// Returns whether something can be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max && self.broken.is_none()
    }

    /// Returns an empty list for the operations to send, if possible one that was [given back](Self::give_spare).
    pub(crate) fn take_spare(&mut self) -> Vec<SentOp> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps an empty list for the next time.
    pub(crate) fn give_spare(&mut self, ops: Vec<SentOp>) {
        if self.spare.len() < self.in_flight_max {
            self.spare.push(ops);
        }
    }

    /// Returns whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Returns whether the stream or the connection is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Sends operations together: a frame, or one call. Needs [room](Self::has_room).
    pub(crate) fn send(&mut self, sent: InFlight, calls: Vec<Call>) {
        let number = self.next_number;
        self.next_number += 1;
        match &mut self.transport {
            Transport::Unary {
                caller,
                calls: in_flight,
            } => {
                for call in calls {
                    in_flight.push(caller.start(number, call));
                }
            }
            Transport::Pipeline { frames, .. } => {
                let ops = calls.into_iter().filter_map(|call| match call {
                    Call::Op(op) => Some(v1::Op { op: Some(op) }),
                    // Settings with the engine `pipeline` have no workload with other calls.
                    _ => None,
                });
                let frame = PipelineRequest {
                    ops: ops.collect(),
                    timeout: self
                        .timeout
                        .map(|timeout| timeout.try_into().expect("--timeout is at most a week")),
                    ..PipelineRequest::default()
                };
                // The channel is closed if the stream has ended. Receiving says why.
                let _ = frames.try_send(frame);
            }
        }
        self.in_flight.push_back((number, sent));
    }

    /// Waits for the next answer. Something must be in flight. If the future is dropped midway, no answer is lost.
    pub(crate) async fn recv(&mut self) -> (InFlight, Completion<'static>) {
        if self.broken.is_none() {
            match &mut self.transport {
                Transport::Unary { calls, .. } => {
                    let (number, result) = calls.next().await.expect("a call is in flight");
                    if let Some(answered) = self.complete_call(number, result) {
                        return answered;
                    }
                }
                Transport::Pipeline { answers, .. } => match answers.message().await {
                    Ok(Some(response)) => {
                        let (_, sent) = self.in_flight.pop_front().expect("a frame is in flight");
                        return (sent, Completion::Frame(response));
                    }
                    Ok(None) => {
                        let message = "the server ended the stream";
                        let outcome = Outcome::Unknown;
                        self.broken = Some(Failure::new(Code::Unavailable, message, outcome));
                    }
                    Err(status) => self.broken = Some(connection_failure(&status)),
                },
            }
        }
        let failure = self.broken.clone().expect("a lane that works has returned");
        let (_, sent) = self.in_flight.pop_front().expect("something is in flight");
        (sent, Completion::Unanswered(failure))
    }

    /// Gives up frames or calls that started at `latest_start` or before.
    ///
    /// Each call fails for itself, and is returned. Frames are answered in their order, so that the whole stream is lost
    /// with the oldest: [`recv`](Self::recv) returns the failures.
    pub(crate) fn give_up(
        &mut self,
        latest_start: Instant,
        now: Instant,
    ) -> Vec<(InFlight, Completion<'static>)> {
        let Some((_, oldest)) = self.in_flight.front() else {
            return Vec::new();
        };
        if oldest.started > latest_start || self.broken.is_some() {
            return Vec::new();
        }
        let failure =
            |sent: &InFlight| Failure::unanswered(now.saturating_duration_since(sent.started));
        match &mut self.transport {
            Transport::Unary { calls, .. } => {
                // Calls are sent in the order of their numbers, so the oldest are in front.
                let overdue = self
                    .in_flight
                    .partition_point(|(_, sent)| sent.started <= latest_start);
                let overdue: Vec<_> = self.in_flight.drain(..overdue).collect();
                let is_overdue =
                    |call: &CallInFlight| overdue.iter().any(|(number, _)| *number == call.number);
                *calls = std::mem::take(calls)
                    .into_iter()
                    .filter(|call| !is_overdue(call))
                    .collect();
                let failed = overdue.into_iter().map(|(_, sent)| {
                    let failure = failure(&sent);
                    (sent, Completion::Unanswered(failure))
                });
                failed.collect()
            }
            Transport::Pipeline { .. } => {
                self.broken = Some(failure(oldest));
                Vec::new()
            }
        }
    }

    /// Gives up everything in flight, and returns it.
    pub(crate) fn abandon(&mut self) -> Vec<InFlight> {
        if let Transport::Unary { calls, .. } = &mut self.transport {
            calls.clear();
        }
        let abandoned = self.in_flight.drain(..).map(|(_, sent)| sent);
        abandoned.collect()
    }

    /// Returns the call that has this result. Returns `None` if the connection is gone, and with it every call.
    fn complete_call(
        &mut self,
        number: u64,
        result: CallResult,
    ) -> Option<(InFlight, Completion<'static>)> {
        if let Err(status) = &result
            && is_connection_lost(status)
        {
            if let Transport::Unary { calls, .. } = &mut self.transport {
                calls.clear();
            }
            self.broken = Some(connection_failure(status));
            return None;
        }
        let position = self
            .in_flight
            .iter()
            .position(|(candidate, _)| *candidate == number)
            .expect("a call stays in flight until it has a result");
        let (_, sent) = self.in_flight.remove(position).expect("just found");
        Some((sent, Completion::Call(result)))
    }
}

async fn open_stream(
    connection: &Connection,
    address: &str,
    settings: &Settings,
    queue: mpsc::Receiver<PipelineRequest>,
) -> Result<Streaming<PipelineResponse>, String> {
    let mut state = connection.state(address);
    let mut request = Request::new(FrameQueue(queue));
    *request.metadata_mut() = metadata_map(&settings.metadata);
    let timeout = settings.connect_timeout;
    match tokio::time::timeout(timeout, state.pipeline(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => {
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

/// Returns the failure of everything that is in flight on a connection that is gone.
fn connection_failure(status: &Status) -> Failure {
    Error::from_status(status, Outcome::Unknown).into()
}

/// Returns whether a status means that the connection is gone.
///
/// A status that the server sent has no source. Only a transport error has one. It means that the connection is gone,
/// unless the server reset just this stream.
fn is_connection_lost(status: &Status) -> bool {
    let is_reset_of_stream = |error: &h2::Error| error.is_reset() && error.is_remote();
    let Some(mut source) = status.source() else {
        return false;
    };
    loop {
        if source
            .downcast_ref::<h2::Error>()
            .is_some_and(is_reset_of_stream)
        {
            return false;
        }
        match source.source() {
            Some(next) => source = next,
            None => return true,
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

//! How operations travel: what a worker sends on and receives from, whichever the engine.

use std::collections::VecDeque;
use std::error::Error as _;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, PipelineRequest, PipelineResponse};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use super::answer::{self, Answer, Failure};
use super::args::Engine;
use super::connection::Connection;
use super::recorder::unanswered;
use super::settings::Settings;
use super::workload::{Kind, Workload};
use crate::{Error, Outcome};

/// Operations under way: one frame, or one call.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    pub(crate) ops: u64,
    /// When they were to start by the schedule.
    pub(crate) intended: Instant,
    /// When they started.
    pub(crate) started: Instant,
}

/// One concurrent stream of operations, of one worker.
#[derive(Debug)]
pub(crate) struct Lane {
    transport: Transport,
    /// Sent and not answered, oldest first, with their numbers.
    in_flight: VecDeque<(u64, Sent)>,
    in_flight_max: usize,
    /// The number of what is sent next.
    next_number: u64,
    timeout: Option<Duration>,
    /// Why nothing can be sent or received any more.
    broken: Option<Failure>,
}

#[derive(Debug)]
enum Transport {
    Unary {
        client: StateClient<Connection>,
        calls: FuturesUnordered<Call>,
    },
    Pipeline {
        frames: mpsc::Sender<PipelineRequest>,
        answers: Streaming<PipelineResponse>,
    },
}

/// A call under way. Its answer is put into the form of a frame's.
struct Call {
    number: u64,
    result: Pin<Box<dyn Future<Output = CallResult>>>,
}

type CallResult = Result<v1::op_result::Result, Status>;

impl Future for Call {
    /// With its number.
    type Output = (u64, CallResult);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        self.result.as_mut().poll(cx).map(|result| (number, result))
    }
}

/// What to try when a stream cannot be opened: the limits that are met most.
const OPEN_HINT: &str = "the server may allow fewer streams per connection, or fewer connections, than asked for \
                         (see --connections)";

impl Lane {
    /// Opens a lane on a connection. The error says why not.
    pub(crate) async fn open(
        connection: &Connection,
        address: &str,
        settings: &Settings,
    ) -> Result<Self, String> {
        let mut client = connection.client(address);
        let in_flight_max = usize::try_from(settings.pipeline).expect("the flag's limit fits");
        let transport = match settings.engine {
            Engine::Unary => Transport::Unary {
                client,
                calls: FuturesUnordered::new(),
            },
            Engine::Pipeline => {
                let (frames, queue) = mpsc::channel(in_flight_max);
                let opening = client.pipeline(FrameQueue(queue));
                let answers = tokio::time::timeout(settings.connect_timeout, opening)
                    .await
                    .map_err(|_| {
                        let timeout = settings.connect_timeout;
                        format!("cannot open a stream on {address} within {timeout:?}: {OPEN_HINT}")
                    })?
                    .map_err(|status| {
                        let error = Error::of_call(&status, Outcome::NotApplied);
                        format!("cannot open a stream on {address}: {error}; {OPEN_HINT}")
                    })?
                    .into_inner();
                Transport::Pipeline { frames, answers }
            }
        };
        Ok(Self {
            transport,
            in_flight: VecDeque::with_capacity(in_flight_max),
            in_flight_max,
            next_number: 0,
            timeout: settings.timeout,
            broken: None,
        })
    }

    /// Whether something can be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max && self.broken.is_none()
    }

    /// Whether nothing is unanswered.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Sends as many operations as `sent` says; with the unary engine, one. Needs [room](Self::has_room).
    pub(crate) fn send(&mut self, sent: Sent, workload: &mut Workload) {
        let number = self.next_number;
        self.next_number += 1;
        match &mut self.transport {
            Transport::Unary { client, calls } => {
                let op = workload
                    .next_op()
                    .op
                    .expect("a workload sets the operation");
                calls.push(Call {
                    number,
                    result: Box::pin(call(client.clone(), op, self.timeout)),
                });
            }
            Transport::Pipeline { frames, .. } => {
                let frame = PipelineRequest {
                    ops: (0..sent.ops).map(|_| workload.next_op()).collect(),
                    timeout: self
                        .timeout
                        .map(|timeout| timeout.try_into().expect("the flag's limit fits the wire")),
                    ..PipelineRequest::default()
                };
                // A closed channel means that the stream has ended; receiving tells why.
                let _ = frames.try_send(frame);
            }
        }
        self.in_flight.push_back((number, sent));
    }

    /// Receives the next answer. Needs something [in flight](Self::is_idle). Dropped midway, nothing is lost.
    pub(crate) async fn recv(&mut self) -> Answer {
        if self.broken.is_none() {
            match &mut self.transport {
                Transport::Unary { calls, .. } => {
                    let (number, result) = calls.next().await.expect("a call is in flight");
                    if let Some(answer) = self.unary_answer(number, result) {
                        return answer;
                    }
                }
                Transport::Pipeline { answers, .. } => match answers.message().await {
                    Ok(Some(response)) => {
                        let (_, sent) = self.in_flight.pop_front().expect("a frame is in flight");
                        return answer::of_frame(sent, response);
                    }
                    Ok(None) => {
                        let message = "the server ended the stream";
                        self.broken = Some(Failure::new(Code::Unavailable, message));
                    }
                    Err(status) => self.broken = Some(Failure::of_call(&status)),
                },
            }
        }
        let failure = self
            .broken
            .clone()
            .expect("it was whole, and returned above");
        let (_, sent) = self.in_flight.pop_front().expect("something is in flight");
        Answer::failed(sent, failure)
    }

    /// Stops waiting, at `now`, for what started at `latest_start` or before, if anything.
    ///
    /// Calls fail alone, and are returned. The frames of a stream are answered in order, so that it is lost whole:
    /// receiving tells.
    pub(crate) fn give_up(&mut self, latest_start: Instant, now: Instant) -> Vec<Answer> {
        let Some((_, oldest)) = self.in_flight.front() else {
            return Vec::new();
        };
        if oldest.started > latest_start || self.broken.is_some() {
            return Vec::new();
        }
        let failure = |sent: &Sent| unanswered(now.saturating_duration_since(sent.started));
        match &mut self.transport {
            Transport::Unary { calls, .. } => {
                // Calls are sent in the order of their numbers, but answered in any.
                let overdue = self
                    .in_flight
                    .partition_point(|(_, sent)| sent.started <= latest_start);
                let overdue: Vec<_> = self.in_flight.drain(..overdue).collect();
                let is_overdue =
                    |call: &Call| overdue.iter().any(|(number, _)| *number == call.number);
                *calls = mem::take(calls)
                    .into_iter()
                    .filter(|call| !is_overdue(call))
                    .collect();
                overdue
                    .into_iter()
                    .map(|(_, sent)| {
                        let failure = failure(&sent);
                        Answer::failed(sent, failure)
                    })
                    .collect()
            }
            Transport::Pipeline { .. } => {
                self.broken = Some(failure(oldest));
                Vec::new()
            }
        }
    }

    /// `None` if the connection is lost, and every call on it.
    fn unary_answer(&mut self, number: u64, result: CallResult) -> Option<Answer> {
        if let Err(status) = &result
            && is_connection_lost(status)
        {
            if let Transport::Unary { calls, .. } = &mut self.transport {
                calls.clear();
            }
            self.broken = Some(Failure::of_call(status));
            return None;
        }
        let position = self
            .in_flight
            .iter()
            .position(|(candidate, _)| *candidate == number)
            .expect("a call stays in flight until it is answered");
        let (_, sent) = self.in_flight.remove(position).expect("just found");
        Some(answer::of_call(sent, result))
    }
}

async fn call(
    mut client: StateClient<Connection>,
    op: v1::op::Op,
    timeout: Option<Duration>,
) -> CallResult {
    fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        request
    }
    match op {
        v1::op::Op::Read(read) => client
            .read(request(read, timeout))
            .await
            .map(|response| v1::op_result::Result::Read(response.into_inner())),
        v1::op::Op::Write(write) => client
            .write(request(write, timeout))
            .await
            .map(|response| v1::op_result::Result::Write(response.into_inner())),
        v1::op::Op::Add(add) => client
            .add(request(add, timeout))
            .await
            .map(|response| v1::op_result::Result::Add(response.into_inner())),
        v1::op::Op::Transition(transition) => client
            .transition(request(transition, timeout))
            .await
            .map(|response| v1::op_result::Result::Transition(response.into_inner())),
        v1::op::Op::Delete(delete) => client
            .delete(request(delete, timeout))
            .await
            .map(|response| v1::op_result::Result::Delete(response.into_inner())),
    }
}

/// A status that the server sent has no source; what this side made up of a transport error has one, and unless the
/// server reset just this call, the connection is gone.
fn is_connection_lost(status: &Status) -> bool {
    let reset_alone = |error: &h2::Error| error.is_reset() && error.is_remote();
    let Some(mut source) = status.source() else {
        return false;
    };
    loop {
        if source.downcast_ref::<h2::Error>().is_some_and(reset_alone) {
            return false;
        }
        match source.source() {
            Some(next) => source = next,
            None => return true,
        }
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

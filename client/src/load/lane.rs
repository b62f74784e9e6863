//! How operations travel: what a worker sends on and receives from, whichever the engine.

use std::collections::VecDeque;
use std::error::Error as _;
use std::future::Future;
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

/// A call under way, by its number. Its answer is put into the form of a frame's.
type Call = Pin<Box<dyn Future<Output = (u64, Result<v1::op_result::Result, Status>)>>>;

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
                        format!(
                            "cannot open a stream on {address} within {:?}: it may allow fewer streams per \
                             connection than there are workers on one (see --connections)",
                            settings.connect_timeout
                        )
                    })?
                    .map_err(|status| {
                        let error = Error::of_call(&status, Outcome::NotApplied);
                        format!("cannot open a stream on {address}: {error}")
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

    /// When the oldest unanswered operations started.
    pub(crate) fn oldest_start(&self) -> Option<Instant> {
        self.in_flight.front().map(|(_, sent)| sent.started)
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
                calls.push(call(number, client.clone(), op, self.timeout));
            }
            Transport::Pipeline { frames, .. } => {
                let frame = PipelineRequest {
                    ops: (0..sent.ops).map(|_| workload.next_op()).collect(),
                    atomic: false,
                    timeout: self
                        .timeout
                        .map(|timeout| timeout.try_into().expect("the flag's limit fits the wire")),
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

    /// Stops waiting: what is in flight fails for this reason.
    pub(crate) fn give_up(&mut self, failure: Failure) {
        if let Transport::Unary { calls, .. } = &mut self.transport {
            calls.clear();
        }
        self.broken.get_or_insert(failure);
    }

    /// `None` if the connection is lost, and every call on it.
    fn unary_answer(
        &mut self,
        number: u64,
        result: Result<v1::op_result::Result, Status>,
    ) -> Option<Answer> {
        if let Err(status) = &result
            && is_connection_lost(status)
        {
            self.give_up(Failure::of_call(status));
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

fn call(
    number: u64,
    mut client: StateClient<Connection>,
    op: v1::op::Op,
    timeout: Option<Duration>,
) -> Call {
    fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        request
    }
    Box::pin(async move {
        let result = match op {
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
            v1::op::Op::Delete(delete) => client
                .delete(request(delete, timeout))
                .await
                .map(|response| v1::op_result::Result::Delete(response.into_inner())),
        };
        (number, result)
    })
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

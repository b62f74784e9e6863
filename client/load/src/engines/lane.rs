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
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, PipelineRequest, PipelineResponse};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

use crate::engines::connection::Connection;
use crate::plan::choices::Engine;
use crate::plan::settings::Settings;
use crate::record::settle::Completion;
use crate::workload::operation::{Call, Failure, InFlight, Reply, SentOp, unanswered};
use soloist_client::{Error, Outcome};

/// One concurrent stream of operations, of one worker.
#[derive(Debug)]
pub(crate) struct Lane {
    transport: Transport,
    /// Sent and not answered, oldest first, with their numbers.
    in_flight: VecDeque<(u64, InFlight)>,
    in_flight_max: usize,
    /// The number of what is sent next.
    next_number: u64,
    timeout: Option<Duration>,
    /// Lists that are used again.
    spare: Vec<Vec<SentOp>>,
    /// Why nothing can be sent or received any more.
    broken: Option<Failure>,
}

#[derive(Debug)]
enum Transport {
    Unary {
        caller: Caller,
        calls: FuturesUnordered<Calling>,
    },
    Pipeline {
        frames: mpsc::Sender<PipelineRequest>,
        answers: Streaming<PipelineResponse>,
    },
}

/// A call under way.
struct Calling {
    number: u64,
    result: Pin<Box<dyn Future<Output = CallResult>>>,
}

type CallResult = Result<Reply, Status>;

impl Future for Calling {
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
        let mut state = connection.state(address);
        let metadata = metadata_map(&settings.metadata);
        let in_flight_max = usize::try_from(settings.pipeline).expect("the flag's limit fits");
        let transport = match settings.engine {
            Engine::Unary | Engine::Raw => Transport::Unary {
                caller: Caller {
                    state,
                    sessions: connection.sessions(address),
                    metadata,
                    timeout: settings.timeout,
                },
                calls: FuturesUnordered::new(),
            },
            Engine::Pipeline => {
                let (frames, queue) = mpsc::channel(in_flight_max);
                let mut request = Request::new(FrameQueue(queue));
                *request.metadata_mut() = metadata;
                let opening = state.pipeline(request);
                let answers = tokio::time::timeout(settings.connect_timeout, opening)
                    .await
                    .map_err(|_| {
                        let timeout = settings.connect_timeout;
                        format!("cannot open a stream on {address} within {timeout:?}: {OPEN_HINT}")
                    })?
                    .map_err(|status| {
                        let error = Error::from_status(&status, Outcome::NotApplied);
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
            spare: Vec::new(),
            broken: None,
        })
    }

    /// Whether something can be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max && self.broken.is_none()
    }

    /// An empty list for what is to be sent, from before if there is one.
    pub(crate) fn take_spare(&mut self) -> Vec<SentOp> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a list for the next time.
    pub(crate) fn give_spare(&mut self, asked: Vec<SentOp>) {
        if self.spare.len() < self.in_flight_max {
            self.spare.push(asked);
        }
    }

    /// Whether nothing is unanswered.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Sends operations: with the unary engine, one. Needs [room](Self::has_room).
    pub(crate) fn send(&mut self, sent: InFlight, calls: Vec<Call>) {
        let number = self.next_number;
        self.next_number += 1;
        match &mut self.transport {
            Transport::Unary {
                caller,
                calls: under_way,
            } => {
                for call in calls {
                    under_way.push(Calling {
                        number,
                        result: Box::pin(caller.clone().call(call)),
                    });
                }
            }
            Transport::Pipeline { frames, .. } => {
                let ops = calls.into_iter().filter_map(|call| match call {
                    Call::Op(op) => Some(v1::Op { op: Some(op) }),
                    // The settings see to it that there is none.
                    _ => None,
                });
                let frame = PipelineRequest {
                    ops: ops.collect(),
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
    pub(crate) async fn recv(&mut self) -> (InFlight, Completion<'static>) {
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
                        return (sent, Completion::Frame(response));
                    }
                    Ok(None) => {
                        let message = "the server ended the stream";
                        let outcome = Outcome::Unknown;
                        self.broken = Some(Failure::new(Code::Unavailable, message, outcome));
                    }
                    Err(status) => self.broken = Some(lost(&status)),
                },
            }
        }
        let failure = self
            .broken
            .clone()
            .expect("it was whole, and returned above");
        let (_, sent) = self.in_flight.pop_front().expect("something is in flight");
        (sent, Completion::Unanswered(failure))
    }

    /// Stops waiting, at `now`, for what started at `latest_start` or before, if anything.
    ///
    /// Calls fail alone, and are returned. The frames of a stream are answered in order, so that it is lost whole:
    /// receiving tells.
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
        let failure = |sent: &InFlight| unanswered(now.saturating_duration_since(sent.started));
        match &mut self.transport {
            Transport::Unary { calls, .. } => {
                // Calls are sent in the order of their numbers, but answered in any.
                let overdue = self
                    .in_flight
                    .partition_point(|(_, sent)| sent.started <= latest_start);
                let overdue: Vec<_> = self.in_flight.drain(..overdue).collect();
                let is_overdue =
                    |call: &Calling| overdue.iter().any(|(number, _)| *number == call.number);
                *calls = std::mem::take(calls)
                    .into_iter()
                    .filter(|call| !is_overdue(call))
                    .collect();
                overdue
                    .into_iter()
                    .map(|(_, sent)| {
                        let failure = failure(&sent);
                        (sent, Completion::Unanswered(failure))
                    })
                    .collect()
            }
            Transport::Pipeline { .. } => {
                self.broken = Some(failure(oldest));
                Vec::new()
            }
        }
    }

    /// Gives up everything that is under way, and with it the lane. Returns it.
    pub(crate) fn abandon(&mut self) -> Vec<InFlight> {
        if let Transport::Unary { calls, .. } = &mut self.transport {
            calls.clear();
        }
        let given_up = self.in_flight.drain(..).map(|(_, sent)| sent);
        given_up.collect()
    }

    /// `None` if the connection is lost, and every call on it.
    fn unary_answer(
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
            self.broken = Some(lost(status));
            return None;
        }
        let position = self
            .in_flight
            .iter()
            .position(|(candidate, _)| *candidate == number)
            .expect("a call stays in flight until it is answered");
        let (_, sent) = self.in_flight.remove(position).expect("just found");
        Some((sent, Completion::Call(result)))
    }
}

/// Makes calls.
#[derive(Clone, Debug)]
struct Caller {
    state: StateClient<Connection>,
    sessions: SessionsClient<Connection>,
    metadata: MetadataMap,
    timeout: Option<Duration>,
}

impl Caller {
    async fn call(mut self, call: Call) -> CallResult {
        use v1::op::Op;
        use v1::op_result::Result as Answer;
        let state = &mut self.state;
        let (metadata, timeout) = (&mut self.metadata, self.timeout);
        Ok(match call {
            Call::Op(Op::Read(read)) => {
                let answer = state.read(request(read, metadata, timeout)).await?;
                Reply::Op(Answer::Read(answer.into_inner()))
            }
            Call::Op(Op::Write(write)) => {
                let answer = state.write(request(write, metadata, timeout)).await?;
                Reply::Op(Answer::Write(answer.into_inner()))
            }
            Call::Op(Op::Add(add)) => {
                let answer = state.add(request(add, metadata, timeout)).await?;
                Reply::Op(Answer::Add(answer.into_inner()))
            }
            Call::Op(Op::Transition(transition)) => {
                let request = request(transition, metadata, timeout);
                let answer = state.transition(request).await?;
                Reply::Op(Answer::Transition(answer.into_inner()))
            }
            Call::Op(Op::Delete(delete)) => {
                let answer = state.delete(request(delete, metadata, timeout)).await?;
                Reply::Op(Answer::Delete(answer.into_inner()))
            }
            Call::List(list) => {
                let answer = state.list(request(list, metadata, timeout)).await?;
                Reply::List(answer.into_inner())
            }
            Call::Batch(batch) => {
                let answer = state.batch(request(batch, metadata, timeout)).await?;
                Reply::Batch(answer.into_inner())
            }
            Call::Renew(renew) => {
                let request = request(renew, metadata, timeout);
                let answer = self.sessions.renew_session(request).await?;
                Reply::Renew(answer.into_inner())
            }
        })
    }
}

fn request<T>(message: T, metadata: &mut MetadataMap, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = std::mem::take(metadata);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// What every call carries.
pub(crate) fn metadata_map(pairs: &[(String, String)]) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (name, value) in pairs {
        let name = name.parse::<tonic::metadata::AsciiMetadataKey>();
        if let (Ok(name), Ok(value)) = (name, value.parse()) {
            map.append(name, value);
        }
    }
    map
}

/// Why nothing more is answered.
fn lost(status: &Status) -> Failure {
    Error::from_status(status, Outcome::Unknown).into()
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

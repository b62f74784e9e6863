//! The services of a null server: constant responses, each held back for its delay.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use hdrhistogram::Histogram;
use http::{Request, Response};
use hyper::body::Incoming;
use nix::time::{ClockId, clock_gettime};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use soloist::server::admin_server::{self, Admin, AdminServer};
use soloist::server::state_server::{self, State, StateServer};
use soloist::v1::op::Op;
use soloist::v1::op_result::Result as OpResponse;
use soloist::v1::{self, value};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tower_service::Service;

use crate::calibrate::delay::Delay;
use crate::calibrate::timers::Timers;
use crate::histogram::{histogram, record};

/// The revision in every response.
const REVISION: i64 = 1;
/// The most frames of one stream in flight. Further frames wait in the connection, where their residence has not begun.
const FRAMES_MAX: usize = 1 << 16;

/// Residence times in nanoseconds: from decoding a request until its response is handed over to be encoded. A frame
/// also waits for the responses to the frames before it on its stream. The times are complete only while the server
/// keeps up: a request that waits in the socket does not count yet.
#[derive(Clone, Debug)]
pub(crate) struct Residence {
    /// The delays that were drawn.
    pub(crate) planned: Histogram<u64>,
    /// The times that were measured.
    pub(crate) actual: Histogram<u64>,
}

/// The part of a response that all methods share: its delay. Only the server's thread takes the locks while it serves.
#[derive(Debug)]
pub(super) struct Responder {
    delay: Delay,
    rng: Mutex<SmallRng>,
    residence: Mutex<Residence>,
    timers: Timers,
    /// The turns of a loop that each request takes besides the usual.
    #[cfg(test)]
    pub(super) burn: u64,
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Received {
    at: Instant,
    delay: Duration,
}

impl Responder {
    pub(super) fn new(delay: Delay, seed: u64, timers: Timers) -> Self {
        Self {
            delay,
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
            residence: Mutex::new(Residence {
                planned: histogram(),
                actual: histogram(),
            }),
            timers,
            #[cfg(test)]
            burn: 0,
        }
    }

    pub(super) fn residence(&self) -> Residence {
        lock(&self.residence).clone()
    }

    /// Takes a request, and draws its delay.
    fn receive(&self) -> Received {
        #[cfg(test)]
        spin(self.burn);
        Received {
            at: Instant::now(),
            delay: self.delay.draw(&mut lock(&self.rng)),
        }
    }

    /// Waits for the rest of the delay.
    async fn wait(&self, received: Received) -> Result<(), Status> {
        if received.delay.is_zero() {
            return Ok(());
        }
        let timer = self.timers.at(received.at + received.delay);
        let fired = timer.map_err(|_| Status::resource_exhausted("too many delayed responses"))?;
        fired
            .await
            .map_err(|_| Status::unavailable("the server has stopped"))
    }

    /// Records the residence time of a request whose response is sent now.
    fn record(&self, received: Received) {
        let actual = received.at.elapsed();
        let mut residence = lock(&self.residence);
        record(&mut residence.planned, received.delay, 1);
        record(&mut residence.actual, actual, 1);
    }

    async fn respond<T>(&self, response: T) -> Result<tonic::Response<T>, Status> {
        let received = self.receive();
        self.wait(received).await?;
        self.record(received);
        Ok(tonic::Response::new(response))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds the lock")
}

/// Finds the service of an HTTP request. Each connection has a clone.
#[derive(Clone)]
pub(super) struct Router {
    state: StateServer<NullState>,
    admin: AdminServer<NullAdmin>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

impl Router {
    pub(super) fn new(responder: &Arc<Responder>) -> Self {
        Self {
            state: StateServer::new(NullState(Arc::clone(responder)))
                .max_decoding_message_size(usize::MAX),
            admin: AdminServer::new(NullAdmin),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        match service {
            Some(state_server::SERVICE_NAME) => self.state.clone().call(request),
            Some(admin_server::SERVICE_NAME) => self.admin.clone().call(request),
            _ => Box::pin(async { Ok(unimplemented().into_http()) }),
        }
    }
}

fn unimplemented() -> Status {
    Status::unimplemented("a server for calibration only has Read, Write and Pipeline")
}

/// Every key exists, and has the value 0.
fn read(read: v1::ReadRequest) -> v1::ReadResponse {
    v1::ReadResponse {
        entry: Some(v1::Entry {
            key: read.key,
            value: Some(v1::Value {
                kind: Some(value::Kind::Int(0)),
            }),
            revision: REVISION,
            create_revision: REVISION,
            ..v1::Entry::default()
        }),
        revision: REVISION,
    }
}

fn write() -> v1::WriteResponse {
    v1::WriteResponse {
        revision: REVISION,
        create_revision: REVISION,
        ..v1::WriteResponse::default()
    }
}

/// The response to one frame.
fn frame(frame: v1::PipelineRequest) -> v1::PipelineResponse {
    let results = frame.ops.into_iter().map(|op| {
        let result = match op.op {
            Some(Op::Read(request)) => OpResponse::Read(read(request)),
            Some(Op::Write(_)) => OpResponse::Write(write()),
            _ => OpResponse::Error(tonic_types::Status {
                code: Code::Unimplemented as i32,
                message: unimplemented().message().to_owned(),
                details: Vec::new(),
            }),
        };
        v1::OpResult {
            result: Some(result),
        }
    });
    v1::PipelineResponse {
        results: results.collect(),
        revision: REVISION,
        ..v1::PipelineResponse::default()
    }
}

/// Takes CPU time, however busy the machine is: a clock would run on while another thread has the core.
#[cfg(test)]
fn spin(turns: u64) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Returns how many turns of [`spin`] take a nanosecond.
#[cfg(test)]
pub(super) fn turns_per_nano() -> f64 {
    const TURNS: u64 = 200_000;
    // Of several measurements, the one that nothing interrupted.
    let times = (0..50).map(|_| {
        let began = Instant::now();
        spin(TURNS);
        began.elapsed()
    });
    let fastest = times.min().expect("there are measurements");
    TURNS as f64 / fastest.as_nanos().max(1) as f64
}

/// `soloist.v1.State`.
#[derive(Debug)]
struct NullState(Arc<Responder>);

#[tonic::async_trait]
impl State for NullState {
    async fn read(
        &self,
        request: tonic::Request<v1::ReadRequest>,
    ) -> Result<tonic::Response<v1::ReadResponse>, Status> {
        self.0.respond(read(request.into_inner())).await
    }

    async fn write(
        &self,
        _: tonic::Request<v1::WriteRequest>,
    ) -> Result<tonic::Response<v1::WriteResponse>, Status> {
        self.0.respond(write()).await
    }

    type PipelineStream = Pin<Box<dyn Stream<Item = Result<v1::PipelineResponse, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: tonic::Request<tonic::Streaming<v1::PipelineRequest>>,
    ) -> Result<tonic::Response<Self::PipelineStream>, Status> {
        let responder = Arc::clone(&self.0);
        let delayed = {
            let responder = Arc::clone(&responder);
            move |message: Result<v1::PipelineRequest, Status>| {
                let received = responder.receive();
                let responder = Arc::clone(&responder);
                async move {
                    let response = frame(message?);
                    responder.wait(received).await?;
                    Ok((received, response))
                }
            }
        };
        // The delays of frames overlap, but the responses leave in the order of the requests.
        let frames = request.into_inner().map(delayed).buffered(FRAMES_MAX);
        let frames = frames.map(move |frame: Result<_, Status>| {
            let (received, response) = frame?;
            responder.record(received);
            Ok(response)
        });
        Ok(tonic::Response::new(Box::pin(frames)))
    }

    async fn add(
        &self,
        _: tonic::Request<v1::AddRequest>,
    ) -> Result<tonic::Response<v1::AddResponse>, Status> {
        Err(unimplemented())
    }

    async fn transition(
        &self,
        _: tonic::Request<v1::TransitionRequest>,
    ) -> Result<tonic::Response<v1::TransitionResponse>, Status> {
        Err(unimplemented())
    }

    async fn delete(
        &self,
        _: tonic::Request<v1::DeleteRequest>,
    ) -> Result<tonic::Response<v1::DeleteResponse>, Status> {
        Err(unimplemented())
    }

    async fn delete_prefix(
        &self,
        _: tonic::Request<v1::DeletePrefixRequest>,
    ) -> Result<tonic::Response<v1::DeletePrefixResponse>, Status> {
        Err(unimplemented())
    }

    async fn batch(
        &self,
        _: tonic::Request<v1::BatchRequest>,
    ) -> Result<tonic::Response<v1::BatchResponse>, Status> {
        Err(unimplemented())
    }

    async fn list(
        &self,
        _: tonic::Request<v1::ListRequest>,
    ) -> Result<tonic::Response<v1::ListResponse>, Status> {
        Err(unimplemented())
    }

    type WatchStream = stream::Empty<Result<v1::WatchResponse, Status>>;

    async fn watch(
        &self,
        _: tonic::Request<v1::WatchRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(unimplemented())
    }
}

/// `soloist.v1.Admin`.
#[derive(Debug)]
struct NullAdmin;

#[tonic::async_trait]
impl Admin for NullAdmin {
    /// Without a delay, because the tool connects by this call.
    async fn get_info(
        &self,
        _: tonic::Request<v1::GetInfoRequest>,
    ) -> Result<tonic::Response<v1::Info>, Status> {
        Ok(tonic::Response::new(v1::Info {
            version: format!("{} (calibration)", env!("CARGO_PKG_VERSION")),
            store_id: "calibration".to_owned(),
            revision: REVISION,
            oldest_revision: REVISION,
            limits: Some(limits()),
            cpu_time: cpu_time(),
            loss_window: "there is no state".to_owned(),
            ..v1::Info::default()
        }))
    }

    async fn get_node(
        &self,
        _: tonic::Request<v1::GetNodeRequest>,
    ) -> Result<tonic::Response<v1::Node>, Status> {
        Ok(tonic::Response::new(v1::Node {
            role: v1::node::Role::Owner.into(),
            ..v1::Node::default()
        }))
    }

    type BackupStream = stream::Empty<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        _: tonic::Request<v1::BackupRequest>,
    ) -> Result<tonic::Response<Self::BackupStream>, Status> {
        Err(unimplemented())
    }
}

/// Only the number of frames in flight is limited.
fn limits() -> v1::Limits {
    const ANY: i32 = i32::MAX;
    v1::Limits {
        max_key_bytes: ANY,
        max_value_bytes: ANY,
        max_batch_ops: ANY,
        max_message_bytes: ANY,
        max_batch_bytes: ANY,
        max_frames_in_flight: FRAMES_MAX as i32,
        max_answer_bytes: ANY,
        max_unread_bytes: ANY,
        ..v1::Limits::default()
    }
}

/// The CPU time of this thread, which is the server's. The process may be that of the tool.
fn cpu_time() -> Option<prost_types::Duration> {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    prost_types::Duration::try_from(Duration::from(used)).ok()
}

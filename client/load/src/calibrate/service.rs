//! The answers: constant, right, and held back as long as the delay says.

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
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, value};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tower_service::Service;

use crate::calibrate::delay::Delay;
use crate::calibrate::timers::Alarm;
use crate::histogram::{histogram, record};

/// The revision that every answer names.
const REVISION: i64 = 1;
/// Frames of one stream under way. Further ones wait in the connection, where their time does not count yet.
const FRAMES_MAX: usize = 1 << 16;

/// How long answers stayed in the server, in nanoseconds: from when a request was decoded until its answer was handed
/// over to be encoded. For frames of one stream that includes the wait for those before. It is the truth only while the
/// server keeps up: what still waits in its socket is in no account.
#[derive(Clone, Debug)]
pub(crate) struct Residence {
    /// The delays that were drawn for them.
    pub(crate) planned: Histogram<u64>,
    /// How long it really was.
    pub(crate) actual: Histogram<u64>,
}

/// What all calls share. Only the server's thread takes the locks while it serves.
#[derive(Debug)]
pub(super) struct Answers {
    delay: Delay,
    rng: Mutex<SmallRng>,
    residence: Mutex<Residence>,
    alarm: Alarm,
}

/// An answer under way.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    delay: Duration,
}

impl Answers {
    pub(super) fn new(delay: Delay, seed: u64, alarm: Alarm) -> Self {
        Self {
            delay,
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
            residence: Mutex::new(Residence {
                planned: histogram(),
                actual: histogram(),
            }),
            alarm,
        }
    }

    pub(super) fn residence(&self) -> Residence {
        lock(&self.residence).clone()
    }

    /// A request is here.
    fn receive(&self) -> Held {
        Held {
            since: Instant::now(),
            delay: self.delay.draw(&mut lock(&self.rng)),
        }
    }

    /// Waits until its answer may go.
    async fn wait(&self, held: Held) -> Result<(), Status> {
        if held.delay.is_zero() {
            return Ok(());
        }
        let alarm = self.alarm.at(held.since + held.delay);
        let woken = alarm.map_err(|_| Status::resource_exhausted("too many answers are held"))?;
        woken
            .await
            .map_err(|_| Status::unavailable("the server ends"))
    }

    /// Its answer goes.
    fn record(&self, held: Held) {
        let actual = held.since.elapsed();
        let mut residence = lock(&self.residence);
        record(&mut residence.planned, held.delay, 1);
        record(&mut residence.actual, actual, 1);
    }

    async fn answer<T>(&self, answer: T) -> Result<tonic::Response<T>, Status> {
        let held = self.receive();
        self.wait(held).await?;
        self.record(held);
        Ok(tonic::Response::new(answer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// From an HTTP request to the service that answers it. One for each connection.
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
    pub(super) fn new(answers: &Arc<Answers>) -> Self {
        Self {
            state: StateServer::new(NullState(Arc::clone(answers)))
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
            _ => Box::pin(async { Ok(not_here().into_http()) }),
        }
    }
}

fn not_here() -> Status {
    Status::unimplemented("this server is for calibration: it knows Read, Write and Pipeline")
}

/// Any key is there, and is 0.
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

/// The answer to one frame.
fn frame(frame: v1::PipelineRequest) -> v1::PipelineResponse {
    let results = frame.ops.into_iter().map(|op| {
        let result = match op.op {
            Some(Op::Read(request)) => OpAnswer::Read(read(request)),
            Some(Op::Write(_)) => OpAnswer::Write(write()),
            _ => OpAnswer::Error(tonic_types::Status {
                code: Code::Unimplemented as i32,
                message: not_here().message().to_owned(),
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

/// `soloist.v1.State`.
#[derive(Debug)]
struct NullState(Arc<Answers>);

#[tonic::async_trait]
impl State for NullState {
    async fn read(
        &self,
        request: tonic::Request<v1::ReadRequest>,
    ) -> Result<tonic::Response<v1::ReadResponse>, Status> {
        self.0.answer(read(request.into_inner())).await
    }

    async fn write(
        &self,
        _: tonic::Request<v1::WriteRequest>,
    ) -> Result<tonic::Response<v1::WriteResponse>, Status> {
        self.0.answer(write()).await
    }

    type PipelineStream = Pin<Box<dyn Stream<Item = Result<v1::PipelineResponse, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: tonic::Request<tonic::Streaming<v1::PipelineRequest>>,
    ) -> Result<tonic::Response<Self::PipelineStream>, Status> {
        let answers = Arc::clone(&self.0);
        let held = {
            let answers = Arc::clone(&answers);
            move |message: Result<v1::PipelineRequest, Status>| {
                let held = answers.receive();
                let answers = Arc::clone(&answers);
                async move {
                    let answer = frame(message?);
                    answers.wait(held).await?;
                    Ok((held, answer))
                }
            }
        };
        // Each is held back by itself, but they leave in order.
        let frames = request.into_inner().map(held).buffered(FRAMES_MAX);
        let frames = frames.map(move |frame: Result<_, Status>| {
            let (held, answer) = frame?;
            answers.record(held);
            Ok(answer)
        });
        Ok(tonic::Response::new(Box::pin(frames)))
    }

    async fn add(
        &self,
        _: tonic::Request<v1::AddRequest>,
    ) -> Result<tonic::Response<v1::AddResponse>, Status> {
        Err(not_here())
    }

    async fn transition(
        &self,
        _: tonic::Request<v1::TransitionRequest>,
    ) -> Result<tonic::Response<v1::TransitionResponse>, Status> {
        Err(not_here())
    }

    async fn delete(
        &self,
        _: tonic::Request<v1::DeleteRequest>,
    ) -> Result<tonic::Response<v1::DeleteResponse>, Status> {
        Err(not_here())
    }

    async fn delete_prefix(
        &self,
        _: tonic::Request<v1::DeletePrefixRequest>,
    ) -> Result<tonic::Response<v1::DeletePrefixResponse>, Status> {
        Err(not_here())
    }

    async fn batch(
        &self,
        _: tonic::Request<v1::BatchRequest>,
    ) -> Result<tonic::Response<v1::BatchResponse>, Status> {
        Err(not_here())
    }

    async fn list(
        &self,
        _: tonic::Request<v1::ListRequest>,
    ) -> Result<tonic::Response<v1::ListResponse>, Status> {
        Err(not_here())
    }

    type WatchStream = stream::Empty<Result<v1::WatchResponse, Status>>;

    async fn watch(
        &self,
        _: tonic::Request<v1::WatchRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(not_here())
    }
}

/// `soloist.v1.Admin`.
#[derive(Debug)]
struct NullAdmin;

#[tonic::async_trait]
impl Admin for NullAdmin {
    /// Never held back: it is how the tool connects.
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

    type BackupStream = stream::Empty<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        _: tonic::Request<v1::BackupRequest>,
    ) -> Result<tonic::Response<Self::BackupStream>, Status> {
        Err(not_here())
    }
}

/// Of what it knows, it checks nothing but how many frames are under way.
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

/// Of the thread that serves, which is the one that asks: the process may be the tool's own.
fn cpu_time() -> Option<prost_types::Duration> {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    prost_types::Duration::try_from(Duration::from(used)).ok()
}

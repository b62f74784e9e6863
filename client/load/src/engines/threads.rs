//! The threads that drive the workers, each with a runtime, connections and workers of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::{LocalBoxFuture, try_join_all};
use nix::time::{ClockId, clock_gettime};
use soloist::v1;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

use crate::command_line::args::Engine;
use crate::engines::connection::Connection;
use crate::engines::lane::Lane;
use crate::engines::raw::driver;
use crate::engines::watchers;
use crate::engines::worker::{Schedule, Worker};
use crate::pace::feed::Feed;
use crate::pace::open_loop::Inlet;
use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::history::{History, Recording, RecordingSeed};
use crate::record::recorder::{Recorder, Shown};
use crate::workload::generator::Workload;
use crate::workload::keys::Keys;
use soloist_verify::operation::Travel;

/// What all threads share.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Arc<Settings>,
    /// HOST:PORT.
    pub(crate) address: Arc<str>,
    pub(crate) keys: Keys,
    /// One for each worker, if the workload has any.
    pub(crate) sessions: Arc<Mutex<Vec<Option<v1::Session>>>>,
    /// What a history of the run needs, if there is to be one.
    pub(crate) history: Option<RecordingSeed>,
    /// Set when everything is connected: the start.
    pub(crate) start: watch::Receiver<Option<Arc<Stop>>>,
}

/// A thread under way.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Answers when its workers are ready to send, or why they never will be.
    pub(crate) ready: oneshot::Receiver<Result<(), String>>,
    /// Answers when all of them are done.
    pub(crate) done: oneshot::Receiver<Driven>,
    pub(crate) shown: Arc<Shown>,
}

/// What came of one thread.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) recorder: Recorder,
    /// CPU time of the thread from the end of the warm-up on.
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
    /// What its workers asked and were answered, if somebody wants to know.
    pub(crate) history: Option<History>,
}

impl Driver {
    /// Starts thread `index`, counted from 0.
    pub(crate) fn workers(index: u64, plan: Plan, inlet: Option<Inlet>) -> std::io::Result<Self> {
        let engine = plan.settings.engine;
        Self::spawn(format!("load-{index}"), move |ready, shown| match engine {
            Engine::Raw => Box::pin(driver::drive(index, plan, inlet, ready, shown)),
            Engine::Unary | Engine::Pipeline => Box::pin(drive(index, plan, inlet, ready, shown)),
        })
    }

    /// Starts the thread of the watches. They end when they have seen the last revision.
    pub(crate) fn watchers(
        plan: Plan,
        last_revision: watch::Receiver<Option<i64>>,
    ) -> std::io::Result<Self> {
        Self::spawn("load-watch".to_owned(), move |ready, shown| {
            Box::pin(watch_over(plan, last_revision, ready, shown))
        })
    }

    fn spawn(
        name: String,
        work: impl FnOnce(Ready, Arc<Shown>) -> LocalBoxFuture<'static, Option<Driven>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let shown = Arc::<Shown>::default();
        let (ready_sender, ready) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let thread_shown = Arc::clone(&shown);
        thread::Builder::new().name(name).spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let why = format!("cannot start a runtime: {error}");
                    return drop(ready_sender.send(Err(why)));
                }
            };
            if let Some(driven) = runtime.block_on(work(ready_sender, thread_shown)) {
                // Nobody waits any more if another thread has failed.
                let _ = done_sender.send(driven);
            }
        })?;
        Ok(Self { ready, done, shown })
    }
}

pub(crate) type Ready = oneshot::Sender<Result<(), String>>;

/// Says what was opened, and waits for the start. `None` if there will be none, because something could not be opened
/// here or in another thread.
pub(crate) async fn start<T>(
    opened: Result<T, String>,
    ready: Ready,
    plan: &mut Plan,
) -> Option<(T, Arc<Stop>)> {
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return None;
        }
    };
    ready.send(Ok(())).ok()?;
    let started = plan.start.wait_for(Option::is_some).await.ok()?;
    let stop = started.clone().expect("waited for");
    Some((opened, stop))
}

async fn drive(
    index: u64,
    mut plan: Plan,
    inlet: Option<Inlet>,
    ready: Ready,
    shown: Arc<Shown>,
) -> Option<Driven> {
    let schedule = match inlet {
        None | Some(Inlet::Own(_)) => Schedule::Closed,
        Some(Inlet::Queue(inlet)) => Schedule::Open(Rc::new(Feed::new(inlet.due, inlet.account))),
    };
    let opened = open_workers(index, &plan, &schedule).await;
    let (mut workers, stop) = start(opened, ready, &mut plan).await?;
    let history = plan.history.take().map(RecordingSeed::grow);
    if let Some(history) = &history {
        let travel = match plan.settings.engine {
            Engine::Pipeline => Travel::Frame,
            Engine::Unary | Engine::Raw => Travel::Call,
        };
        for (number, worker) in &mut workers {
            worker.witness = Some(history.witness(*number, travel, &stop));
        }
    }

    let interval = plan.settings.interval;
    let recorder = match plan.settings.open_loop {
        None => Recorder::of_closed_loop(shown, interval),
        Some(_) => Recorder::new(shown, interval),
    };
    let recorder = Rc::new(RefCell::new(recorder));
    let running: Vec<_> = workers
        .into_iter()
        .map(|(_, worker)| spawn_local(worker.run(Arc::clone(&stop), Rc::clone(&recorder))))
        .collect();
    // Whatever is still due goes away with the last worker.
    drop(schedule);
    tokio::time::sleep_until(stop.window_start().into()).await;
    let cpu_before = thread_cpu_time();
    let mut finished = stop.window_start();
    for worker in running {
        finished = finished.max(worker.await.expect("workers neither panic nor are aborted"));
    }
    let cpu = thread_cpu_time().saturating_sub(cpu_before);
    let recorder = Rc::into_inner(recorder).expect("all workers are done");
    let mut recorder = recorder.into_inner();
    recorder.finish();
    Some(Driven {
        recorder,
        cpu,
        finished,
        history: history.map(Recording::finish),
    })
}

async fn watch_over(
    mut plan: Plan,
    last_revision: watch::Receiver<Option<i64>>,
    ready: Ready,
    shown: Arc<Shown>,
) -> Option<Driven> {
    let opened = watchers::open(
        &plan.settings,
        &plan.address,
        plan.history.as_ref().map(|of| of.revision),
    )
    .await;
    let (streams, stop) = start(opened, ready, &mut plan).await?;
    Some(watchers::drive(plan, streams, stop, shown, last_revision).await)
}

/// Connection number `c` belongs to thread `c % threads`, worker `w` to connection `w % connections`.
async fn open_workers(
    index: u64,
    plan: &Plan,
    schedule: &Schedule,
) -> Result<Vec<(u64, Worker)>, String> {
    let settings = &plan.settings;
    let numbers: Vec<u64> = (0..settings.connections)
        .filter(|number| number % settings.threads == index)
        .collect();
    let opening = numbers
        .iter()
        .map(|_| Connection::open(&plan.address, settings.connect_timeout));
    let connections = try_join_all(opening).await?;

    let mut opening = Vec::new();
    for (number, connection) in numbers.iter().zip(&connections) {
        for worker in 0..settings.workers() {
            if worker % settings.connections == *number {
                opening.push(open_worker(worker, connection, plan, schedule));
            }
        }
    }
    try_join_all(opening).await
}

async fn open_worker(
    number: u64,
    connection: &Connection,
    plan: &Plan,
    schedule: &Schedule,
) -> Result<(u64, Worker), String> {
    let settings = &plan.settings;
    let worker = Worker {
        lane: Lane::open(connection, &plan.address, settings).await?,
        workload: plan.workload(number),
        schedule: schedule.clone(),
        frame_ops: settings.frame_ops,
        patience: settings.patience(),
        duration_stop: settings.duration_stop,
        witness: None,
    };
    Ok((number, worker))
}

impl Plan {
    /// What a worker sends.
    pub(crate) fn workload(&self, number: u64) -> Workload {
        let mut workload = Workload::new(&self.settings, self.keys.clone(), number);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(number as usize).and_then(Option::take);
        if let Some(session) = session {
            workload.set_session(session);
        }
        workload
    }
}

/// CPU time of this thread.
pub(crate) fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("every thread has a CPU clock")
}

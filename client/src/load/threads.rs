//! The threads that drive the workers, each with a runtime, connections and workers of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

use super::connection::Connection;
use super::keys::Keys;
use super::lane::Lane;
use super::recorder::{Counters, Recorder};
use super::schedule::ClosedLoop;
use super::settings::Settings;
use super::stop::Stop;
use super::worker::Worker;
use super::workload::Workload;

/// What all threads share.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Arc<Settings>,
    /// HOST:PORT.
    pub(crate) address: Arc<str>,
    pub(crate) keys: Keys,
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
    pub(crate) counters: Arc<Counters>,
}

/// What came of one thread.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) recorder: Recorder,
    /// CPU time of the thread from the end of the warm-up on.
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
}

impl Driver {
    /// Starts thread `index`, counted from 0.
    pub(crate) fn spawn(index: u64, plan: Plan) -> std::io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let (ready_sender, ready) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let thread_counters = Arc::clone(&counters);
        thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
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
                let driving = drive(index, plan, ready_sender, thread_counters);
                if let Some(driven) = runtime.block_on(driving) {
                    // Nobody waits any more if another thread has failed.
                    let _ = done_sender.send(driven);
                }
            })?;
        Ok(Self {
            ready,
            done,
            counters,
        })
    }
}

/// `None` if there is nothing to measure, because something could not be opened here or in another thread.
async fn drive(
    index: u64,
    mut plan: Plan,
    ready: oneshot::Sender<Result<(), String>>,
    counters: Arc<Counters>,
) -> Option<Driven> {
    let workers = match open_workers(index, &plan).await {
        Ok(workers) => workers,
        Err(error) => {
            let _ = ready.send(Err(error));
            return None;
        }
    };
    ready.send(Ok(())).ok()?;
    let stop = plan
        .start
        .wait_for(Option::is_some)
        .await
        .ok()?
        .clone()
        .expect("waited for");

    let recorder = Rc::new(RefCell::new(Recorder::new(counters)));
    let running: Vec<_> = workers
        .into_iter()
        .map(|worker| spawn_local(worker.run(Arc::clone(&stop), Rc::clone(&recorder))))
        .collect();
    tokio::time::sleep_until(stop.window_start().into()).await;
    let cpu_before = thread_cpu_time();
    let mut finished = stop.window_start();
    for worker in running {
        finished = finished.max(worker.await.expect("workers neither panic nor are aborted"));
    }
    let cpu = thread_cpu_time().saturating_sub(cpu_before);
    let recorder = Rc::into_inner(recorder).expect("all workers are done");
    Some(Driven {
        recorder: recorder.into_inner(),
        cpu,
        finished,
    })
}

/// Connection number `c` belongs to thread `c % threads`, worker `w` to connection `w % connections`.
async fn open_workers(index: u64, plan: &Plan) -> Result<Vec<Worker<ClosedLoop>>, String> {
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
                opening.push(open_worker(worker, connection, plan));
            }
        }
    }
    try_join_all(opening).await
}

async fn open_worker(
    number: u64,
    connection: &Connection,
    plan: &Plan,
) -> Result<Worker<ClosedLoop>, String> {
    let settings = &plan.settings;
    Ok(Worker {
        lane: Lane::open(connection, &plan.address, settings).await?,
        workload: Workload::new(settings, plan.keys.clone(), number),
        schedule: ClosedLoop,
        frame_ops: settings.frame_ops,
        patience: settings.patience(),
    })
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("every thread has a CPU clock")
}

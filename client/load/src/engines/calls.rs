//! The loop of a thread with the engines `unary` and `pipeline`: a task for each worker, over the generated clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::try_join_all;
use soloist_verify::MessageKind;
use tokio::task::spawn_local;

use crate::engines::connection::Connection;
use crate::engines::lane::Lane;
use crate::engines::thread::{ReadySender, RunContext, ThreadResult, wait_for_start};
use crate::engines::worker::{Schedule, Worker};
use crate::pace::arrival_queue::ArrivalQueue;
use crate::pace::cpu::thread_cpu_time;
use crate::pace::open_loop::ArrivalSource;
use crate::plan::choices::Engine;
use crate::record::history::{HistoryRecording, HistorySetup};
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;

pub(crate) async fn drive(
    index: u64,
    mut context: RunContext,
    source: Option<ArrivalSource>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let schedule = match source {
        None | Some(ArrivalSource::Own(_)) => Schedule::Closed,
        Some(ArrivalSource::Pacer(source)) => {
            Schedule::Open(Rc::new(ArrivalQueue::new(source.due, source.admission)))
        }
    };
    let opened = open_workers(index, &context, &schedule).await;
    let (mut workers, stop) = wait_for_start(opened, ready, &mut context).await?;
    let history = context.history.take().map(HistorySetup::start);
    if let Some(history) = &history {
        let travel = match context.settings.engine {
            Engine::Pipeline => MessageKind::Frame,
            Engine::Unary | Engine::Raw => MessageKind::Call,
        };
        for (number, worker) in &mut workers {
            worker.history = Some(history.sink(*number, travel, &stop));
        }
    }

    let interval = context.settings.interval;
    let recorder = match context.settings.open_loop {
        None => Recorder::of_closed_loop(live, interval),
        Some(_) => Recorder::new(live, interval),
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
    Some(ThreadResult {
        recorder,
        cpu,
        finished,
        history: history.map(HistoryRecording::finish),
    })
}

/// Connection number `c` belongs to thread `c % threads`, worker `w` to connection `w % connections`.
async fn open_workers(
    index: u64,
    context: &RunContext,
    schedule: &Schedule,
) -> Result<Vec<(u64, Worker)>, String> {
    let settings = &context.settings;
    let numbers: Vec<u64> = (0..settings.connections)
        .filter(|number| number % settings.threads == index)
        .collect();
    let opening = numbers
        .iter()
        .map(|_| Connection::open(&context.address, settings.connect_timeout));
    let connections = try_join_all(opening).await?;

    let mut opening = Vec::new();
    for (number, connection) in numbers.iter().zip(&connections) {
        for worker in 0..settings.workers() {
            if worker % settings.connections == *number {
                opening.push(open_worker(worker, connection, context, schedule));
            }
        }
    }
    try_join_all(opening).await
}

async fn open_worker(
    number: u64,
    connection: &Connection,
    context: &RunContext,
    schedule: &Schedule,
) -> Result<(u64, Worker), String> {
    let settings = &context.settings;
    let worker = Worker {
        lane: Lane::open(connection, &context.address, settings).await?,
        workload: context.workload(number),
        schedule: schedule.clone(),
        frame_ops: settings.frame_ops,
        timeout: settings.answer_timeout(),
        duration_stop: settings.duration_stop,
        history: None,
    };
    Ok((number, worker))
}

//! The loop of a thread with the engines `unary` and `pipeline`: a task for each worker, over the generated clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::try_join_all;
use soloist_verify::Travel;
use tokio::task::spawn_local;

use crate::engines::connection::Connection;
use crate::engines::lane::Lane;
use crate::engines::thread::{Driven, Plan, Ready, start};
use crate::engines::worker::{Schedule, Worker};
use crate::pace::cpu::thread_cpu_time;
use crate::pace::feed::Feed;
use crate::pace::open_loop::Inlet;
use crate::plan::choices::Engine;
use crate::record::history::{Recording, RecordingSeed};
use crate::record::live::Shown;
use crate::record::recorder::Recorder;

pub(crate) async fn drive(
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

//! A thread of the engines `unary` and `pipeline`: a task for each worker, over the generated clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{select_all, try_join_all};
use soloist_verify::MessageKind;
use tokio::task::spawn_local;

use crate::engines::backoff::Backoff;
use crate::engines::lane::Lane;
use crate::engines::link::Link;
use crate::engines::rules::Rules;
use crate::engines::thread::{ReadySender, RunContext, ThreadResult, wait_for_start};
use crate::engines::worker::Worker;
use crate::pace::admission::DropReason;
use crate::pace::arrival_queue::ArrivalQueue;
use crate::pace::cpu::thread_cpu_time;
use crate::pace::open_loop::ArrivalSource;
use crate::plan::choices::Engine;
use crate::record::history::HistoryRecording;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::record::worker_history::WorkerHistory;

/// Runs the workers of thread `index`, from connecting to the end of the run.
pub(crate) async fn drive(
    index: u64,
    mut context: RunContext,
    source: Option<ArrivalSource>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let arrivals = match source {
        None | Some(ArrivalSource::Own(_)) => None,
        Some(ArrivalSource::Pacer(due)) => Some(Rc::new(ArrivalQueue::new(due))),
    };
    let opened = open_workers(index, &context, arrivals.as_ref()).await;
    let ((mut workers, links), stop) = wait_for_start(opened, ready, &mut context).await?;
    let maintaining: Vec<_> = links
        .iter()
        .map(|link| spawn_local(Rc::clone(link).maintain()))
        .collect();
    let recording = context.recording();
    if let Some(recording) = &recording {
        let travel = match context.settings.engine {
            Engine::Pipeline => MessageKind::Frame,
            Engine::Unary | Engine::Raw => MessageKind::Call,
        };
        for (number, worker) in &mut workers {
            worker.history = Some(WorkerHistory::new(recording, *number, travel, &stop));
        }
    }
    let rules = context.rules(&stop);
    let recorder = Rc::new(RefCell::new(context.recorder(live)));
    let running: Vec<_> = workers
        .into_iter()
        .map(|(_, worker)| spawn_local(worker.run(rules.clone(), Rc::clone(&recorder))))
        .collect();
    let dropping = arrivals.clone().map(|arrivals| {
        let recorder = Rc::clone(&recorder);
        spawn_local(drop_while_out(links, arrivals, rules.clone(), recorder))
    });
    tokio::time::sleep_until(stop.window_start().into()).await;
    let cpu_before = thread_cpu_time();
    let mut finished = stop.window_start();
    for worker in running {
        finished = finished.max(
            worker
                .await
                .expect("a worker neither panics nor is aborted"),
        );
    }
    let cpu = thread_cpu_time().saturating_sub(cpu_before);
    for task in maintaining {
        task.abort();
    }
    if let Some(task) = dropping {
        // It may hold the queue until it has ended.
        task.abort();
        let _ = task.await;
    }
    let recorder = Rc::into_inner(recorder).expect("all workers are done");
    let mut recorder = recorder.into_inner();
    // The pacer finds the queue closed from now on. What it has handed out and nobody has taken must not get lost.
    let now = Instant::now();
    for intended in arrivals.iter().flat_map(|arrivals| arrivals.close()) {
        rules.give_back(intended, DropReason::LateStart, now, &mut recorder);
    }
    recorder.finish();
    Some(ThreadResult {
        recorder,
        cpu,
        finished,
        history: recording.map(HistoryRecording::finish),
    })
}

/// Drops the operations that become due while none of the links has a connection, nor one that may be there in a moment. The
/// workers take none then.
async fn drop_while_out(
    links: Vec<Rc<Link>>,
    arrivals: Rc<ArrivalQueue>,
    rules: Rules,
    recorder: Rc<RefCell<Recorder>>,
) {
    loop {
        let changes = links.iter().map(|link| Box::pin(link.changed()));
        let changed = select_all(changes);
        if !links.iter().all(|link| link.is_out()) {
            changed.await;
            continue;
        }
        tokio::select! {
            due = arrivals.next() => match due {
                Some(intended) => {
                    let recorder = &mut recorder.borrow_mut();
                    rules.give_back(intended, DropReason::NoConnection, Instant::now(), recorder);
                }
                None => return,
            },
            _ = changed => {}
        }
    }
}

/// Returns the workers of thread `index` with their numbers, and the links of their connections.
async fn open_workers(
    index: u64,
    context: &RunContext,
    arrivals: Option<&Rc<ArrivalQueue>>,
) -> Result<(Vec<(u64, Worker)>, Vec<Rc<Link>>), String> {
    let numbers: Vec<u64> = context.connections_of(index).collect();
    let settings = &context.settings;
    let opening = numbers.iter().map(|number| {
        let backoff = Backoff::new(settings.seed ^ number, settings.connections);
        Link::open(
            &context.destination,
            settings.connect_timeout,
            backoff,
            &context.links,
        )
    });
    let links = try_join_all(opening).await?;

    let mut opening = Vec::new();
    for (&number, link) in numbers.iter().zip(&links) {
        for worker in context.workers_of(number) {
            opening.push(open_worker(worker, link, context, arrivals));
        }
    }
    Ok((try_join_all(opening).await?, links))
}

async fn open_worker(
    number: u64,
    link: &Rc<Link>,
    context: &RunContext,
    arrivals: Option<&Rc<ArrivalQueue>>,
) -> Result<(u64, Worker), String> {
    let settings = &context.settings;
    let worker = Worker {
        lane: Lane::open(link, settings).await?,
        workload: context.workload(number),
        arrivals: arrivals.cloned(),
        frame_ops: settings.frame_ops,
        history: None,
    };
    Ok((number, worker))
}

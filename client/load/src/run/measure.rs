//! A run from beginning to end: open, start together, measure, collect.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use crate::engines::thread::ThreadResult;

use crate::engines::thread::RunningThread;

use crate::engines::thread::RunContext;
use crate::engines::threads::{start_watchers, start_workers};
use crate::pace::open_loop::{OpenLoopSetup, OpenLoopTotals};
use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::history::ThreadHistory;
use crate::record::recorder::Recorder;
use crate::record::timeline::Timeline;
use crate::run::barrier::Barrier;
use crate::run::before::Before;
use crate::run::error::RunError;
use crate::run::prepare::prepare;
use crate::run::signals::Interrupts;
use crate::run::signals::exit_code;
use crate::run::target::Target;
use crate::run::view::View;
use crate::workload::keys::Keys;
use soloist_verify as checked;

/// How often who watches is shown how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Measured, before it becomes a report.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) recorder: Recorder,
    pub(crate) timeline: Timeline,
    /// When measuring began.
    pub(crate) started_at: SystemTime,
    pub(crate) elapsed: Duration,
    /// From the end of the window until everything was answered.
    pub(crate) drain: Duration,
    pub(crate) client_cpu: Duration,
    pub(crate) server_cpu: Option<Duration>,
    /// Workers whose stream or connection was gone before the end, and when the first of them was: in seconds after
    /// the warm-up, or before its end if negative.
    pub(crate) lost: (u64, Option<f64>),
    /// The signal that ended the run before its time.
    pub(crate) interrupted: Option<SignalKind>,
    /// Of an open loop.
    pub(crate) open_loop: Option<OpenLoopTotals>,
    /// What everyone asked and was answered; the error says why that is not known.
    pub(crate) history: Option<Result<checked::History, String>>,
}

/// Runs once, against a server that is there.
///
/// Waits until the run is over: for as long as it is to measure, and for the answers after that, each at most its
/// timeout. Ctrl-C or SIGTERM ends it early, within two seconds, and what was measured until then is reported; a second
/// one ends the process.
pub(crate) async fn measure(
    settings: &Arc<Settings>,
    target: &Target,
    interrupts: &mut Interrupts,
    view: &mut dyn View,
    barrier: Option<Barrier>,
) -> Result<Measured, RunError> {
    let sessions = prepare(settings, target).await.map_err(RunError::Target)?;
    let (start, started) = watch::channel(None);
    let (last_revision, revision_seen) = watch::channel(None);
    let before = match settings.verify {
        true => Some(
            Before::look(settings, target)
                .await
                .map_err(RunError::Target)?,
        ),
        false => None,
    };
    let context = RunContext {
        settings: Arc::clone(settings),
        address: Arc::clone(&target.address),
        keys: Keys::new(settings.keys, settings.key_dist, settings.part),
        sessions: Arc::new(Mutex::new(sessions.into_iter().map(Some).collect())),
        history: before.as_ref().map(Before::seed),
        start: started,
    };
    let cannot_start = |error| RunError::Target(format!("cannot start a thread: {error}"));
    let (pacing, mut sources) = match &settings.open_loop {
        None => (None, Vec::new()),
        Some(open_loop) => {
            let (pacing, sources) = OpenLoopSetup::new(settings, open_loop);
            (Some(pacing), sources)
        }
    };
    sources.reverse();
    let mut drivers = (0..settings.threads)
        .map(|index| start_workers(index, context.clone(), sources.pop()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(cannot_start)?;
    let mut watches = match settings.watchers {
        0 => None,
        _ => Some(start_watchers(context.clone(), revision_seen).map_err(cannot_start)?),
    };
    for driver in drivers.iter_mut().chain(&mut watches) {
        (&mut driver.ready)
            .await
            .unwrap_or_else(|_| Err("a thread has ended without a word".to_owned()))
            .map_err(RunError::Target)?;
    }

    if let Some(barrier) = barrier {
        let _ = barrier.ready.send(());
        tokio::select! {
            go = barrier.go => go.map_err(|_| RunError::Target("nobody said to start".to_owned()))?,
            signal = interrupts.recv() => std::process::exit(exit_code(signal)),
        }
    }
    // Without a warm-up the load begins with the start, and asking then would race with it.
    let before_start = match settings.warmup.is_zero() {
        true => target.cpu_time().await,
        false => None,
    };
    let stop = Arc::new(Stop::new(
        Instant::now(),
        settings.warmup,
        settings.duration,
        settings.requests,
    ));
    let started_at = SystemTime::now() + settings.warmup;
    start.send_replace(Some(Arc::clone(&stop)));
    let running = pacing
        .map(|pacing| pacing.start(Arc::clone(&stop)))
        .transpose()
        .map_err(cannot_start)?;
    let live = drivers.iter().chain(&watches);
    let live = live.map(|driver| Arc::clone(&driver.live)).collect();
    let mut timeline = Timeline::new(live, settings.interval);

    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let everything = async {
        let before = match settings.warmup.is_zero() {
            true => before_start,
            false => {
                tokio::time::sleep_until(stop.window_start().into()).await;
                target.cpu_time().await
            }
        };
        let mut driven = join(drivers).await;
        let after = target.cpu_time().await;
        if let Some(watches) = watches {
            // If the server does not tell, there is nothing more to wait for.
            let revision = target.revision().await.unwrap_or(0);
            last_revision.send_replace(Some(revision));
            driven.extend(join(vec![watches]).await);
        }
        let cpu = after.zip(before);
        (
            driven,
            cpu.map(|(after, before)| after.saturating_sub(before)),
        )
    };
    tokio::pin!(everything);
    let (driven, server_cpu) = loop {
        tokio::select! {
            done = &mut everything => break done,
            _ = looks.tick() => {
                let now = Instant::now();
                let dropped = running.as_ref().map_or(0, |running| running.dropped());
                timeline.look(now, &stop, dropped);
                view.show(settings, &timeline, &stop, dropped);
            }
            signal = interrupts.recv() => {
                if interrupts.first.is_some() {
                    view.end();
                    std::process::exit(exit_code(signal));
                }
                interrupts.first = Some(signal);
                stop.interrupt(Instant::now());
                if let Some(running) = &running {
                    running.stop();
                }
            }
        }
    };
    let open_loop = running.map(|running| running.finish());
    timeline.collect();
    view.end();
    let (mut measured, history) = sum_up(&stop, driven, server_cpu, timeline, open_loop);
    measured.started_at = started_at;
    measured.interrupted = interrupts.first;
    measured.history = history
        .zip(before)
        .map(|(history, before)| before.complete(history, settings));
    Ok(measured)
}

async fn join(drivers: Vec<RunningThread>) -> Vec<ThreadResult> {
    let mut driven = Vec::with_capacity(drivers.len());
    for driver in drivers {
        driven.push(
            driver
                .done
                .await
                .expect("a thread ends with what it has measured"),
        );
    }
    driven
}

fn sum_up(
    stop: &Stop,
    driven: Vec<ThreadResult>,
    server_cpu: Option<Duration>,
    timeline: Timeline,
    open_loop: Option<OpenLoopTotals>,
) -> (Measured, Option<ThreadHistory>) {
    let mut recorder = Recorder::new(Arc::default(), Duration::from_secs(1));
    let mut client_cpu = Duration::ZERO;
    let mut finished = stop.window_start();
    let mut history: Option<ThreadHistory> = None;
    for one in driven {
        recorder.add(&one.recorder);
        client_cpu += one.cpu;
        finished = finished.max(one.finished);
        match (&mut history, one.history) {
            (Some(history), Some(more)) => history.add(more),
            (none, more) => *none = more,
        }
    }
    if let Some(open_loop) = &open_loop {
        client_cpu += open_loop.cpu;
    }
    // Workers are done before the end if they have spent the count, or lost their connections.
    let end = stop.end().map_or(finished, |end| end.min(finished));
    let (lost, first_lost) = recorder.lost();
    let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    let start = stop.window_start();
    let measured = Measured {
        lost: (
            lost,
            first_lost.map(|first| seconds(start, first) - seconds(first, start)),
        ),
        recorder,
        timeline,
        started_at: SystemTime::UNIX_EPOCH,
        elapsed: end.saturating_duration_since(start),
        drain: finished.saturating_duration_since(end),
        client_cpu,
        server_cpu,
        interrupted: None,
        open_loop,
        history: None,
    };
    (measured, history)
}

//! Measures: connects, starts all threads together, shows how far they are, and collects what they return.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::engines::thread::{RunContext, ThreadResult};
use crate::engines::threads::Threads;
use crate::pace::open_loop::{OpenLoopSetup, OpenLoopTotals, RunningOpenLoop};
use crate::pace::stop::Stop;
use crate::plan::flag::show_duration;
use crate::plan::settings::Settings;
use crate::record::links::Links;
use crate::record::timeline::Timeline;
use crate::report::live::Work;
use crate::run::barrier::Barrier;
use crate::run::before::Before;
use crate::run::error::RunError;
use crate::run::measured::{Measured, ThreadTotals};
use crate::run::prepare::prepare;
use crate::run::signals::Interrupts;
use crate::run::target::Target;
use crate::run::view::View;
use crate::workload::call::turns::CallRun;
use crate::workload::keys::Keys;

/// How often the counts are sampled and the view is updated.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// Does one run against a server that is there.
///
/// Waits until the run is over: for the measured time, and after that for the answers, for each at most its timeout. Ctrl-C
/// or SIGTERM ends the run early, within two seconds, and the result is what was measured until then. A second signal ends
/// the process.
///
/// # Errors
/// If the workload cannot be prepared, the threads cannot be started or connected, or the leader goes away.
pub(crate) async fn measure(
    settings: &Arc<Settings>,
    target: &Target,
    interrupts: &mut Interrupts,
    view: &mut dyn View,
    barrier: Option<Barrier>,
) -> Result<Measured, RunError> {
    let connected = tokio::select! {
        connected = Connected::open(settings, target, view.work()) => connected?,
        signal = interrupts.recv() => return Err(RunError::Interrupted(signal)),
    };
    if let Some(barrier) = barrier {
        barrier.wait(interrupts).await?;
    }
    // Without a warm-up the measured time begins with the start. Asking the server only then would take a part of it.
    let cpu_before = match settings.warmup.is_zero() {
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
    connected.start.send_replace(Some(Arc::clone(&stop)));
    let open_loop = connected.open_loop;
    let open_loop = open_loop.map(|setup| setup.start(Arc::clone(&stop)));
    let threads = connected.threads;
    let (links, watch_links) = (connected.links, connected.watch_links);
    let mut progress = Progress {
        settings,
        timeline: Timeline::new(threads.live(), settings.interval, Arc::clone(&links)),
        target,
        gave_up: None,
        open_loop: open_loop.transpose().map_err(cannot_start)?,
        stop: &stop,
        view,
    };
    let done = finish(threads, settings, target, &stop, cpu_before);
    let (results, server_cpu) = progress.show_until(done, interrupts).await;
    let gave_up = progress.gave_up.take();
    let (timeline, open_loop) = progress.finish();
    let mut totals = ThreadTotals::of(results, &stop);
    let history = totals.history.take().zip(connected.before);
    let mut measured = Measured::new(totals, &stop, started_at, timeline, open_loop);
    measured.server_cpu = server_cpu;
    (measured.links, measured.outages) = links.finish();
    measured.links.add(watch_links.finish().0);
    measured.gave_up = gave_up;
    measured.call = connected.call.map(|call| call.totals());
    measured.interrupted = interrupts.first;
    measured.history = history.map(|(history, before)| before.complete(history, settings));
    Ok(measured)
}

fn cannot_start(error: io::Error) -> RunError {
    RunError::Failed(format!("cannot start a thread: {error}"))
}

/// A run whose threads are connected and wait for the start.
struct Connected {
    threads: Threads,
    links: Arc<Links>,
    watch_links: Arc<Links>,
    /// Starts the threads.
    start: watch::Sender<Option<Arc<Stop>>>,
    /// `None` in a closed loop.
    open_loop: Option<OpenLoopSetup>,
    /// `None` if the run records no history.
    before: Option<Before>,
    /// `None` unless the user names a method.
    call: Option<CallRun>,
}

impl Connected {
    /// Makes what the workload needs, and connects the threads.
    async fn open(settings: &Arc<Settings>, target: &Target, work: Work) -> Result<Self, RunError> {
        let prepared = prepare(settings, target, work).await;
        let sessions = prepared.map_err(RunError::Failed)?;
        let before = match settings.verify {
            true => {
                let looked = Before::look(settings, target, work).await;
                Some(looked.map_err(RunError::Failed)?)
            }
            false => None,
        };
        let open_loop = settings.open_loop.as_ref();
        let (open_loop, sources) = match open_loop.map(|of| OpenLoopSetup::new(settings, of)) {
            Some((setup, sources)) => (Some(setup), sources),
            None => (None, Vec::new()),
        };
        let (start, started) = watch::channel(None);
        let (links, watch_links) = (Arc::<Links>::default(), Arc::<Links>::default());
        let program = target.call.clone();
        let call = program.map(|program| CallRun::new(program, settings.part));
        let context = RunContext {
            links: Arc::clone(&links),
            watch_links: Arc::clone(&watch_links),
            settings: Arc::clone(settings),
            destination: Arc::clone(&target.destination),
            keys: Keys::new(settings.keys, settings.key_dist, settings.part),
            sessions: Arc::new(Mutex::new(sessions.into_iter().map(Some).collect())),
            call: call.clone(),
            admission: open_loop.as_ref().map(OpenLoopSetup::admission),
            history: before.as_ref().map(Before::setup),
            start: started,
        };
        let mut threads = Threads::start(&context, sources).map_err(cannot_start)?;
        threads.ready().await.map_err(RunError::Failed)?;
        Ok(Self {
            threads,
            links,
            watch_links,
            start,
            open_loop,
            before,
            call,
        })
    }
}

/// Waits until all threads are done. Returns their results, and the CPU time that the server used since the end of the
/// warm-up.
async fn finish(
    mut threads: Threads,
    settings: &Settings,
    target: &Target,
    stop: &Stop,
    cpu_before: Option<Duration>,
) -> (Vec<ThreadResult>, Option<Duration>) {
    let before = match settings.warmup.is_zero() {
        true => cpu_before,
        false => {
            tokio::time::sleep_until(stop.window_start().into()).await;
            target.cpu_time().await
        }
    };
    let mut results = threads.join_workers().await;
    let after = target.cpu_time().await;
    if threads.has_watchers() {
        // If the server does not tell its revision, the watches have nothing to wait for.
        let revision = target.revision().await.unwrap_or(0);
        results.extend(threads.join_watchers(revision).await);
    }
    let cpu = after.zip(before);
    (
        results,
        cpu.map(|(after, before)| after.saturating_sub(before)),
    )
}

/// A run in progress, as the view shows it.
struct Progress<'a> {
    settings: &'a Settings,
    target: &'a Target,
    timeline: Timeline,
    /// Why the run was given up before its end, if it was.
    gave_up: Option<String>,
    /// `None` in a closed loop.
    open_loop: Option<RunningOpenLoop>,
    stop: &'a Stop,
    view: &'a mut dyn View,
}

impl Progress<'_> {
    /// Shows how far the run is until `work` is done, and ends the run at the first signal.
    async fn show_until<T>(
        &mut self,
        work: impl Future<Output = T>,
        interrupts: &mut Interrupts,
    ) -> T {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    self.show();
                    self.give_up_without_connection();
                }
                signal = interrupts.recv() => {
                    interrupts.first = Some(signal);
                    self.interrupt();
                }
            }
        }
    }

    fn show(&mut self) {
        if let Some(token) = self.target.destination.token() {
            token.refresh(Instant::now());
        }
        let dropped = self.open_loop.as_ref().map_or(0, RunningOpenLoop::dropped);
        self.timeline.sample(Instant::now(), self.stop, dropped);
        self.view
            .show(self.settings, &self.timeline, self.stop, dropped);
    }

    /// Ends the run if there has been no connection for so long that nobody is to wait any longer.
    fn give_up_without_connection(&mut self) {
        let Some(timeout) = self.settings.reconnect_timeout else {
            return;
        };
        let now = Instant::now();
        let out_since = self.timeline.links().status().out_since;
        let is_out = out_since.is_some_and(|since| now.saturating_duration_since(since) >= timeout);
        if is_out && self.gave_up.is_none() && !self.stop.is_over(now) {
            let why = self.timeline.links().why_down();
            self.gave_up = Some(format!(
                "the run was given up, because {} was not there for {} (--reconnect-timeout){}",
                self.target.address,
                show_duration(timeout),
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ));
            self.interrupt();
        }
    }

    fn interrupt(&mut self) {
        self.stop.interrupt(Instant::now());
        if let Some(open_loop) = &self.open_loop {
            open_loop.stop();
        }
    }

    fn finish(mut self) -> (Timeline, Option<OpenLoopTotals>) {
        self.timeline.collect();
        self.view.end();
        let open_loop = self.open_loop.map(RunningOpenLoop::finish);
        (self.timeline, open_loop)
    }
}

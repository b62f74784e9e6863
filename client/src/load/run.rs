//! A run from beginning to end: open, start together, measure, collect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::args::Args;
use super::keys::Keys;
use super::progress::{self, Progress};
use super::recorder::{Counters, Recorder};
use super::report::Report;
use super::settings::Settings;
use super::stop::Stop;
use super::target::Target;
use super::threads::{Driven, Driver, Plan};

/// Why there is nothing to report.
#[derive(Debug)]
pub enum RunError {
    /// The arguments contradict each other, or what the server allows.
    Arguments(String),
    /// The server cannot be reached, or is none.
    Target(String),
}

/// Measured by [`run`], before it becomes a report.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) recorder: Recorder,
    pub(crate) elapsed: Duration,
    pub(crate) client_cpu: Duration,
    pub(crate) server_cpu: Option<Duration>,
    /// Workers whose stream or connection was gone before the end, and when the first of them was: in seconds after
    /// the warm-up, or before its end if negative.
    pub(crate) lost: (u64, Option<f64>),
    /// The signal that ended the run before its time.
    pub(crate) interrupted: Option<SignalKind>,
}

/// Does what the arguments say, and reports.
///
/// Blocks until the run is over: for as long as it is to measure, and for the answers after that, each at most its
/// timeout. Ctrl-C or SIGTERM ends it early, within two seconds, and what was measured until then is reported; a second
/// one ends the process.
///
/// # Errors
///
/// [`RunError`] if nothing was measured. Failed operations are part of the report.
pub fn run(args: &Args) -> Result<Report, RunError> {
    let settings = Arc::new(Settings::new(args).map_err(RunError::Arguments)?);
    let system = |error: io::Error| RunError::Target(format!("the system refuses: {error}"));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system)?;
    let (report, target) = runtime.block_on(async {
        let target = Target::open(args.address.as_deref(), &settings)
            .await
            .map_err(RunError::Target)?;
        settings
            .check(&target.limits)
            .map_err(RunError::Arguments)?;
        let measured = measure(&settings, &target, Progress::new(args.quiet)).await?;
        Ok((Report::new(&settings, &target, &measured), target))
    })?;
    // With the runtime goes our own connection, which an embedded server would wait for.
    drop(runtime);
    target.close().map_err(RunError::Target)?;
    Ok(report)
}

async fn measure(
    settings: &Arc<Settings>,
    target: &Target,
    mut progress: Progress,
) -> Result<Measured, RunError> {
    let (start, started) = watch::channel(None);
    let plan = Plan {
        settings: Arc::clone(settings),
        address: Arc::clone(&target.address),
        keys: Keys::new(settings.keys, settings.key_dist),
        start: started,
    };
    let mut drivers = (0..settings.threads)
        .map(|index| Driver::spawn(index, plan.clone()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| RunError::Target(format!("cannot start a thread: {error}")))?;
    for driver in &mut drivers {
        (&mut driver.ready)
            .await
            .unwrap_or_else(|_| Err("a thread has ended without a word".to_owned()))
            .map_err(RunError::Target)?;
    }

    let mut interrupts = Interrupts::new()
        .map_err(|error| RunError::Target(format!("cannot wait for Ctrl-C: {error}")))?;
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
    start.send_replace(Some(Arc::clone(&stop)));
    let counters: Vec<_> = drivers
        .iter()
        .map(|driver| Arc::clone(&driver.counters))
        .collect();
    let (driven, server_cpu) = tokio::select! {
        both = async {
            let before = match settings.warmup.is_zero() {
                true => before_start,
                false => {
                    tokio::time::sleep_until(stop.window_start().into()).await;
                    target.cpu_time().await
                }
            };
            let driven = join(drivers).await;
            let after = target.cpu_time().await;
            (driven, after.zip(before).map(|(after, before)| after.saturating_sub(before)))
        } => both,
        never = watch_over(&stop, &mut interrupts, &mut progress, &counters) => match never {},
    };
    progress.clear();
    Ok(sum_up(&stop, driven, server_cpu, interrupts.first))
}

async fn join(drivers: Vec<Driver>) -> Vec<Driven> {
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

/// What ends a run before its time.
#[derive(Debug)]
struct Interrupts {
    ctrl_c: Signal,
    terminate: Signal,
    /// Which came first, if any did.
    first: Option<SignalKind>,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            first: None,
        })
    }

    async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            Some(()) = self.ctrl_c.recv() => SignalKind::interrupt(),
            Some(()) = self.terminate.recv() => SignalKind::terminate(),
            else => std::future::pending().await,
        }
    }
}

/// Draws the progress, and turns Ctrl-C and SIGTERM into a stop.
async fn watch_over(
    stop: &Stop,
    interrupts: &mut Interrupts,
    progress: &mut Progress,
    counters: &[Arc<Counters>],
) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(progress::INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => progress.draw(counters, stop),
            signal = interrupts.recv() => {
                if interrupts.first.is_some() {
                    std::process::exit(super::interrupted(signal));
                }
                interrupts.first = Some(signal);
                stop.interrupt(Instant::now());
            }
        }
    }
}

fn sum_up(
    stop: &Stop,
    driven: Vec<Driven>,
    server_cpu: Option<Duration>,
    interrupted: Option<SignalKind>,
) -> Measured {
    let mut recorder = Recorder::new(Arc::default());
    let mut client_cpu = Duration::ZERO;
    let mut finished = stop.window_start();
    for one in driven {
        recorder.add(&one.recorder);
        client_cpu += one.cpu;
        finished = finished.max(one.finished);
    }
    // Workers are done before the end if they have spent the count, or lost their connections.
    let end = stop.end().map_or(finished, |end| end.min(finished));
    let (lost, first_lost) = recorder.lost();
    let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    let start = stop.window_start();
    Measured {
        lost: (
            lost,
            first_lost.map(|first| seconds(start, first) - seconds(first, start)),
        ),
        recorder,
        elapsed: end.saturating_duration_since(stop.window_start()),
        client_cpu,
        server_cpu,
        interrupted,
    }
}

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
    pub(crate) interrupted: bool,
}

/// Does what the arguments say, and reports.
///
/// Blocks until the run is over: for as long as it is to measure, and for the answers after that, each at most its
/// timeout. Ctrl-C ends it early, within two seconds, and what was measured until then is reported; a second Ctrl-C
/// ends the process.
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

    let interrupts = signal(SignalKind::interrupt())
        .map_err(|error| RunError::Target(format!("cannot wait for Ctrl-C: {error}")))?;
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
            tokio::time::sleep_until(stop.window_start().into()).await;
            let before = target.cpu_time().await;
            let driven = join(drivers).await;
            let after = target.cpu_time().await;
            (driven, after.zip(before).map(|(after, before)| after.saturating_sub(before)))
        } => both,
        never = watch_over(&stop, interrupts, &mut progress, &counters) => match never {},
    };
    progress.clear();
    Ok(sum_up(&stop, driven, server_cpu))
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

/// Draws the progress, and turns Ctrl-C into a stop.
async fn watch_over(
    stop: &Stop,
    mut interrupts: Signal,
    progress: &mut Progress,
    counters: &[Arc<Counters>],
) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(progress::INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => progress.draw(counters, stop),
            Some(()) = interrupts.recv() => {
                if stop.interrupted().is_some() {
                    std::process::exit(super::INTERRUPTED);
                }
                stop.interrupt(Instant::now());
            }
        }
    }
}

fn sum_up(stop: &Stop, driven: Vec<Driven>, server_cpu: Option<Duration>) -> Measured {
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
    Measured {
        recorder,
        elapsed: end.saturating_duration_since(stop.window_start()),
        client_cpu,
        server_cpu,
        interrupted: stop.interrupted().is_some(),
    }
}

//! `calibrate`: measures this tool itself, against servers of known behaviour. It says what the tool adds to the latencies
//! that it measures, and how fast it is.

use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::calibrate::{Delay, NullServer};
use crate::command_line::args::{CalibrateArgs, RunArgs};
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::commands::calibration::{
    Calibration, DELAY_RATE, HighestRate, KnownDelay, Lateness, PACER_RATE, Point,
};
use crate::commands::exit::say;
use crate::commands::outputs::print;
use crate::pace::arrivals::Arrivals;
use crate::pace::pacer::{Handover, Pace, Pacer, PacerTotals};
use crate::plan::choices::Arrival;
use crate::plan::labels::Labels;
use crate::plan::load_schedule::LoadSchedule;
use crate::report::distribution::micros;
use crate::report::format::CalibrationFormat;
use crate::report::model::Report;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::signals::{self, Interrupts, exit_code};
use crate::run::view::NoView;

/// How often to look whether a signal has come.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Measures the tool and prints the result. Returns the exit code.
pub(crate) fn calibrate(args: &CalibrateArgs) -> Result<i32, RunError> {
    let mut calibration = Calibration::default();
    let signal = match measure(args, &mut calibration) {
        Ok(()) => None,
        Err(RunError::Interrupted(signal)) if !calibration.lateness.is_empty() => Some(signal),
        Err(error) => return Err(error),
    };
    match args.format {
        CalibrationFormat::Json => print(&format!("{:#}\n", json!(calibration)))?,
        CalibrationFormat::Text => print(&calibration.to_text())?,
    };
    Ok(match signal {
        Some(signal) => {
            say("interrupted: the rest was not measured");
            exit_code(signal)
        }
        None => 0,
    })
}

/// Measures one thing after the other. What was measured before an error is kept.
fn measure(args: &CalibrateArgs, calibration: &mut Calibration) -> Result<(), RunError> {
    // From here on a signal ends a measurement instead of the process.
    Interrupts::new().map_err(|error| RunError::Failed(format!("the system refuses: {error}")))?;
    let lateness_of = &mut calibration.lateness;
    begin("the lateness of the pacing thread");
    lateness_of.push(pacing_thread(args)?);
    for engine in ["pipeline", "raw"] {
        begin(&format!("the lateness of engine {engine}"));
        let of = match engine {
            "raw" => "engine raw",
            _ => "engine pipeline",
        };
        lateness_of.push(lateness(args, of, &format!("--engine {engine}"))?);
    }
    for engine in ["unary", "pipeline", "raw"] {
        begin(&format!("the highest rate of engine {engine}"));
        calibration.rates.push(highest_rate(args, engine)?);
    }
    for (name, delay) in delays() {
        begin(&format!("known delays, {name}"));
        calibration.delays.push(known_delay(args, name, delay)?);
    }
    Ok(())
}

/// Says what is measured now.
fn begin(what: &str) {
    let _ = writeln!(io::stderr(), "measuring {what}");
}

/// Does one run against a server that holds its answers back. Returns its report, and how long the answers stayed in the
/// server.
fn run(
    args: &CalibrateArgs,
    delay: Delay,
    flags: &str,
) -> Result<(Report, Histogram<u64>), RunError> {
    let system = |error: io::Error| RunError::Failed(format!("the system refuses: {error}"));
    let server = NullServer::start(delay, args.seed).map_err(system)?;
    let address = server.address().to_string();
    let millis = args.duration.as_millis().max(1);
    let command = format!(
        "soloist-load {address} -z {millis}ms --seed {} {flags}",
        args.seed
    );
    let args: RunArgs = parse_command(&command).map_err(RunError::Arguments)?;
    let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
    let mut runner = Runner::open(Some(&address), &settings)?;
    let report = runner.run(settings, &Labels::default(), &mut NoView, None)?;
    runner.close()?;
    let residence = server.stop().map_err(system)?;
    // A measurement that was cut off is none.
    signals::check()?;
    Ok((report, residence.actual))
}

/// Measures the thread that paces the engines `unary` and `pipeline`, without an engine.
fn pacing_thread(args: &CalibrateArgs) -> Result<Lateness, RunError> {
    let schedule = LoadSchedule::constant(PACER_RATE as f64);
    let schedule = schedule.expect("the rate is valid");
    let arrivals = Arrivals::new(schedule, Arrival::Constant, args.seed);
    let start = Instant::now();
    let end = start + args.duration;
    let pace = Pace::new(start, arrivals).until(end);
    let pacer = Pacer::spawn(pace, |_| Handover::Accepted)
        .map_err(|error| RunError::Failed(format!("the system refuses: {error}")))?;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        // Dropping the pacer stops it.
        signals::check()?;
        thread::sleep(left.min(POLL_INTERVAL));
    }
    let PacerTotals { lateness, .. } = pacer.join();
    let at = |percentile| Some(micros(lateness.value_at_percentile(percentile)));
    Ok(Lateness {
        of: "pacing thread",
        rate: PACER_RATE,
        operations: lateness.len(),
        p50_us: at(50.0),
        p99_us: at(99.0),
        p99_9_us: at(99.9),
        max_us: at(100.0),
    })
}

/// Measures until an engine sends. The engine `raw` paces itself; the others get their arrivals from the pacing thread.
fn lateness(args: &CalibrateArgs, of: &'static str, engine: &str) -> Result<Lateness, RunError> {
    let flags = format!("--rps {PACER_RATE} {engine}");
    let (report, _) = run(args, Delay::None, &flags)?;
    let lateness = report.lateness.unwrap_or_default();
    Ok(Lateness {
        of,
        rate: PACER_RATE,
        operations: lateness.count,
        p50_us: lateness.p50_us,
        p99_us: lateness.p99_us,
        p99_9_us: lateness.p99_9_us,
        max_us: lateness.max_us,
    })
}

/// Measures the highest rate of an engine.
fn highest_rate(args: &CalibrateArgs, engine: &'static str) -> Result<HighestRate, RunError> {
    let (report, _) = run(
        args,
        Delay::None,
        &format!("--engine {engine} --warmup 200ms"),
    )?;
    Ok(HighestRate {
        engine,
        ops_per_second: report.ops_per_second,
        ops_per_client_cpu_second: report.client_queries_per_cpu_sec,
        p50_us: report.latency["all"].service.p50_us,
    })
}

/// Returns delays with their names.
fn delays() -> [(&'static str, Delay); 4] {
    let ms = Duration::from_millis;
    [
        ("fixed: 5 ms", Delay::Fixed(ms(5))),
        (
            "exponential: 5 ms on average",
            Delay::Exponential { mean: ms(5) },
        ),
        (
            "uniform: 1 to 9 ms",
            Delay::Uniform {
                min: ms(1),
                max: ms(9),
            },
        ),
        (
            "two: 1 ms, and 20 ms for 2 in 100",
            Delay::Bimodal {
                usual: ms(1),
                rare: ms(20),
                rare_share: 0.02,
            },
        ),
    ]
}

/// Measures latencies that the server knows.
fn known_delay(
    args: &CalibrateArgs,
    name: &'static str,
    delay: Delay,
) -> Result<KnownDelay, RunError> {
    let (report, truth) = run(
        args,
        delay,
        &format!("--rps {DELAY_RATE} --engine unary -P 2"),
    )?;
    let response = report.latency["all"].response.histogram();
    let response = response.map_err(|error| RunError::Failed(error.to_string()))?;
    let points = [50.0, 99.0, 99.9].map(|percentile| Point {
        percentile,
        true_us: micros(truth.value_at_percentile(percentile)),
        measured_us: micros(response.value_at_percentile(percentile)),
    });
    Ok(KnownDelay {
        delays: name,
        operations: response.len(),
        points: points.into(),
    })
}

//! `calibrate`: what the tool itself adds to what it measures, and how fast it is, against servers of known behaviour.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::calibrate::{Delay, NullServer};
use crate::command_line::args::{CalibrateArgs, RunArgs};
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::commands::outputs::print;
use crate::pace::arrivals::Arrivals;
use crate::pace::pacer::{Handover, Pace, Pacer, PacerTotals};
use crate::plan::choices::Arrival;
use crate::plan::labels::Labels;
use crate::plan::load_schedule::LoadSchedule;
use crate::report::distribution::micros;
use crate::report::format::Format;
use crate::report::model::Report;
use crate::report::numbers::{grouped, latency};
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::view::NoView;

/// The rate at which the pacer's lateness is measured, in operations per second.
const PACER_RATE: u64 = 10_000;
/// The rate at which answers with a known delay are asked for: few enough that the delays alone are measured.
const DELAY_RATE: u64 = 1_000;

/// What was found.
#[derive(Debug, Serialize)]
struct Calibration {
    lateness: Vec<Lateness>,
    rates: Vec<HighestRate>,
    delays: Vec<KnownDelay>,
}

/// How late operations start.
#[derive(Debug, Serialize)]
struct Lateness {
    /// Where: when the pacing thread has them, or when an engine sends them.
    of: &'static str,
    rate: u64,
    operations: u64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p99_9_us: Option<f64>,
    max_us: Option<f64>,
}

/// What one engine can do at most, against a server that does nothing.
#[derive(Debug, Serialize)]
struct HighestRate {
    engine: &'static str,
    ops_per_second: f64,
    ops_per_client_cpu_second: Option<f64>,
    p50_us: Option<f64>,
}

/// What was measured of answers that were held back for known times.
#[derive(Debug, Serialize)]
struct KnownDelay {
    delays: &'static str,
    operations: u64,
    points: Vec<Point>,
}

/// One percentile: as the server kept it, and as it was measured.
#[derive(Debug, Serialize)]
struct Point {
    percentile: f64,
    true_us: f64,
    measured_us: f64,
}

impl Point {
    fn error_us(&self) -> f64 {
        self.measured_us - self.true_us
    }
}

/// Measures the tool. Returns the exit code.
pub(crate) fn calibrate(args: &CalibrateArgs) -> Result<i32, RunError> {
    if !matches!(args.format, Format::Text | Format::Json) {
        let why = "--format: calibrate knows text and json";
        return Err(RunError::Arguments(why.to_owned()));
    }
    let calibration = Calibration {
        lateness: vec![
            pacing_thread(args)?,
            lateness(args, "engine pipeline", "--engine pipeline")?,
            lateness(args, "engine raw", "--engine raw")?,
        ],
        rates: ["unary", "pipeline", "raw"]
            .into_iter()
            .map(|engine| highest_rate(args, engine))
            .collect::<Result<_, _>>()?,
        delays: delays()
            .into_iter()
            .map(|(name, delay)| known_delay(args, name, delay))
            .collect::<Result<_, _>>()?,
    };
    match args.format {
        Format::Json => print(&format!("{:#}\n", json!(calibration))),
        _ => print(&calibration.to_text()),
    }
}

/// Runs once against a server. Returns what it kept, too.
fn run(
    args: &CalibrateArgs,
    delay: Delay,
    flags: &str,
) -> Result<(Report, Histogram<u64>), RunError> {
    let system = |error: std::io::Error| RunError::Failed(format!("the system refuses: {error}"));
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
    Ok((report, residence.actual))
}

/// The thread that paces the engines unary and pipeline, by itself.
fn pacing_thread(args: &CalibrateArgs) -> Result<Lateness, RunError> {
    let schedule = LoadSchedule::constant(PACER_RATE as f64);
    let schedule = schedule.expect("the rate is one that can be");
    let arrivals = Arrivals::new(schedule, Arrival::Constant, args.seed);
    let start = Instant::now();
    let pace = Pace::new(start, arrivals).until(start + args.duration);
    let pacer = Pacer::spawn(pace, |_| Handover::Accepted)
        .map_err(|error| RunError::Failed(format!("the system refuses: {error}")))?;
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

/// Until an engine sends. The engine raw paces itself; to the others what is due is handed over.
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
            "two: 1 ms, and 20 ms of 2 in 100",
            Delay::Bimodal {
                usual: ms(1),
                rare: ms(20),
                rare_share: 0.02,
            },
        ),
    ]
}

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

impl Calibration {
    fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "how late operations start, at {}/s",
            grouped(PACER_RATE)
        )?;
        for lateness in &self.lateness {
            writeln!(
                out,
                "  {:<16}p50 {}  p99 {}  p99.9 {}  max {}  ({} operations)",
                lateness.of,
                latency(lateness.p50_us),
                latency(lateness.p99_us),
                latency(lateness.p99_9_us),
                latency(lateness.max_us),
                grouped(lateness.operations)
            )?;
        }
        writeln!(
            out,
            "\nhighest rate, 110 workers, against a server that does nothing, on the same machine"
        )?;
        for rate in &self.rates {
            let per_cpu = rate
                .ops_per_client_cpu_second
                .map_or("-".to_owned(), |of| grouped(of as u64));
            writeln!(
                out,
                "  {:<10}{:>12}/s{:>14} per second of the client's CPU   p50 {}",
                rate.engine,
                grouped(rate.ops_per_second as u64),
                per_cpu,
                latency(rate.p50_us)
            )?;
        }
        writeln!(
            out,
            "\nwhat is measured of known delays, from the intended start, at {}/s",
            grouped(DELAY_RATE)
        )?;
        for known in &self.delays {
            writeln!(
                out,
                "  {} ({} operations)",
                known.delays,
                grouped(known.operations)
            )?;
            for point in &known.points {
                writeln!(
                    out,
                    "    p{:<6} in the server {}   measured {}   {:+.1} us",
                    point.percentile,
                    latency(Some(point.true_us)),
                    latency(Some(point.measured_us)),
                    point.error_us()
                )?;
            }
        }
        Ok(())
    }
}

//! `find-max` and `sweep`: many runs against one server, at different rates.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::command_line::args::{FindMaxArgs, RunArgs, SweepArgs};
use crate::command_line::resolve;
use crate::commands::find_max::{self, Probe, Search};
use crate::commands::outputs::{Outputs, print};
use crate::report::model::Report;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::view::NoView;

/// Shortest that the search can be told to come to: a thousandth.
const PRECISION_MIN: f64 = 0.001;

/// Runs at rates, one after the other.
struct Prober<'a> {
    runner: Runner,
    args: &'a RunArgs,
    settle: Duration,
    window: Duration,
}

impl<'a> Prober<'a> {
    fn open(args: &'a RunArgs, settle: Duration, window: Duration) -> Result<Self, RunError> {
        for (is_there, flag) in [
            (args.when.rps.is_some(), "--rps"),
            (args.stop.duration.is_some(), "--duration"),
            (args.stop.requests.is_some(), "--requests"),
            (!args.stop.warmup.is_zero(), "--warmup"),
            (args.how.agents.is_some(), "--agents"),
            (args.report.verify, "--verify"),
        ] {
            if is_there {
                return Err(RunError::Arguments(format!(
                    "{flag}: a search sets rates and times itself (see --settle and --window)"
                )));
            }
        }
        let settings = resolve::settings(args).map_err(RunError::Arguments)?;
        Ok(Self {
            runner: Runner::open(args.address.as_deref(), &settings)?,
            args,
            settle,
            window,
        })
    }

    /// None: in a closed loop.
    fn run(&mut self, rate: Option<f64>) -> Result<Report, RunError> {
        let mut args = self.args.clone();
        args.when.rps = rate;
        args.stop.warmup = self.settle;
        args.stop.duration = Some(self.window);
        let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
        self.runner
            .run(settings, &resolve::labels(&args), &mut NoView, None)
    }

    fn probe(&mut self, rate: f64) -> Result<Probe, RunError> {
        let probe = Probe::new(rate, self.run(Some(rate))?);
        if !self.args.report.quiet {
            let _ = writeln!(io::stderr(), "{probe}");
        }
        Ok(probe)
    }
}

/// Finds the highest rate. Returns the exit code.
pub(crate) fn find_max(args: &FindMaxArgs) -> Result<i32, RunError> {
    let precision = args.precision / 100.0;
    if args.run.report.slo.is_empty() {
        let why = "find-max needs an objective, such as --slo 'p99<5ms'";
        return Err(RunError::Arguments(why.to_owned()));
    }
    if !(PRECISION_MIN..=1.0).contains(&precision) {
        let least = PRECISION_MIN * 100.0;
        return Err(RunError::Arguments(format!(
            "--precision {}: it is from {least} to 100",
            args.precision
        )));
    }
    let search = Search {
        start: args.start as f64,
        precision,
        repeats: u32::try_from(args.repeat).expect("the flag's limit fits"),
    };
    let outputs = Outputs::new(&args.run).map_err(RunError::Arguments)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let found = find_max::find_max(search, |rate| prober.probe(rate))?;
    prober.runner.close()?;
    let note = found
        .note
        .map_or(String::new(), |note| format!(" ({note})"));
    let objectives: Vec<String> = args
        .run
        .report
        .slo
        .iter()
        .map(ToString::to_string)
        .collect();
    let objectives = objectives.join(" and ");
    let headline = match found.highest {
        Some(rate) => format!(
            "highest rate with {objectives}: {rate:.0} operations per second, held {} times{note}",
            found
                .probes
                .iter()
                .filter(|probe| probe.rate == rate && probe.holds())
                .count()
        ),
        None => format!("no rate was found that holds {objectives}{note}"),
    };
    outputs
        .write_sweep(&headline, found.highest, &found.probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(match found.highest {
        Some(_) => 0,
        None => crate::commands::exit::NOT_MET,
    })
}

/// Measures at each rate. Returns the exit code.
pub(crate) fn sweep(args: &SweepArgs) -> Result<i32, RunError> {
    let outputs = Outputs::new(&args.run).map_err(RunError::Arguments)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let mut rates: Vec<f64> = args.rates.iter().map(|&rate| rate as f64).collect();
    if rates.is_empty() {
        let most = prober.run(None)?.ops_per_second;
        rates = find_max::rates((most / 10.0).max(1.0), most.max(1.0), 10);
    }
    let mut probes = Vec::new();
    for rate in rates {
        let probe = prober.probe(rate)?;
        let interrupted = probe.report.interrupted.is_some();
        probes.push(probe);
        if interrupted {
            break;
        }
    }
    prober.runner.close()?;
    let headline = format!("{} rates", probes.len());
    outputs
        .write_sweep(&headline, None, &probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    print("")
}

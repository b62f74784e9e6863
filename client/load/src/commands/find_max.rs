//! `find-max`: the highest rate that meets every objective.

use crate::command_line::args::FindMaxArgs;
use crate::commands::exit::NOT_MET;
use crate::commands::outputs::Outputs;
use crate::commands::prober::Prober;
use crate::commands::search::{self, SearchOptions, SearchResult};
use crate::report::numbers::{counted, grouped};
use crate::run::error::RunError;

/// The least precision, as a fraction: with less, the noise of the runs decides.
const PRECISION_MIN: f64 = 0.001;

/// Finds the highest rate and writes the report. Returns the exit code.
pub(crate) fn find_max(args: &FindMaxArgs) -> Result<i32, RunError> {
    let options = options(args)?;
    let outputs = Outputs::new(&args.run).map_err(RunError::Arguments)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let found = search::find_max(options, |rate| prober.probe(rate))?;
    prober.close()?;
    let headline = headline(args, &found);
    outputs
        .write_sweep(&headline, found.highest, &found.probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(match found.highest {
        Some(_) => 0,
        None => NOT_MET,
    })
}

fn options(args: &FindMaxArgs) -> Result<SearchOptions, RunError> {
    if args.run.report.slo.is_empty() {
        let why = "find-max needs an objective, such as --slo 'p99<5ms'";
        return Err(RunError::Arguments(why.to_owned()));
    }
    let precision = args.precision / 100.0;
    if !(PRECISION_MIN..=1.0).contains(&precision) {
        return Err(RunError::Arguments(format!(
            "--precision {}: must be from {} to 100",
            args.precision,
            PRECISION_MIN * 100.0
        )));
    }
    Ok(SearchOptions {
        start: args.start as f64,
        precision,
        repeats: u32::try_from(args.repeat).expect("--repeat is at most 100"),
    })
}

fn headline(args: &FindMaxArgs, found: &SearchResult) -> String {
    let objectives: Vec<String> = args
        .run
        .report
        .slo
        .iter()
        .map(ToString::to_string)
        .collect();
    let objectives = objectives.join(" and ");
    let note = found.note.as_ref().map(|note| format!(" ({note})"));
    let note = note.unwrap_or_default();
    match found.highest {
        Some(rate) => {
            let probes = found.probes.iter();
            let held = probes.filter(|probe| probe.rate == rate && probe.holds());
            format!(
                "highest rate with {objectives}: {} operations per second, held {}{note}",
                grouped(rate.round() as u64),
                counted(held.count() as u64, "time")
            )
        }
        None => format!("no rate was found that holds {objectives}{note}"),
    }
}

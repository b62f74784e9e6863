//! `find-max`: the highest rate that meets every objective.

use crate::command_line::args::FindMaxArgs;
use crate::commands::exit::{NOT_MET, say};
use crate::commands::outputs::Outputs;
use crate::commands::prober::Prober;
use crate::commands::search::{self, SearchOptions, SearchResult};
use crate::report::numbers;
use crate::run::error::RunError;
use crate::run::signals::{self, exit_code};

/// The least precision, as a fraction: with less, the noise of the runs decides.
const PRECISION_MIN: f64 = 0.001;

/// Finds the highest rate and writes the report. Returns the exit code.
pub(crate) fn find_max(args: &FindMaxArgs) -> Result<i32, RunError> {
    let options = options(args)?;
    let outputs = Outputs::for_search(&args.run)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let mut is_first = true;
    let found = search::find_max(options, |rate| match prober.probe(rate) {
        // The runs before it are kept.
        Err(RunError::Interrupted(_)) if !is_first => Ok(None),
        probe => {
            is_first = false;
            probe.map(Some)
        }
    })?;
    let closed = prober.close();
    let headline = headline(args, &found);
    outputs
        .write_sweep(&headline, found.highest, &found.probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    closed?;
    Ok(match (signals::caught(), found.highest) {
        (Some(signal), _) => exit_code(signal),
        (None, Some(_)) => 0,
        (None, None) => {
            say(&headline);
            NOT_MET
        }
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
            let too_high = found.too_high.map(|too_high| {
                let tally = found.tally(too_high);
                format!("; {}/s held in {tally}", numbers::rate(too_high))
            });
            format!(
                "highest rate with {objectives}: {} operations per second, held in {}{}{note}",
                numbers::rate(rate),
                found.tally(rate),
                too_high.unwrap_or_default()
            )
        }
        None => format!("no rate was found that holds {objectives}{note}"),
    }
}

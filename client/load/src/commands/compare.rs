//! `compare` and baselines: are two sets of runs different?

use std::fs;
use std::io;
use std::path::Path;

use crate::command_line::args::{CompareArgs, RunArgs};
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::commands::clean::clean;
use crate::commands::exit::{FAILED, NOT_DECIDED, say};
use crate::commands::once::once;
use crate::commands::outputs::print;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::compare::{Comparison, Options, compare};
use crate::report::format::ComparisonFormat;
use crate::report::model::Report;
use crate::report::{output, schema};
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::signals;
use soloist_flags::Style;

/// The largest file that is read, in bytes: the reports of hours, with an interval each second.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Compares the runs of two files and prints the comparison. Returns the exit code.
pub(crate) fn compare_files(args: &CompareArgs) -> Result<i32, RunError> {
    let (mut a, mut b) = (read(&args.a)?, read(&args.b)?);
    if let Some(runs) = args.runs {
        check_gate(args.fail_on_regression, runs, runs)?;
        (a, b) = repeat(&a[0], &b[0], runs, args)?;
    }
    let comparison = compared(&a, &b, args.fail_on_regression)?;
    let text = match args.format {
        ComparisonFormat::Text => comparison.to_text(style()),
        ComparisonFormat::Json => comparison.to_json(),
        ComparisonFormat::Markdown => comparison.to_markdown(),
    };
    print(&text)?;
    Ok(match signals::caught() {
        Some(signal) => {
            say(&format!(
                "interrupted: {} were compared",
                comparison.sides()
            ));
            signals::exit_code(signal)
        }
        None => exit_code(&comparison, args.fail_on_regression),
    })
}

/// Refuses `--fail-on-regression` where it could never fail, before any run.
///
/// # Errors
/// If a side has one run.
pub(crate) fn check_gate(
    fail_on_regression: Option<f64>,
    runs_a: u64,
    runs_b: u64,
) -> Result<(), RunError> {
    if fail_on_regression.is_none() || runs_a.min(runs_b) > 1 {
        return Ok(());
    }
    Err(RunError::Arguments(format!(
        "--fail-on-regression with {runs_a} and {runs_b} runs: one run on a side proves nothing, so it could not fail; \
         use --runs 6 or more on both sides"
    )))
}

/// Compares runs with a baseline and prints the comparison. Returns the exit code.
pub(crate) fn against(
    baseline: &[Report],
    reports: &[Report],
    fail_on_regression: Option<f64>,
) -> Result<i32, RunError> {
    let comparison = compared(baseline, reports, fail_on_regression)?;
    print(&format!("\n{}", comparison.to_text(style())))?;
    Ok(exit_code(&comparison, fail_on_regression))
}

fn style() -> Style {
    Style::of(&io::stdout(), |name| std::env::var_os(name))
}

fn compared(
    a: &[Report],
    b: &[Report],
    fail_on_regression: Option<f64>,
) -> Result<Comparison, RunError> {
    let mut options = Options::default();
    if let Some(percent) = fail_on_regression {
        if !(0.0..=1_000.0).contains(&percent) {
            return Err(RunError::Arguments(format!(
                "--fail-on-regression {percent}: must be from 0 to 1000 percent"
            )));
        }
        options.regression_min = percent / 100.0;
    }
    compare(a, b, &options).map_err(|error| RunError::Arguments(error.to_string()))
}

/// Returns the exit code, and says on standard error why it is not 0: the comparison may have gone to a file.
fn exit_code(comparison: &Comparison, fail_on_regression: Option<f64>) -> i32 {
    if fail_on_regression.is_none() {
        return 0;
    }
    if comparison.is_regression() {
        say("a figure is worse than --fail-on-regression allows");
        return FAILED;
    }
    if !comparison.is_decided() {
        say(&format!(
            "--fail-on-regression: {} cannot show a regression, which takes at least {} on each side",
            comparison.sides(),
            comparison.runs_needed
        ));
        return NOT_DECIDED;
    }
    0
}

/// Repeats the runs of A and B in turn, so that a change on the machine affects both. The side that begins changes, too: a
/// machine that gets slower all the time favours neither.
///
/// A signal ends this with the runs that were completed, if there is one of each side.
fn repeat(
    a: &Report,
    b: &Report,
    runs: u64,
    compared: &CompareArgs,
) -> Result<(Vec<Report>, Vec<Report>), RunError> {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    'runs: for run in 0..runs {
        let mut pair = [(a, &mut of_a), (b, &mut of_b)];
        if run % 2 == 1 {
            pair.reverse();
        }
        for (of, reports) in pair {
            let mut args = parse_command(&of.command).map_err(RunError::Arguments)?;
            args.report.quiet = compared.quiet;
            args.what.clean |= compared.clean;
            args.report.name.clone_from(&of.name);
            let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
            let report = open_and_run(&args, settings);
            match report {
                Ok(report) if report.interrupted.is_none() => reports.push(report),
                Ok(_) | Err(RunError::Interrupted(_)) => break 'runs,
                Err(error) => return Err(error),
            }
        }
    }
    match signals::caught() {
        Some(signal) if of_a.is_empty() || of_b.is_empty() => Err(RunError::Interrupted(signal)),
        _ => Ok((of_a, of_b)),
    }
}

fn open_and_run(args: &RunArgs, settings: Settings) -> Result<Report, RunError> {
    let mut runner = Runner::open(args.address(), &settings)?;
    let report = once(args, &mut runner, settings.clone(), &Labels::default());
    let cleaned = clean(args, &runner, &settings);
    runner.close()?;
    let report = report?;
    cleaned?;
    Ok(report)
}

/// Reads the reports of a file. There is at least one.
///
/// # Errors
/// If the file cannot be read, is too large, or has no reports. The text names the file.
pub(crate) fn read(path: &Path) -> Result<Vec<Report>, RunError> {
    let named =
        |error: &dyn std::fmt::Display| RunError::Arguments(format!("{}: {error}", path.display()));
    let bytes = fs::metadata(path).map_err(|error| named(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(named(&format!(
            "the file must have at most {FILE_BYTES_MAX} bytes, not {bytes}"
        )));
    }
    let json = fs::read_to_string(path).map_err(|error| named(&error))?;
    schema::read(&json).map_err(|error| named(&error))
}

/// Saves reports for later comparisons.
pub(crate) fn save(path: &Path, reports: &[Report]) -> io::Result<()> {
    let mut json = serde_json::to_string(reports).expect("a report is JSON");
    json.push('\n');
    output::write(path, &json)
}

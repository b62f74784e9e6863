//! `compare` and baselines: are two sets of runs different?

use std::fs;
use std::io;
use std::path::Path;

use crate::command_line::args::CompareArgs;
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::commands::exit::FAILED;
use crate::commands::outputs::print;
use crate::commands::view::live_view;
use crate::plan::labels::Labels;
use crate::report::compare::{Comparison, Options, compare};
use crate::report::format::ComparisonFormat;
use crate::report::model::Report;
use crate::report::style::Style;
use crate::report::{output, schema};
use crate::run::error::RunError;
use crate::run::runner::Runner;

/// The largest file that is read, in bytes: the reports of hours, with an interval each second.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Compares the runs of two files and prints the comparison. Returns the exit code.
pub(crate) fn compare_files(args: &CompareArgs) -> Result<i32, RunError> {
    let (mut a, mut b) = (read(&args.a)?, read(&args.b)?);
    if let Some(runs) = args.runs {
        (a, b) = repeat(&a[0], &b[0], runs, args.quiet)?;
    }
    let comparison = compared(&a, &b, args.fail_on_regression)?;
    let text = match args.format {
        ComparisonFormat::Text => comparison.to_text(style()),
        ComparisonFormat::Json => comparison.to_json(),
        ComparisonFormat::Markdown => comparison.to_markdown(),
    };
    print(&text)?;
    Ok(exit_code(&comparison, args.fail_on_regression))
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

fn exit_code(comparison: &Comparison, fail_on_regression: Option<f64>) -> i32 {
    match fail_on_regression.is_some() && comparison.is_regression() {
        true => FAILED,
        false => 0,
    }
}

/// Repeats the runs of A and B in turn, so that a change on the machine affects both.
fn repeat(
    a: &Report,
    b: &Report,
    runs: u64,
    quiet: bool,
) -> Result<(Vec<Report>, Vec<Report>), RunError> {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        for (of, reports) in [(a, &mut of_a), (b, &mut of_b)] {
            let mut args = parse_command(&of.command).map_err(RunError::Arguments)?;
            args.report.quiet = quiet;
            args.report.name.clone_from(&of.name);
            let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
            let mut runner = Runner::open(args.address.as_deref(), &settings)?;
            let report = runner.run(settings, &Labels::default(), &mut *live_view(&args), None)?;
            runner.close()?;
            let is_interrupted = report.interrupted.is_some();
            reports.push(report);
            if is_interrupted {
                let why = "interrupted: the runs so far are not compared";
                return Err(RunError::Failed(why.to_owned()));
            }
        }
    }
    Ok((of_a, of_b))
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

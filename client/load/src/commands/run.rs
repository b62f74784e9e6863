//! A run, or several of the same: what the program does without a subcommand.

use std::io;

use crate::command_line::args::RunArgs;
use crate::command_line::resolve;
use crate::commands::clean::{Cleaned, clean};
use crate::commands::compare;
use crate::commands::exit::{self, FAILED, NOT_LINEARIZABLE};
use crate::commands::once::once;
use crate::commands::outputs::Outputs;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::model::Report;
use crate::report::output;
use crate::report::text::Detail;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::signals::{self, exit_code};

/// Does the runs, and writes the report of the last one. Returns the exit code.
pub(crate) fn run(args: &RunArgs) -> Result<i32, RunError> {
    let outputs = Outputs::new(args).map_err(RunError::Arguments)?;
    outputs.check().map_err(failed)?;
    if let Some(file) = &args.report.save_baseline {
        output::check(file).map_err(failed)?;
    }
    let baseline = args.report.baseline.as_deref();
    let baseline = baseline.map(compare::read).transpose()?;
    if let Some(baseline) = &baseline {
        compare::check_gate(
            args.report.fail_on_regression,
            baseline.len() as u64,
            args.report.runs,
        )?;
    }
    let (reports, cleaned) = do_runs(args)?;
    let mut code = 0;
    if let Some(report) = reports.last() {
        let detail = match args.report.verbose {
            true => Detail::All,
            false => Detail::Result,
        };
        outputs.write(report, detail).map_err(failed)?;
        code = exit::of_run(args, report);
        if let (FAILED, Some(why)) = (code, report.why_no_result()) {
            return Err(RunError::Failed(why));
        }
        if !outputs.print_text() {
            exit::say_why(code, report);
        }
    }
    if let Some(file) = &args.report.save_baseline {
        compare::save(file, &reports).map_err(failed)?;
    }
    if let Some(baseline) = baseline {
        let compared = compare::against(&baseline, &reports, args.report.fail_on_regression)?;
        // A regression matters less than anything that is wrong with the run itself.
        code = if code == 0 { compared } else { code };
    }
    if let (0, Err(error)) = (code, cleaned) {
        return Err(error);
    }
    Ok(match signals::caught() {
        // Also one between two runs, or while a history was checked.
        Some(signal) if code != NOT_LINEARIZABLE => exit_code(signal),
        _ => code,
    })
}

/// Repeats the run as often as asked for, or until it is interrupted.
fn do_runs(args: &RunArgs) -> Result<(Vec<Report>, Cleaned), RunError> {
    let settings = resolve::settings(args).map_err(RunError::Arguments)?;
    let mut runner = Runner::open(args.address(), &settings)?;
    let labels = resolve::labels(args);
    let reports = repeat(args, &mut runner, &settings, &labels);
    // Also what was left by a run that failed.
    let cleaned = clean(args, &runner, &settings);
    runner.close()?;
    Ok((reports?, cleaned))
}

fn repeat(
    args: &RunArgs,
    runner: &mut Runner,
    settings: &Settings,
    labels: &Labels,
) -> Result<Vec<Report>, RunError> {
    let mut reports = Vec::new();
    for _ in 0..args.report.runs {
        let report = match once(args, runner, settings.clone(), labels) {
            // The runs before it are kept.
            Err(RunError::Interrupted(_)) if !reports.is_empty() => break,
            report => report?,
        };
        let is_interrupted = report.interrupted.is_some();
        reports.push(report);
        if is_interrupted {
            break;
        }
    }
    Ok(reports)
}

fn failed(error: io::Error) -> RunError {
    RunError::Failed(error.to_string())
}

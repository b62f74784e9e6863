//! The command without a name: a run.

use crate::agents::lead;
use crate::command_line::args::RunArgs;
use crate::command_line::resolve;
use crate::commands::exit::{self, FAILED};
use crate::commands::outputs::{Outputs, live_view};
use crate::commands::{compare, complain};
use crate::report::output;
use crate::report::text::Detail;
use crate::run::error::RunError;
use crate::run::runner::Runner;

/// A run, or several of the same.
pub(crate) fn run(args: &RunArgs) -> Result<i32, RunError> {
    let outputs = Outputs::new(args).map_err(RunError::Arguments)?;
    let kept = args.report.save_baseline.iter();
    let checked = kept
        .map(|file| output::check(file))
        .find(|checked| checked.is_err());
    if let Err(error) = outputs.check().and(checked.unwrap_or(Ok(()))) {
        return Ok(complain(&error.to_string(), FAILED));
    }
    let baseline = args.report.baseline.as_deref();
    let baseline = baseline.map(compare::read).transpose()?;
    let settings = resolve::settings(args).map_err(RunError::Arguments)?;
    let mut runner = Runner::open(args.address.as_deref(), &settings)?;
    let labels = resolve::labels(args);
    let mut reports = Vec::new();
    for _ in 0..args.report.runs {
        let settings = settings.clone();
        let report = match &args.how.agents {
            None => runner.run(settings, &labels, &mut *live_view(args), None)?,
            Some(agents) => lead::run(&runner, settings, &labels, agents)?,
        };
        let is_interrupted = report.interrupted.is_some();
        reports.push(report);
        if is_interrupted {
            break;
        }
    }
    runner.close()?;
    let mut code = 0;
    if let Some(report) = reports.last() {
        let detail = match args.report.verbose {
            true => Detail::All,
            false => Detail::Result,
        };
        if let Err(error) = outputs.write(report, detail) {
            return Ok(complain(&error.to_string(), FAILED));
        }
        code = exit::of_run(args, report);
        if let (FAILED, Some(why)) = (code, report.why_nothing()) {
            return Ok(complain(&why, FAILED));
        }
    }
    if let Some(file) = &args.report.save_baseline
        && let Err(error) = compare::save(file, &reports)
    {
        return Ok(complain(&error.to_string(), FAILED));
    }
    if let Some(baseline) = baseline {
        let compared = compare::against(&baseline, &reports, args.report.fail_on_regression)?;
        // Whatever else is wrong comes first.
        code = if code == 0 { compared } else { code };
    }
    Ok(code)
}

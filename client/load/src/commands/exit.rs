//! The exit codes of the program.

use std::io::{self, Write as _};

use crate::command_line::args::RunArgs;
use crate::report::model::{Report, VerifyReport};
use crate::report::numbers::grouped;
use crate::report::printable::printable;

/// Operations failed, or the server could not be reached.
pub(crate) const FAILED: i32 = 1;
/// The arguments cannot be used.
pub(crate) const BAD_ARGUMENTS: i32 = 2;
/// The answers are not linearizable.
pub(crate) const NOT_LINEARIZABLE: i32 = 3;
/// Whether the answers are linearizable was not decided in time; or whether there is a regression, by so few runs.
pub(crate) const NOT_DECIDED: i32 = 4;
/// An objective was not met.
pub(crate) const NOT_MET: i32 = 99;

/// Says on standard error why the exit code is not 0. If standard error is closed, there is nobody to read it.
pub(crate) fn say(why: &str) {
    let _ = writeln!(io::stderr(), "error: {why}");
}

/// Says why the exit code of a run is not 0. The report may have gone to a file, or have a form for programs.
pub(crate) fn say_why(code: i32, report: &Report) {
    match code {
        NOT_LINEARIZABLE | NOT_DECIDED => {
            let text = report.verify.as_ref().map_or("", |of| of.text.as_str());
            say(text.lines().next().unwrap_or_default());
        }
        FAILED => {
            for lost in report.agents.iter().filter_map(|agent| agent.lost.as_ref()) {
                say(&format!("an agent has no report: {lost}"));
            }
            if report.failed.is_empty() {
                return;
            }
            let codes = report.failed.iter();
            let codes: Vec<_> = codes
                .map(|(code, ops)| format!("{} {}", grouped(*ops), printable(code)))
                .collect();
            say(&format!("operations failed: {}", codes.join(", ")));
        }
        NOT_MET => {
            for slo in report.slos.iter().filter(|slo| !slo.met) {
                say(&format!(
                    "objective not met: {} (measured: {})",
                    slo.slo, slo.actual
                ));
            }
        }
        _ => {}
    }
}

/// Returns the exit code for the report of a run.
///
/// A violation of linearizability comes before everything else, because it is worse. Then comes a signal.
pub(crate) fn of_run(args: &RunArgs, report: &Report) -> i32 {
    let verified = report.verify.as_ref().map_or(0, of_verdict);
    if verified == NOT_LINEARIZABLE {
        return verified;
    }
    // The counts do not add up: nothing of the report can be believed.
    if report.account.missing != 0 {
        return FAILED;
    }
    // The rest says little about a run that was cut off.
    if let Some(signal) = report.interrupted {
        return 128 + signal;
    }
    let agents_lost = report.agents.iter().any(|agent| agent.lost.is_some());
    // What could not be sent, because there was no server, has failed as well.
    let lost = report.failed_ops() + report.dropped_without_connection();
    let failed = (lost > 0 || agents_lost) && !args.report.allow_errors;
    if failed || report.gave_up.is_some() || report.completed == 0 {
        return FAILED;
    }
    if verified != 0 {
        return verified;
    }
    if report.slos.iter().any(|slo| !slo.met) {
        return NOT_MET;
    }
    0
}

/// Returns the exit code for the verdict on a history.
pub(crate) fn of_verdict(report: &VerifyReport) -> i32 {
    match report.verdict.as_str() {
        "linearizable" => 0,
        "violation" => NOT_LINEARIZABLE,
        _ => NOT_DECIDED,
    }
}

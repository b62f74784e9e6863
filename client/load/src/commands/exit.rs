//! The exit codes of the program.

use crate::command_line::args::RunArgs;
use crate::report::model::{Report, VerifyReport};

/// Operations failed, or the server could not be reached.
pub(crate) const FAILED: i32 = 1;
/// The arguments cannot be used.
pub(crate) const BAD_ARGUMENTS: i32 = 2;
/// The answers are not linearizable.
pub(crate) const NOT_LINEARIZABLE: i32 = 3;
/// Whether the answers are linearizable was not decided in time.
pub(crate) const NOT_DECIDED: i32 = 4;
/// An objective was not met.
pub(crate) const NOT_MET: i32 = 99;

/// Returns the exit code for the report of a run.
///
/// A violation of linearizability comes before failed operations, because it is worse.
pub(crate) fn of_run(args: &RunArgs, report: &Report) -> i32 {
    let verified = report.verify.as_ref().map_or(0, of_verdict);
    if verified == NOT_LINEARIZABLE {
        return verified;
    }
    let failed = report.failed_ops() > 0 && !args.report.allow_errors;
    if failed || report.completed == 0 {
        return FAILED;
    }
    if verified != 0 {
        return verified;
    }
    if report.slos.iter().any(|slo| !slo.met) {
        return NOT_MET;
    }
    report.interrupted.map_or(0, |signal| 128 + signal)
}

/// Returns the exit code for the verdict on a history.
pub(crate) fn of_verdict(report: &VerifyReport) -> i32 {
    match report.verdict.as_str() {
        "linearizable" => 0,
        "violation" => NOT_LINEARIZABLE,
        _ => NOT_DECIDED,
    }
}

//! The exit codes.

use crate::command_line::args::RunArgs;
use crate::report::model::{Report, VerifyReport};

/// Exit code: operations failed, or the server could not be reached.
pub(crate) const FAILED: i32 = 1;
/// Exit code: the arguments cannot be used.
pub(crate) const BAD_ARGUMENTS: i32 = 2;
/// Exit code: the answers cannot all be true.
pub(crate) const NOT_LINEARIZABLE: i32 = 3;
/// Exit code: whether the answers can all be true was too much to find out.
pub(crate) const NOT_DECIDED: i32 = 4;
/// Exit code: an objective was not met.
pub(crate) const NOT_MET: i32 = 99;

/// What became of the run.
pub(crate) fn of_run(args: &RunArgs, report: &Report) -> i32 {
    // What is not true matters more than what failed.
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

/// What a verdict means for whoever called.
pub(crate) fn of_verdict(report: &VerifyReport) -> i32 {
    match report.verdict.as_str() {
        "linearizable" => 0,
        "violation" => NOT_LINEARIZABLE,
        _ => NOT_DECIDED,
    }
}

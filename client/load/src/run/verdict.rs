//! `--verify` and `check`: whether what was answered can be true, told to people.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::labels::{EVIDENCE_FILE, HistoryOptions};
use crate::report::model::VerifyReport;
use crate::report::numbers::{counted, grouped};
use soloist_verify::{
    Deadline, History, IN_FLIGHT_MAX, Limits, Options, StopReason, UndecidedKey, ValueSearch,
    Verdict, check,
};

/// Keys that are named when the time was over; of the others there is a count.
const NAMED: usize = 4;

/// Keeps a history for later.
pub(crate) fn save(history: &History, path: &Path) -> Result<(), String> {
    let written = File::create(path).and_then(|to| history.write_to(BufWriter::new(to)));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Checks a history, and writes what shows a violation to a file.
pub(crate) fn verify(
    history: &History,
    value_search: ValueSearch,
    timeout: Duration,
    evidence: &Path,
) -> Result<VerifyReport, String> {
    let began = Instant::now();
    let clock = || began.elapsed();
    let options = Options {
        value_search,
        limits: Limits {
            deadline: Deadline::new(&clock, timeout),
            ..Limits::default()
        },
        shrink_timeout: timeout,
    };
    let report = check(history, options).map_err(|error| error.to_string())?;
    let seconds = began.elapsed().as_secs_f64();
    let what = format!(
        "{} on {}, {} of unknown outcome, checked in {seconds:.2} s",
        counted(report.operations as u64, "operation"),
        counted(report.keys as u64, "key"),
        grouped(report.unknown as u64)
    );
    let (verdict, text) = match report.verdict {
        Verdict::Linearizable => ("linearizable", format!("linearizable: {what}")),
        Verdict::Undecided(keys) => ("not decided", not_decided(&keys, &what, timeout)),
        Verdict::NotLinearizable(violations) => {
            let mut text = format!("NOT linearizable: {what}");
            for violation in &violations {
                text += "\n";
                text += &violation.to_string();
            }
            if let Some(first) = violations.first() {
                let written = File::create(evidence)
                    .and_then(|to| first.evidence.write_to(BufWriter::new(to)));
                text += &match written {
                    Ok(()) => format!(
                        "\nthe operations that show it are in {0}: soloist-load check {0}",
                        evidence.display()
                    ),
                    Err(error) => format!("\ncannot write {}: {error}", evidence.display()),
                };
            }
            ("violation", text)
        }
    };
    Ok(VerifyReport {
        verdict: verdict.to_owned(),
        operations: report.operations as u64,
        keys: report.keys as u64,
        unknown: report.unknown as u64,
        seconds,
        text,
    })
}

/// What was too much to find out, and what to do about it.
fn not_decided(keys: &[UndecidedKey], what: &str, timeout: Duration) -> String {
    let mut text =
        format!("NOT DECIDED: nothing wrong was found, but not everything was found out: {what}");
    for key in &keys[..keys.len().min(NAMED)] {
        let why = match key.reason {
            StopReason::Time => "the time was over".to_owned(),
            StopReason::Memory => "the next step takes too much memory".to_owned(),
            StopReason::Configurations => "it takes too many steps".to_owned(),
            StopReason::InFlight => format!("more than {IN_FLIGHT_MAX} were in flight at once"),
        };
        text += &format!(
            "\nkey {:?}: {}, {} of unknown outcome: {why}, after {}",
            key.key,
            counted(key.operations as u64, "operation"),
            grouped(key.unknown as u64),
            counted(key.configurations, "configuration"),
        );
    }
    if let Some(more @ 1..) = keys.len().checked_sub(NAMED) {
        text += &format!("\nand {}", counted(more as u64, "more key"));
    }
    let advice = match keys.iter().any(|key| key.reason == StopReason::Time) {
        true => format!(
            "check it again with more time than --search-timeout {}, without --search, or",
            humantime::format_duration(timeout)
        ),
        false => "check it again without --search, or".to_owned(),
    };
    text + &format!(
        "\n{advice} repeat the run with more --keys, fewer workers, or a longer --timeout: what is in flight on one key, \
         and what was never answered, has to be tried in every order"
    )
}

/// Keeps the history of a run if it is to be kept, and checks it.
pub(crate) fn keep_and_verify(
    options: &HistoryOptions,
    history: &History,
) -> Result<VerifyReport, String> {
    if let Some(path) = &options.file {
        save(history, path)?;
    }
    let evidence = match &options.file {
        Some(path) => path.with_extension("violation.jsonl"),
        None => PathBuf::from(EVIDENCE_FILE),
    };
    verify(
        history,
        ValueSearch::OnViolation,
        options.search_timeout,
        &evidence,
    )
}

//! The verdict on a history, for people: of `--verify` and of `check`.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use soloist_server::progress::Unit;
use soloist_verify::{
    Deadline, History, IN_FLIGHT_MAX, Limits, Observer, Options, Stage, StopReason, UndecidedKey,
    ValueSearch, Verdict, Violation, judge,
};

use crate::plan::labels::{EVIDENCE_FILE, HistoryOptions};
use crate::report::live::{Step, Work};
use crate::report::model::VerifyReport;
use crate::report::numbers::{counted, grouped};
use crate::report::printable::printable;
use crate::run::signals;

/// The most keys that an undecided verdict names. The others are counted.
const NAMED_KEYS_MAX: usize = 4;

/// Saves the history of a run, if it is to be kept, and checks it.
///
/// # Errors
/// If the history cannot be saved or checked. A violation is no error.
pub(crate) fn keep_and_verify(
    options: &HistoryOptions,
    history: &History,
    work: Work,
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
        work,
    )
}

/// Checks a history. If it has a violation, writes the operations that show the first one to the file `evidence`.
///
/// # Errors
/// If the history contradicts itself, so that it cannot be checked.
pub(crate) fn verify(
    history: &History,
    value_search: ValueSearch,
    search_timeout: Duration,
    evidence: &Path,
    work: Work,
) -> Result<VerifyReport, String> {
    let steps = Steps {
        work,
        shown: RefCell::new(None),
    };
    let observe = |stage, done, total| steps.show(stage, done, total);
    let began = Instant::now();
    // A signal ends the search, and the shrinking of a proof, as if their time was over.
    let clock = || match signals::caught() {
        Some(_) => Duration::MAX,
        None => began.elapsed(),
    };
    let options = Options {
        value_search,
        limits: Limits {
            deadline: Deadline::new(&clock, search_timeout),
            ..Limits::default()
        },
        shrink_timeout: search_timeout,
        observer: Observer::new(&observe),
    };
    let judged = judge(history, options);
    steps.end();
    let judged = judged.map_err(|error| error.to_string())?;
    say_violations(judged.violations(), search_timeout);
    let report = judged.prove();
    steps.end();
    let seconds = began.elapsed().as_secs_f64();
    let counts = format!(
        "{} on {}, {} of unknown outcome, checked in {seconds:.2} s",
        counted(report.operations as u64, "operation"),
        counted(report.keys as u64, "key"),
        grouped(report.unknown as u64)
    );
    let (verdict, text) = match report.verdict {
        Verdict::Linearizable => ("linearizable", format!("linearizable: {counts}")),
        Verdict::Undecided(keys) => ("not decided", not_decided(&keys, &counts, search_timeout)),
        Verdict::NotLinearizable(violations) => (
            "violation",
            not_linearizable(&violations, &counts, evidence),
        ),
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

/// Shows how far a check is.
struct Steps {
    work: Work,
    shown: RefCell<Option<(Stage, Step)>>,
}

impl Steps {
    fn show(&self, stage: Stage, done: usize, total: usize) {
        let mut shown = self.shown.borrow_mut();
        if let Some((at, step)) = &*shown
            && *at == stage
        {
            return step.set(done as u64);
        }
        // What is shown ends before the next begins.
        *shown = None;
        let (what, unit) = match stage {
            Stage::Revisions => ("checking revisions", "keys"),
            Stage::Search => ("searching for orders", "keys"),
            Stage::Shrink => ("looking for the fewest operations", "violations"),
        };
        let step = self.work.step(what, Unit::Things(unit), Some(total as u64));
        *shown = Some((stage, step));
    }

    fn end(&self) {
        self.shown.take();
    }
}

/// Says at once what is wrong: to make the proof small may take as long as the search.
fn say_violations(violations: impl Iterator<Item = String>, timeout: Duration) {
    let mut err = io::stderr();
    let mut is_wrong = false;
    for violation in violations {
        is_wrong = true;
        // If standard error is closed, the report still has the verdict.
        let _ = writeln!(err, "NOT linearizable: {}", printable(&violation));
    }
    if is_wrong {
        let timeout = humantime::format_duration(timeout);
        let _ = writeln!(
            err,
            "looking for the fewest operations that show it, for {timeout} at most"
        );
    }
}

fn save(history: &History, path: &Path) -> Result<(), String> {
    let written = File::create(path).and_then(|to| history.write_to(BufWriter::new(to)));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn not_linearizable(violations: &[Violation], counts: &str, evidence: &Path) -> String {
    let mut text = format!("NOT linearizable: {counts}");
    for violation in violations {
        text += "\n";
        text += &violation.to_string();
    }
    if let Some(first) = violations.first() {
        text += &match save(&first.evidence, evidence) {
            Ok(()) => format!(
                "\nthe operations that show the violation are in {0}: soloist-load check {0}",
                evidence.display()
            ),
            Err(error) => format!("\n{error}"),
        };
    }
    text
}

/// Says which keys the check could not decide, why, and what to do.
fn not_decided(keys: &[UndecidedKey], counts: &str, search_timeout: Duration) -> String {
    let mut text = format!(
        "NOT DECIDED: no violation was found, but some keys could not be decided: {counts}"
    );
    for key in &keys[..keys.len().min(NAMED_KEYS_MAX)] {
        let why = match key.reason {
            StopReason::Time if signals::caught().is_some() => {
                "the search was interrupted".to_owned()
            }
            StopReason::Time => "the time was over".to_owned(),
            StopReason::Memory => "the next step takes too much memory".to_owned(),
            StopReason::Configurations => "the search takes too many steps".to_owned(),
            StopReason::InFlight => {
                format!("more than {IN_FLIGHT_MAX} operations were in flight at once")
            }
        };
        text += &format!(
            "\nkey {:?}: {}, {} of unknown outcome: {why}, after {}",
            key.key,
            counted(key.operations as u64, "operation"),
            grouped(key.unknown as u64),
            counted(key.configurations, "configuration"),
        );
    }
    if let Some(more @ 1..) = keys.len().checked_sub(NAMED_KEYS_MAX) {
        text += &format!("\nand {}", counted(more as u64, "more key"));
    }
    let advice = match keys.iter().any(|key| key.reason == StopReason::Time) {
        true => format!(
            "check the history again with more time than --search-timeout {}, check it without --search, or",
            humantime::format_duration(search_timeout)
        ),
        false => "check the history again without --search, or".to_owned(),
    };
    text + &format!(
        "\n{advice} repeat the run with more --keys, fewer workers, or a longer --timeout: the check must try every order \
         of the operations that were in flight on one key at once, or whose outcome is unknown"
    )
}

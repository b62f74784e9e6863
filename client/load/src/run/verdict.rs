//! `--verify` and `check`: whether what was answered can be true, told to people.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::command_line::args::duration;
use crate::commands::{NOT_DECIDED, NOT_LINEARIZABLE, print};
use crate::record::history::OPERATIONS_MAX;
use crate::report::model::VerifyReport;
use crate::report::numbers::{counted, grouped};
use crate::run::measure::RunError;
use soloist_verify::check::{BlackBox, Checks, GaveUp, Verdict, check};
use soloist_verify::history::History;
use soloist_verify::patience::Patience;
use soloist_verify::timeline::timeline;
use soloist_verify::{Effort, SLOTS, Why};
use soloist_verify::{file, lines};

/// Where the operations go that show what is wrong, if nothing else is said.
const EVIDENCE_FILE: &str = "soloist-load-violation.jsonl";

/// How long the searches of a check may take, if nothing else is said: several times what a run of a million operations on
/// few keys takes, and no longer than people wait.
pub(crate) const SEARCH_TIMEOUT: &str = "1m";

/// Keys that are named when the time was over; of the others there is a count.
const NAMED: usize = 4;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A history: of --history, or the operations that showed a violation.
    #[arg(value_name = "HISTORY")]
    file: PathBuf,
    /// Search every key for an order that explains its values, also where revisions explain them.
    #[arg(long)]
    search: bool,
    /// Search for so long at most, all keys together. Exit code 4 if it is not decided by then.
    #[arg(long, value_name = "TIME", default_value = SEARCH_TIMEOUT, value_parser = duration)]
    search_timeout: Duration,
    /// Where to write the operations that show a violation.
    #[arg(long, value_name = "FILE", default_value = EVIDENCE_FILE)]
    evidence: PathBuf,
    /// Write all of it to this file too, a line of JSON for each operation.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

/// Checks a file. Returns the exit code.
pub(crate) fn check_file(args: &CheckArgs) -> Result<i32, RunError> {
    let named = |error: &dyn std::fmt::Display| {
        RunError::Arguments(format!("{}: {error}", args.file.display()))
    };
    let opened = File::open(&args.file).map_err(|error| named(&error))?;
    let limit = usize::try_from(OPERATIONS_MAX).unwrap_or(usize::MAX);
    let history = file::read(BufReader::new(opened), limit).map_err(|error| named(&error))?;
    if let Some(path) = &args.export {
        let written = File::create(path).and_then(|to| {
            let mut to = lines::write(BufWriter::new(to), &history)?;
            to.flush()
        });
        written.map_err(|error| {
            RunError::Arguments(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let black_box = match args.search {
        true => BlackBox::Always,
        false => BlackBox::WhereWrong,
    };
    let report = verify(&history, black_box, args.search_timeout, &args.evidence)
        .map_err(|error| named(&error))?;
    print(&format!("{}\n", report.text))?;
    Ok(exit_code(&report))
}

/// Keeps a history for later.
pub(crate) fn save(history: &History, path: &Path) -> Result<(), String> {
    let written = File::create(path).and_then(|to| {
        let mut to = file::write(BufWriter::new(to), history)?;
        to.flush()
    });
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Checks a history, and writes what shows a violation to a file.
pub(crate) fn verify(
    history: &History,
    black_box: BlackBox,
    timeout: Duration,
    evidence: &Path,
) -> Result<VerifyReport, String> {
    let began = Instant::now();
    let clock = || began.elapsed();
    let checks = Checks {
        black_box,
        effort: Effort {
            patience: Patience::new(&clock, timeout),
            ..Effort::default()
        },
        shrinking: timeout,
    };
    let report = check(history, checks).map_err(|error| error.to_string())?;
    let seconds = began.elapsed().as_secs_f64();
    let what = format!(
        "{} on {}, {} of unknown outcome, checked in {seconds:.2} s",
        counted(report.operations as u64, "operation"),
        counted(report.keys as u64, "key"),
        grouped(report.unknown as u64)
    );
    let (verdict, text) = match report.verdict {
        Verdict::Linearizable => ("linearizable", format!("linearizable: {what}")),
        Verdict::GaveUp(keys) => ("not decided", not_decided(&keys, &what, timeout)),
        Verdict::Violation(violations) => {
            let mut text = format!("NOT linearizable: {what}");
            for violation in &violations {
                text += "\n";
                text += &timeline(violation);
            }
            if let Some(first) = violations.first() {
                let written = File::create(evidence).and_then(|to| {
                    let mut to = lines::write(BufWriter::new(to), &first.evidence)?;
                    to.flush()
                });
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
fn not_decided(keys: &[GaveUp], what: &str, timeout: Duration) -> String {
    let mut text =
        format!("NOT DECIDED: nothing wrong was found, but not everything was found out: {what}");
    for key in &keys[..keys.len().min(NAMED)] {
        let why = match key.why {
            Why::Time => "the time was over".to_owned(),
            Why::Memory => "the next step takes too much memory".to_owned(),
            Why::Configurations => "it takes too many steps".to_owned(),
            Why::InFlight => format!("more than {SLOTS} were in flight at once"),
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
    let advice = match keys.iter().any(|key| key.why == Why::Time) {
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

/// What a verdict means for whoever called.
pub(crate) fn exit_code(report: &VerifyReport) -> i32 {
    match report.verdict.as_str() {
        "linearizable" => 0,
        "violation" => NOT_LINEARIZABLE,
        _ => NOT_DECIDED,
    }
}

/// What to do about the history of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeping {
    /// Where it is kept.
    pub(crate) history: Option<PathBuf>,
    /// How long the searches of its check may take.
    pub(crate) search_timeout: Duration,
}

impl Keeping {
    /// Keeps the history if it is to be kept, and checks it.
    pub(crate) fn verify(&self, history: &History) -> Result<VerifyReport, String> {
        if let Some(path) = &self.history {
            save(history, path)?;
        }
        let evidence = match &self.history {
            Some(path) => path.with_extension("violation.jsonl"),
            None => PathBuf::from(EVIDENCE_FILE),
        };
        verify(
            history,
            BlackBox::WhereWrong,
            self.search_timeout,
            &evidence,
        )
    }
}

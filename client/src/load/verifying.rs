//! `--verify` and `check`: whether what was answered can be true, told to people.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::cli::{NOT_LINEARIZABLE, print};
use super::history::OPERATIONS_MAX;
use super::reports::model::VerifyReport;
use super::reports::numbers::{counted, grouped};
use super::run::RunError;
use super::verify::check::{BlackBox, Checks, Verdict, check};
use super::verify::history::History;
use super::verify::timeline::timeline;
use super::verify::{file, lines};

/// Where the operations go that show what is wrong, if nothing else is said.
const EVIDENCE_FILE: &str = "soloist-load-violation.jsonl";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A history: of --history, or the operations that showed a violation.
    #[arg(value_name = "HISTORY")]
    file: PathBuf,
    /// Search every key for an order that explains its values, also where revisions explain them.
    #[arg(long)]
    search: bool,
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
    let report = verify(&history, args.search, &args.evidence).map_err(|error| named(&error))?;
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
    searches: bool,
    evidence: &Path,
) -> Result<VerifyReport, String> {
    let began = Instant::now();
    let checks = Checks {
        black_box: match searches {
            true => BlackBox::Always,
            false => BlackBox::WhereWrong,
        },
        ..Checks::default()
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
        Verdict::GaveUp(keys) => {
            let names: Vec<String> = keys.iter().map(|of| format!("{:?}", of.key)).collect();
            let names = names.join(", ");
            (
                "gave up",
                format!(
                    "nothing wrong was found, but not everything was found out: the search gave up on {names}; {what}"
                ),
            )
        }
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

/// What a verdict means for whoever called.
pub(crate) fn exit_code(report: &VerifyReport) -> i32 {
    match report.verdict.as_str() {
        "linearizable" => 0,
        "violation" => NOT_LINEARIZABLE,
        _ => super::cli::FAILED,
    }
}

/// What to do about the history of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeping {
    /// Where it is kept.
    pub(crate) history: Option<PathBuf>,
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
        verify(history, false, &evidence)
    }
}

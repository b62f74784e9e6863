//! `check`: the verdict on a history in a file.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Write as _};

use soloist_verify::{History, ValueSearch};

use crate::command_line::args::CheckArgs;
use crate::commands::exit;
use crate::commands::outputs::print;
use crate::record::history::OPERATIONS_MAX;
use crate::report::numbers::counted;
use crate::report::wrap::{WIDTH, broken};
use crate::run::error::RunError;
use crate::run::signals::{self, Interrupts, exit_code};
use crate::run::verdict::verify;

/// Checks a history and prints the verdict. Returns the exit code.
pub(crate) fn check_file(args: &CheckArgs) -> Result<i32, RunError> {
    let context =
        |error: &dyn Display| RunError::Arguments(format!("{}: {error}", args.file.display()));
    let file = File::open(&args.file).map_err(|error| context(&error))?;
    let limit = usize::try_from(OPERATIONS_MAX).unwrap_or(usize::MAX);
    let history = History::read_from(BufReader::new(file), limit);
    let history = history.map_err(|error| context(&error))?;
    let value_search = match (args.without_revisions, args.search) {
        (true, _) => ValueSearch::Only,
        (false, true) => ValueSearch::Always,
        (false, false) => ValueSearch::OnViolation,
    };
    if value_search != ValueSearch::Only && history.lacks_revisions() {
        let why = "some answers have no revision; --without-revisions checks the values alone";
        return Err(context(&why));
    }
    // From here on a signal ends the search, with a verdict on what was searched until then.
    Interrupts::new().map_err(|error| RunError::Failed(format!("the system refuses: {error}")))?;
    let _ = writeln!(
        io::stderr(),
        "checking {} for {} at most",
        counted(history.operations.len() as u64, "operation"),
        humantime::format_duration(args.search_timeout)
    );
    let report = verify(&history, value_search, args.search_timeout, &args.evidence)
        .map_err(|error| context(&error))?;
    let lines = report.text.lines().flat_map(|line| broken(line, WIDTH));
    let text: String = lines.map(|line| line + "\n").collect();
    print(&text)?;
    Ok(match (exit::of_verdict(&report), signals::caught()) {
        (exit::NOT_DECIDED, Some(signal)) => exit_code(signal),
        (code, _) => code,
    })
}

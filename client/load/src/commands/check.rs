//! `check`: the verdict on a history in a file.

use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Write as _};

use soloist_server::progress::Unit;
use soloist_verify::{History, ValueSearch};

use crate::command_line::args::CheckArgs;
use crate::commands::exit;
use crate::commands::outputs::print;
use crate::record::history::OPERATIONS_MAX;
use crate::report::live::{Step, Work};
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
    let work = match args.quiet {
        true => Work::Nothing,
        false => Work::Bar,
    };
    let history = History::read_from(BufReader::new(Counted::new(file, work)), limit);
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
    if !args.quiet {
        let _ = writeln!(
            io::stderr(),
            "checking {} for {} at most",
            counted(history.operations.len() as u64, "operation"),
            humantime::format_duration(args.search_timeout)
        );
    }
    let timeout = args.search_timeout;
    let report = verify(&history, value_search, timeout, &args.evidence, work)
        .map_err(|error| context(&error))?;
    let lines = report.text.lines().flat_map(|line| broken(line, WIDTH));
    let text: String = lines.map(|line| line + "\n").collect();
    print(&text)?;
    Ok(match (exit::of_verdict(&report), signals::caught()) {
        (exit::NOT_DECIDED, Some(signal)) => exit_code(signal),
        (code, _) => code,
    })
}

/// A file whose bytes are counted while they are read.
struct Counted {
    file: File,
    step: Step,
}

impl Counted {
    fn new(file: File, work: Work) -> Self {
        let metadata = file.metadata().ok().filter(Metadata::is_file);
        let len = metadata.map(|metadata| metadata.len());
        Self {
            file,
            step: work.step("reading the history", Unit::Bytes, len),
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        self.step.add(count as u64);
        Ok(count)
    }
}

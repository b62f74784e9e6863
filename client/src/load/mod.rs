//! The load generator behind `soloist-load`.
//!
//! *What to send* (`workload`), *when to send* (`schedule`) and *when to stop* (`stop`) are three values, and `worker`
//! is the one loop that puts them together over a `lane`, which is how operations travel. `threads` runs many workers,
//! `recorder` keeps what they see, `run` leads from the beginning to the `report`.

mod answer;
mod args;
mod connection;
mod keys;
mod lane;
mod progress;
mod recorder;
mod report;
mod run;
mod schedule;
mod settings;
mod stop;
mod target;
mod text;
mod threads;
mod worker;
mod workload;

use std::fs;
use std::io::{self, Write};

pub use args::Args;
pub use report::Report;
pub use run::{RunError, run};

use args::Format;

/// Exit code: operations failed, or the server could not be reached.
pub const FAILED: i32 = 1;
/// Exit code: the arguments cannot be used.
pub const BAD_ARGUMENTS: i32 = 2;
/// Exit code: ended by Ctrl-C, as shells count it (128 + SIGINT).
pub const INTERRUPTED: i32 = 130;

impl Args {
    /// Writes the report where, and in the form in which, it was asked for.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or standard output: but a reader that has left is none.
    pub fn write(&self, report: &Report) -> io::Result<()> {
        let text = match self.format {
            Format::Text => report.to_text(),
            Format::Json => report.to_json(),
        };
        match &self.output {
            Some(path) => fs::write(path, text).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot write {}: {error}", path.display()),
                )
            }),
            None => match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
        }
    }

    /// The exit code that says what became of the run.
    #[must_use]
    pub fn exit_code(&self, report: &Report) -> i32 {
        let failed = report.failed_ops() > 0 && !self.allow_errors;
        if report.is_interrupted() && !failed {
            INTERRUPTED
        } else if failed || report.completed_ops() == 0 {
            FAILED
        } else {
            0
        }
    }
}

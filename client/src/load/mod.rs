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
mod output;
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

use std::io;

use tokio::signal::unix::SignalKind;

pub use args::Args;
pub use report::Report;
pub use run::{RunError, run};

use args::Format;

/// Exit code: operations failed, or the server could not be reached.
pub const FAILED: i32 = 1;
/// Exit code: the arguments cannot be used.
pub const BAD_ARGUMENTS: i32 = 2;

/// Exit code: ended by a signal, as shells count it. 130 for Ctrl-C, 143 for SIGTERM.
fn interrupted(signal: SignalKind) -> i32 {
    128 + signal.as_raw_value()
}

impl Args {
    /// Finds out, before the run, whether the report can be written where it is to go.
    ///
    /// # Errors
    ///
    /// If it cannot; the message names the file.
    pub fn check_output(&self) -> io::Result<()> {
        match &self.output {
            Some(path) => output::check(path),
            None => Ok(()),
        }
    }

    /// Writes the report where, and in the form in which, it was asked for; to standard output if the file cannot be
    /// written any more, since a run may have taken long.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or standard output: but a reader that has left is none.
    pub fn write(&self, report: &Report) -> io::Result<()> {
        let text = match self.format {
            Format::Text => report.to_text(),
            Format::Json => report.to_json(),
        };
        let Some(path) = &self.output else {
            return output::print(&text);
        };
        output::write(path, &text).inspect_err(|_| {
            // The file's error is the one to tell.
            let _ = output::print(&text);
        })
    }

    /// The exit code that says what became of the run.
    #[must_use]
    pub fn exit_code(&self, report: &Report) -> i32 {
        let failed = report.failed_ops() > 0 && !self.allow_errors;
        match report.interrupted {
            Some(signal) if !failed => interrupted(signal),
            None if !failed && report.completed_ops() > 0 => 0,
            _ => FAILED,
        }
    }
}

//! `soloist-load config`: what would hold for a run.

use crate::command_line::args::ConfigArgs;
use crate::command_line::{program, resolve};
use crate::commands::outputs;
use crate::run::error::RunError;
use soloist_flags::Resolved;

/// Prints what would hold, or that a run would take it. Returns the exit code.
pub(super) fn config(args: &ConfigArgs, resolved: &Resolved) -> Result<i32, RunError> {
    resolve::settings(&args.run).map_err(RunError::Arguments)?;
    match &args.check {
        Some(file) => outputs::print(&format!("{}: a run would take it\n", file.display())),
        None => outputs::print(&program().print(resolved)),
    }
}

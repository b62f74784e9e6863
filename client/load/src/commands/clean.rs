//! `--clean`: what happens after the runs.

use std::io::{self, Write as _};

use crate::command_line::args::RunArgs;
use crate::commands::view;
use crate::plan::settings::Settings;
use crate::report::numbers::counted;
use crate::run::error::RunError;
use crate::run::runner::Runner;

/// Whether what the runs have left was deleted, if that was asked for. The reports are there anyway.
pub(super) type Cleaned = Result<(), RunError>;

/// Deletes what runs have left in the server, if that was asked for.
pub(super) fn clean(args: &RunArgs, runner: &Runner, settings: &Settings) -> Cleaned {
    if !args.what.clean {
        return Ok(());
    }
    let deleted = runner.clean(settings, view::work(args))?;
    if !args.report.quiet {
        let keys = counted(deleted, "key");
        let prefix = &settings.key_prefix;
        let _ = writeln!(io::stderr(), "deleted {keys} that began with {prefix:?}");
    }
    Ok(())
}

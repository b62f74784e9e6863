//! One run, for every subcommand that measures.

use crate::agents::lead;
use crate::command_line::args::RunArgs;
use crate::commands::view::live_view;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::model::Report;
use crate::run::error::RunError;
use crate::run::runner::Runner;

/// Does one run, in this process or by agents.
pub(super) fn once(
    args: &RunArgs,
    runner: &mut Runner,
    settings: Settings,
    labels: &Labels,
) -> Result<Report, RunError> {
    match &args.how.agents {
        None => runner.run(settings, labels, &mut *live_view(args), None),
        Some(agents) => lead::run(runner, settings, labels, agents),
    }
}

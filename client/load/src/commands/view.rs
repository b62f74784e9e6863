//! The view of a run, by the flags.

use crate::command_line::args::RunArgs;
use crate::report::live::Work;
use crate::run::view::{View, ViewKind, view};

/// Returns the view that the flags ask for.
pub(crate) fn live_view(args: &RunArgs) -> Box<dyn View> {
    let kind = kind(args);
    let title = args
        .report
        .name
        .clone()
        .or(args.address().map(str::to_owned));
    view(
        kind,
        title.unwrap_or_else(|| "a server of its own".to_owned()),
    )
}

fn kind(args: &RunArgs) -> ViewKind {
    match (args.report.quiet, args.report.no_tui) {
        (true, _) => ViewKind::Nothing,
        (false, true) => ViewKind::Lines,
        (false, false) => ViewKind::View,
    }
}

/// Returns how the flags ask to show the work before, between and after runs.
pub(crate) fn work(args: &RunArgs) -> Work {
    match kind(args) {
        ViewKind::Nothing => Work::Nothing,
        ViewKind::Lines => Work::Lines,
        ViewKind::View => Work::Bar,
    }
}

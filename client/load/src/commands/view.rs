//! The view of a run, by the flags.

use crate::command_line::args::RunArgs;
use crate::run::view::{View, ViewKind, view};

/// Returns the view that the flags ask for.
pub(crate) fn live_view(args: &RunArgs) -> Box<dyn View> {
    let kind = match (args.report.quiet, args.report.no_tui) {
        (true, _) => ViewKind::Nothing,
        (false, true) => ViewKind::Lines,
        (false, false) => ViewKind::View,
    };
    let title = args.report.name.clone().or(args.address.clone());
    view(
        kind,
        title.unwrap_or_else(|| "a server of its own".to_owned()),
    )
}

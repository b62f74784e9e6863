//! `-h`, which is one screen. `--help` is clap's own.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, Command};

use crate::program::{is_switch, takes_file};

/// Subcommands that one needs once, if ever.
const NOT_OF_A_SCREEN: [&str; 2] = ["man", "completions"];

/// Whether these words ask for the whole help.
pub(crate) fn asks_for_all(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--help") || words.get(1).is_some_and(|word| word == "help")
}

/// Leaves only the flags that `shown` names, with its text for each. A name may have its command before it: "call data".
pub(crate) fn one_screen(command: Command, shown: &[(&str, &'static str)]) -> Command {
    let command = command.mut_subcommands(|subcommand| {
        let is_left = !NOT_OF_A_SCREEN.contains(&subcommand.get_name());
        let subcommand = subcommand.hide(!is_left);
        let about = subcommand.get_about().map(ToString::to_string);
        let subcommand = match about {
            Some(about) => subcommand.about(clause(&about).to_owned()),
            None => subcommand,
        };
        one_screen(subcommand, shown)
    });
    if !takes_file(&command) {
        return command;
    }
    let of_command = command.get_name().to_owned();
    // A flag and its text on one line, however wide.
    let command = command.term_width(0);
    command.mut_args(|arg| {
        let name = arg.get_long().unwrap_or(arg.get_id().as_str());
        let with_command = format!("{of_command} {name}");
        let text = shown.iter().find(|(it, _)| *it == with_command);
        match text.or_else(|| shown.iter().find(|(it, _)| *it == name)) {
            Some((_, text)) => brief(arg, text),
            None => arg.hide_short_help(true),
        }
    })
}

/// A text may name a default that depends on other flags. Whatever the file says takes its place.
fn brief(arg: Arg, text: &'static str) -> Arg {
    let has_default = !arg.get_default_values().is_empty();
    let text = match text.split_once(" [default") {
        Some((text, _)) if has_default => text,
        _ => text,
    };
    let is_switch = is_switch(&arg);
    arg.help(text)
        .help_heading(Resettable::Reset)
        .hide_env(true)
        .hide_possible_values(!is_switch)
}

/// Up to the first full stop, colon or semicolon.
fn clause(text: &str) -> &str {
    let ends = [". ", ": ", "; "].iter().filter_map(|end| text.find(end));
    let end = ends.min().unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

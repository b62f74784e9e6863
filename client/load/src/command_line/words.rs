//! A command that is one line of text, as reports have it.

use clap::Parser as _;

use crate::command_line::args::RunArgs;

/// The run of a command, as [`Settings::command`](crate::plan::settings::Settings::command) writes it.
pub(crate) fn parse_command(command: &str) -> Result<RunArgs, String> {
    let words = split_words(command);
    RunArgs::try_parse_from(words).map_err(|error| error.to_string())
}

/// Words as a shell sees them, of what [`Settings::command`](crate::plan::settings::Settings::command) writes: single quotes, and a backslash before one.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => word.extend(characters.next()),
            ' ' if !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

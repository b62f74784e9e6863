//! The command of a report, read back: one line of text instead of the words that a shell passes.

use clap::Parser as _;

use crate::command_line::args::RunArgs;

/// Reads the flags of a command that [`Settings::command`](crate::plan::settings::Settings::command) wrote.
///
/// # Errors
/// If it is no valid command line. The text is that of clap.
pub(crate) fn parse_command(command: &str) -> Result<RunArgs, String> {
    let words = split_words(command);
    RunArgs::try_parse_from(words).map_err(|error| error.to_string())
}

/// Splits a line into words as a shell does, as far as a command of a report needs it: by spaces, with single quotes, and
/// with a backslash before a single character.
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

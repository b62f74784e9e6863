//! What holds, as a file that can be fed back.

use std::fmt::Write as _;

use clap::Arg;

use crate::program::{Program, flags, is_switch, takes_several};
use crate::resolve::Resolved;

/// The width of comments, in columns.
const COLUMNS: usize = 100;

impl Program {
    /// The value of every flag as TOML that `--config` takes, with comments: what the flag is for, and where its value came
    /// from. Flags without a value, and those that are for the command line alone, are comments.
    #[must_use]
    pub fn print(&self, resolved: &Resolved) -> String {
        let name = self.command.get_name();
        let version = self.command.get_version().unwrap_or_default();
        let mut text = format!(
            "# What holds for {name} {version}, as its --config takes it. After each value: where it came from.\n"
        );
        let mut heading = None;
        for arg in flags(&resolved.command) {
            if arg.is_hide_set() {
                continue;
            }
            if heading != arg.get_help_heading() {
                heading = arg.get_help_heading();
                let _ = writeln!(text, "\n## {}", heading.unwrap_or_default());
            }
            text.push('\n');
            comment(&mut text, &help(arg));
            let _ = writeln!(text, "{}", self.line(resolved, arg));
        }
        text
    }

    fn line(&self, resolved: &Resolved, arg: &Arg) -> String {
        let name = arg.get_long().unwrap_or_default();
        let values = resolved.values(arg);
        let source = resolved.source(arg);
        match self.why_typed(arg) {
            _ if values.is_empty() => {
                let value = arg.get_value_names().and_then(|names| names.first());
                let value = value.map_or("", |name| name.as_str());
                format!("# {name} = {value}  # not set")
            }
            Some(_) if arg.is_hide_env_values_set() => {
                format!("# {name} is set, and a secret  # {source}")
            }
            Some(why) => format!("# {name} = {}  # {source}; {why}", value(arg, &values)),
            None => format!("{name} = {}  # {source}", value(arg, &values)),
        }
    }
}

fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    help.map(ToString::to_string).unwrap_or_default()
}

fn value(arg: &Arg, values: &[String]) -> String {
    if takes_several(arg) {
        let values: Vec<_> = values.iter().map(|value| scalar(value)).collect();
        return format!("[{}]", values.join(", "));
    }
    match values {
        [value] if is_switch(arg) => value.clone(),
        [value] => scalar(value),
        _ => String::new(),
    }
}

/// A whole number as it is, everything else as a text.
fn scalar(value: &str) -> String {
    let is_number = value
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == value);
    match is_number {
        true => value.to_owned(),
        false => quoted(value),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Adds a text as comments, without a word torn.
fn comment(to: &mut String, text: &str) {
    for paragraph in text.lines() {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > COLUMNS && line.len() > 1 {
                let _ = writeln!(to, "{line}");
                line = String::from("#");
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(to, "{line}");
    }
}

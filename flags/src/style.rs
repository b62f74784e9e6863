//! Colours of texts on a terminal.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style as Ansi};

/// Whether a text has colours. The caller decides it, who knows where the text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It has none.
    Plain,
    /// It has colours, as ANSI sequences.
    Coloured,
}

impl Style {
    /// Returns `Coloured` for a terminal, unless the variable `NO_COLOR` is set and not empty (no-color.org) or `TERM`
    /// is `dumb`. `variable` reads the environment.
    pub fn of(output: &impl IsTerminal, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        match output.is_terminal() {
            true => Self::of_terminal(variable),
            false => Self::Plain,
        }
    }

    fn of_terminal(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|value| value == "dumb");
        match refused || dumb {
            true => Self::Plain,
            false => Self::Coloured,
        }
    }

    /// For headings.
    #[must_use]
    pub fn bold(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// For labels and other texts that need not be read first.
    #[must_use]
    pub fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    /// For keys, names, and what a text is about.
    #[must_use]
    pub fn name(self, text: impl Display) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    /// For what is as it should be.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    /// For what may be wrong.
    #[must_use]
    pub fn warning(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// For what is wrong.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    fn paint(self, ansi: Ansi, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Coloured => format!("{ansi}{text}{ansi:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_colours_unless_the_environment_says_otherwise() {
        let cases = [
            ("HOME", "/", Style::Coloured),
            ("NO_COLOR", "", Style::Coloured),
            ("NO_COLOR", "1", Style::Plain),
            ("TERM", "xterm", Style::Coloured),
            ("TERM", "dumb", Style::Plain),
        ];
        for (name, value, style) in cases {
            let variable = |asked: &str| (asked == name).then(|| value.into());
            assert_eq!(Style::of_terminal(variable), style, "{name}={value}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Style::of(&file, |_| None), Style::Plain);
    }

    #[test]
    fn colours_end_where_the_text_does() {
        assert_eq!(Style::Plain.bad("x"), "x");
        let coloured = Style::Coloured.bad("x");
        assert!(
            coloured.starts_with("\x1b[") && coloured.ends_with("x\x1b[0m"),
            "{coloured:?}"
        );
    }
}

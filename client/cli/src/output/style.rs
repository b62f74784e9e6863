//! Colours of texts on a terminal.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style as Ansi};

/// Whether a text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Returns `Coloured` for a terminal, unless the variable `NO_COLOR` is set and not empty (no-color.org) or `TERM` is
    /// `dumb`. `variable` reads the environment.
    pub(crate) fn of(
        output: &impl IsTerminal,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
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

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// For what need not be read first.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    /// For keys and names.
    pub(crate) fn name(self, text: impl Display) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
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
        for (name, value, style) in [
            ("HOME", "/", Style::Coloured),
            ("NO_COLOR", "", Style::Coloured),
            ("NO_COLOR", "1", Style::Plain),
            ("TERM", "dumb", Style::Plain),
        ] {
            let variable = |asked: &str| (asked == name).then(|| value.into());
            assert_eq!(Style::of_terminal(variable), style, "{name}={value}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Style::of(&file, |_| None), Style::Plain);
    }
}

//! Whether and how a text is coloured.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style as Ansi};

/// Decided once, by who knows where the text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Coloured on a terminal, unless `NO_COLOR` is set and not empty (no-color.org) or the terminal is a dumb one.
    ///
    /// `variable` reads the environment.
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

    /// For what is there to be found, not to be read first.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    pub(crate) fn warning(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default().bold(), text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    pub(crate) fn accent(self, text: impl Display) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    fn paint(self, ansi: Ansi, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Coloured => format!("{ansi}{text}{ansi:#}"),
        }
    }
}

/// What others wrote, without what a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    let keep = |char: char| match char.is_control() {
        true => ' ',
        false => char,
    };
    text.trim_end().chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_coloured_unless_told_otherwise() {
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

    #[test]
    fn escapes_of_others_do_not_reach_a_terminal() {
        assert_eq!(clean("red\x1b[31m\nnext\r\n"), "red [31m next");
    }
}

//! The lines of the report: a label in the margin, and a text beside it.

use std::fmt::{self, Write};

use crate::report::model::Report;
use crate::report::wrap::{WIDTH, wrapped};
use soloist_flags::Style;

/// The width of the margin, in columns.
pub(super) const MARGIN: usize = 13;

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The result of the run.
    Result,
    /// Also the settings, the machine, the command that repeats the run, and all percentiles.
    All,
}

/// The report while it is written.
pub(super) struct Page<'a> {
    pub(super) report: &'a Report,
    pub(super) style: Style,
    pub(super) detail: Detail,
    pub(super) out: &'a mut String,
}

impl Page<'_> {
    /// Writes a label and a text on one line. An empty label leaves the margin blank.
    pub(super) fn line(&mut self, label: &str, text: impl fmt::Display) -> fmt::Result {
        let label = self.style.dim(format_args!("{label:<MARGIN$}"));
        writeln!(self.out, "{label}{text}")
    }

    /// Writes a label, and a text on as many lines as it needs. `paint` colours each line.
    pub(super) fn lines(
        &mut self,
        label: &str,
        text: &str,
        paint: impl Fn(Style, &str) -> String,
    ) -> fmt::Result {
        let words = text.split_whitespace().map(str::to_owned);
        for (index, line) in wrapped(words, " ", WIDTH - MARGIN).iter().enumerate() {
            let painted = paint(self.style, line);
            self.line(if index == 0 { label } else { "" }, painted)?;
        }
        Ok(())
    }
}

/// A `paint` without colours.
pub(super) fn plain(_: Style, line: &str) -> String {
    line.to_owned()
}

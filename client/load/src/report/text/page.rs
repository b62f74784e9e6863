//! The lines of a report: a label in the margin, and a text beside it.

use std::fmt::{self, Write};

use crate::report::model::Report;
use crate::report::style::Style;
use crate::report::wrap::{WIDTH, wrapped};

/// Columns of the labels in the margin.
pub(super) const MARGIN: usize = 13;

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What was measured.
    Result,
    /// The settings, the machine, the line that repeats the run, and all percentiles too.
    All,
}

pub(super) struct Page<'a> {
    pub(super) report: &'a Report,
    pub(super) style: Style,
    pub(super) detail: Detail,
    pub(super) out: &'a mut String,
}

impl Page<'_> {
    /// A label in the margin, and a text that is short enough for one line. An empty label leaves the margin blank.
    pub(super) fn line(&mut self, label: &str, text: impl fmt::Display) -> fmt::Result {
        let label = self.style.dim(format_args!("{label:<MARGIN$}"));
        writeln!(self.out, "{label}{text}")
    }

    /// A label in the margin, and a text on as many lines as it takes, each painted.
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

pub(super) fn plain(_: Style, line: &str) -> String {
    line.to_owned()
}

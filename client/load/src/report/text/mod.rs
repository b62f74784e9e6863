//! The report as text, for people.

mod call;
mod counts;
mod notes;
mod page;
mod tables;

use std::fmt::{self, Write};

use crate::report::model::Report;
use page::Page;
use soloist_flags::Style;

pub(crate) use page::Detail;

/// Writes the lines `readOps` and `writeOps`, then the result, and with [`Detail::All`] the settings. All lines have 80
/// columns at most, except for the command that repeats the run.
pub(crate) fn render(report: &Report, style: Style, detail: Detail) -> String {
    let mut text = String::new();
    let mut page = Page {
        report,
        style,
        detail,
        out: &mut text,
    };
    page.write().expect("a String takes everything");
    text
}

impl Page<'_> {
    fn write(&mut self) -> fmt::Result {
        // Scripts read these two lines, so they have no colours.
        writeln!(self.out, "readOps: {}", self.report.read_ops)?;
        writeln!(self.out, "writeOps: {}", self.report.write_ops)?;
        writeln!(self.out)?;
        self.name()?;
        self.call()?;
        self.counts()?;
        self.warnings()?;
        writeln!(self.out)?;
        self.latencies()?;
        self.sparklines()?;
        self.phases()?;
        writeln!(self.out)?;
        self.cpu()?;
        self.objectives()?;
        self.verification()?;
        if self.detail == Detail::All {
            writeln!(self.out)?;
            self.settings()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

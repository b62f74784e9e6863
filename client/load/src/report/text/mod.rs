//! The report for people.

mod counts;
mod notes;
mod page;
mod tables;

use std::fmt::{self, Write};

use crate::report::model::Report;
use crate::report::style::Style;
use page::Page;

pub(crate) use page::Detail;

/// The two lines `readOps` and `writeOps`, then the other results, then the settings if asked for.
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
        // Without colours: scripts read these two lines.
        writeln!(self.out, "readOps: {}", self.report.read_ops)?;
        writeln!(self.out, "writeOps: {}", self.report.write_ops)?;
        writeln!(self.out)?;
        self.name()?;
        self.counts()?;
        self.warnings()?;
        writeln!(self.out)?;
        self.latencies()?;
        self.course()?;
        self.phases()?;
        writeln!(self.out)?;
        self.cpu()?;
        self.verdicts()?;
        if self.detail == Detail::All {
            writeln!(self.out)?;
            self.settings()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The parts of the report beside its figures: name, warnings, verdicts, settings.

use std::fmt::{self, Write};

use crate::report::numbers::counted;
use crate::report::printable::printable;
use crate::report::text::page::{MARGIN, Page, plain};
use crate::report::wrap::{WIDTH, broken, wrapped};

impl Page<'_> {
    pub(super) fn name(&mut self) -> fmt::Result {
        let report = self.report;
        if let Some(name) = &report.name {
            self.line("run", self.style.bold(printable(name)))?;
        }
        if !report.tags.is_empty() {
            let tags = report.tags.iter();
            let tags = tags.map(|(key, value)| format!("{key}={value}"));
            let tags = printable(&tags.collect::<Vec<_>>().join(", "));
            self.lines("tags", &tags, plain)?;
        }
        Ok(())
    }

    pub(super) fn warnings(&mut self) -> fmt::Result {
        let report = self.report;
        if report.warnings.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        for warning in &report.warnings {
            self.lines("WARNING", &printable(warning), |style, line| {
                style.warning(line)
            })?;
        }
        Ok(())
    }

    pub(super) fn objectives(&mut self) -> fmt::Result {
        let report = self.report;
        if report.slos.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        writeln!(self.out, "{}", self.style.bold("service level objectives"))?;
        for slo in &report.slos {
            let mark = match slo.met {
                true => self.style.good(format_args!("{:<9}", "met")),
                false => self.style.bad(format_args!("{:<9}", "NOT MET")),
            };
            let (slo, actual) = (printable(&slo.slo), printable(&slo.actual));
            let measured = format!("measured: {actual}");
            // 11 columns come before it.
            match 11 + slo.chars().count().max(28) + 1 + measured.chars().count() <= WIDTH {
                true => writeln!(self.out, "  {mark}{slo:<28} {measured}")?,
                false => writeln!(self.out, "  {mark}{slo}\n{:11}{measured}", "")?,
            }
        }
        Ok(())
    }

    pub(super) fn verification(&mut self) -> fmt::Result {
        let Some(verify) = &self.report.verify else {
            return Ok(());
        };
        writeln!(self.out)?;
        for (index, line) in verify.text.lines().enumerate() {
            let line = printable(line);
            if index > 0 {
                for line in broken(&line, WIDTH - MARGIN) {
                    self.line("", line)?;
                }
                continue;
            }
            let verdict = line.split(':').next().unwrap_or_default();
            self.lines("verified", &line, |style, line| {
                let Some(rest) = line.strip_prefix(verdict) else {
                    return line.to_owned();
                };
                let verdict = match verify.verdict.as_str() {
                    "linearizable" => style.good(verdict),
                    "violation" => style.bad(verdict),
                    _ => style.warning(verdict),
                };
                verdict + rest
            })?;
        }
        Ok(())
    }

    pub(super) fn settings(&mut self) -> fmt::Result {
        let report = self.report;
        let server = &report.server;
        let embedded = match server.embedded {
            true => "embedded, ",
            false => "",
        };
        let (address, version) = (printable(&server.address), printable(&server.version));
        let server = match (version.is_empty(), server.embedded) {
            // Only a Soloist is asked for its version.
            (true, true) => format!("{address} (embedded)"),
            (true, false) => address.to_string(),
            (false, _) => format!("{address} ({embedded}version {version})"),
        };
        self.lines("server", &server, plain)?;
        let machine = &report.machine;
        let cores = counted(machine.cores, "core");
        let (os, arch) = (printable(&machine.os), printable(&machine.arch));
        let version = printable(&report.version);
        let client = format!("version {version}, {os} {arch}, {cores}");
        self.lines("client", &client, plain)?;
        let settings = report.settings_in_effect();
        let settings = settings.map(|(flag, value)| match value.as_str() {
            "" => printable(flag),
            value => printable(&format!("{flag} {value}")),
        });
        let mut lines = wrapped(settings, ", ", WIDTH - MARGIN);
        lines.push(format!("seed {}", report.seed));
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { "settings" } else { "" }, line)?;
        }
        self.line("started", printable(&report.started_at))?;
        // On one line, so that it can be copied.
        self.line("repeat", printable(&report.command))
    }
}

//! What is said beside the figures: the name of the run, warnings, verdicts, settings.

use std::fmt::{self, Write};

use crate::report::numbers::{counted, grouped};
use crate::report::style::clean;
use crate::report::text::page::{MARGIN, Page, plain};
use crate::report::wrap::{WIDTH, wrapped};

impl Page<'_> {
    pub(super) fn name(&mut self) -> fmt::Result {
        let report = self.report;
        if let Some(name) = &report.name {
            self.line("run", self.style.bold(clean(name)))?;
        }
        if !report.tags.is_empty() {
            let tags = report.tags.iter();
            let tags = tags.map(|(key, value)| format!("{key}={value}"));
            let tags = clean(&tags.collect::<Vec<_>>().join(", "));
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
            self.lines("WARNING", &clean(warning), |style, line| {
                style.warning(line)
            })?;
        }
        Ok(())
    }

    pub(super) fn verdicts(&mut self) -> fmt::Result {
        let report = self.report;
        if !report.slos.is_empty() {
            writeln!(self.out)?;
            writeln!(self.out, "{}", self.style.bold("service level objectives"))?;
        }
        for slo in &report.slos {
            let mark = match slo.met {
                true => self.style.good(format_args!("{:<9}", "met")),
                false => self.style.bad(format_args!("{:<9}", "NOT MET")),
            };
            writeln!(
                self.out,
                "  {mark}{:<28} measured: {}",
                clean(&slo.slo),
                clean(&slo.actual)
            )?;
        }
        let Some(verify) = &report.verify else {
            return Ok(());
        };
        writeln!(self.out)?;
        let verdict = clean(&verify.verdict);
        let verdict = match verdict.as_str() {
            "violation" => verdict.to_uppercase(),
            _ => verdict,
        };
        let text = format!(
            "{verdict}: {}, {}, {} of unknown outcome, in {:.2} s",
            counted(verify.operations, "operation"),
            counted(verify.keys, "key"),
            grouped(verify.unknown),
            verify.seconds
        );
        self.lines("verified", &text, |style, line| {
            let Some(rest) = line.strip_prefix(&verdict) else {
                return line.to_owned();
            };
            let verdict = match verdict.as_str() {
                "linearizable" => style.good(&verdict),
                "VIOLATION" => style.bad(&verdict),
                _ => style.warning(&verdict),
            };
            verdict + rest
        })?;
        for line in verify.text.lines() {
            self.line("", clean(line))?;
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
        let (address, version) = (clean(&server.address), clean(&server.version));
        let server = format!("{address} ({embedded}version {version})");
        self.lines("server", &server, plain)?;
        let machine = &report.machine;
        let cores = counted(machine.cores, "core");
        let (os, arch) = (clean(&machine.os), clean(&machine.arch));
        let version = clean(&report.version);
        let client = format!("version {version}, {os} {arch}, {cores}");
        self.lines("client", &client, plain)?;
        let shown = report.settings_shown();
        let settings = shown.map(|(flag, value)| match value.as_str() {
            "" => clean(flag),
            value => clean(&format!("{flag} {value}")),
        });
        let mut lines = wrapped(settings, ", ", WIDTH - MARGIN);
        lines.push(format!("seed {}", report.seed));
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { "settings" } else { "" }, line)?;
        }
        self.line("started", clean(&report.started_at))?;
        // On one line, whatever its length: it is there to be copied.
        self.line("repeat", clean(&report.command))
    }
}

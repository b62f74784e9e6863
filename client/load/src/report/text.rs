//! The report for people.

use std::fmt::{self, Write};

use crate::report::figures::{PERCENTILES, short, summary};
use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{counted, grouped, latency, percent, rate, sparkline};
use crate::report::style::{Style, clean};

/// Below so many intervals a row of bars says nothing.
const SPARKLINE_INTERVALS_MIN: usize = 5;

/// Fits beside its label on a terminal of 80 columns.
const SPARKLINE_WIDTH: usize = 60;

/// The seed's two lines, then everything else.
pub(crate) fn render(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let mut page = Page {
        report,
        style,
        out: &mut text,
    };
    page.write().expect("a String takes everything");
    text
}

struct Page<'a> {
    report: &'a Report,
    style: Style,
    out: &'a mut String,
}

impl Page<'_> {
    fn write(&mut self) -> fmt::Result {
        // As they are, in no colour: scripts read them.
        writeln!(self.out, "readOps: {}", self.report.read_ops)?;
        writeln!(self.out, "writeOps: {}", self.report.write_ops)?;
        writeln!(self.out)?;
        self.settings()?;
        self.warnings()?;
        writeln!(self.out)?;
        self.counts()?;
        writeln!(self.out)?;
        self.latencies()?;
        self.course()?;
        self.phases()?;
        writeln!(self.out)?;
        self.cpu()?;
        self.verdicts()
    }

    /// A label in the margin, and what there is to say. The label is left out if it is empty.
    fn line(&mut self, label: &str, text: impl fmt::Display) -> fmt::Result {
        let label = self.style.dim(format_args!("{label:<13}"));
        writeln!(self.out, "{label}{text}")
    }

    fn settings(&mut self) -> fmt::Result {
        let report = self.report;
        if let Some(name) = &report.name {
            self.line("run", self.style.bold(clean(name)))?;
        }
        if !report.tags.is_empty() {
            let tags = report
                .tags
                .iter()
                .map(|(key, value)| format!("{key}={value}"));
            self.line("tags", clean(&tags.collect::<Vec<_>>().join(", ")))?;
        }
        let server = &report.server;
        let embedded = match server.embedded {
            true => "embedded, ",
            false => "",
        };
        let (address, version) = (clean(&server.address), clean(&server.version));
        self.line(
            "server",
            format_args!("{address} ({embedded}version {version})"),
        )?;
        let machine = &report.machine;
        let cores = counted(machine.cores, "core");
        let (os, arch) = (clean(&machine.os), clean(&machine.arch));
        self.line(
            "client",
            format_args!("version {}, {os} {arch}, {cores}", clean(&report.version)),
        )?;
        let mut lines = wrapped(
            report
                .settings_shown()
                .map(|(flag, value)| match value.as_str() {
                    "" => clean(flag),
                    value => clean(&format!("{flag} {value}")),
                }),
            66,
        );
        lines.push(format!("seed {}", report.seed));
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { "settings" } else { "" }, line)?;
        }
        let warmup = report.phases.iter().find(|phase| phase.phase == "warmup");
        let warmup = warmup.map_or(String::new(), |phase| {
            format!(" after {} s of warm-up", short(phase.seconds))
        });
        let mut measured = format!(
            "{:.3} s{warmup}, from {}",
            report.elapsed_seconds,
            clean(&report.started_at)
        );
        if let Some(signal) = report.interrupted {
            let cut = format!(", interrupted by signal {signal}");
            measured.push_str(&self.style.warning(cut));
        }
        self.line("measured", measured)?;
        self.line("repeat", clean(&report.command))
    }

    fn warnings(&mut self) -> fmt::Result {
        let report = self.report;
        if report.warnings.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        for warning in &report.warnings {
            let label = self.style.warning(format_args!("{:<13}", "WARNING"));
            writeln!(self.out, "{label}{}", clean(warning))?;
        }
        Ok(())
    }

    fn counts(&mut self) -> fmt::Result {
        let report = self.report;
        let style = self.style;
        let per_second = style.bold(format_args!("{}/s", rate(report.ops_per_second)));
        self.line(
            "completed",
            format_args!("{} operations, {per_second}", grouped(report.completed)),
        )?;
        if report.refused > 0 {
            let reasons = report.refusals();
            self.line(
                "refused",
                format_args!(
                    "{} of them ({}){reasons}",
                    grouped(report.refused),
                    percent(report.refused, report.completed)
                ),
            )?;
        }
        if let Some(offered) = &report.offered {
            self.line(
                "offered",
                format_args!(
                    "{}/s of {}/s requested",
                    rate(offered.per_second),
                    rate(offered.requested_per_second)
                ),
            )?;
            let dropped = format!(
                "{} not sent ({}): as many as allowed were under way",
                grouped(offered.dropped),
                percent(offered.dropped, offered.ops)
            );
            match offered.dropped {
                0 => self.line("dropped", 0)?,
                _ => self.line("dropped", style.warning(dropped))?,
            }
        }
        if let Some(lateness) = &report.lateness {
            self.line(
                "lateness",
                format_args!("of the generator itself: {}", summary(lateness)),
            )?;
        }
        if report.late.ops > 0 {
            self.line(
                "late",
                format_args!(
                    "{} answered after the end: in the latencies, but not in the counts; the slowest after {}",
                    grouped(report.late.ops),
                    latency(Some(report.late.max_us))
                ),
            )?;
        }
        if report.read_misses > 0 {
            let misses = grouped(report.read_misses);
            self.line("missing", format_args!("{misses} reads found no key"))?;
        }
        self.lost()?;
        self.failures()
    }

    fn lost(&mut self) -> fmt::Result {
        let Some(first) = self.report.first_lost_seconds else {
            return Ok(());
        };
        let when = match first < 0.0 {
            true => "during the warm-up".to_owned(),
            false => format!("after {first:.1} s"),
        };
        let workers = counted(self.report.workers_lost, "worker");
        let text = format!("{workers} lost the stream or connection; the first {when}");
        self.line("lost", self.style.bad(text))
    }

    fn failures(&mut self) -> fmt::Result {
        let report = self.report;
        if report.failed.is_empty() {
            return self.line("failed", 0);
        }
        for (code, ops) in &report.failed {
            let message = report.failure_messages.get(code).map_or("", String::as_str);
            let share = percent(*ops, report.completed + report.failed_ops());
            let counted =
                self.style
                    .bad(format_args!("{} {} ({share})", grouped(*ops), clean(code)));
            self.line("failed", format_args!("{counted}: {}", clean(message)))?;
        }
        Ok(())
    }

    fn latencies(&mut self) -> fmt::Result {
        let report = self.report;
        // In a closed loop operations start when they are meant to, and the two are the same.
        let same = |latency: &LatencyReport| latency.response == latency.service;
        if report.latency.values().all(same) {
            return self.table("response = service time", |latency| &latency.response);
        }
        self.table("response time", |latency| &latency.response)?;
        writeln!(self.out)?;
        self.table("service time", |latency| &latency.service)
    }

    fn table(
        &mut self,
        caption: &str,
        part: impl Fn(&LatencyReport) -> &Distribution,
    ) -> fmt::Result {
        let report = self.report;
        let extra: Vec<f64> = report
            .latency
            .values()
            .map(|latency| {
                part(latency)
                    .percentiles
                    .iter()
                    .map(|(at, _)| *at)
                    .collect()
            })
            .max_by_key(Vec::len)
            .unwrap_or_default();
        let mut header = format!("{caption:<24}{:>12}", "operations");
        for name in PERCENTILES {
            write!(header, "{name:>10}")?;
        }
        for percentile in &extra {
            write!(header, "{:>10}", format!("p{percentile}"))?;
        }
        writeln!(self.out, "{}", self.style.bold(header))?;
        for (kind, latency) in report.latency_by_kind() {
            let distribution = part(latency);
            let name = format!("  {kind:<22}");
            let name = match kind {
                "all" => self.style.accent(name),
                _ => name,
            };
            write!(self.out, "{name}{:>12}", grouped(distribution.count))?;
            self.cells(distribution)?;
            for percentile in &extra {
                let found = distribution
                    .percentiles
                    .iter()
                    .find(|(at, _)| at == percentile);
                self.cell(found.map(|(_, us)| *us))?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn cells(&mut self, distribution: &Distribution) -> fmt::Result {
        for us in distribution.shown() {
            self.cell(us)?;
        }
        Ok(())
    }

    fn cell(&mut self, us: Option<f64>) -> fmt::Result {
        write!(self.out, "{:>10}", latency(us))
    }

    /// How throughput and p99 went.
    fn course(&mut self) -> fmt::Result {
        let intervals = &self.report.intervals;
        if intervals.len() < SPARKLINE_INTERVALS_MIN {
            return Ok(());
        }
        let throughput: Vec<_> = intervals
            .iter()
            .map(|one| Some(one.ops_per_second))
            .collect();
        let p99: Vec<_> = intervals.iter().map(|one| one.p99_us).collect();
        let range = |values: &[Option<f64>]| {
            let values = || values.iter().flatten().copied();
            Some((values().reduce(f64::min)?, values().reduce(f64::max)?))
        };
        let Some((slowest, fastest)) = range(&throughput) else {
            return Ok(());
        };
        writeln!(self.out)?;
        let bars = self.style.accent(sparkline(&throughput, SPARKLINE_WIDTH));
        self.line(
            "throughput",
            format_args!("{bars}  {} to {}/s", rate(slowest), rate(fastest)),
        )?;
        if let Some((lowest, highest)) = range(&p99) {
            let bars = self.style.accent(sparkline(&p99, SPARKLINE_WIDTH));
            let (lowest, highest) = (latency(Some(lowest)), latency(Some(highest)));
            self.line("p99", format_args!("{bars}  {lowest} to {highest}"))?;
        }
        Ok(())
    }

    /// Nothing to tell apart if all there is, is the window.
    fn phases(&mut self) -> fmt::Result {
        let phases = &self.report.phases;
        if !phases.iter().any(|phase| phase.phase == "warmup") {
            return Ok(());
        }
        writeln!(self.out)?;
        let header = format!(
            "{:<24}{:>12}{:>10}{:>12}{:>10}{:>10}{:>10}",
            "phase", "operations", "failed", "per second", "seconds", "p50", "p99"
        );
        writeln!(self.out, "{}", self.style.bold(header))?;
        for phase in phases {
            let per_second = match phase.seconds > 0.0 {
                true => rate(phase.completed as f64 / phase.seconds),
                false => "-".to_owned(),
            };
            writeln!(
                self.out,
                "  {:<22}{:>12}{:>10}{per_second:>12}{:>10.3}{:>10}{:>10}",
                clean(&phase.phase),
                grouped(phase.completed),
                grouped(phase.failed),
                phase.seconds,
                latency(phase.response.p50_us),
                latency(phase.response.p99_us)
            )?;
        }
        Ok(())
    }

    fn cpu(&mut self) -> fmt::Result {
        let header = format!(
            "{:<24}{:>12}{:>20}{:>24}",
            "CPU", "seconds", "per operation", "operations per second"
        );
        writeln!(self.out, "{}", self.style.bold(header))?;
        let report = self.report;
        for (side, seconds, per_second) in report.cpu() {
            let Some(seconds) = seconds else {
                writeln!(
                    self.out,
                    "  {side:<22}     unknown: the server did not tell"
                )?;
                continue;
            };
            let per_operation = match report.completed {
                0 => "-".to_owned(),
                completed => format!("{:.3} us", seconds * 1e6 / completed as f64),
            };
            let per_second = per_second.map_or("-".to_owned(), rate);
            writeln!(
                self.out,
                "  {side:<22}{seconds:>12.3}{per_operation:>20}{per_second:>24}"
            )?;
        }
        Ok(())
    }

    fn verdicts(&mut self) -> fmt::Result {
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
            "linearizable" => self.style.good(verdict),
            "violation" => self.style.bad(verdict.to_uppercase()),
            _ => self.style.warning(verdict),
        };
        self.line(
            "verified",
            format_args!(
                "{verdict}: {}, {}, {} of unknown outcome, in {:.2} s",
                counted(verify.operations, "operation"),
                counted(verify.keys, "key"),
                grouped(verify.unknown),
                verify.seconds
            ),
        )?;
        for line in verify.text.lines() {
            self.line("", clean(line))?;
        }
        Ok(())
    }
}

/// `parts` with commas between them, on lines of at most `width` where a part is no longer.
fn wrapped(parts: impl Iterator<Item = String>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.is_empty() {
            line.push_str(&part);
        } else if line.chars().count() + 2 + part.chars().count() <= width {
            line.push_str(", ");
            line.push_str(&part);
        } else {
            line.push(',');
            lines.push(part);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn without_colours(text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain + rest
    }

    #[test]
    fn the_first_two_lines_are_those_of_the_seed() {
        for report in [sample::report(), sample::nothing()] {
            for style in [Style::Plain, Style::Coloured] {
                let text = render(&report, style);
                let first: Vec<_> = text.lines().take(2).map(str::to_owned).collect();
                let expected = [
                    format!("readOps: {}", report.read_ops),
                    format!("writeOps: {}", report.write_ops),
                ];
                assert_eq!(first, expected);
            }
        }
    }

    #[test]
    fn colours_change_nothing_else() {
        let report = sample::report();
        let plain = render(&report, Style::Plain);
        assert!(!plain.contains('\x1b'));
        assert_eq!(without_colours(&render(&report, Style::Coloured)), plain);
    }

    #[test]
    fn everything_is_said() {
        let text = render(&sample::report(), Style::Plain);
        for said in [
            "WARNING      the server was started",
            "dropped      1,200 not sent",
            "failed       180 UNAVAILABLE (0.003%): the mailbox is full",
            "transition ",
            "WRONG_STATE",
            "lateness     of the generator itself: p50 8.9 us",
            "p99.999",
            "p99.5",
            "warmup ",
            "NOT MET  error_rate<0.001%",
            "verified     linearizable",
            "throughput   ",
            "repeat       soloist-load 127.0.0.1:50051 --rps 100k",
            "after 5 s of warm-up",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
    }

    #[test]
    fn a_closed_loop_has_one_table() {
        let mut report = sample::report();
        for latency in report.latency.values_mut() {
            latency.service = latency.response.clone();
        }
        let text = render(&report, Style::Plain);
        assert!(text.contains("response = service time"));
        assert!(!text.contains("\nservice time"));
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        let mut report = sample::report();
        report.name = Some("a\x1b[2Jb\nreadOps: 9".to_owned());
        report
            .failure_messages
            .insert("UNAVAILABLE".to_owned(), "c\x07\rd".to_owned());
        report.settings.insert("name".to_owned(), "e\x1bf".into());
        let text = render(&report, Style::Plain);
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
        assert!(!text.contains("\nreadOps: 9"));
    }

    #[test]
    fn nothing_measured_is_said_so() {
        let text = render(&sample::nothing(), Style::Plain);
        assert!(text.contains("completed    0 operations, 0.00/s"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

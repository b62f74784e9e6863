//! The report for people.

use std::fmt::{self, Write};

use crate::report::figures::{PERCENTILES, short, summary};
use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{counted, grouped, latency, percent, rate, sparkline};
use crate::report::style::{Style, clean};

/// Columns of a terminal that the text fits into.
const WIDTH: usize = 80;

/// Columns of the labels in the margin.
const MARGIN: usize = 13;

/// Fewer intervals make no picture of how throughput went.
const SPARKLINE_INTERVALS_MIN: usize = 5;

/// Fits beside its label and the range that it shows.
const SPARKLINE_WIDTH: usize = 40;

/// Percentiles in one table: as many columns as fit.
const TABLE_PERCENTILES: usize = 6;

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What was measured.
    Result,
    /// The settings, the machine, the line that repeats the run, and all percentiles too.
    All,
}

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

struct Page<'a> {
    report: &'a Report,
    style: Style,
    detail: Detail,
    out: &'a mut String,
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

    /// A label in the margin, and a text that is short enough for one line. An empty label leaves the margin blank.
    fn line(&mut self, label: &str, text: impl fmt::Display) -> fmt::Result {
        let label = self.style.dim(format_args!("{label:<MARGIN$}"));
        writeln!(self.out, "{label}{text}")
    }

    /// A label in the margin, and a text on as many lines as it takes, each painted.
    fn lines(
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

    fn name(&mut self) -> fmt::Result {
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

    fn settings(&mut self) -> fmt::Result {
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

    fn warnings(&mut self) -> fmt::Result {
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

    fn counts(&mut self) -> fmt::Result {
        let report = self.report;
        let style = self.style;
        let per_second = style.bold(format_args!("{}/s", rate(report.ops_per_second)));
        let operations = grouped(report.completed);
        let seconds = report.elapsed_seconds;
        self.line(
            "completed",
            format_args!("{operations} operations in {seconds:.3} s, {per_second}"),
        )?;
        let warmup = report.phases.iter().find(|phase| phase.phase == "warmup");
        if let Some(warmup) = warmup {
            let seconds = short(warmup.seconds);
            self.line("", format_args!("after {seconds} s of warm-up"))?;
        }
        if let Some(signal) = report.interrupted {
            let cut = format!("interrupted by signal {signal}");
            self.line("", style.warning(cut))?;
        }
        if report.refused > 0 {
            let share = percent(report.refused, report.completed);
            let (refused, reasons) = (grouped(report.refused), report.refusals());
            let text = format!("{refused} of them ({share}){reasons}");
            self.lines("refused", &text, plain)?;
        }
        self.offered()?;
        if let Some(lateness) = &report.lateness {
            let text = format!("of the generator itself: {}", summary(lateness));
            self.lines("lateness", &text, plain)?;
        }
        self.failures()?;
        self.lost()?;
        if report.late.ops > 0 {
            let late = grouped(report.late.ops);
            let slowest = latency(Some(report.late.max_us));
            let text = format!(
                "{late} answered after the end, the slowest after {slowest}: \
                 in the latencies, but not in the counts"
            );
            self.lines("late", &text, plain)?;
        }
        if report.read_misses > 0 {
            let misses = grouped(report.read_misses);
            self.line("missing", format_args!("{misses} reads found no key"))?;
        }
        Ok(())
    }

    /// What an open loop was to send.
    fn offered(&mut self) -> fmt::Result {
        let Some(offered) = &self.report.offered else {
            return Ok(());
        };
        let per_second = rate(offered.per_second);
        let requested = rate(offered.requested_per_second);
        self.line(
            "offered",
            format_args!("{per_second}/s of {requested}/s requested"),
        )?;
        let dropped = grouped(offered.dropped);
        let share = percent(offered.dropped, offered.ops);
        let text = format!("{dropped} not sent ({share}): as many as allowed were under way");
        match offered.dropped {
            0 => self.line("dropped", 0),
            _ => self.lines("dropped", &text, |style, line| style.warning(line)),
        }
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
        self.lines("lost", &text, |style, line| style.bad(line))
    }

    fn failures(&mut self) -> fmt::Result {
        let report = self.report;
        if report.failed.is_empty() {
            return self.line("failed", 0);
        }
        for (code, ops) in &report.failed {
            let message = report.failure_messages.get(code).map_or("", String::as_str);
            let share = percent(*ops, report.completed + report.failed_ops());
            let (counted, message) = (
                format!("{} {} ({share})", grouped(*ops), clean(code)),
                clean(message),
            );
            self.lines(
                "failed",
                &format!("{counted}: {message}"),
                |style, line| match line.strip_prefix(&counted) {
                    Some(rest) => style.bad(&counted) + rest,
                    None => line.to_owned(),
                },
            )?;
        }
        Ok(())
    }

    fn latencies(&mut self) -> fmt::Result {
        let report = self.report;
        // In a closed loop operations start when they are meant to, and the two are the same.
        let same = |latency: &LatencyReport| latency.response == latency.service;
        if report.latency.values().all(same) {
            return self.tables("latency", |latency| &latency.response);
        }
        self.tables("response time", |latency| &latency.response)?;
        writeln!(self.out)?;
        self.tables("service time", |latency| &latency.service)
    }

    /// A table for every [`TABLE_PERCENTILES`] percentiles that are shown.
    fn tables(
        &mut self,
        caption: &str,
        part: impl Fn(&LatencyReport) -> &Distribution,
    ) -> fmt::Result {
        let report = self.report;
        let asked_for = report.latency.values().map(|latency| {
            let percentiles = &part(latency).percentiles;
            percentiles.iter().map(|(at, _)| *at).collect::<Vec<_>>()
        });
        let asked_for = asked_for.max_by_key(Vec::len).unwrap_or_default();
        let mut columns = vec!["p50", "p90", "p99", "p99.9", "p99.99", "max"];
        if self.detail == Detail::All {
            columns.push("p99.999");
        }
        let names: Vec<_> = asked_for.iter().map(|at| format!("p{at}")).collect();
        columns.extend(names.iter().map(String::as_str));
        for (index, columns) in columns.chunks(TABLE_PERCENTILES).enumerate() {
            let mut header = format!("{caption:<15}{:>11}", "operations");
            for column in columns {
                write!(header, "{column:>9}")?;
            }
            if index > 0 {
                writeln!(self.out)?;
            }
            writeln!(self.out, "{}", self.style.bold(header))?;
            for (kind, latency) in report.latency_by_kind() {
                self.row(kind, part(latency), columns)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, kind: &str, distribution: &Distribution, columns: &[&str]) -> fmt::Result {
        let name = format!("{kind:<15}");
        let name = match kind {
            "all" => self.style.accent(name),
            _ => name,
        };
        write!(self.out, "{name}{:>11}", grouped(distribution.count))?;
        for column in columns {
            let known = PERCENTILES.iter().position(|name| name == column);
            let us = match known {
                Some(index) => distribution.shown()[index],
                None => {
                    let mut asked_for = distribution.percentiles.iter();
                    let found = asked_for.find(|(at, _)| format!("p{at}") == *column);
                    found.map(|(_, us)| *us)
                }
            };
            write!(self.out, "{:>9}", latency(us))?;
        }
        writeln!(self.out)
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
            "{:<15}{:>12}{:>10}{:>13}{:>12}{:>9}{:>9}",
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
                "{:<15}{:>12}{:>10}{per_second:>13}{:>12.3}{:>9}{:>9}",
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
            "{:<15}{:>12}{:>17}{:>24}",
            "CPU", "seconds", "per operation", "operations per second"
        );
        writeln!(self.out, "{}", self.style.bold(header))?;
        let report = self.report;
        for (side, seconds, per_second) in report.cpu() {
            let Some(seconds) = seconds else {
                writeln!(self.out, "{side:<15}     unknown: the server did not tell")?;
                continue;
            };
            let per_operation = match report.completed {
                0 => "-".to_owned(),
                completed => format!("{:.3} us", seconds * 1e6 / completed as f64),
            };
            let per_second = per_second.map_or("-".to_owned(), rate);
            writeln!(
                self.out,
                "{side:<15}{seconds:>12.3}{per_operation:>17}{per_second:>24}"
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
}

fn plain(_: Style, line: &str) -> String {
    line.to_owned()
}

/// `parts` with `between` between them, on lines of at most `width` unless a part alone is longer.
fn wrapped(parts: impl Iterator<Item = String>, between: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts {
        let line = lines.last_mut().expect("there is one from the beginning");
        let longer = line.chars().count() + between.len() + part.chars().count();
        if line.is_empty() {
            line.push_str(&part);
        } else if longer + between.trim_end().len() <= width {
            line.push_str(between);
            line.push_str(&part);
        } else {
            line.push_str(between.trim_end());
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
    fn the_first_two_lines_are_read_ops_and_write_ops() {
        for report in [sample::report(), sample::nothing()] {
            for style in [Style::Plain, Style::Coloured] {
                let text = render(&report, style, Detail::Result);
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
        for detail in [Detail::Result, Detail::All] {
            let plain = render(&report, Style::Plain, detail);
            assert!(!plain.contains('\x1b'));
            let coloured = render(&report, Style::Coloured, detail);
            assert_eq!(without_colours(&coloured), plain);
        }
    }

    #[test]
    fn everything_is_said() {
        let text = render(&sample::report(), Style::Plain, Detail::All);
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
    fn the_result_alone_has_no_settings() {
        let text = render(&sample::report(), Style::Plain, Detail::Result);
        for label in ["settings ", "repeat ", "client  version", "seed "] {
            assert!(!text.contains(label), "{label} is in\n{text}");
        }
        for label in ["completed ", "failed ", "p99.99", "verified "] {
            assert!(text.contains(label), "{label} is not in\n{text}");
        }
    }

    #[test]
    fn every_line_fits_into_80_columns_but_the_one_to_copy() {
        for report in [sample::report(), sample::nothing()] {
            let text = render(&report, Style::Plain, Detail::All);
            let mut lines = text.lines().filter(|line| !line.starts_with("repeat "));
            let long = lines.find(|line| line.chars().count() > WIDTH);
            assert_eq!(long, None, "in\n{text}");
        }
    }

    #[test]
    fn a_closed_loop_has_one_table() {
        let mut report = sample::report();
        for latency in report.latency.values_mut() {
            latency.service = latency.response.clone();
        }
        let text = render(&report, Style::Plain, Detail::All);
        assert!(text.contains("\nlatency "));
        assert!(!text.contains("\nservice time") && !text.contains("\nresponse time"));
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        let mut report = sample::report();
        report.name = Some("a\x1b[2Jb\nreadOps: 9".to_owned());
        report
            .failure_messages
            .insert("UNAVAILABLE".to_owned(), "c\x07\rd".to_owned());
        report.settings.insert("name".to_owned(), "e\x1bf".into());
        let text = render(&report, Style::Plain, Detail::All);
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
        assert!(!text.contains("\nreadOps: 9"));
    }

    #[test]
    fn nothing_measured_is_said_so() {
        let text = render(&sample::nothing(), Style::Plain, Detail::All);
        assert!(
            text.contains("completed    0 operations in 0.000 s, 0.00/s"),
            "{text}"
        );
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

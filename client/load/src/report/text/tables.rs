//! The tables of the report, and its sparklines.

use std::fmt::{self, Write};

use crate::report::figures::PERCENTILES;
use crate::report::model::{Distribution, LatencyReport};
use crate::report::numbers::{grouped, latency, rate, sparkline};
use crate::report::printable::printable;
use crate::report::text::page::{Detail, Page};
use crate::report::wrap::WIDTH;

/// Fewer intervals are not worth a sparkline.
const SPARKLINE_INTERVALS_MIN: usize = 5;

/// The widest sparkline that fits beside its label and its range.
const SPARKLINE_WIDTH: usize = 40;

/// The width of the names of kinds, of which "compare_and_set" is the longest.
const KIND_WIDTH: usize = 15;
/// The least width of a number of operations, without the blank before it: that of its heading.
const COUNT_WIDTH_MIN: usize = 10;

/// Returns the width of a percentile, of which the latency or the name may be longer.
fn column_width(name: &str) -> usize {
    9.max(name.len() + 1)
}

/// Distributes columns among tables that have so much room for them.
fn in_tables<'a, 'b>(columns: &'a [&'b str], room: usize) -> Vec<&'a [&'b str]> {
    let mut tables = Vec::new();
    let (mut from, mut used) = (0, 0);
    for (index, column) in columns.iter().enumerate() {
        let width = column_width(column);
        if used + width > room && index > from {
            tables.push(&columns[from..index]);
            (from, used) = (index, 0);
        }
        used += width;
    }
    tables.push(&columns[from..]);
    tables
}

impl Page<'_> {
    pub(super) fn latencies(&mut self) -> fmt::Result {
        let report = self.report;
        // In a closed loop operations are due when they are sent.
        let same = |latency: &LatencyReport| latency.response == latency.service;
        if report.latency.values().all(same) {
            return self.tables("latency", |latency| &latency.response);
        }
        let meaning =
            "response time counts from when an operation was due, service time from its send";
        writeln!(self.out, "{}", self.style.dim(meaning))?;
        self.tables("response time", |latency| &latency.response)?;
        writeln!(self.out)?;
        self.tables("service time", |latency| &latency.service)
    }

    /// Writes as many tables as it takes for all percentiles.
    fn tables(
        &mut self,
        caption: &str,
        part: impl Fn(&LatencyReport) -> &Distribution,
    ) -> fmt::Result {
        let report = self.report;
        let requested = report.latency.values().map(|latency| {
            let percentiles = &part(latency).percentiles;
            percentiles.iter().map(|(at, _)| *at).collect::<Vec<_>>()
        });
        let requested = requested.max_by_key(Vec::len).unwrap_or_default();
        let mut columns = vec!["p50", "p90", "p99", "p99.9", "p99.99", "max"];
        if self.detail == Detail::All {
            columns.push("p99.999");
        }
        let names: Vec<_> = requested.iter().map(|at| format!("p{at}")).collect();
        columns.extend(names.iter().map(String::as_str));
        let counts = report
            .latency
            .values()
            .map(|of| grouped(part(of).count).len());
        let count_width = counts.max().unwrap_or(0).max(COUNT_WIDTH_MIN) + 1;
        let room = WIDTH - KIND_WIDTH - count_width;
        for (index, columns) in in_tables(&columns, room).into_iter().enumerate() {
            let mut header = format!("{caption:<KIND_WIDTH$}{:>count_width$}", "operations");
            for column in columns {
                let width = column_width(column);
                write!(header, "{column:>width$}")?;
            }
            if index > 0 {
                writeln!(self.out)?;
            }
            writeln!(self.out, "{}", self.style.bold(header))?;
            for (kind, latency) in report.latency_by_kind() {
                self.row(kind, part(latency), count_width, columns)?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        kind: &str,
        distribution: &Distribution,
        count_width: usize,
        columns: &[&str],
    ) -> fmt::Result {
        let name = format!("{kind:<KIND_WIDTH$}");
        let name = match kind {
            "all" => self.style.name(name),
            _ => name,
        };
        let count = grouped(distribution.count);
        write!(self.out, "{name}{count:>count_width$}")?;
        for column in columns {
            let known = PERCENTILES.iter().position(|name| name == column);
            let us = match known {
                Some(index) => distribution.percentile_values()[index],
                None => {
                    let mut requested = distribution.percentiles.iter();
                    let found = requested.find(|(at, _)| format!("p{at}") == *column);
                    found.map(|(_, us)| *us)
                }
            };
            let width = column_width(column);
            write!(self.out, "{:>width$}", latency(us))?;
        }
        writeln!(self.out)
    }

    /// Writes throughput and p99 over time.
    pub(super) fn sparklines(&mut self) -> fmt::Result {
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
        let bars = self.style.name(sparkline(&throughput, SPARKLINE_WIDTH));
        self.line(
            "throughput",
            format_args!("{bars}  {} to {}/s", rate(slowest), rate(fastest)),
        )?;
        if let Some((lowest, highest)) = range(&p99) {
            let bars = self.style.name(sparkline(&p99, SPARKLINE_WIDTH));
            let (lowest, highest) = (latency(Some(lowest)), latency(Some(highest)));
            self.line("p99", format_args!("{bars}  {lowest} to {highest}"))?;
        }
        Ok(())
    }

    /// Writes the phases of a run that had a warm-up.
    pub(super) fn phases(&mut self) -> fmt::Result {
        let phases = &self.report.phases;
        if !phases.iter().any(|phase| phase.phase == "warmup") {
            return Ok(());
        }
        writeln!(self.out)?;
        let header = format!(
            "{:<10}{:>16}{:>12}{:>12}{:>12}{:>9}{:>9}",
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
                "{:<10}{:>16}{:>12}{per_second:>12}{:>12.3}{:>9}{:>9}",
                printable(&phase.phase),
                grouped(phase.completed),
                grouped(phase.failed),
                phase.seconds,
                latency(phase.response.p50_us),
                latency(phase.response.p99_us)
            )?;
        }
        Ok(())
    }

    pub(super) fn cpu(&mut self) -> fmt::Result {
        let header = format!(
            "{:<15}{:>12}{:>17}{:>28}",
            "CPU", "seconds", "per operation", "operations per CPU-second"
        );
        writeln!(self.out, "{}", self.style.bold(header))?;
        let report = self.report;
        for (side, seconds, per_second) in report.cpu() {
            let Some(seconds) = seconds else {
                writeln!(
                    self.out,
                    "{side:<15}     unknown: the server did not report it"
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
                "{side:<15}{seconds:>12.3}{per_operation:>17}{per_second:>28}"
            )?;
        }
        Ok(())
    }
}

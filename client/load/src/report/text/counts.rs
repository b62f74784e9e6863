//! The counts of operations.

use std::fmt;

use crate::report::figures::summary;
use crate::report::numbers::{counted, grouped, latency, percent, rate, short};
use crate::report::printable::printable;
use crate::report::text::page::{Page, plain};
use soloist_flags::Style;

/// The most outages that are shown one by one. The JSON form has all.
const OUTAGES_SHOWN: usize = 10;

impl Page<'_> {
    pub(super) fn counts(&mut self) -> fmt::Result {
        self.completed()?;
        self.refused()?;
        self.offered()?;
        self.lateness()?;
        self.failures()?;
        self.agents()?;
        self.lost_workers()?;
        self.connections()?;
        self.outages()?;
        self.gap()?;
        self.account()?;
        self.late()?;
        self.misses()
    }

    fn completed(&mut self) -> fmt::Result {
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
        Ok(())
    }

    fn refused(&mut self) -> fmt::Result {
        let report = self.report;
        if report.refused == 0 {
            return Ok(());
        }
        let share = percent(report.refused, report.completed);
        let (refused, reasons) = (grouped(report.refused), report.refusals());
        let text = format!("{refused} of these ({share}), as the workload expects{reasons}");
        self.lines("refused", &text, plain)
    }

    /// The operations that an open loop was to send.
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
        let reasons = offered
            .dropped_by_reason
            .iter()
            .filter(|(_, ops)| **ops > 0);
        let reasons = reasons.map(|(reason, ops)| {
            let why = match reason.as_str() {
                "no_capacity" => "--max-in-flight was reached",
                "no_connection" => "there was no connection",
                "late_start" => "the end came first",
                other => other,
            };
            format!("{} because {}", grouped(*ops), printable(why))
        });
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let text = format!("{dropped} not sent ({share}): {reasons}");
        match offered.dropped {
            0 => self.line("dropped", 0),
            _ => self.lines("dropped", &text, |style, line| style.warning(line)),
        }
    }

    fn lateness(&mut self) -> fmt::Result {
        let Some(lateness) = &self.report.lateness else {
            return Ok(());
        };
        let text = format!("of the generator itself: {}", summary(lateness));
        self.lines("lateness", &text, plain)
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
                format!("{} {} ({share})", grouped(*ops), printable(code)),
                printable(message),
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

    fn agents(&mut self) -> fmt::Result {
        let agents = &self.report.agents;
        if agents.is_empty() {
            return Ok(());
        }
        let lost = agents.iter().filter(|agent| agent.lost.is_some()).count();
        let text = match lost {
            0 => format!("{} shared the run", agents.len()),
            lost => format!("{} shared the run, {lost} of them lost", agents.len()),
        };
        self.line("agents", text)?;
        for agent in agents {
            let address = printable(&agent.address);
            let part = format!(
                "{address}: {} completed, {} failed",
                grouped(agent.completed),
                grouped(agent.failed)
            );
            match &agent.lost {
                None => self.lines("", &part, plain)?,
                Some(why) => {
                    self.lines("", &printable(why), |style, line| style.bad(line))?;
                }
            }
        }
        Ok(())
    }

    fn lost_workers(&mut self) -> fmt::Result {
        let Some(first) = self.report.first_lost_seconds else {
            return Ok(());
        };
        let when = match first < 0.0 {
            true => "during the warm-up".to_owned(),
            false => format!("after {first:.1} s"),
        };
        let workers = counted(self.report.workers_lost, "worker");
        let text = format!("{workers} lost the stream or connection, the first {when}");
        self.lines("lost", &text, |style, line| style.bad(line))
    }

    fn connections(&mut self) -> fmt::Result {
        match self.report.connections.describe() {
            Some(text) => self.lines("connections", &text, plain),
            None => Ok(()),
        }
    }

    fn outages(&mut self) -> fmt::Result {
        let report = self.report;
        let bad = |style: Style, line: &str| style.bad(line);
        for outage in report.outages.iter().take(OUTAGES_SHOWN) {
            self.lines("outage", &outage.describe(), bad)?;
        }
        let more = report.outages.len().saturating_sub(OUTAGES_SHOWN);
        if more > 0 {
            let text = format!("and {} more", counted(more as u64, "outage"));
            self.lines("", &text, bad)?;
        }
        match &report.gave_up {
            Some(why) => self.lines("given up", &printable(why), bad),
            None => Ok(()),
        }
    }

    fn gap(&mut self) -> fmt::Result {
        match self.report.gap_to_show() {
            Some(gap) => self.lines("longest gap", &printable(&gap.describe()), plain),
            None => Ok(()),
        }
    }

    fn account(&mut self) -> fmt::Result {
        match self.report.account.fault() {
            Some(fault) => self.lines("FAULT", &fault, |style, line| style.bad(line)),
            None => Ok(()),
        }
    }

    fn late(&mut self) -> fmt::Result {
        let late = &self.report.late;
        if late.ops == 0 {
            return Ok(());
        }
        let (ops, slowest) = (counted(late.ops, "operation"), latency(Some(late.max_us)));
        let text = format!(
            "{ops} answered after the end, the slowest in {slowest}: \
             in the latencies, but not in the counts"
        );
        self.lines("late", &text, plain)
    }

    fn misses(&mut self) -> fmt::Result {
        let misses = self.report.read_misses;
        if misses == 0 {
            return Ok(());
        }
        let reads = counted(misses, "read");
        self.line(
            "not found",
            format_args!("{reads}, because the key did not exist"),
        )
    }
}

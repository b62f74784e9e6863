//! What was counted: completed, refused, dropped, failed, late.

use std::fmt;

use crate::report::figures::{short, summary};
use crate::report::numbers::{counted, grouped, latency, percent, rate};
use crate::report::style::clean;
use crate::report::text::page::{Page, plain};

impl Page<'_> {
    pub(super) fn counts(&mut self) -> fmt::Result {
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
}

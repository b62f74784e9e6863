//! A comparison as text, for people.

use std::fmt::{self, Write};

use crate::report::compare::model::{Comparison, MetricVerdict, Verdict};
use crate::report::printable::printable;
use crate::report::wrap::{WIDTH, wrapped};
use soloist_flags::Style;

/// The width of the margin with the labels of warnings, in columns.
const MARGIN: usize = 13;

impl Comparison {
    /// Writes the comparison as text: the verdict first, then the metrics, in lines of 80 columns at most.
    pub(crate) fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        self.write_text(style, &mut text)
            .expect("a String takes everything");
        text
    }

    fn write_text(&self, style: Style, out: &mut String) -> fmt::Result {
        writeln!(out, "{}\n", self.sides())?;
        self.write_conclusion(style, out)?;
        self.write_warnings(style, out)?;
        self.write_changes(style, out)?;
        self.write_verdicts(style, out)?;
        for paragraph in self.method() {
            writeln!(out)?;
            for line in lines(&paragraph, WIDTH) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    fn write_conclusion(&self, style: Style, out: &mut String) -> fmt::Result {
        let (verdict, explanation) = self.conclusion();
        for line in lines(&format!("{verdict}{explanation}"), WIDTH) {
            let Some(rest) = line.strip_prefix(verdict) else {
                writeln!(out, "{line}")?;
                continue;
            };
            let painted = match self.verdict {
                Verdict::Regression => style.bad(verdict),
                Verdict::Improvement => style.good(verdict),
                Verdict::NoDifference => style.bold(verdict),
                Verdict::Suspected | Verdict::TooFewRuns => style.warning(verdict),
            };
            writeln!(out, "{painted}{rest}")?;
        }
        writeln!(out)
    }

    fn write_warnings(&self, style: Style, out: &mut String) -> fmt::Result {
        let differences = self.differences.iter();
        let differences = differences.map(|difference| ("DIFFERENT", difference.to_string()));
        let warnings = self.warnings.iter();
        let warnings = warnings.map(|warning| ("WARNING", warning.clone()));
        for (label, text) in differences.chain(warnings) {
            for (index, line) in lines(&printable(&text), WIDTH - MARGIN).iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                let label = style.warning(format_args!("{label:<MARGIN$}"));
                writeln!(out, "{label}{line}")?;
            }
        }
        match self.differences.is_empty() && self.warnings.is_empty() {
            true => Ok(()),
            false => writeln!(out),
        }
    }

    fn write_changes(&self, style: Style, out: &mut String) -> fmt::Result {
        let header = format!(
            "{:<26}{:>11}{:>11}{:>9}  95% confidence",
            "median", "A", "B", "change"
        );
        writeln!(out, "{}", style.bold(header))?;
        for metric in &self.metrics {
            writeln!(
                out,
                "{:<26}{:>11}{:>11}{:>9}  {}",
                metric.metric,
                metric.value(metric.median_a),
                metric.value(metric.median_b),
                metric.change_text(),
                metric.interval_text(),
            )?;
        }
        writeln!(out)
    }

    fn write_verdicts(&self, style: Style, out: &mut String) -> fmt::Result {
        let header = format!("{:<26}{:>7}  verdict", "metric", "p");
        writeln!(out, "{}", style.bold(header))?;
        for metric in &self.metrics {
            let verdict = self.verdict_text(metric);
            let verdict = match metric.verdict {
                MetricVerdict::Better => style.good(verdict),
                MetricVerdict::Worse => style.bad(verdict),
                MetricVerdict::TooFewRuns => style.warning(verdict),
                MetricVerdict::Negligible
                | MetricVerdict::NoDifference
                | MetricVerdict::NotMeasured => style.dim(verdict),
            };
            let (name, p) = (&metric.metric, metric.p_text());
            writeln!(out, "{name:<26}{p:>7}  {verdict}")?;
        }
        Ok(())
    }
}

fn lines(text: &str, width: usize) -> Vec<String> {
    wrapped(text.split_whitespace().map(str::to_owned), " ", width)
}

//! A comparison for people.

use std::fmt::{self, Write};

use crate::report::compare::model::{Comparison, MetricComparison, Verdict};
use crate::report::style::{Style, clean};

impl Comparison {
    /// For people.
    pub(crate) fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        self.write_text(style, &mut text)
            .expect("a String takes everything");
        text
    }

    fn write_text(&self, style: Style, out: &mut String) -> fmt::Result {
        writeln!(out, "{}\n", self.sides())?;
        self.write_warnings(style, out)?;
        let header = format!(
            "{:<26}{:>12}{:>12}{:>9}  {:<20}{:>8}  verdict",
            "median", "A", "B", "change", "95% confidence", "p"
        );
        writeln!(out, "{}", style.bold(header))?;
        for metric in &self.metrics {
            writeln!(
                out,
                "{:<26}{:>12}{:>12}{:>9}  {:<20}{:>8}  {}",
                metric.metric,
                metric.value(metric.median_a),
                metric.value(metric.median_b),
                metric.change_text(),
                metric.interval_text(),
                metric.p.map_or("-".to_owned(), |p| format!("{p:.4}")),
                metric.painted(style)
            )?;
        }
        writeln!(out, "\n{}", self.conclusion(style))?;
        self.write_method(out)
    }

    fn write_warnings(&self, style: Style, out: &mut String) -> fmt::Result {
        for difference in &self.differences {
            let label = style.warning(format_args!("{:<13}", "DIFFERENT"));
            writeln!(out, "{label}{}", clean(&difference.to_string()))?;
        }
        for warning in &self.warnings {
            let label = style.warning(format_args!("{:<13}", "WARNING"));
            writeln!(out, "{label}{}", clean(warning))?;
        }
        match self.differences.is_empty() && self.warnings.is_empty() {
            true => Ok(()),
            false => writeln!(out),
        }
    }
}

impl MetricComparison {
    fn painted(&self, style: Style) -> String {
        let text = self.verdict_text();
        match self.verdict {
            Verdict::Better => style.good(text),
            Verdict::Worse => style.bad(text),
            Verdict::TooFewRuns => style.warning(text),
            Verdict::Negligible | Verdict::NoDifference | Verdict::NotMeasured => style.dim(text),
        }
    }
}

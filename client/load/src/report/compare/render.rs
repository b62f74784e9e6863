//! A comparison as text, Markdown and JSON.

use std::fmt::{self, Write};

use crate::report::compare::statistics::runs_min;
use crate::report::compare::{Comparison, MetricComparison, Overall, Unit, Verdict};
use crate::report::markdown::{escaped, head, row};
use crate::report::numbers::{counted, latency, rate};
use crate::report::style::{Style, clean};

impl Comparison {
    /// For people.
    pub(crate) fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        self.write_text(style, &mut text)
            .expect("a String takes everything");
        text
    }

    /// For issues and pull requests.
    pub(crate) fn to_markdown(&self) -> String {
        let mut markdown = String::new();
        self.write_markdown(&mut markdown)
            .expect("a String takes everything");
        markdown
    }

    pub(crate) fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("a comparison is a tree of values");
        json.push('\n');
        json
    }

    /// Whether `--fail-on-regression` is to fail.
    pub(crate) fn is_regression(&self) -> bool {
        self.verdict == Overall::Regression
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

    fn sides(&self) -> String {
        let (a, b) = (counted(self.runs_a, "run"), counted(self.runs_b, "run"));
        format!("{a} of A, {b} of B")
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

    fn conclusion(&self, style: Style) -> String {
        let names = |verdict: Verdict| -> String {
            let named = self
                .metrics
                .iter()
                .filter(|metric| metric.verdict == verdict);
            named
                .map(|metric| metric.metric.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self.verdict {
            Overall::Regression => {
                style.bad("REGRESSION") + &format!(": worse are {}", names(Verdict::Worse))
            }
            Overall::Suspected => {
                style.warning("SUSPECTED REGRESSION")
                    + &format!(
                        ": worse are {}; but one of {} metrics may be by chance: more runs will tell",
                        names(Verdict::Worse),
                        self.metrics.len()
                    )
            }
            Overall::Improvement => style.good("BETTER") + &format!(": {}", names(Verdict::Better)),
            Overall::NoDifference => style.bold("NO DIFFERENCE SEEN"),
            Overall::TooFewRuns if self.runs_a == 1 && self.runs_b == 1 => {
                style.warning("ONE RUN PROVES NOTHING")
                    + &format!(
                        ": runs differ more than the intervals within one; in turns, {}",
                        self.runs_it_takes()
                    )
            }
            Overall::TooFewRuns => {
                style.warning("TOO FEW RUNS TO TELL") + &format!(": {}", self.runs_it_takes())
            }
        }
    }

    fn runs_it_takes(&self) -> String {
        let one = runs_min(self.alpha);
        let all = runs_min(self.alpha / self.metrics.len() as f64);
        format!("{one} on each side can show a difference, {all} a regression")
    }

    fn write_method(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "\np: Mann-Whitney U, two-sided, exact up to 50 runs; different is p <= {}, and below {} negligible.\n\
             Interval: bootstrap of the medians, percentiles; with few runs it is too narrow, and decides nothing.{}",
            self.alpha,
            percent(self.effect_min).trim_start_matches('+'),
            match self.metrics.iter().any(|metric| metric.hint_low.is_some()) {
                true =>
                    "\nIn parentheses: the change of the median interval within the two runs, from blocks of intervals; a hint, no more.",
                false => "",
            }
        )
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "**{}**\n", self.conclusion(Style::Plain))?;
        for difference in &self.differences {
            writeln!(
                out,
                "> [!WARNING]\n> different: {}\n",
                escaped(&difference.to_string())
            )?;
        }
        for warning in &self.warnings {
            writeln!(out, "> [!WARNING]\n> {}\n", escaped(warning))?;
        }
        head(
            out,
            &[
                "median",
                "verdict",
                "A",
                "B",
                "change",
                "95% confidence",
                "p",
            ],
            2,
        )?;
        for metric in &self.metrics {
            let verdict = match metric.verdict {
                Verdict::Better | Verdict::Worse => format!("**{}**", metric.verdict_text()),
                _ => metric.verdict_text(),
            };
            let cells = [
                escaped(&metric.metric),
                verdict,
                metric.value(metric.median_a),
                metric.value(metric.median_b),
                metric.change_text(),
                metric.interval_text(),
                metric.p.map_or("-".to_owned(), |p| format!("{p:.4}")),
            ];
            row(out, cells)?;
        }
        let mut method = String::new();
        self.write_method(&mut method)?;
        let method = method.trim().replace('\n', " ").replace("<=", "&le;");
        writeln!(out, "\n<sub>{}. {method}</sub>", self.sides())
    }
}

impl MetricComparison {
    fn value(&self, value: Option<f64>) -> String {
        match (value, self.unit) {
            (None, _) => "-".to_owned(),
            (Some(value), Unit::PerSecond) => rate(value),
            // CPU times are shorter than latencies.
            (Some(value), Unit::Microseconds) if value < 10.0 => format!("{value:.3} us"),
            (value, Unit::Microseconds) => latency(value),
            (Some(0.0), Unit::Share) => "0%".to_owned(),
            (Some(value), Unit::Share) => format!("{:.4}%", value * 100.0),
        }
    }

    fn change_text(&self) -> String {
        match (self.change, self.median_a) {
            (Some(change), _) => percent(change),
            (None, Some(_)) => "from 0".to_owned(),
            (None, None) => "-".to_owned(),
        }
    }

    fn interval_text(&self) -> String {
        match (
            self.change_low.zip(self.change_high),
            self.hint_low.zip(self.hint_high),
        ) {
            (Some((low, high)), _) => format!("{} to {}", percent(low), percent(high)),
            (None, Some((low, high))) => format!("({} to {})", percent(low), percent(high)),
            (None, None) => "-".to_owned(),
        }
    }

    fn verdict_text(&self) -> String {
        let text = match self.verdict {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Negligible => "negligible",
            Verdict::NoDifference => "no difference seen",
            Verdict::TooFewRuns => "too few runs",
            Verdict::NotMeasured => "not measured",
        };
        match (self.runs_needed, self.verdict) {
            (Some(runs), Verdict::TooFewRuns) => format!("{text}: {runs} each needed"),
            (Some(runs), _) => format!("{text}; the least that matters takes {runs} runs each"),
            (None, _) => text.to_owned(),
        }
    }

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

impl fmt::Display for crate::report::compare::Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |values: &[String]| match values.is_empty() {
            true => "not set".to_owned(),
            false => values.join(" and "),
        };
        write!(f, "{}: A {}, B {}", self.what, side(&self.a), side(&self.b))
    }
}

fn percent(change: f64) -> String {
    format!("{:+.1}%", change * 100.0)
}

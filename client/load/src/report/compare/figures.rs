//! The parts that the text and the Markdown of a comparison share.

use std::fmt::{self, Write};

use crate::report::compare::model::{
    Comparison, Difference, MetricComparison, Overall, Unit, Verdict,
};
use crate::report::compare::statistics::runs_min;
use crate::report::numbers::{counted, latency, rate};
use crate::report::style::Style;

impl Comparison {
    pub(super) fn sides(&self) -> String {
        let (a, b) = (counted(self.runs_a, "run"), counted(self.runs_b, "run"));
        format!("{a} of A, {b} of B")
    }

    pub(super) fn conclusion(&self, style: Style) -> String {
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

    pub(super) fn write_method(&self, out: &mut String) -> fmt::Result {
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

    fn runs_it_takes(&self) -> String {
        let one = runs_min(self.alpha);
        let all = runs_min(self.alpha / self.metrics.len() as f64);
        format!("{one} on each side can show a difference, {all} a regression")
    }
}

impl MetricComparison {
    pub(super) fn value(&self, value: Option<f64>) -> String {
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

    pub(super) fn change_text(&self) -> String {
        match (self.change, self.median_a) {
            (Some(change), _) => percent(change),
            (None, Some(_)) => "from 0".to_owned(),
            (None, None) => "-".to_owned(),
        }
    }

    pub(super) fn interval_text(&self) -> String {
        match (
            self.change_low.zip(self.change_high),
            self.hint_low.zip(self.hint_high),
        ) {
            (Some((low, high)), _) => format!("{} to {}", percent(low), percent(high)),
            (None, Some((low, high))) => format!("({} to {})", percent(low), percent(high)),
            (None, None) => "-".to_owned(),
        }
    }

    pub(super) fn verdict_text(&self) -> String {
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
}

impl fmt::Display for Difference {
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

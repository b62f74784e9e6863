//! The texts and figures that the text and the Markdown of a comparison share.

use std::fmt;

use crate::report::compare::model::{
    Comparison, Difference, MetricComparison, MetricVerdict, Unit, Verdict,
};
use crate::report::numbers::short;
use crate::report::numbers::{counted, latency, rate};

impl Comparison {
    pub(crate) fn sides(&self) -> String {
        let (a, b) = (counted(self.runs_a, "run"), counted(self.runs_b, "run"));
        format!("{a} of A, {b} of B")
    }

    /// Returns the verdict in words: its name, and an explanation to follow it.
    pub(crate) fn conclusion(&self) -> (&'static str, String) {
        let one_each = self.runs_a == 1 && self.runs_b == 1;
        match self.verdict {
            Verdict::Regression => {
                let worse = self.metrics_that_are(MetricVerdict::Worse);
                ("REGRESSION", format!(": worse are {worse}"))
            }
            Verdict::Suspected => {
                let worse = self.metrics_that_are(MetricVerdict::Worse);
                let (metrics, runs) = (self.metrics.len(), self.runs_it_takes());
                let text = format!(
                    ": worse are {worse}; but one of {metrics} metrics may be worse by chance: {runs}"
                );
                ("SUSPECTED REGRESSION", text)
            }
            Verdict::Improvement => {
                let better = self.metrics_that_are(MetricVerdict::Better);
                ("BETTER", format!(": {better}"))
            }
            Verdict::NoDifference => ("NO DIFFERENCE SEEN", self.by_chance()),
            Verdict::TooFewRuns if one_each => {
                let runs = self.runs_it_takes();
                let text = format!(": two runs of the same server differ as well; {runs} (--runs)");
                ("ONE RUN PROVES NOTHING", text)
            }
            Verdict::TooFewRuns => (
                "TOO FEW RUNS TO TELL",
                format!(": {}", self.runs_it_takes()),
            ),
        }
    }

    fn metrics_that_are(&self, verdict: MetricVerdict) -> String {
        let metrics = self.metrics.iter();
        let metrics = metrics.filter(|metric| metric.verdict == verdict);
        let names = metrics.map(|metric| metric.metric.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    fn runs_it_takes(&self) -> String {
        format!(
            "{} on each side are the fewest that can tell",
            self.runs_needed
        )
    }

    /// Names the metrics that differ by themselves, but not after the correction for the number of metrics.
    fn by_chance(&self) -> String {
        let by_themselves =
            |verdict| Some(self.metrics_that_are(verdict)).filter(|of| !of.is_empty());
        let worse = by_themselves(MetricVerdict::Worse).map(|of| format!("{of} worse"));
        let better = by_themselves(MetricVerdict::Better).map(|of| format!("{of} better"));
        let found: Vec<_> = worse.into_iter().chain(better).collect();
        match found.is_empty() {
            true => String::new(),
            false => format!(
                ": {}, which one of {} metrics may be by chance or by too little to matter",
                found.join(", "),
                self.metrics.len()
            ),
        }
    }

    /// Returns how the figures were made, in a few paragraphs.
    pub(super) fn method(&self) -> Vec<String> {
        let (alpha, effect) = (self.alpha, short(self.effect_min * 100.0));
        let metrics = self.metrics.len();
        let mut method = vec![
            format!(
                "p: two-sided Mann-Whitney U test, exact up to 50 runs. A metric is better or worse with p <= {alpha} and a \
                 change of at least {effect}%; a smaller change is negligible. A regression must hold for {metrics} metrics \
                 together (step-down minP of Westfall and Young)."
            ),
            "Confidence interval: percentile bootstrap of the medians. With few runs it is too narrow, and it decides \
             nothing."
                .to_owned(),
        ];
        if self.metrics.iter().any(|metric| {
            metric.runs_needed.is_some() && metric.verdict == MetricVerdict::NoDifference
        }) {
            method.push(
                "Runs each: with as many on both sides, a change of this size is found four times out of five.".to_owned(),
            );
        }
        if self.metrics.iter().any(|metric| metric.hint_low.is_some()) {
            method.push(
                "In parentheses: the change of the median interval within the two runs, by a block bootstrap. It is only \
                 a hint."
                    .to_owned(),
            );
        }
        method
    }

    pub(super) fn verdict_text(&self, metric: &MetricComparison) -> String {
        let text = match metric.verdict {
            MetricVerdict::Better => "better",
            MetricVerdict::Worse => "worse",
            MetricVerdict::Negligible => "negligible",
            MetricVerdict::NoDifference => "no difference seen",
            MetricVerdict::TooFewRuns => "too few runs",
            MetricVerdict::NotMeasured => "not measured",
        };
        let effect = short(self.effect_min * 100.0);
        match (metric.runs_needed, metric.verdict) {
            (Some(runs), MetricVerdict::TooFewRuns) => format!("{text}: {runs} each needed"),
            (Some(runs), _) => format!("{text}; {effect}% takes {runs} runs each"),
            (None, _) => text.to_owned(),
        }
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

    /// Returns the confidence interval, or the hint in parentheses.
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

    pub(super) fn p_text(&self) -> String {
        self.p.map_or("-".to_owned(), |p| format!("{p:.4}"))
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
    match change.abs() {
        // The table has no room for more.
        100.0.. => format!("{change:+.0}x"),
        10.0.. => format!("{:+.0}%", change * 100.0),
        _ => format!("{:+.1}%", change * 100.0),
    }
}

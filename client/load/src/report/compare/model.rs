//! The result of a comparison. Its JSON form has these fields.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::model::SCHEMA;

/// The name of the JSON form of a [`Comparison`].
pub(super) const COMPARISON_SCHEMA: &str = "soloist-compare/1";

/// The parameters of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The significance level: the chance that a metric without a difference is found to differ.
    pub(crate) alpha: f64,
    /// Smaller relative changes are negligible, however significant they are.
    pub(crate) effect_min: f64,
    /// The smallest relative change for the worse that is a regression: `--fail-on-regression=PERCENT`.
    pub(crate) regression_min: f64,
    /// The number of resamples of the bootstrap.
    pub(crate) resamples: usize,
    /// The seed of the bootstrap.
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            // Two builds differ as much for no reason but the layout of code and data: Mytkowicz et al., Producing
            // Wrong Data Without Doing Anything Obviously Wrong, 2009.
            effect_min: 0.02,
            regression_min: 0.02,
            // With as many, the displayed digits of a 95% interval do not depend on the seed.
            resamples: 10_000,
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// The verdict on one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricVerdict {
    Better,
    Worse,
    /// Significantly different, but by less than `effect_min`.
    Negligible,
    NoDifference,
    /// With so few runs no values would be significant.
    TooFewRuns,
    /// A side has no value.
    NotMeasured,
}

/// The verdict on the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// A metric is worse, also after the correction for the number of metrics.
    Regression,
    /// A metric is worse, but there are too few runs for the correction: of several metrics one may be worse by chance.
    Suspected,
    /// A metric is better, also after the correction, and none is worse.
    Improvement,
    NoDifference,
    TooFewRuns,
}

/// The comparison of the runs of side B with those of side A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) schema: String,
    pub(crate) runs_a: u64,
    pub(crate) runs_b: u64,
    pub(crate) alpha: f64,
    pub(crate) effect_min: f64,
    pub(crate) regression_min: f64,
    /// The fewest runs on each side that can decide about all metrics together.
    pub(crate) runs_needed: u64,
    pub(crate) metrics: Vec<MetricComparison>,
    /// Settings and conditions that were not the same for all runs.
    pub(crate) differences: Vec<Difference>,
    pub(crate) warnings: Vec<String>,
    pub(crate) verdict: Verdict,
}

/// The comparison of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricComparison {
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// Runs of A that have a value.
    pub(crate) runs_a: u64,
    /// Runs of B that have a value.
    pub(crate) runs_b: u64,
    pub(crate) median_a: Option<f64>,
    pub(crate) median_b: Option<f64>,
    /// The change of the median from A to B, relative to A. Null if A is 0 and B is not.
    pub(crate) change: Option<f64>,
    /// The 95% confidence interval of the change, by the bootstrap. Null with one run on each side.
    pub(crate) change_low: Option<f64>,
    pub(crate) change_high: Option<f64>,
    /// The statistic U: pairs of runs in which A has the greater value.
    pub(crate) u: Option<f64>,
    /// The p-value of the rank test, two-sided.
    pub(crate) p: Option<f64>,
    /// The p-value after the correction for the number of metrics.
    pub(crate) p_adjusted: Option<f64>,
    pub(crate) verdict: MetricVerdict,
    /// The number of runs on each side that would decide, if these do not.
    pub(crate) runs_needed: Option<u64>,
    /// With one run on each side: the confidence interval of the change of the median over the runs' intervals of time.
    /// Figures of the whole run, such as its p99, may change differently.
    pub(crate) hint_low: Option<f64>,
    pub(crate) hint_high: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Microseconds,
    Share,
}

/// A setting or condition that was not the same for all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Its name.
    pub(crate) what: String,
    /// The distinct values on side A.
    pub(crate) a: Vec<String>,
    /// The distinct values on side B.
    pub(crate) b: Vec<String>,
}

/// Why runs cannot be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CompareError {
    /// Of side 'A' or 'B'.
    NoRuns(char),
    Schema {
        side: char,
        schema: String,
    },
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuns(side) => write!(f, "side {side} has no runs, at least 1 is needed"),
            Self::Schema { side, schema } => write!(
                f,
                "a run of {side} has the schema {schema:?}, and this version compares {SCHEMA:?} only"
            ),
        }
    }
}

impl std::error::Error for CompareError {}

impl Comparison {
    pub(crate) fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("a comparison is a tree of values");
        json.push('\n');
        json
    }

    /// Whether `--fail-on-regression` makes the command fail.
    pub(crate) fn is_regression(&self) -> bool {
        self.verdict == Verdict::Regression
    }

    /// Whether there are enough runs to find a regression. If not, `--fail-on-regression` has nothing to go by.
    pub(crate) fn is_decided(&self) -> bool {
        !matches!(self.verdict, Verdict::TooFewRuns | Verdict::Suspected)
    }
}

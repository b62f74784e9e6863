//! What a comparison says. Its JSON form is this, field by field.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::model::SCHEMA;

/// The name of the JSON form of a [`Comparison`].
pub(super) const COMPARISON_SCHEMA: &str = "soloist-compare/1";

/// How a comparison is made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The chance, for one metric, of calling different what is not.
    pub(crate) alpha: f64,
    /// Relative changes below are negligible, however certain they are.
    pub(crate) effect_min: f64,
    /// Relative changes for the worse from here on are a regression: `--fail-on-regression=PERCENT`.
    pub(crate) regression_min: f64,
    /// Of the bootstrap.
    pub(crate) resamples: usize,
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            // What differs from build to build for no reason at all (code and data in other places) is of this order:
            // Mytkowicz et al., Producing Wrong Data Without Doing Anything Obviously Wrong, 2009.
            effect_min: 0.02,
            regression_min: 0.02,
            // Enough for the ends of a 95% interval to stand still in the digits that are shown.
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

/// What is to be thought of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Better,
    Worse,
    /// Different, but by less than matters.
    Negligible,
    NoDifference,
    /// Whatever the values are, so few runs prove nothing.
    TooFewRuns,
    /// One side has no value.
    NotMeasured,
}

/// What is to be thought of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overall {
    /// Something is worse, also in view of how many metrics were looked at.
    Regression,
    /// Something is worse by itself, but one of so many may be by chance: more runs will tell.
    Suspected,
    /// Something is better, and nothing worse.
    Improvement,
    NoDifference,
    TooFewRuns,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) schema: String,
    pub(crate) runs_a: u64,
    pub(crate) runs_b: u64,
    pub(crate) alpha: f64,
    pub(crate) effect_min: f64,
    pub(crate) regression_min: f64,
    pub(crate) metrics: Vec<MetricComparison>,
    /// What was not the same on both sides, besides what was measured.
    pub(crate) differences: Vec<Difference>,
    pub(crate) warnings: Vec<String>,
    pub(crate) verdict: Overall,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricComparison {
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// Runs that have a value.
    pub(crate) runs_a: u64,
    pub(crate) runs_b: u64,
    pub(crate) median_a: Option<f64>,
    pub(crate) median_b: Option<f64>,
    /// From A to B, relative to A; absent (null) if A is zero and B is not.
    pub(crate) change: Option<f64>,
    /// Its 95% confidence interval, by the bootstrap; of one run each, absent (null).
    pub(crate) change_low: Option<f64>,
    pub(crate) change_high: Option<f64>,
    /// Pairs of runs of which A has the greater value.
    pub(crate) u: Option<f64>,
    pub(crate) p: Option<f64>,
    /// Corrected for the number of metrics.
    pub(crate) p_adjusted: Option<f64>,
    pub(crate) verdict: Verdict,
    /// Runs on each side that it would take to tell, if these do not.
    pub(crate) runs_needed: Option<u64>,
    /// Of one run each: the confidence interval of the change of the median interval (of time) within them. What holds
    /// of the run as a whole, such as its p99, may change otherwise.
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) what: String,
    /// The values of all runs of a side, each once.
    pub(crate) a: Vec<String>,
    pub(crate) b: Vec<String>,
}

/// Why there is nothing to compare.
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
            Self::NoRuns(side) => write!(f, "{side} has no runs: at least 1 is needed"),
            Self::Schema { side, schema } => write!(
                f,
                "a run of {side} is of schema {schema:?}, and this version compares {SCHEMA:?} only"
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

    /// Whether `--fail-on-regression` is to fail.
    pub(crate) fn is_regression(&self) -> bool {
        self.verdict == Overall::Regression
    }
}

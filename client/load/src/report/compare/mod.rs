//! Whether one set of runs differs from another, and whether that can be told at all.
//!
//! Runs are the unit, not operations and not intervals: what differs from run to run (where the scheduler puts threads,
//! which pages are warm) is the same for all operations within one, so that a million of them say no more about it than
//! one run does (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, 2013). Runs of both sides should take
//! turns.
//!
//! A metric is called better or worse if the rank test says so at 5% and the change is at least the smallest that
//! matters. As many metrics are looked at, the whole is a regression only if a worse one stands up to Holm's correction.

mod render;
mod statistics;

use std::collections::BTreeMap;
use std::fmt;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::report::model::{IntervalReport, Report, SCHEMA};
use statistics::{Bootstrap, change, holm, mann_whitney, median, runs_min, runs_to_see};

/// The name of the JSON form of a [`Comparison`].
const COMPARISON_SCHEMA: &str = "soloist-compare/1";

/// With fewer, blocks of intervals say nothing.
const HINT_INTERVALS_MIN: usize = 10;

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

/// One thing to compare.
struct Metric {
    name: &'static str,
    unit: Unit,
    better: Better,
    of: fn(&Report) -> Option<f64>,
    /// Where it can be had of intervals, too.
    of_interval: Option<fn(&IntervalReport) -> Option<f64>>,
}

const METRICS: [Metric; 7] = [
    Metric {
        name: "ops_per_second",
        unit: Unit::PerSecond,
        better: Better::Higher,
        of: |report| Some(report.ops_per_second),
        of_interval: Some(|interval| Some(interval.ops_per_second)),
    },
    Metric {
        name: "response p50",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p50_us,
        of_interval: Some(|interval| interval.p50_us),
    },
    Metric {
        name: "response p99",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p99_us,
        of_interval: Some(|interval| interval.p99_us),
    },
    Metric {
        name: "response p99.9",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p99_9_us,
        of_interval: Some(|interval| interval.p99_9_us),
    },
    Metric {
        name: "server CPU per operation",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| per_operation(report.server_cpu_seconds?, report),
        of_interval: None,
    },
    Metric {
        name: "client CPU per operation",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| per_operation(report.client_cpu_seconds, report),
        of_interval: None,
    },
    Metric {
        name: "failed",
        unit: Unit::Share,
        better: Better::Lower,
        of: |report| {
            let tried = report.completed + report.failed_ops();
            (tried > 0).then(|| report.failed_ops() as f64 / tried as f64)
        },
        of_interval: None,
    },
];

fn per_operation(seconds: f64, report: &Report) -> Option<f64> {
    (report.completed > 0).then(|| seconds * 1e6 / report.completed as f64)
}

/// Compares the runs `b` with the runs `a` that they are held against.
pub(crate) fn compare(
    a: &[Report],
    b: &[Report],
    options: &Options,
) -> Result<Comparison, CompareError> {
    for (side, reports) in [('A', a), ('B', b)] {
        if reports.is_empty() {
            return Err(CompareError::NoRuns(side));
        }
        if let Some(other) = reports.iter().find(|report| report.schema != SCHEMA) {
            let schema = other.schema.clone();
            return Err(CompareError::Schema { side, schema });
        }
    }
    let mut bootstrap = Bootstrap {
        resamples: options.resamples,
        random: Xoshiro256PlusPlus::seed_from_u64(options.seed),
    };
    let mut metrics: Vec<_> = METRICS
        .iter()
        .map(|metric| compare_metric(metric, a, b, options, &mut bootstrap))
        .collect();
    let ps: Vec<_> = metrics.iter().map(|metric| metric.p).collect();
    for (metric, adjusted) in metrics.iter_mut().zip(holm(&ps)) {
        metric.p_adjusted = adjusted;
    }
    Ok(Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        runs_a: a.len() as u64,
        runs_b: b.len() as u64,
        alpha: options.alpha,
        effect_min: options.effect_min,
        regression_min: options.regression_min,
        verdict: overall(&metrics, options),
        metrics,
        differences: differences(a, b),
        warnings: warnings(a, b),
    })
}

fn compare_metric(
    metric: &Metric,
    a: &[Report],
    b: &[Report],
    options: &Options,
    bootstrap: &mut Bootstrap,
) -> MetricComparison {
    let values = |reports: &[Report]| reports.iter().filter_map(metric.of).collect::<Vec<_>>();
    let (values_a, values_b) = (values(a), values(b));
    let (median_a, median_b) = (median(&values_a), median(&values_b));
    let mut compared = MetricComparison {
        metric: metric.name.to_owned(),
        unit: metric.unit,
        better: metric.better,
        runs_a: values_a.len() as u64,
        runs_b: values_b.len() as u64,
        median_a,
        median_b,
        change: None,
        change_low: None,
        change_high: None,
        u: None,
        p: None,
        p_adjusted: None,
        verdict: Verdict::NotMeasured,
        runs_needed: None,
        hint_low: None,
        hint_high: None,
    };
    let (Some(median_a), Some(median_b)) = (median_a, median_b) else {
        return compared;
    };
    compared.change = change(median_a, median_b);
    if values_a.len() == 1 && values_b.len() == 1 {
        let hint = hint(metric, &a[0], &b[0], bootstrap);
        compared.hint_low = hint.map(|(low, _)| low);
        compared.hint_high = hint.map(|(_, high)| high);
    } else {
        let interval = bootstrap.change(&values_a, &values_b);
        compared.change_low = interval.map(|(low, _)| low);
        compared.change_high = interval.map(|(_, high)| high);
    }
    let test = mann_whitney(&values_a, &values_b);
    compared.u = Some(test.u);
    compared.p = Some(test.p);
    compared.verdict = if !can_tell(values_a.len(), values_b.len(), options.alpha) {
        Verdict::TooFewRuns
    } else if test.p > options.alpha {
        Verdict::NoDifference
    } else if compared
        .change
        .is_some_and(|change| change.abs() < options.effect_min)
    {
        Verdict::Negligible
    } else if (median_b > median_a) == (metric.better == Better::Higher) {
        Verdict::Better
    } else {
        Verdict::Worse
    };
    let floor = runs_min(options.alpha);
    let scatter = runs_to_see(options.effect_min, &values_a, &values_b);
    let needed = scatter.map_or(floor, |runs| runs.max(floor));
    let fewest = compared.runs_a.min(compared.runs_b);
    let undecided = matches!(
        compared.verdict,
        Verdict::TooFewRuns | Verdict::NoDifference
    );
    compared.runs_needed = (undecided && needed > fewest).then_some(needed);
    compared
}

/// Whether the most extreme outcome there is would be enough.
fn can_tell(a: usize, b: usize, alpha: f64) -> bool {
    let low: Vec<f64> = (0..a).map(|value| value as f64).collect();
    let high: Vec<f64> = (a..a + b).map(|value| value as f64).collect();
    mann_whitney(&low, &high).p <= alpha
}

fn hint(metric: &Metric, a: &Report, b: &Report, bootstrap: &mut Bootstrap) -> Option<(f64, f64)> {
    let of_interval = metric.of_interval?;
    let values =
        |report: &Report| -> Vec<f64> { report.intervals.iter().filter_map(of_interval).collect() };
    let (a, b) = (values(a), values(b));
    let enough = a.len().min(b.len()) >= HINT_INTERVALS_MIN;
    enough.then(|| bootstrap.change_in_series(&a, &b)).flatten()
}

fn overall(metrics: &[MetricComparison], options: &Options) -> Overall {
    let worse = || {
        metrics.iter().filter(|metric| {
            // From nothing to something is more than any percentage.
            let enough = metric
                .change
                .is_none_or(|change| change.abs() >= options.regression_min);
            metric.verdict == Verdict::Worse && enough
        })
    };
    let stands = |metric: &MetricComparison| metric.p_adjusted.is_some_and(|p| p <= options.alpha);
    let any = |verdict| metrics.iter().any(|metric| metric.verdict == verdict);
    if worse().any(stands) {
        Overall::Regression
    } else if worse().next().is_some() {
        Overall::Suspected
    } else if any(Verdict::TooFewRuns) {
        Overall::TooFewRuns
    } else if any(Verdict::Better) && !any(Verdict::Worse) {
        Overall::Improvement
    } else {
        Overall::NoDifference
    }
}

/// Settings, machine and server, where the runs of both sides do not have the same.
fn differences(a: &[Report], b: &[Report]) -> Vec<Difference> {
    let (a, b) = (setups(a), setups(b));
    let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let side = |setups: &BTreeMap<String, Vec<String>>, what: &str| {
        setups.get(what).cloned().unwrap_or_default()
    };
    names
        .into_iter()
        .map(|what| Difference {
            what: what.clone(),
            a: side(&a, what),
            b: side(&b, what),
        })
        // Two values on one side are a difference, even if the other has both.
        .filter(|difference| difference.a != difference.b || difference.a.len() > 1)
        .collect()
}

fn setups(reports: &[Report]) -> BTreeMap<String, Vec<String>> {
    let mut setups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |what: String, value: String| {
        let values = setups.entry(what).or_default();
        if let Err(place) = values.binary_search(&value) {
            values.insert(place, value);
        }
    };
    for report in reports {
        let machine = &report.machine;
        add(
            "machine".to_owned(),
            format!("{} {}, {} cores", machine.os, machine.arch, machine.cores),
        );
        add("client version".to_owned(), report.version.clone());
        add("server version".to_owned(), report.server.version.clone());
        add(
            "server embedded".to_owned(),
            report.server.embedded.to_string(),
        );
        for (flag, value) in report.settings_shown() {
            // Two runs with one seed are no better than with two.
            if flag != "seed" && flag != "name" {
                add(format!("--{flag}"), value);
            }
        }
    }
    setups
}

fn warnings(a: &[Report], b: &[Report]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (side, reports) in [('A', a), ('B', b)] {
        for (index, report) in reports.iter().enumerate() {
            let run = index + 1;
            if let Some(signal) = report.interrupted {
                warnings.push(format!(
                    "run {run} of {side} was interrupted by signal {signal}"
                ));
            }
            if report
                .verify
                .as_ref()
                .is_some_and(|verify| verify.verdict == "violation")
            {
                warnings.push(format!("run {run} of {side} is not linearizable"));
            }
            let own = report.warnings.iter();
            warnings.extend(own.map(|warning| format!("run {run} of {side}: {warning}")));
        }
    }
    if a.len() > 1 && b.len() > 1 && one_after_the_other(a, b) {
        warnings.push(
            "all runs of one side were made before all of the other: what drifts with time (heat, other work on the \
             machine) looks like a difference; let them take turns"
                .to_owned(),
        );
    }
    warnings
}

fn one_after_the_other(a: &[Report], b: &[Report]) -> bool {
    let times = |reports: &[Report]| {
        let times = || reports.iter().map(|report| &report.started_at);
        Some((times().min()?.clone(), times().max()?.clone()))
    };
    let (Some((first_a, last_a)), Some((first_b, last_b))) = (times(a), times(b)) else {
        return false;
    };
    // RFC 3339 in UTC with as many digits sorts as time does.
    last_a < first_b || last_b < first_a
}

#[cfg(test)]
mod tests;

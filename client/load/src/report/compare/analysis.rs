//! The analysis: metric by metric, and then as a whole.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::report::compare::conditions::{differences, warnings};
use crate::report::compare::metrics::{METRICS, MetricDefinition};
use crate::report::compare::model::{
    Better, COMPARISON_SCHEMA, CompareError, Comparison, MetricComparison, MetricVerdict, Options,
    Verdict,
};
use crate::report::compare::statistics::{
    Bootstrap, change, holm_adjusted, mann_whitney, median, runs_for_power, runs_min,
};
use crate::report::model::{Report, SCHEMA};

/// With fewer intervals the block bootstrap says nothing.
const HINT_INTERVALS_MIN: usize = 10;

/// Compares the runs `b` with the runs `a`.
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
    for (metric, adjusted) in metrics.iter_mut().zip(holm_adjusted(&ps)) {
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
    metric: &MetricDefinition,
    a: &[Report],
    b: &[Report],
    options: &Options,
    bootstrap: &mut Bootstrap,
) -> MetricComparison {
    let values = |reports: &[Report]| reports.iter().filter_map(metric.of).collect::<Vec<_>>();
    let (values_a, values_b) = (values(a), values(b));
    let mut compared = not_measured(metric, &values_a, &values_b);
    let (Some(median_a), Some(median_b)) = (compared.median_a, compared.median_b) else {
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
    compared.verdict = if !can_be_significant(values_a.len(), values_b.len(), options.alpha) {
        MetricVerdict::TooFewRuns
    } else if test.p > options.alpha {
        MetricVerdict::NoDifference
    } else if compared
        .change
        .is_some_and(|change| change.abs() < options.effect_min)
    {
        MetricVerdict::Negligible
    } else if (median_b > median_a) == (metric.better == Better::Higher) {
        MetricVerdict::Better
    } else {
        MetricVerdict::Worse
    };
    if let MetricVerdict::TooFewRuns | MetricVerdict::NoDifference = compared.verdict {
        compared.runs_needed = runs_needed(&values_a, &values_b, options);
    }
    compared
}

/// Makes the comparison of a metric with its medians, and nothing else.
fn not_measured(metric: &MetricDefinition, a: &[f64], b: &[f64]) -> MetricComparison {
    MetricComparison {
        metric: metric.name.to_owned(),
        unit: metric.unit,
        better: metric.better,
        runs_a: a.len() as u64,
        runs_b: b.len() as u64,
        median_a: median(a),
        median_b: median(b),
        change: None,
        change_low: None,
        change_high: None,
        u: None,
        p: None,
        p_adjusted: None,
        verdict: MetricVerdict::NotMeasured,
        runs_needed: None,
        hint_low: None,
        hint_high: None,
    }
}

/// Returns the number of runs on each side that would decide, if there are fewer.
fn runs_needed(a: &[f64], b: &[f64], options: &Options) -> Option<u64> {
    let floor = runs_min(options.alpha);
    let scatter = runs_for_power(options.effect_min, a, b);
    let needed = scatter.map_or(floor, |runs| runs.max(floor));
    let fewest = a.len().min(b.len()) as u64;
    (needed > fewest).then_some(needed)
}

/// Whether the most extreme values would be significant with so many runs.
fn can_be_significant(a: usize, b: usize, alpha: f64) -> bool {
    let low: Vec<f64> = (0..a).map(|value| value as f64).collect();
    let high: Vec<f64> = (a..a + b).map(|value| value as f64).collect();
    mann_whitney(&low, &high).p <= alpha
}

fn hint(
    metric: &MetricDefinition,
    a: &Report,
    b: &Report,
    bootstrap: &mut Bootstrap,
) -> Option<(f64, f64)> {
    let of_interval = metric.of_interval?;
    let values =
        |report: &Report| -> Vec<f64> { report.intervals.iter().filter_map(of_interval).collect() };
    let (a, b) = (values(a), values(b));
    let enough = a.len().min(b.len()) >= HINT_INTERVALS_MIN;
    enough.then(|| bootstrap.change_in_series(&a, &b)).flatten()
}

fn overall(metrics: &[MetricComparison], options: &Options) -> Verdict {
    let worse = || {
        metrics.iter().filter(|metric| {
            // A change from 0 is larger than any percentage.
            let enough = metric
                .change
                .is_none_or(|change| change.abs() >= options.regression_min);
            metric.verdict == MetricVerdict::Worse && enough
        })
    };
    let stands = |metric: &MetricComparison| metric.p_adjusted.is_some_and(|p| p <= options.alpha);
    let any = |verdict| metrics.iter().any(|metric| metric.verdict == verdict);
    if worse().any(stands) {
        Verdict::Regression
    } else if worse().next().is_some() {
        Verdict::Suspected
    } else if any(MetricVerdict::TooFewRuns) {
        Verdict::TooFewRuns
    } else if any(MetricVerdict::Better) && !any(MetricVerdict::Worse) {
        Verdict::Improvement
    } else {
        Verdict::NoDifference
    }
}

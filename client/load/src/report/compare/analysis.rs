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
    Bootstrap, change, mann_whitney, median, runs_for_power, runs_min,
};
use crate::report::compare::together::adjusted;
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
    let values: Vec<_> = METRICS
        .iter()
        .map(|metric| (values(metric, a), values(metric, b)))
        .collect();
    for (metric, adjusted) in metrics
        .iter_mut()
        .zip(adjusted(&values, &ps, &mut bootstrap.random))
    {
        metric.p_adjusted = adjusted;
    }
    say_runs_needed(&mut metrics, options.alpha);
    Ok(Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        runs_a: a.len() as u64,
        runs_b: b.len() as u64,
        alpha: options.alpha,
        effect_min: options.effect_min,
        regression_min: options.regression_min,
        runs_needed: runs_needed_for_all(&metrics, options.alpha),
        verdict: overall(&metrics, a.len(), b.len(), options),
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
    let (values_a, values_b) = (values(metric, a), values(metric, b));
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
    if compared.verdict == MetricVerdict::NoDifference {
        compared.runs_needed = runs_for_power(options.effect_min, &values_a, &values_b);
    }
    compared
}

/// Returns the metric of each run that has it.
fn values(metric: &MetricDefinition, reports: &[Report]) -> Vec<f64> {
    reports.iter().filter_map(metric.of).collect()
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

/// Says of each metric that is not decided how many runs on each side would decide, if there are fewer. With fewer than
/// the comparison as a whole needs, it is that number; otherwise the number by the scatter of the metric.
fn say_runs_needed(metrics: &mut [MetricComparison], alpha: f64) {
    let floor = runs_needed_for_all(metrics, alpha);
    for metric in metrics {
        let fewest = metric.runs_a.min(metric.runs_b);
        let needed = match metric.verdict {
            MetricVerdict::TooFewRuns => floor,
            MetricVerdict::NoDifference if fewest < floor => floor,
            MetricVerdict::NoDifference => metric.runs_needed.unwrap_or(floor).max(floor),
            _ => continue,
        };
        metric.runs_needed = (needed > fewest).then_some(needed);
    }
}

/// Returns the fewest runs on each side that can decide about all metrics together.
fn runs_needed_for_all(metrics: &[MetricComparison], alpha: f64) -> u64 {
    runs_min(alpha_of_each(metrics, alpha))
}

/// The level at which the most significant metric passes every correction for their number, Holm's included.
fn alpha_of_each(metrics: &[MetricComparison], alpha: f64) -> f64 {
    let measured = metrics.iter().filter(|metric| metric.p.is_some());
    alpha / measured.count().max(1) as f64
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

fn overall(
    metrics: &[MetricComparison],
    runs_a: usize,
    runs_b: usize,
    options: &Options,
) -> Verdict {
    let alpha = alpha_of_each(metrics, options.alpha);
    let can_be_decided = can_be_significant(runs_a, runs_b, alpha);
    let worse = || {
        metrics.iter().filter(|metric| {
            // A change from 0 is larger than any percentage.
            let enough = metric
                .change
                .is_none_or(|change| change.abs() >= options.regression_min);
            metric.verdict == MetricVerdict::Worse && enough
        })
    };
    let stands = |metric: &MetricComparison| {
        can_be_decided && metric.p_adjusted.is_some_and(|p| p <= options.alpha)
    };
    let any = |verdict| metrics.iter().any(|metric| metric.verdict == verdict);
    let mut better = metrics
        .iter()
        .filter(|metric| metric.verdict == MetricVerdict::Better);
    if worse().any(stands) {
        Verdict::Regression
    } else if worse().next().is_some() && !can_be_decided {
        Verdict::Suspected
    } else if any(MetricVerdict::TooFewRuns) || !can_be_decided {
        Verdict::TooFewRuns
    } else if better.any(stands) && !any(MetricVerdict::Worse) {
        // Of several metrics one may be better by chance, as well as worse: the correction holds for both.
        Verdict::Improvement
    } else {
        Verdict::NoDifference
    }
}

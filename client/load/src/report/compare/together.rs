//! The correction for the number of metrics.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::report::compare::statistics::{EXACT_MAX, RankSums, holm_adjusted};

/// The most arrangements that are all gone through: those of 8 runs on each side are 12,870. Of more, as many are drawn.
const ARRANGEMENTS_MAX: usize = 20_000;

/// The values of one metric: those of side A, and those of side B.
pub(super) type Values = (Vec<f64>, Vec<f64>);

/// Adjusts the p-values of metrics for their number: the chance of any false positive is then the significance level.
///
/// This is the step-down minP method of Westfall and Young (Resampling-Based Multiple Testing, 1993, section 2.6). Metrics
/// of the same runs go together: a run on a slow moment has fewer operations, longer responses and dearer ones. Holm's
/// correction counts each of them as if it were a chance of its own; here the chance is counted, over the arrangements
/// of the runs into two sides. It falls back to Holm's where a metric has values of some runs only, and with so many runs
/// that there are no exact p-values.
///
/// A metric without a value on one side has no p-value.
pub(super) fn adjusted(
    metrics: &[Values],
    ps: &[Option<f64>],
    random: &mut Xoshiro256PlusPlus,
) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..ps.len()).filter(|&index| ps[index].is_some()).collect();
    order.sort_by(|&one, &other| ps[one].partial_cmp(&ps[other]).expect("no p is NaN"));
    let Some(&first) = order.first() else {
        return vec![None; ps.len()];
    };
    let (a, b) = (metrics[first].0.len(), metrics[first].1.len());
    let same_runs = |index: &usize| (metrics[*index].0.len(), metrics[*index].1.len()) == (a, b);
    if a + b > EXACT_MAX || !order.iter().all(same_runs) {
        return holm_adjusted(ps);
    }
    let sums: Vec<_> = order
        .iter()
        .map(|&index| RankSums::of(&metrics[index].0, &metrics[index].1))
        .collect();
    let mut counted = Counted {
        as_small: vec![0; order.len()],
        arrangements: 0,
    };
    let mut side_a: Vec<usize> = (0..a).collect();
    if arrangements(a, b) <= ARRANGEMENTS_MAX as f64 {
        loop {
            counted.count(&sums, &side_a);
            if !next_combination(&mut side_a, a + b) {
                break;
            }
        }
    } else {
        // The arrangement that was observed is one of them.
        counted.count(&sums, &side_a);
        let mut runs: Vec<usize> = (0..a + b).collect();
        for _ in 1..ARRANGEMENTS_MAX {
            runs.shuffle(random);
            counted.count(&sums, &runs[..a]);
        }
    }
    let mut adjusted = vec![None; ps.len()];
    let mut least: f64 = 0.0;
    for (&index, as_small) in order.iter().zip(counted.as_small) {
        least = least.max(as_small as f64 / counted.arrangements as f64);
        adjusted[index] = Some(least);
    }
    adjusted
}

/// How many arrangements have p-values as small as those that were observed.
struct Counted {
    /// For each metric, the most significant first: the arrangements in which it, or a metric after it, is as significant.
    as_small: Vec<usize>,
    arrangements: usize,
}

impl Counted {
    fn count(&mut self, sums: &[RankSums], side_a: &[usize]) {
        self.arrangements += 1;
        let mut smallest = f64::INFINITY;
        for (sums, as_small) in sums.iter().zip(&mut self.as_small).rev() {
            smallest = smallest.min(sums.p(side_a));
            // Both are quotients of the same sums.
            *as_small += usize::from(smallest <= sums.observed() * (1.0 + 1e-9));
        }
    }
}

/// Returns the number of ways to choose `a` of `a + b`.
fn arrangements(a: usize, b: usize) -> f64 {
    (1..=a).fold(1.0, |ways, at| ways * (b + at) as f64 / at as f64)
}

/// Turns the combination of numbers below `all` into the next one. Returns `false` after the last.
fn next_combination(chosen: &mut [usize], all: usize) -> bool {
    let len = chosen.len();
    let Some(at) = (0..len).rfind(|&at| chosen[at] < all - len + at) else {
        return false;
    };
    chosen[at] += 1;
    for next in at + 1..len {
        chosen[next] = chosen[next - 1] + 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::report::compare::statistics::mann_whitney;
    use crate::report::sample::Random;

    fn adjust(metrics: &[Values]) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
        let ps: Vec<_> = metrics
            .iter()
            .map(|(a, b)| (!a.is_empty() && !b.is_empty()).then(|| mann_whitney(a, b).p))
            .collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        (adjusted(metrics, &ps, &mut random), holm_adjusted(&ps))
    }

    fn values(random: &mut Random, runs: usize, shift: f64) -> Values {
        let mut side =
            |mean: f64| -> Vec<f64> { (0..runs).map(|_| mean + random.normal()).collect() };
        (side(0.0), side(shift))
    }

    #[test]
    fn each_combination_comes_once() {
        for (a, b) in [(1, 1), (2, 3), (4, 4), (6, 6)] {
            let mut chosen: Vec<usize> = (0..a).collect();
            let mut seen = std::collections::BTreeSet::from([chosen.clone()]);
            while next_combination(&mut chosen, a + b) {
                assert!(chosen.is_sorted() && seen.insert(chosen.clone()));
            }
            assert_eq!(seen.len() as f64, arrangements(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn one_metric_keeps_its_p() {
        let mut random = Random(1);
        for shift in [0.0, 1.0, 3.0] {
            let metric = values(&mut random, 6, shift);
            let (adjusted, alone) = adjust(std::slice::from_ref(&metric));
            let (adjusted, alone) = (adjusted[0].unwrap(), alone[0].unwrap());
            assert!((adjusted - alone).abs() < 1e-9, "{adjusted} and {alone}");
        }
    }

    #[test]
    fn metrics_that_say_the_same_count_once() {
        let metric = values(&mut Random(2), 6, 2.0);
        let p = mann_whitney(&metric.0, &metric.1).p;
        let faster = metric.clone();
        let scaled = |side: &[f64]| side.iter().map(|value| -5.0 * value).collect::<Vec<_>>();
        let slower = (scaled(&metric.0), scaled(&metric.1));
        let constant = (vec![0.0; 6], vec![0.0; 6]);
        let (adjusted, holm) = adjust(&[metric, constant, faster, slower, (vec![], vec![])]);
        for at in [0, 2, 3] {
            assert!((adjusted[at].unwrap() - p).abs() < 1e-9, "{adjusted:?}");
        }
        assert_eq!((adjusted[1], adjusted[4]), (Some(1.0), None));
        assert!((holm[0].unwrap() - 4.0 * p).abs() < 1e-9);
    }

    /// Never more careless than each alone, and about as careful as Holm where metrics have nothing to do with each other.
    #[test]
    fn unrelated_metrics_count_each() {
        let mut random = Random(3);
        for _ in 0..20 {
            let metrics: Vec<_> = (0..6).map(|_| values(&mut random, 6, 1.0)).collect();
            let (adjusted, holm) = adjust(&metrics);
            for (metric, (adjusted, holm)) in metrics.iter().zip(adjusted.iter().zip(&holm)) {
                let p = mann_whitney(&metric.0, &metric.1).p;
                let adjusted = adjusted.unwrap();
                assert!(adjusted >= p - 1e-9 && adjusted <= holm.unwrap() + 1e-9);
            }
            let smallest = |ps: &[Option<f64>]| {
                ps.iter()
                    .flatten()
                    .fold(f64::INFINITY, |least, p| least.min(*p))
            };
            assert!(smallest(&adjusted) > 0.5 * smallest(&holm).min(1.0));
        }
    }

    /// The level holds for all metrics together, unrelated or not.
    #[test]
    fn one_in_twenty_comparisons_has_a_false_positive() {
        for related in [0.0, 0.9] {
            let mut random = Random(4);
            let rounds = 400;
            let found = (0..rounds).filter(|_| {
                let common = values(&mut random, 5, 0.0);
                let metrics: Vec<_> = (0..6)
                    .map(|_| {
                        let own = values(&mut random, 5, 0.0);
                        let mix = |common: &[f64], own: &[f64]| -> Vec<f64> {
                            let both = common.iter().zip(own);
                            both.map(|(common, own)| related * common + (1.0 - related) * own)
                                .collect()
                        };
                        (mix(&common.0, &own.0), mix(&common.1, &own.1))
                    })
                    .collect();
                adjust(&metrics).0.iter().flatten().any(|p| *p <= 0.05)
            });
            let found = found.count();
            // 20 and four times its deviation of 4.4.
            assert!(found <= 37, "{found} of {rounds}, related by {related}");
        }
    }

    #[test]
    fn many_runs_are_drawn_and_more_are_corrected_by_holm() {
        let mut random = Random(5);
        let metric = values(&mut random, 12, 1.0);
        let alone = mann_whitney(&metric.0, &metric.1).p;
        let (adjusted, _) = adjust(&[metric.clone(), metric]);
        let distance = (adjusted[0].unwrap() - alone).abs();
        assert!(distance < 0.01, "{adjusted:?} and {alone}");
        let metrics = [values(&mut random, 26, 0.5), values(&mut random, 26, 0.5)];
        let (adjusted, holm) = adjust(&metrics);
        assert_eq!(adjusted, holm);
        // A metric that some runs do not have.
        let mut metrics = [values(&mut random, 6, 2.0), values(&mut random, 6, 2.0)];
        metrics[1].0.pop();
        let (adjusted, holm) = adjust(&metrics);
        assert_eq!(adjusted, holm);
    }
}

//! The statistics of a comparison: medians, the rank test, and the bootstrap.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// The most values, of both samples together, for which the rank test is exact: the numbers of arrangements are still
/// exact in an f64 (C(50, 25) is 1.3e14).
pub(super) const EXACT_MAX: usize = 50;

/// Returns the median; of an even number of values the mean of the two in the middle. `None` without values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The result of a rank test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RankTest {
    /// The number of pairs, of one value of each sample, in which the first sample has the greater value. A tie counts
    /// half.
    pub(super) u: f64,
    /// The p-value, two-sided.
    pub(super) p: f64,
}

/// The rank test of Mann and Whitney (1947): is a value of one sample greater than one of the other more often than by
/// chance? It assumes nothing about the distributions.
///
/// Small samples, with ties, have an exact p, by the shift algorithm of Streitberg and Roehmel (1986). Others have the
/// normal approximation with corrections for ties and continuity (Lehmann, Nonparametrics, 1975). The two-sided p is
/// twice the smaller tail, as in R's `wilcox.test`.
pub(super) fn mann_whitney(a: &[f64], b: &[f64]) -> RankTest {
    let ranks = Ranks::of(a, b);
    let smallest = a.len() * (a.len() + 1) / 2;
    let u = ranks.doubled_of_a as f64 / 2.0 - smallest as f64;
    let p = match a.len() + b.len() <= EXACT_MAX {
        true => ranks.exact(a.len()),
        false => ranks.approximate(a.len(), b.len(), u),
    };
    RankTest { u, p }
}

struct Ranks {
    /// Twice the rank of each value, in order. Ties have the mean of their ranks, which may end in a half.
    doubled: Vec<usize>,
    /// The sum of the doubled ranks of the first sample.
    doubled_of_a: usize,
    /// The sum of t^3 - t over groups of t equal values.
    ties: f64,
}

impl Ranks {
    fn of(a: &[f64], b: &[f64]) -> Self {
        let mut values: Vec<(f64, usize)> = a.iter().map(|value| (*value, 1)).collect();
        values.extend(b.iter().map(|value| (*value, 0)));
        values.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut ranks = Self {
            doubled: Vec::with_capacity(values.len()),
            doubled_of_a: 0,
            ties: 0.0,
        };
        for equal in values.chunk_by(|one, other| one.0 == other.0) {
            let before = ranks.doubled.len();
            // The values share the ranks before + 1 to before + len.
            let doubled = 2 * before + equal.len() + 1;
            let of_a: usize = equal.iter().map(|(_, of_a)| of_a).sum();
            ranks.doubled_of_a += doubled * of_a;
            ranks.doubled.resize(before + equal.len(), doubled);
            ranks.ties += (equal.len() as f64).powi(3) - equal.len() as f64;
        }
        ranks
    }

    /// Returns p exactly.
    fn exact(&self, chosen: usize) -> f64 {
        self.ways(chosen).p(self.doubled_of_a)
    }

    /// Counts, for every possible sum, the ways to choose `chosen` ranks with that sum.
    fn ways(&self, chosen: usize) -> Ways {
        let largest: usize = self.doubled.iter().sum();
        let mut ways = vec![vec![0.0; largest + 1]; chosen + 1];
        ways[0][0] = 1.0;
        for &rank in &self.doubled {
            for count in (1..=chosen).rev() {
                let (fewer, same) = ways.split_at_mut(count);
                let fewer = &fewer[count - 1];
                for sum in rank..=largest {
                    same[0][sum] += fewer[sum - rank];
                }
            }
        }
        Ways(ways.swap_remove(chosen))
    }

    fn approximate(&self, a: usize, b: usize, u: f64) -> f64 {
        let (a, b) = (a as f64, b as f64);
        let all = a + b;
        let variance = a * b / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)));
        let distance = ((u - a * b / 2.0).abs() - 0.5).max(0.0);
        match variance > 0.0 {
            true => (2.0 * normal_tail(distance / variance.sqrt())).min(1.0),
            // All values are equal.
            false => 1.0,
        }
    }
}

/// For every sum of doubled ranks, the ways to choose one side with that sum.
struct Ways(Vec<f64>);

impl Ways {
    /// Returns the two-sided p of the sum: twice the smaller tail.
    fn p(&self, sum: usize) -> f64 {
        let all: f64 = self.0.iter().sum();
        let below: f64 = self.0[..=sum].iter().sum();
        let above: f64 = self.0[sum..].iter().sum();
        (2.0 * below.min(above) / all).min(1.0)
    }
}

/// The rank test of one metric, for every arrangement of its runs into two sides.
pub(super) struct RankSums {
    /// Twice the rank of each run: those of A, then those of B.
    doubled: Vec<usize>,
    /// The two-sided p of each sum of doubled ranks.
    p: Vec<f64>,
    observed: f64,
}

impl RankSums {
    pub(super) fn of(a: &[f64], b: &[f64]) -> Self {
        let ranks = Ranks::of(a, b);
        let mut sorted: Vec<f64> = a.iter().chain(b).copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |value: &f64| {
            let place = sorted.partition_point(|other| other.total_cmp(value).is_lt());
            ranks.doubled[place]
        };
        let ways = ranks.ways(a.len());
        let p: Vec<_> = (0..ways.0.len()).map(|sum| ways.p(sum)).collect();
        Self {
            doubled: a.iter().chain(b).map(rank).collect(),
            observed: p[ranks.doubled_of_a],
            p,
        }
    }

    /// Returns the p-value of the runs as they are.
    pub(super) fn observed(&self) -> f64 {
        self.observed
    }

    /// Returns the p-value if the runs with these numbers were side A.
    pub(super) fn p(&self, side_a: &[usize]) -> f64 {
        self.p[side_a.iter().map(|&run| self.doubled[run]).sum::<usize>()]
    }
}

/// Returns the upper tail of the standard normal distribution at `z`, which is not negative: formula 26.2.17 of
/// Abramowitz and Stegun, with an error below 7.5e-8.
fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let terms = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let series = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    series * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// Returns the fewest runs on each side with which the rank test can be significant at `alpha`. If all values of one
/// side are above those of the other, p is 2 / C(2n, n).
pub(super) fn runs_min(alpha: f64) -> u64 {
    let mut runs = 1_u64;
    let mut arrangements = 2.0;
    while 2.0 / arrangements > alpha {
        runs += 1;
        let n = runs as f64;
        arrangements *= (2.0 * n - 1.0) * 2.0 / n;
    }
    runs
}

/// Adjusts p-values for their number (Holm, 1979): the chance of any false positive is then the significance level.
pub(super) fn holm_adjusted(ps: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..ps.len()).filter(|&index| ps[index].is_some()).collect();
    order.sort_by(|&one, &other| ps[one].partial_cmp(&ps[other]).expect("no p is NaN"));
    let mut adjusted = vec![None; ps.len()];
    let mut least: f64 = 0.0;
    for (place, &index) in order.iter().enumerate() {
        let p = ps[index].expect("only existing values were ordered");
        least = least.max(p * (order.len() - place) as f64).min(1.0);
        adjusted[index] = Some(least);
    }
    adjusted
}

/// Resampling with replacement.
pub(super) struct Bootstrap {
    pub(super) resamples: usize,
    pub(super) random: Xoshiro256PlusPlus,
}

impl Bootstrap {
    /// Returns a 95% confidence interval of the relative change of the median from `a` to `b`, by the percentile method
    /// (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). With few values it is too narrow,
    /// like every bootstrap, so verdicts come from the rank test.
    pub(super) fn change(&mut self, a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
        self.change_by_blocks(a, b, |_| 1)
    }

    /// Like [`change`](Self::change), for values that follow each other in time. Because neighbours are alike, it draws
    /// blocks (Kuensch, 1989) of n^(1/3) values (Hall, Horowitz and Jing, 1995).
    pub(super) fn change_in_series(&mut self, a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
        self.change_by_blocks(a, b, |len| (len as f64).cbrt().ceil() as usize)
    }

    fn change_by_blocks(
        &mut self,
        a: &[f64],
        b: &[f64],
        block: fn(usize) -> usize,
    ) -> Option<(f64, f64)> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let mut changes = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples {
            let before = median(&self.resample(a, block(a.len())))?;
            let after = median(&self.resample(b, block(b.len())))?;
            // From a median of 0 there is no relative change, so there is no interval either.
            changes.push(change(before, after)?);
        }
        changes.sort_by(f64::total_cmp);
        let at =
            |quantile: f64| changes.get((quantile * (changes.len() - 1) as f64).round() as usize);
        Some((*at(0.025)?, *at(0.975)?))
    }

    fn resample(&mut self, values: &[f64], block: usize) -> Vec<f64> {
        let mut drawn = Vec::with_capacity(values.len() + block);
        while drawn.len() < values.len() {
            let start = self.random.random_range(0..=values.len() - block);
            drawn.extend_from_slice(&values[start..start + block]);
        }
        drawn.truncate(values.len());
        drawn
    }
}

/// Returns the relative change: 0 from 0 to 0, and `None` from 0 to another value.
pub(super) fn change(before: f64, after: f64) -> Option<f64> {
    match (before, after) {
        (0.0, 0.0) => Some(0.0),
        (0.0, _) => None,
        _ => Some((after - before) / before),
    }
}

/// Returns how many runs on each side find a relative change of `effect` with a power of 80%, if values scatter like
/// these: 2 (z(0.975) + z(0.8))^2 (deviation / effect)^2, divided by the efficiency of 3/pi that the rank test has for
/// normal values (Lehmann, 1975). At most 10,000: nobody makes more runs.
pub(super) fn runs_for_power(effect: f64, a: &[f64], b: &[f64]) -> Option<u64> {
    let scatter = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (values.len() > 1 && mean > 0.0)
            .then(|| squares / (values.len() - 1) as f64 / (mean * mean))
    };
    let variance = f64::midpoint(scatter(a)?, scatter(b)?);
    let efficiency = 3.0 / std::f64::consts::PI;
    let runs = 2.0 * (1.96_f64 + 0.842).powi(2) * variance / (effect * effect) / efficiency;
    Some((runs.ceil() as u64).clamp(2, 10_000))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::report::sample::Random;

    /// Two samples without ties for which U is `u`.
    fn with_u(first: usize, second: usize, mut u: usize) -> (Vec<f64>, Vec<f64>) {
        let place = |index: usize| {
            let below = u.min(second);
            u -= below;
            below as f64 + 0.5 + index as f64 * 1e-3
        };
        let a: Vec<f64> = (0..first).map(place).collect();
        (a, (1..=second).map(|value| value as f64).collect())
    }

    /// The largest U that is significant at 5%, two-sided, from table K in Siegel, Nonparametric Statistics, 1956.
    #[test]
    fn critical_values_are_those_of_the_table() {
        let cases = [
            (4, 4, 0),
            (3, 5, 0),
            (5, 5, 2),
            (5, 8, 6),
            (6, 6, 5),
            (7, 9, 12),
            (8, 8, 13),
            (10, 10, 23),
            (9, 15, 34),
            (12, 12, 37),
            (20, 20, 127),
        ];
        for (first, second, critical) in cases {
            let p = |u| {
                let (a, b) = with_u(first, second, u);
                let test = mann_whitney(&a, &b);
                assert_eq!(test.u, u as f64);
                test.p
            };
            assert!(p(critical) <= 0.05, "{first} and {second}: {}", p(critical));
            assert!(
                p(critical + 1) > 0.05,
                "{first} and {second}: {}",
                p(critical + 1)
            );
        }
    }

    #[test]
    fn p_is_that_of_other_programs() {
        // The example in R's manual of wilcox.test: W = 35, one-sided p = 0.1272.
        let a = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let b = [1.15, 0.88, 0.90, 0.74, 1.21];
        let test = mann_whitney(&a, &b);
        assert_eq!(test.u, 35.0);
        assert!((test.p - 2.0 * 0.127_205).abs() < 1e-5, "{}", test.p);
        // One of the 20 arrangements on each side.
        assert!((mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).p - 0.1).abs() < 1e-12);
        // By hand: of the six pairs of the ranks 1, 2.5, 2.5, 4, two have a sum of 3.5 or less.
        let tied = mann_whitney(&[1.0, 2.0], &[2.0, 3.0]);
        assert_eq!(tied.u, 0.5);
        assert!((tied.p - 2.0 * 2.0 / 6.0).abs() < 1e-12, "{}", tied.p);
    }

    #[test]
    fn equal_values_are_not_significant() {
        for len in [1, 2, 5, 40] {
            let test = mann_whitney(&vec![7.0; len], &vec![7.0; len]);
            assert_eq!((test.u, test.p), ((len * len) as f64 / 2.0, 1.0));
        }
    }

    #[test]
    fn the_approximation_is_near_the_exact_p() {
        let mut random = Random(3);
        let mut resample = |mean: f64| {
            (0..25)
                .map(|_| (mean + random.normal()) * 8.0)
                .map(f64::round)
                .collect::<Vec<_>>()
        };
        for shift in [0.0, 0.3, 0.6] {
            let (a, b) = (resample(0.0), resample(shift));
            let ranks = Ranks::of(&a, &b);
            let exact = mann_whitney(&a, &b);
            let close = ranks.approximate(25, 25, exact.u);
            assert!((exact.p - close).abs() < 0.01, "{} and {close}", exact.p);
        }
    }

    /// Of pairs of samples from one distribution, the share of the level is found to differ.
    #[test]
    fn one_in_twenty_is_a_false_positive() {
        let mut random = Random(1);
        let mut rounds = |len: usize| {
            let mut sample = || (0..len).map(|_| random.normal().exp()).collect::<Vec<_>>();
            (0..2_000)
                .filter(|_| mann_whitney(&sample(), &sample()).p <= 0.05)
                .count()
        };
        // Possible p-values have steps. The largest below 5% is 4.33% with 10 values, and 4.9% with 30.
        for (len, expected) in [(10, 86), (30, 98)] {
            let found = rounds(len);
            assert!(
                (expected - 35..=expected + 35).contains(&found),
                "{found} of 2,000 with {len}"
            );
        }
    }

    #[test]
    fn four_runs_are_the_fewest() {
        assert_eq!(runs_min(0.05), 4);
        assert_eq!(runs_min(0.1), 3);
        assert_eq!(runs_min(0.01), 5);
        let p = |runs: usize| {
            let (a, b) = with_u(runs, runs, 0);
            mann_whitney(&a, &b).p
        };
        assert!(p(3) > 0.05 && p(4) <= 0.05);
    }

    #[test]
    fn several_tests_have_larger_p_values() {
        let adjusted = holm_adjusted(&[Some(0.01), None, Some(0.04), Some(0.03)]);
        let expected = [Some(0.03), None, Some(0.06), Some(0.06)];
        for (adjusted, expected) in adjusted.iter().zip(expected) {
            assert_eq!(adjusted.is_some(), expected.is_some());
            let distance = adjusted.unwrap_or(0.0) - expected.unwrap_or(0.0);
            assert!(distance.abs() < 1e-12, "{adjusted:?} and {expected:?}");
        }
    }

    #[test]
    fn the_interval_contains_the_true_change_nineteen_times_in_twenty() {
        let mut random = Random(5);
        let mut bootstrap = Bootstrap {
            resamples: 400,
            random: Xoshiro256PlusPlus::seed_from_u64(1),
        };
        let mut held = 0;
        for _ in 0..300 {
            let mut resample =
                |mean: f64| (0..30).map(|_| mean + random.normal()).collect::<Vec<_>>();
            let (low, high) = bootstrap
                .change(&resample(100.0), &resample(103.0))
                .unwrap();
            held += u32::from(low <= 0.03 && 0.03 <= high);
        }
        assert!((270..=298).contains(&held), "{held} of 300");
    }

    #[test]
    fn blocks_of_a_series_give_wider_intervals() {
        let mut bootstrap = Bootstrap {
            resamples: 500,
            random: Xoshiro256PlusPlus::seed_from_u64(2),
        };
        // In a slow wave, resampled single values seem to be more information than there is.
        let wave: Vec<f64> = (0..64)
            .map(|at| 100.0 + 10.0 * (f64::from(at) / 10.0).sin())
            .collect();
        let width = |interval: Option<(f64, f64)>| interval.map(|(low, high)| high - low).unwrap();
        let alone = width(bootstrap.change(&wave, &wave));
        let blocks = width(bootstrap.change_in_series(&wave, &wave));
        assert!(blocks > alone * 1.2, "{blocks} and {alone}");
        assert_eq!(bootstrap.change(&[], &[1.0]), None);
        assert_eq!(bootstrap.change(&[0.0], &[1.0]), None);
        assert_eq!(bootstrap.change(&[0.0], &[0.0]), Some((0.0, 0.0)));
    }

    #[test]
    fn scattered_values_need_more_runs() {
        let calm = [100.0, 100.5, 99.5, 100.2];
        let wild = [100.0, 120.0, 80.0, 110.0];
        let runs = |values: &[f64]| runs_for_power(0.02, values, values).unwrap();
        assert!(runs(&calm) < 4, "{}", runs(&calm));
        assert!(runs(&wild) > 500, "{}", runs(&wild));
        assert_eq!(runs_for_power(0.02, &[1.0], &[1.0]), None);
        assert_eq!(runs_for_power(0.02, &[0.0, 0.0], &[0.0, 0.0]), None);
    }
}
